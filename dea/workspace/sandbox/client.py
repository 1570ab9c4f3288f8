"""The side of the sandbox that tasks and tests hold: starts its keeper, tells where things are, ends it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import psutil
from botocore.config import Config

from dea.raijin import RaijinSession
from dea.raijin.credentials import DEFAULT_USER_PATH, USER_PATH_VARIABLE, parameter_names
from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import identity, openssh

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

LoginNodeKind = Literal["openssh", "asyncssh"]
"""What serves SSH."""

REGION = "ap-southeast-2"
"""The region that a sandbox's AWS is in."""

ACCESS_KEY = "sandbox"
"""The access key of every sandbox: no account of AWS has one like it."""

_END_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        login_node: What serves SSH.
        host: The login node's loopback address.
        ports: The ports of its login nodes: several names of one machine, as far as its files go.
        user: The account that it logs in: the one that runs this process.
        user_path: The prefix of the SSM parameters' names.
        endpoint_url: The AWS endpoint.
        kms_key_id: The KMS key that the parameters are encrypted with.
        folder: Where all of it is; removed at the end.
    """

    login_node: LoginNodeKind
    host: str
    ports: tuple[int, ...]
    user: str
    user_path: str
    endpoint_url: str
    kms_key_id: str
    folder: Path

    @property
    def port(self) -> int:
        """The port of the first login node, which the parameters lead to."""
        return self.ports[0]

    @property
    def checkout(self) -> Path:
        """The copy of the checkout that the login node serves."""
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        """The account's home folder on the login node."""
        return self.folder / "home"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that lead an AWS SDK and `dea.raijin` here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            USER_PATH_VARIABLE: self.user_path,
        }

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment without any AWS setting but this sandbox's, so that nothing reaches a real account."""
        kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
        # A proxy would be asked for loopback addresses too.
        return {**kept, **self.variables, "NO_PROXY": "*", "no_proxy": "*"}

    def ssm(self) -> SSMClient:
        """Return a client of this sandbox's SSM, whatever this process's own AWS settings are."""
        return identity.session(REGION).client("ssm", endpoint_url=self.endpoint_url, config=Config(proxies={}))

    def session(self, **options: Any) -> RaijinSession:
        """Return a session with this sandbox's login node; the options are those of `RaijinSession`."""
        return RaijinSession(self.user_path, ssm=self.ssm(), **options)

    def stored_for(self, host: str) -> str:
        """Store the four parameters once more, for another address of this sandbox; return their prefix.

        Args:
            host: The address, as `host:port`: a second login node's, or a proxy's.
        """
        prefix = f"{self.user_path}.at.{host.replace(':', '.')}"
        self.store({f"{prefix}.{part}": value for part, value in {**self.stored(), "host": host}.items()})
        return prefix

    def stored(self) -> dict[str, str]:
        """Return the four parameters that lead to the first login node, decrypted, by the last part of their names."""
        names = parameter_names(self.user_path)
        found = self.ssm().get_parameters(Names=list(names.values()), WithDecryption=True)["Parameters"]
        values = {one["Name"]: one["Value"] for one in found}
        return {part: values[name] for part, name in names.items()}

    def store(self, parameters: Mapping[str, str]) -> None:
        """Store parameters as SecureStrings under the sandbox's key, in the place of what had their names."""
        ssm = self.ssm()
        for name, value in parameters.items():
            ssm.put_parameter(Name=name, Value=value, Type="SecureString", KeyId=self.kms_key_id, Overwrite=True)

    @contextlib.contextmanager
    def restricted(self, policy: dict[str, Any]) -> Iterator[dict[str, str]]:
        """Give the environment variables of an AWS role that may do what an IAM policy says, while the context is open.

        Meanwhile this sandbox's AWS denies all other requests, whoever makes them, those of `ssm()` included.

        Args:
            policy: The policy; its actions hold, its resources and conditions do not (`identity.restrict` says why).
        """
        role = identity.restrict(self.endpoint_url, REGION, policy)
        try:
            yield role
        finally:
            identity.release(self.endpoint_url, REGION)

    def audit(self) -> list[dict[str, Any]]:
        """Return the audit log's lines so far, oldest first."""
        lines = []
        for path in sorted((self.home / ".dea-orchestration" / "audit").glob("*.jsonl")):
            lines += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return lines


@contextlib.contextmanager
def sandbox(
    login_node: LoginNodeKind | None = None,
    *,
    user_path: str = DEFAULT_USER_PATH,
    root: Path = ROOT,
    login_nodes: int = 1,
) -> Iterator[Sandbox]:
    """Run a sandbox while the context is open.

    Args:
        login_node: What serves SSH; None for OpenSSH's sshd where this machine can run it, else asyncssh.
        user_path: The prefix of the SSM parameters' names.
        root: The checkout whose dispatcher and commands are served, as a copy.
        login_nodes: How many login nodes serve the same home folder, each with a port and a host key of its own. Sessions
            go to the first; `Sandbox.stored_for` leads to the others.

    Raises:
        WorkspaceError: If it cannot be started; the message says why.
    """
    kind: LoginNodeKind = login_node or ("asyncssh" if openssh.unusable() else "openssh")
    if kind == "openssh" and (reason := openssh.unusable()):
        raise WorkspaceError(f"OpenSSH's sshd cannot serve as the login node: {reason}")
    settings = {"login_node": kind, "user_path": user_path, "root": str(root), "login_nodes": login_nodes}
    # What it has to say goes to a file without a name: a pipe that nobody reads would stop it one day.
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below
    # A process of its own, in a session of its own: Ctrl-C on the terminal does not reach it, and it sees this end of the
    # pipe close however this process ends.
    keeper = subprocess.Popen(
        [sys.executable, "-m", "dea.workspace.sandbox.keeper", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,
    )
    folder: Path | None = None
    try:
        answer = _first_line(keeper, said)
        folder = Path(answer.pop("folder"))
        ports = tuple(answer.pop("ports"))
        yield Sandbox(**answer, ports=ports, login_node=kind, user_path=user_path, folder=folder)
    finally:
        _end(keeper, folder)
        said.close()


def _first_line(keeper: subprocess.Popen[str], said: IO[str]) -> dict[str, Any]:
    """Return what the keeper tells once all of it serves."""
    assert keeper.stdout is not None  # noqa: S101 - a pipe
    line = keeper.stdout.readline()
    if not line:
        keeper.wait()
        said.seek(0)
        last = (said.read().strip().splitlines() or [f"status {keeper.returncode}"])[-1]
        raise WorkspaceError(f"the sandbox could not be started: {last}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _end(keeper: subprocess.Popen[str], folder: Path | None) -> None:
    """Let the keeper clean up; do it in its place if it cannot."""
    assert keeper.stdin is not None and keeper.stdout is not None  # noqa: S101 - pipes
    with contextlib.suppress(OSError):
        keeper.stdin.close()
    try:
        keeper.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        keeping = psutil.Process(keeper.pid)
        for process in (*keeping.children(recursive=True), keeping):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        keeper.wait()
    keeper.stdout.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
