"""Has AWS's own runtime client, `awslambdaric`, at hand for an interpreter: installed once, then kept in the user's cache.

It is no dependency of this workspace: it must fit the interpreter that the function runs on, which is another one, and must be
on the path of that process alone. `client.lock` pins it with hashes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dea.workspace.errors import WorkspaceError
from dea.workspace.installer import run_uv
from dea.workspace.interface import progress

LOCK = Path(__file__).with_name("client.lock")

_ASK = "import _imp, sys; print(*sys.version_info[:2], _imp.extension_suffixes()[0].strip('.'))"


def install(python: Path) -> Path:
    """Return the folder that holds the runtime client for an interpreter; install it there if it is not yet.

    Args:
        python: The interpreter.

    Raises:
        WorkspaceError: If there is no build of it for this interpreter, or it cannot be fetched.
    """
    if sys.platform != "linux":
        raise WorkspaceError(
            "AWS publishes its runtime client for Linux only: use run-lambda on Linux, in a container for example"
        )
    major, minor, suffix = subprocess.run(
        [python, "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=True
    ).stdout.split()
    folder = cache() / f"{suffix.removesuffix('.so')}-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with progress(f"installing AWS's runtime client for Python {major}.{minor}, once"):
                _install(python, folder, f"Python {major}.{minor} on {os.uname().machine}")
        except OSError as error:
            raise WorkspaceError(
                f"AWS's runtime client cannot be kept in {folder.parent}: {error}; set XDG_CACHE_HOME to another folder"
            ) from error
    return folder


def cache() -> Path:
    """Return the folder that holds one folder for each kind of interpreter. It may be removed at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "dea-orchestration" / "runtime-client"


def _install(python: Path, folder: Path, target: str) -> None:
    # Beside its place, then renamed into it: what is there is whole, and of two at once one wins.
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".installing-"))
    try:
        run_uv(
            f"installing AWS's runtime client for {target}",
            *("pip", "install", "--quiet", "--python", str(python), "--target", str(made)),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--compile-bytecode"),
            *("--requirements", str(LOCK)),
        )
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
