"""Who logs in where, with which key, trusting which host keys: read from SSM Parameter Store in one call."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dea.raijin.errors import (
    InvalidHost,
    InvalidHostKey,
    InvalidPrivateKey,
    MissingHostKey,
    MissingParameter,
    PassphraseProtectedKey,
)
from dea.raijin.parameter_store import get_ssm_parameters, how_to_store
from dea.remote.contract import shown

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

USER_PATH_VARIABLE = "DEA_RAIJIN_USER_PATH"
DEFAULT_USER_PATH = "orchestrator.raijin.users.default"
SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Credentials:
    """What it takes to log in.

    Attributes:
        user: The account on the login node.
        host: The login node's name or address.
        port: Its port.
        private_key: The key to authenticate with.
        host_keys: The pinned host keys; the login node must have one of them.
    """

    user: str
    host: str
    port: int
    private_key: paramiko.PKey = field(repr=False)
    host_keys: tuple[paramiko.PKey, ...] = field(repr=False)


def user_path_from(environment: dict[str, str] | os._Environ[str]) -> str:
    """Return the prefix of the SSM parameters' names that an environment asks for."""
    return environment.get(USER_PATH_VARIABLE) or DEFAULT_USER_PATH


def parameter_names(user_path: str) -> dict[str, str]:
    """Return the names of a key's four SSM parameters.

    Args:
        user_path: The prefix of the names.

    Returns:
        The name of each part: `user`, `host`, `pkey` and `hostkey`.
    """
    return {part: f"{user_path}.{part}" for part in ("user", "host", "pkey", "hostkey")}


def load_credentials(user_path: str | None = None, *, ssm: SSMClient | None = None) -> Credentials:
    """Read the four SSM parameters `<user_path>.user`, `.host`, `.pkey` and `.hostkey` in one call.

    Args:
        user_path: The prefix of their names; None for `DEA_RAIJIN_USER_PATH`, or else `orchestrator.raijin.users.default`.
        ssm: The client to ask with; None for one with this process's AWS settings.

    Raises:
        CredentialsError: The subclass that says what is missing, may not be read, or is no key.
    """
    prefix = user_path or user_path_from(os.environ)
    names = parameter_names(prefix)
    values = get_ssm_parameters(list(names.values()), ssm)
    missing = [name for name in names.values() if name not in values]
    if missing == [names["hostkey"]]:
        raise MissingHostKey(f"no host key is pinned: {_how_to_pin(names['hostkey'])}", *missing)
    if missing:
        listed = ", ".join(missing)
        raise MissingParameter(
            f"SSM parameters that do not exist in this account and region: {listed}; {how_to_store(missing[0])}, "
            f"or name another prefix than {prefix!r} in {USER_PATH_VARIABLE}",
            *missing,
        )
    host, port = parse_host(values[names["host"]], names["host"])
    return Credentials(
        user=values[names["user"]].strip(),
        host=host,
        port=port,
        private_key=parse_private_key(values[names["pkey"]], names["pkey"]),
        host_keys=parse_host_keys(values[names["hostkey"]], names["hostkey"]),
    )


def parse_host(text: str, parameter: str) -> tuple[str, int]:
    """Split `name`, `name:port`, an IPv6 address or `[address]:port` into host and port.

    Args:
        text: The stored value.
        parameter: The SSM parameter that it is from, for the error.

    Raises:
        InvalidHost: If it is none of those.

    >>> parse_host("raijin.nci.org.au", "x"), parse_host("[::1]:2222", "x"), parse_host("::1", "x")
    (('raijin.nci.org.au', 22), ('::1', 2222), ('::1', 22))
    """
    text = text.strip()
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        port_text = rest.removeprefix(":") if rest else str(SSH_PORT)
        malformed = not closed or (rest and not rest.startswith(":"))
    elif text.count(":") > 1:
        host, port_text, malformed = text, str(SSH_PORT), False
    else:
        host, colon, port_text = text.partition(":")
        port_text, malformed = (port_text, False) if colon else (str(SSH_PORT), False)
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else 0
    if malformed or not host or any(char.isspace() for char in host) or not 0 < port < 65536:
        raise InvalidHost(
            f"SSM parameter {parameter} holds {shown(text)}: store a host as name or name:port", parameter
        )
    return host, port


def parse_private_key(text: str, parameter: str) -> paramiko.PKey:
    """Read an Ed25519, ECDSA or RSA private key, in OpenSSH's or a PEM format.

    Args:
        text: The stored value.
        parameter: The SSM parameter that it is from, for the error.

    Raises:
        PassphraseProtectedKey: If it is encrypted.
        InvalidPrivateKey: If it cannot be read, or is of another type.
    """
    data = ("\n".join(line.strip() for line in text.strip().splitlines()) + "\n").encode()
    try:
        load = serialization.load_ssh_private_key if b"BEGIN OPENSSH" in data else serialization.load_pem_private_key
        key: object = load(data, password=None)
    except TypeError:
        # `from None`: what a parser says of a key may quote it
        raise PassphraseProtectedKey(
            f"the private key in SSM parameter {parameter} is protected by a passphrase: store one without (KMS protects it), "
            "ssh-keygen -p -N '' -f KEYFILE",
            parameter,
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidPrivateKey(
            f"SSM parameter {parameter} holds no readable private key: store the whole file, its BEGIN and END lines included",
            parameter,
        ) from None
    loader: type[paramiko.PKey]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        loader = paramiko.Ed25519Key
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        loader = paramiko.ECDSAKey
    elif isinstance(key, rsa.RSAPrivateKey):
        loader = paramiko.RSAKey
    else:
        raise InvalidPrivateKey(
            f"the private key in SSM parameter {parameter} is of an unsupported type: use Ed25519, ECDSA or RSA",
            parameter,
        )
    # paramiko reads fewer formats than cryptography does: hand it the one that it knows best
    normal = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return loader.from_private_key(io.StringIO(normal.decode()))


def parse_host_keys(text: str, parameter: str) -> tuple[paramiko.PKey, ...]:
    """Read public keys, one a line: bare, as in a `.pub` file, or with names before them, as ssh-keyscan(1) prints them.

    Args:
        text: The stored value.
        parameter: The SSM parameter that it is from, for the error.

    Raises:
        InvalidHostKey: If a line is neither a key nor a comment.
        MissingHostKey: If there is no key.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        # A name never looks like a key type; the first word that does is the type.
        at = next(
            (index for index, word in enumerate(words[:3]) if word.startswith(("ssh-", "ecdsa-", "sk-"))), len(words)
        )
        try:
            keys.append(paramiko.PKey.from_type_string(words[at], _base64(words[at + 1])))
        except (IndexError, ValueError, paramiko.SSHException, UnsupportedAlgorithm):
            raise InvalidHostKey(
                f"line {number} of SSM parameter {parameter} is no public host key: {_how_to_pin(parameter)}", parameter
            ) from None
    if not keys:
        raise MissingHostKey(f"SSM parameter {parameter} holds no host key: {_how_to_pin(parameter)}", parameter)
    return tuple(keys)


def _base64(text: str) -> bytes:
    import base64  # noqa: PLC0415 - beside its one use

    return base64.b64decode(text, validate=True)


def _how_to_pin(name: str) -> str:
    return (
        "print the login node's key with ssh-keyscan -t ed25519 HOST, compare its fingerprint with what the site publishes, "
        f"and {how_to_store(name)}"
    )
