"""Folders that a package is unpacked into: temporary, read-only as on Lambda, and gone at the end all the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

DAMAGED = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What `zipfile` raises for a zip that is damaged, encrypted (RuntimeError) or compressed in a way that it does not know
(NotImplementedError, which is one), or that has a name that is no text or no file's."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder, and remove it at the end, whatever in it is read-only by then."""
    folder = Path(tempfile.mkdtemp(prefix="dea-function-"))
    try:
        yield folder
    finally:
        # Folders alone: what ran in it may have left a link to somebody's file.
        for place, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                Path(place).chmod(stat.S_IRWXU)
        shutil.rmtree(folder, ignore_errors=True)


def make_read_only(folder: Path) -> None:
    """Take the right to write from all that is in a folder, and from itself; what is executable stays so."""
    for place, _, files in os.walk(folder):
        Path(place).chmod(0o555)
        for file in files:
            path = Path(place, file)
            path.chmod(0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444)
