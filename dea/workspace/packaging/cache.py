"""Keeps what a package is put together from, under the digest of all that it was made of: nothing in it is ever out of date.

An entry is whole or not there, whoever else builds at the same time, whenever a build is interrupted or the power fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from dea.workspace.errors import WorkspaceError

Buffer = bytes | memoryview

_UNUSED_S = 30 * 24 * 3600
_CHECKSUM_BYTES = 4
_TOUCHED_S = _BUILD_S = 24 * 3600

# It can only be read by setting it, for the whole process: once, before there are threads that make files.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def folder() -> Path:
    """Return the cache's folder, below `XDG_CACHE_HOME` (XDG Base Directory Specification: a relative one is none)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "dea-orchestration" / "packaging"


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Make one clear error of whatever keeps the folder from being read and written while the context is open.

    Raises:
        WorkspaceError: If an `OSError` is raised.
    """
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"the package cache {folder()} cannot be used: {error.strerror or error}; make room there, or set XDG_CACHE_HOME "
            "to a folder that has some and may be written to"
        ) from error


def get(key: str) -> memoryview | None:
    """Return the entry of a key, or None if there is none, or none that is whole; such a one is removed.

    Raises:
        WorkspaceError: If the cache cannot be read.
    """
    path = _path(key)
    with usable():
        try:
            stored = memoryview(path.read_bytes())
        except FileNotFoundError:
            return None
    content, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
    if _checksum(content) != checksum:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _TOUCHED_S:
            os.utime(path)
    return content


def has(key: str) -> bool:
    """Tell whether there is an entry of a key.

    Raises:
        WorkspaceError: If the cache cannot be read.
    """
    with usable():
        return _path(key).exists()


def put(key: str, content: bytes) -> None:
    """Store the entry of a key, with a checksum: waiting for the disk would cost more than all else does.

    Raises:
        WorkspaceError: If the cache cannot be written.
    """
    with usable():
        write_whole(_path(key), content, _checksum(content), durable=False)


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


def write_whole(path: Path, *pieces: Buffer, durable: bool = True) -> None:
    """Write a file so that its name never stands for half of it.

    Args:
        path: The file.
        pieces: What it is to hold, in pieces.
        durable: Not even after a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            if durable:
                os.fsync(descriptor)
        Path(draft).chmod(0o666 & ~_UMASK)
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise


def _checksum(content: Buffer) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "big")


def _path(key: str) -> Path:
    return folder() / key
