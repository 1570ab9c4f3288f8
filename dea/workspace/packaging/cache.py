"""Keeps what a package is put together from, under the digest of all that it was made of: nothing in it is ever out of date.

An entry appears whole or not at all, whoever else builds at the same time and whenever a build is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

_UNUSED_S = 30 * 24 * 3600
_TOUCHED_S = _BUILD_S = 24 * 3600


def folder() -> Path:
    """Return the cache's folder, below `XDG_CACHE_HOME` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dea-orchestration" / "packaging"


def get(key: str) -> bytes | None:
    """Return the entry of a key, or None if there is none."""
    path = _path(key)
    try:
        content = path.read_bytes()
        if time.time() - path.stat().st_mtime > _TOUCHED_S:
            os.utime(path)
    except FileNotFoundError:
        return None
    except PermissionError:
        return content
    return content


def has(key: str) -> bool:
    """Tell whether there is an entry of a key."""
    return _path(key).exists()


def put(key: str, content: bytes) -> None:
    """Store the entry of a key."""
    write_whole(_path(key), content)


def clean() -> None:
    """Remove what has not been used for a month, and what interrupted builds left."""
    now = time.time()
    for path in folder().glob("*"):
        with contextlib.suppress(OSError):
            unused_s = now - path.stat().st_mtime
            if path.is_dir() and unused_s > _BUILD_S:
                shutil.rmtree(path, ignore_errors=True)
            elif unused_s > _UNUSED_S:
                path.unlink()


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file so that its name never stands for half of it, not even after a power cut.

    Args:
        path: The file.
        content: What it is to hold.
        mode: Its mode, before the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        umask = os.umask(0)
        os.umask(umask)
        Path(draft).chmod(mode & ~umask)
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise


def _path(key: str) -> Path:
    return folder() / key
