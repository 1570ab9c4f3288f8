"""A small file system that is soon full, for what a full disk or a quota does (mount(8), tmpfs(5)). Root only."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dea.workspace.errors import WorkspaceError

_BLOCK = b"\0" * 4096


def unusable() -> str | None:
    """Return why this machine cannot make one, with what to do about it; None if it can."""
    if os.geteuid() != 0:
        return "only root can mount a file system (run as root)"
    if shutil.which("mount") is None or shutil.which("umount") is None:
        return "mount is not installed (Debian: apt-get install mount)"
    folder = tempfile.mkdtemp(prefix="dea-mount-")
    try:
        tried = subprocess.run(_mount(Path(folder), "size=4k"), capture_output=True, check=False)
        if tried.returncode == 0:
            subprocess.run([_program("umount"), folder], capture_output=True, check=False)
            return None
        return f"mounting is not permitted here, in a container without CAP_SYS_ADMIN, say ({tried.stderr.decode().strip()})"
    finally:
        Path(folder).rmdir()


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Have a file system of its own in a folder, made if need be, while the context is open.

    Args:
        folder: Where it is mounted.
        size_bytes: How much it holds, in whole pages of memory.

    Raises:
        WorkspaceError: If it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_bytes},mode=0700"
    mounted = subprocess.run(_mount(folder, options), capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise WorkspaceError(f"no small file system at {folder}: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a process that still has a file open there must not keep a test from ending.
        subprocess.run([_program("umount"), "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system that a folder is in to its last byte; return the file that does it, to be removed.

    Raises:
        WorkspaceError: If it is too large to be meant: fill a small one.
    """
    room_bytes = shutil.disk_usage(folder).free
    if room_bytes > 1024**3:
        raise WorkspaceError(f"{folder} has {room_bytes} bytes free: only a small file system is filled on purpose")
    path = folder / f"filler-{secrets.token_hex(4)}"
    with path.open("wb", buffering=0) as file:
        for block in (_BLOCK, b"\0"):
            try:
                while True:
                    file.write(block)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
    return path


def _mount(folder: Path, options: str) -> list[str]:
    return [_program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]


def _program(name: str) -> str:
    return shutil.which(name) or name
