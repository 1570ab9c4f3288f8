"""Calls uv, which installs and locks for us: quietly, never downloading an interpreter, its failures as one line."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import uv

from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError

# What a person's shell may set for other projects, and what would change what comes out.
_NOT_INHERITED = (
    "VIRTUAL_ENV",
    "UV_PYTHON",
    "UV_PROJECT",
    "UV_TARGET",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
)
_MAX_REASON = 1200
_FINDING = threading.Lock()  # sysconfig, which uv looks itself up with, is half made while another thread makes it


def run_uv(what: str, *arguments: str, root: Path = ROOT) -> None:
    """Run uv in the checkout's root, which relative paths in requirements are relative to.

    Args:
        what: What is being done, for the error: `locking example`.
        arguments: uv's arguments.
        root: The checkout.

    Raises:
        WorkspaceError: If it fails, with its own reason on one line.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    done = subprocess.run(
        [_program(), *arguments],
        env={**environment, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    if done.returncode:
        raise InstallerError(f"{what} failed: {reason_of(done.stderr)}")


def _program() -> str:
    with _FINDING:
        return uv.find_uv_bin()


class InstallerError(WorkspaceError):
    """uv could not do what it was asked for; the message has its reason."""


def reason_of(stderr: str) -> str:
    r"""Return the reason in what uv wrote to stderr, on one line.

    >>> reason_of("Using CPython 3.11\nerror: Failed to download `six`\n  cause: Hash mismatch\n")
    'Failed to download `six`: Hash mismatch'
    """
    lines = [line.strip() for line in stderr.splitlines()]
    begin = next((at for at, line in enumerate(lines) if line.startswith("error: ")), 0)
    text = " ".join(line for line in lines[begin:] if line).removeprefix("error: ").replace(" cause: ", ": ")
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]} ..."
