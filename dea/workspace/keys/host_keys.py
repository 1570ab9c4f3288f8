"""The login node's host keys: read from a file, or asked for and confirmed by the person at the terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dea.raijin import RaijinError
from dea.raijin.credentials import SSH_PORT, parse_host_keys
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import can_ask, is_agreed, progress

_SCAN_TIMEOUT_S = 15
_KINDS = ("ssh-", "ecdsa-", "sk-")  # a key's type begins so, and no name does


def from_file(path: Path, host: str, port: int) -> str:
    """Return the host keys of a login node in a file, one a line, without the names before them.

    Args:
        path: A file with keys alone, or with names before them as in a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
        host: The login node's name, as sessions will call it.
        port: Its port.

    Raises:
        WorkspaceError: If it has none, a line is none, or the lines have several names of which none is the login node's.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"--host-keys {path} cannot be read: {error}") from error
    return _normal(_of_one_node(text, str(path), host, port), str(path))


def confirmed(host: str, port: int) -> str:
    """Ask a login node for its Ed25519 host key, and the person at the terminal whether it is right.

    Raises:
        WorkspaceError: If there is none, it is not confirmed, or there is no terminal: whoever answers is believed otherwise.
    """
    with progress(f"asking {host} for its host key"):
        found = _scanned(host, port)
    keys = _normal(found, f"the answer of {host}:{port}")
    fingerprints = ", ".join(key.fingerprint for key in parse_host_keys(keys, host))
    remedy = "compare it with what the site publishes"
    if not can_ask():
        raise WorkspaceError(
            f"{host}:{port} says that its host key is {fingerprints}, and there is no terminal to confirm that on: {remedy}, and give "
            "the file that has it with --host-keys FILE"
        )
    if not is_agreed(f"{host}:{port} says that its host key is {fingerprints}: {remedy}. Is it right?"):
        raise WorkspaceError("the host key is not confirmed: nothing was stored")
    return keys


def _of_one_node(text: str, where: str, host: str, port: int) -> str:
    """Return the lines of one login node: of a file of many, a person's own known_hosts say, the others must not be pinned.

    Where all lines have one name, whichever that is, somebody has made the file for this login node.
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    named = [line for line in lines if not line.startswith(_KINDS)]
    names = {line.split()[0] for line in named}
    if len(names) < 2 and not any(name.startswith("@") for name in names):
        return text
    import asyncssh  # noqa: PLC0415 - slow to import, and most files have one name

    try:
        known = asyncssh.import_known_hosts("\n".join(named))
    except ValueError:
        return text  # what is no line of such a file is refused as no key
    trusted, _, revoked, *_ = known.match(host.lower(), "", None if port == SSH_PORT else port)
    own = [line for line in lines if line.startswith(_KINDS)]
    own += [key.export_public_key().decode("ascii") for key in trusted if key not in revoked]
    if not own:
        raise WorkspaceError(
            f"{where} names several hosts, and none is {host}: keep its lines alone, or take the names away (cut -d ' ' -f 2-)"
        )
    return "\n".join(own)


def _scanned(host: str, port: int) -> str:
    command = ["ssh-keyscan", "-T", "10", "-p", str(port), "-t", "ed25519", "--", host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SCAN_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise WorkspaceError("ssh-keyscan is not there: install OpenSSH's client, or give --host-keys FILE") from None
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"{host}:{port} did not answer within {_SCAN_TIMEOUT_S} s") from error
    if not done.stdout.strip():
        raise WorkspaceError(f"{host}:{port} has no Ed25519 host key, or cannot be reached: give --host-keys FILE")
    return done.stdout


def _normal(text: str, where: str) -> str:
    try:
        keys = parse_host_keys(text, where)
    except RaijinError:
        raise WorkspaceError(f"{where} holds something else than public host keys, one a line") from None
    return "".join(f"{key.get_name()} {key.get_base64()}\n" for key in keys)
