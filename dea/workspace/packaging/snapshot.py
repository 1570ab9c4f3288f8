"""The internal packages as a run first finds them: each file is read once, for all functions that the run packages."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from dea.workspace import tracked
from dea.workspace.checkout import ROOT
from dea.workspace.packaging.requirements import InternalPackage


class Snapshot:
    """The files of a checkout's internal packages.

    Args:
        root: The checkout.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._files: dict[str, dict[str, bytes]] = {}
        self._reading = threading.Lock()

    def files(self, package: InternalPackage) -> dict[str, bytes]:
        """Return what an internal package's files hold, by their paths within its folder.

        Raises:
            WorkspaceError: If git cannot say which they are.
        """
        with self._reading:
            if package.path not in self._files:
                folder = self.root / package.path
                self._files[package.path] = {name: (folder / name).read_bytes() for name in tracked.files(folder)}
            return self._files[package.path]

    def digests(self, package: InternalPackage) -> dict[str, str]:
        """Return the SHA-256 of each file of an internal package.

        Raises:
            WorkspaceError: As `files`.
        """
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files(package).items()}
