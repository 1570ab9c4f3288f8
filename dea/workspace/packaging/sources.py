"""Reads the checkout's own files that go into a package, once: what is judged, keyed, compiled and packed is one content.

A file that is saved, or a branch that is switched, while a package is made could otherwise be kept in the cache as what it was
before. What is chosen of a function's folder is decided in `dea.workspace.packaging.inspection`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dea.workspace import tracked
from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging.distributions import File
from dea.workspace.packaging.requirements import InternalPackage


@dataclass(frozen=True)
class Source:
    """One file of the checkout, as it was when it was read.

    Attributes:
        name: Its path in the folder that it was read from, with `/`.
        content: What was in it.
        executable: Whether its owner might execute it.
    """

    name: str
    content: bytes
    executable: bool

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of its content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


class Snapshot:
    """The files of a checkout's internal packages, each read once for all functions that are packaged together.

    Args:
        root: The checkout.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._files: dict[str, tuple[Source, ...]] = {}
        self._reading = threading.Lock()

    def files(self, package: InternalPackage) -> tuple[Source, ...]:
        """Return an internal package's files; those with a dot before their names, as editors' locks have it, are none of it.

        Raises:
            WorkspaceError: If git cannot say which they are, or as `read`.
        """
        with self._reading:
            if package.path not in self._files:
                folder = self._root / package.path
                names = [name for name in tracked.files(folder) if "/." not in f"/{name}"]
                self._files[package.path] = read(folder, names)
            return self._files[package.path]


def read(folder: Path, names: Iterable[str]) -> tuple[Source, ...]:
    """Read files of a folder.

    Raises:
        WorkspaceError: If one cannot be read, or is a folder: git names one if it is a repository of its own.
    """
    found = []
    for name in names:
        path = folder / name
        try:
            found.append(Source(name, path.read_bytes(), bool(path.stat().st_mode & 0o100)))
        except IsADirectoryError:
            raise WorkspaceError(
                f"{path} is a git repository of its own, and none of its files would be packaged: move it out of {folder.name}"
            ) from None
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    return tuple(found)


def write(files: Sequence[Source], folder: Path) -> list[File]:
    """Write files into a folder of one's own, in which nobody changes them."""
    written = []
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        written.append(File(file.name, path, file.executable))
    return written


def digest(files: Iterable[Source]) -> str:
    """Return the SHA-256 of files' names, modes and contents."""
    return hashlib.sha256(
        json.dumps([[file.name, file.executable, file.sha256] for file in files]).encode()
    ).hexdigest()
