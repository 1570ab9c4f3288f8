"""The login node's host keys: read from a file, or asked for and confirmed by the person at the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dea.raijin import RaijinError
from dea.raijin.credentials import parse_host_keys
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, progress

_SCAN_TIMEOUT_S = 15


def from_file(path: Path) -> str:
    """Return the host keys in a file, one a line, without the names before them.

    Raises:
        WorkspaceError: If it has none, or a line is none.
    """
    try:
        return _normal(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"--host-keys {path} cannot be read: {error}") from error


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
    if not (sys.stdin.isatty() and console.is_terminal):
        raise WorkspaceError(
            f"{host}:{port} says that its host key is {fingerprints}, and there is no terminal to confirm that on: {remedy}, and give "
            "the file that has it with --host-keys FILE"
        )
    question = f"{host}:{port} says that its host key is {fingerprints}: {remedy}. Is it right? [y/N] "
    if console.input(question, markup=False).strip().lower() not in ("y", "yes"):
        raise WorkspaceError("the host key is not confirmed: nothing was stored")
    return keys


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
