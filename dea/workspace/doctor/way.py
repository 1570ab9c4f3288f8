"""The way from a function to an answer of the login node, a step after the other; a step that fails ends it there.

Everything is done as a function does it, by `dea.raijin`, with the AWS identity that the caller gives.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paramiko
from botocore.exceptions import BotoCoreError, ClientError

from dea.raijin import (
    Credentials,
    CredentialsError,
    OutcomeUnknown,
    ParameterAccessDenied,
    ParameterStoreUnavailable,
    RaijinError,
    RaijinSession,
    load_credentials,
)
from dea.raijin.credentials import parameter_names
from dea.raijin.parameter_store import get_ssm_parameters
from dea.remote import __version__, approval, contract
from dea.remote.checks import Check, listed
from dea.remote.contract import shown, take_receipt
from dea.workspace.doctor import channels

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

EXAMPLE = "example"
"""The command that is run to see that one can be: it prints the names of the commands, and every checkout has it."""


@dataclass(frozen=True)
class Way:
    """Where a way begins, and by which key it goes.

    Attributes:
        user_path: The prefix of the key's SSM parameters.
        only: The one command that the key's forced command always runs, or an empty text: such a key is asked for nothing
            that would run it.
        ssm: The client that reads the parameters.
    """

    user_path: str
    only: str = ""
    ssm: SSMClient = field(repr=False, kw_only=True)

    @property
    def parameters(self) -> list[str]:
        """The names of the key's SSM parameters."""
        return list(parameter_names(self.user_path).values())


def parameters(way: Way) -> Check:
    """The four SSM parameters are there, the private key as a SecureString, and may be read."""
    try:
        answer = way.ssm.get_parameters(Names=way.parameters, WithDecryption=False)
    except ClientError as error:
        said = " ".join(str(error).split())
        remedy = f"allow ssm:GetParameters on {way.user_path}.*: inv policy prints the statement"
        return Check("parameters", False, f"they may not be read: {said}", remedy)
    except BotoCoreError as error:
        return Check(
            "parameters", False, f"SSM cannot be asked: {error}", "check the network, the region and the credentials"
        )
    missing = list(answer["InvalidParameters"])
    if missing:
        remedy = "store them (docs/how-to/store-credentials.md), or name another --user-path"
        return Check("parameters", False, f"missing in this account and region: {listed(missing)}", remedy)
    kinds = {one["Name"]: one["Type"] for one in answer["Parameters"]}
    if kinds[f"{way.user_path}.pkey"] != "SecureString":
        remedy = "make a new key, for this one was readable, and store it with --type SecureString"
        return Check(
            "parameters", False, f"{way.user_path}.pkey is a {kinds[f'{way.user_path}.pkey']}: not encrypted", remedy
        )
    plain = [name for name, kind in kinds.items() if kind != "SecureString"]
    said = f"; not encrypted, which they need not be: {listed(plain)}" if plain else ", all SecureStrings"
    return Check("parameters", True, f"{way.user_path}.* are there{said}")


def decryption(way: Way) -> Check:
    """The KMS key decrypts them, for whoever asks."""
    try:
        get_ssm_parameters(way.parameters, way.ssm)
    except ParameterAccessDenied as error:
        remedy = "allow kms:Decrypt on their key, in the role's policy (inv policy prints it) and in the key's own"
        return Check("decryption", False, str(error), remedy)
    except ParameterStoreUnavailable as error:
        return Check("decryption", False, str(error), "try again later")
    except CredentialsError as error:
        return Check("decryption", False, str(error), "is the KMS key enabled? aws kms describe-key says so")
    return Check("decryption", True, "their KMS key decrypts them")


def credentials(way: Way) -> tuple[Check, Credentials | None]:
    """What they hold is a host, a private key without passphrase, and host keys."""
    try:
        found = load_credentials(way.user_path, ssm=way.ssm)
    except CredentialsError as error:
        return Check("credentials", False, str(error)), None
    key = found.private_key
    said = f"{found.user}@{found.host}:{found.port} with {key.get_name()} {key.fingerprint}"
    return Check("credentials", True, f"{said}; {len(found.host_keys)} host key(s) pinned"), found


