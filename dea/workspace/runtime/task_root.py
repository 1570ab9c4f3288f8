"""The folder that a function runs from: its package, unpacked and read-only, or its own folder in the working tree."""

from __future__ import annotations

import contextlib
import stat
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dea.workspace import interpreters
from dea.workspace.checkout import Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import manifest
from dea.workspace.packaging.manifest import Manifest
from dea.workspace.settings import Settings
from dea.workspace.unpacking import DAMAGED, make_read_only, temporary_folder


@dataclass(frozen=True)
class TaskRoot:
    """Where a function's code is, and what runs it.

    Attributes:
        folder: The folder: what Lambda calls `LAMBDA_TASK_ROOT`.
        handler: `MODULE.FUNCTION`.
        python: The version of Python, `3.13`.
        interpreter: The interpreter.
        packaged: Whether it is the package, with nothing else on its path.
        scratch: An empty folder, which the function may write to.
    """

    folder: Path
    handler: str
    python: str
    interpreter: Path
    packaged: bool
    scratch: Path

    @property
    def home(self) -> Path:
        """A home folder that does not exist, as on Lambda."""
        return self.scratch.with_name("home")


def manifest_of(package: Path) -> Manifest:
    """Read the manifest in a package.

    Raises:
        WorkspaceError: If it is no package that `inv package` made.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            return manifest.parse(archive.read(manifest.FILE))
    except (*DAMAGED, KeyError) as error:
        raise WorkspaceError(f"{package} is no package that inv package made: {error}") from error


@contextlib.contextmanager
def unpacked(package: Path) -> Iterator[TaskRoot]:
    """Unpack a package into a temporary folder, read-only, for as long as the context is open.

    Raises:
        WorkspaceError: If it cannot be unpacked, or this machine has no interpreter of its version.
    """
    said = manifest_of(package)
    found = interpreters.find(said.target.python)
    if found is None:
        version = said.target.python
        raise WorkspaceError(
            f"{package} is for Python {version}, which this machine has not: {interpreters.how_to_install(version)}"
        )
    with temporary_folder() as folder:
        task = folder / "task"
        try:
            with zipfile.ZipFile(package) as archive:
                for entry in archive.infolist():
                    path = Path(archive.extract(entry, task))
                    if entry.external_attr >> 16 & stat.S_IXUSR:
                        path.chmod(0o755)
        except DAMAGED as error:
            raise WorkspaceError(f"{package} cannot be unpacked: {error}") from error
        make_read_only(task)
        yield TaskRoot(task, said.handler, said.target.python, found[0], packaged=True, scratch=_scratch(folder))


@contextlib.contextmanager
def working_tree(function: Function, settings: Settings) -> Iterator[TaskRoot]:
    """Use a function as it stands in the checkout, with this interpreter and what is installed for it."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with temporary_folder() as folder:
        yield TaskRoot(
            function.folder, settings.handler, version, Path(sys.executable), packaged=False, scratch=_scratch(folder)
        )


def _scratch(folder: Path) -> Path:
    """Make the one folder that may be written to, and close the one that it is in: its home is not there, as on Lambda."""
    scratch = folder / "tmp"
    scratch.mkdir()
    folder.chmod(0o555)
    return scratch
