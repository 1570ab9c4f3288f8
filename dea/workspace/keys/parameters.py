"""The four SSM parameters of a key: written as SecureStrings, after a session has logged in with just these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from dea.raijin import RaijinError, RaijinSession, UnknownRun, random_run_id
from dea.raijin.credentials import parameter_names
from dea.raijin.parameter_store import get_ssm_parameters
from dea.workspace.errors import WorkspaceError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

MAX_VALUE_BYTES = 4096
"""What a standard parameter holds (*AWS Systems Manager endpoints and quotas*)."""

_CHECK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Values:
    """What a session needs to log in.

    Attributes:
        user: The account on the login node.
        host: Its name, or `name:port`.
        private_key: The private key.
        host_keys: The pinned host keys, one a line.
    """

    user: str
    host: str
    private_key: str = field(repr=False)
    host_keys: str = field(repr=False)

    def parameters(self, prefix: str) -> dict[str, str]:
        """Return the parameters by name; the key last, so that who reads meanwhile finds an old key and not half of a new one."""
        return {
            f"{prefix}.user": self.user,
            f"{prefix}.host": self.host,
            f"{prefix}.hostkey": self.host_keys,
            f"{prefix}.pkey": self.private_key,
        }


def read(ssm: SSMClient, prefix: str) -> Values:
    """Return what is stored under a prefix.

    Raises:
        WorkspaceError: If one of the four is missing or may not be read.
    """
    names = parameter_names(prefix)
    found = _stored(ssm, [*names.values()])
    if missing := [name for name in names.values() if name not in found]:
        raise WorkspaceError(f"SSM has no {', '.join(missing)}: store the key with inv keys.store first")
    return Values(*(found[name] for name in names.values()))


def check_login(prefix: str, ssm: SSMClient) -> None:
    """Log in with the parameters of a prefix, and have the dispatcher answer. Nothing is run, whatever the key may do.

    Raises:
        WorkspaceError: If it does not come to that.
    """
    run_id = random_run_id()
    try:
        with RaijinSession(prefix, ssm=ssm) as session:
            session.result(run_id, wait=False, timeout=_CHECK_TIMEOUT_S)
    except UnknownRun:
        return  # there is no such run, and the dispatcher alone can say so
    except RaijinError as error:
        raise WorkspaceError(f"the key does not log in: {error}") from error
    raise WorkspaceError(
        f"the login node knows a run {run_id}, which nobody has asked for: what answers is no dispatcher"
    )


def check_values(values: Values) -> None:
    """Log in with values that are not stored, as a session would that finds them in SSM.

    Raises:
        WorkspaceError: As `check_login`.
    """
    prefix = "not.stored"
    check_login(prefix, cast("SSMClient", _NotStored(values.parameters(prefix))))


class _NotStored:
    """Answers as SSM does of parameters that are held here: the one question that a session asks."""

    def __init__(self, parameters: dict[str, str]) -> None:
        self._parameters = parameters

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:  # noqa: N803, ARG002 - boto3's own
        return {"Parameters": [{"Name": name, "Value": self._parameters[name]} for name in Names]}


def store(ssm: SSMClient, prefix: str, values: Values, kms_key_id: str, *, overwrite: bool) -> list[str]:
    """Store what is not stored yet, as SecureStrings under a KMS key; return the names of what was written.

    Args:
        ssm: The client.
        prefix: The prefix of the names.
        values: What is to be there.
        kms_key_id: The KMS key's id, ARN or alias.
        overwrite: Whether other values that are there may be replaced.

    Raises:
        WorkspaceError: If others are there and may not, or SSM refuses.
    """
    wanted = values.parameters(prefix)
    if large := [name for name, value in wanted.items() if len(value.encode()) > MAX_VALUE_BYTES]:
        raise WorkspaceError(f"{large[0]} would have more than {MAX_VALUE_BYTES} bytes: pin Ed25519 host keys only")
    there = _stored(ssm, list(wanted))
    differing = [name for name, value in wanted.items() if there.get(name) != value]
    if (in_the_way := [name for name in differing if name in there]) and not overwrite:
        raise WorkspaceError(
            f"SSM has {', '.join(in_the_way)} already, with another value: inv keys.rotate replaces a key; --overwrite all of it"
        )
    for name in differing:
        put(ssm, name, wanted[name], kms_key_id)
    return differing


def put(ssm: SSMClient, name: str, value: str, kms_key_id: str) -> None:
    """Store one parameter as a SecureString, whatever is there.

    Raises:
        WorkspaceError: If SSM refuses.
    """
    try:
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", KeyId=kms_key_id, Overwrite=True)
    except (ClientError, BotoCoreError) as error:
        # The error names the parameter and the KMS key; what it never holds is the value.
        raise WorkspaceError(
            f"{name} cannot be stored: {error}; it takes ssm:PutParameter, and kms:Encrypt with the key"
        ) from error


def kms_key_of(ssm: SSMClient, name: str) -> str:
    """Return the KMS key that a parameter is encrypted with.

    Raises:
        WorkspaceError: If SSM does not say.
    """
    filters: Any = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    try:
        found = ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
        return found[0]["KeyId"]
    except (ClientError, BotoCoreError, KeyError, IndexError) as error:
        raise WorkspaceError(
            f"SSM does not say which KMS key {name} is encrypted with ({error}): give --kms-key-id"
        ) from error


def _stored(ssm: SSMClient, names: list[str]) -> dict[str, str]:
    try:
        return get_ssm_parameters(names, ssm)
    except RaijinError as error:
        raise WorkspaceError(str(error)) from error