def login(way: Way, session: RaijinSession) -> Check:
    """The login node lets the key in."""
    begin = time.monotonic()
    try:
        session.connect()
    except RaijinError as error:
        return Check("login", False, str(error))
    return Check("login", True, f"{way.user_path} is let in, after {time.monotonic() - begin:.2f} s")


def versions(way: Way, session: RaijinSession) -> tuple[Check, str]:
    """Both ends have the same version, and the formats that they exchange; also, the address that the login node sees."""
    if way.only:
        return _version_by_receipt(session), ""
    try:
        answer = session.exec_command("--version --json")
        said = json.loads(answer.stdout)
        theirs, python, formats = (
            str(said["version"]),
            str(said["python"]),
            (said["approval_format"], said["receipt_format"]),
        )
        client = str(said.get("client") or "")
    except OutcomeUnknown as error:
        return Check("versions", None, str(error), "try again"), ""
    except (RaijinError, ValueError, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, RaijinError) else _no_dispatcher(answer.stdout, answer.stderr)
        remedy = "does its forced command start dea/remote/__main__.py? On the login node: python3 dea/remote --doctor"
        return Check("versions", False, why, remedy), ""
    ours = (approval.FORMAT, contract.receipt.FORMAT)
    if formats != ours:
        return Check(
            "versions", False, f"approvals and receipts have formats {formats} there, {ours} here", _UPDATE
        ), client
    return _compared(theirs, f", Python {python}"), client


_UPDATE = "bring both to one commit: inv git-pull there, package and deploy the functions here"


def _compared(theirs: str, more: str = "") -> Check:
    if theirs != __version__:
        return Check("versions", False, f"the dispatcher is {theirs}, this checkout {__version__}", _UPDATE)
    return Check("versions", True, f"both ends are {theirs}{more}")


def _version_by_receipt(session: RaijinSession) -> Check:
    """Ask about a run that there is not: that runs nothing with any key, and its receipt names the version."""
    run_id = f"doctor-{uuid.uuid4().hex}"
    try:
        answer = channels.execute(channels.transport_of(session), f"--result {run_id} --detach")
    except (paramiko.SSHException, OSError, EOFError) as error:
        return Check("versions", None, f"the connection broke: {error}", "try again")
    _, receipt = take_receipt(answer.stderr, run_id)
    if receipt is None:
        remedy = "does its forced command start dea/remote/__main__.py? On the login node: python3 dea/remote --doctor"
        return Check(
            "versions",
            False,
            _no_dispatcher(answer.stdout.decode(errors="replace"), answer.stderr.decode(errors="replace")),
            remedy,
        )
    return _compared(str(receipt.version))


def _no_dispatcher(stdout: str, stderr: str) -> str:
    return f"what answers is no dispatcher: {shown((stdout or stderr).strip())}"


def round_trip(way: Way, session: RaijinSession) -> Check:
    """A command runs, and its outcome comes back with a receipt."""
    if way.only:
        return Check(
            "round_trip", None, f"the key runs {way.only}, whatever is sent, so nothing was", "look with another key"
        )
    begin = time.monotonic()
    try:
        result = session.exec_command(EXAMPLE)
    except RaijinError as error:
        return Check("round_trip", False, str(error))
    if result.outcome == "refused":
        remedy = "on the login node, python3 dea/remote --doctor says what is wrong; a key with --allow may not run it at all"
        return Check("round_trip", False, f"{EXAMPLE} was refused: {shown(result.stderr.strip(), 200)}", remedy)
    if not result.ok:
        return Check(
            "round_trip", False, f"{EXAMPLE} ended with status {result.exit_code}: {shown(result.stderr.strip(), 200)}"
        )
    took_s = time.monotonic() - begin
    return Check("round_trip", True, f"{EXAMPLE} ran and answered {result.stdout_bytes} bytes after {took_s:.2f} s")


def address(way: Way, client: str) -> Check:
    """The address that the login node sees, which `from=` would have to allow."""
    if not client:
        why = "such a key is not told" if way.only else "this dispatcher does not tell it"
        return Check(
            "address",
            None,
            f"what the login node sees is not known: {why}",
            "its audit log has it: inv doctor with another key",
        )
    said = f'the login node sees this machine as {client}: from="{client}" would let it in'
    return Check("address", True, f"{said}; a function has its NAT gateway's, which --doctor on the login node tells")
