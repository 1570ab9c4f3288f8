"""The folder that a function runs from: its package, unpacked and read-only, or its own folder in the working tree."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dea.workspace import interpreters
from dea.workspace.checkout import Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import MANIFEST
from dea.workspace.settings import Settings


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


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself.

    Attributes:
        function: The function's name.
        handler: `MODULE.FUNCTION`.
        python: The version of Python, `3.13`.
        architecture: `x86_64` or `arm64`.
    """

    function: str
    handler: str
    python: str
    architecture: str


def manifest(package: Path) -> Manifest:
    """Read a package's manifest.

    Raises:
        WorkspaceError: If it is no package that `inv package` made.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            content: Any = json.loads(archive.read(MANIFEST))
        return Manifest(*(str(content[key]) for key in ("function", "handler", "python", "architecture")))
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise WorkspaceError(f"{package} is no package that inv package made: {error}") from error


@contextlib.contextmanager
def unpacked(package: Path) -> Iterator[TaskRoot]:
    """Unpack a package into a temporary folder, read-only, for as long as the context is open.

    Raises:
        WorkspaceError: If it cannot be unpacked, or this machine has no interpreter of its version.
    """
    said = manifest(package)
    interpreter = interpreters.installed().get(said.python)
    if interpreter is None:
        raise WorkspaceError(f"{package} is for Python {said.python}, and this machine has no such interpreter")
    with _temporary() as folder:
        task = folder / "task"
        try:
            with zipfile.ZipFile(package) as archive:
                for entry in archive.infolist():
                    path = Path(archive.extract(entry, task))
                    if not entry.is_dir():
                        path.chmod(0o555 if entry.external_attr >> 16 & stat.S_IXUSR else 0o444)
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:
            raise WorkspaceError(f"{package} cannot be unpacked: {error}") from error
        for parent, _, _ in os.walk(task):
            Path(parent).chmod(0o555)
        yield TaskRoot(task, said.handler, said.python, interpreter, packaged=True, scratch=_scratch(folder))


@contextlib.contextmanager
def working_tree(function: Function, settings: Settings) -> Iterator[TaskRoot]:
    """Use a function as it stands in the checkout, with this interpreter and what is installed for it."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with _temporary() as folder:
        yield TaskRoot(
            function.folder, settings.handler, version, Path(sys.executable), packaged=False, scratch=_scratch(folder)
        )


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dea-function-"))
    try:
        yield folder
    finally:
        for parent, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                Path(parent).chmod(stat.S_IRWXU)
        shutil.rmtree(folder, ignore_errors=True)


def _scratch(folder: Path) -> Path:
    """Make the one folder that may be written to, and close the one that it is in: its home is not there, as on Lambda."""
    scratch = folder / "tmp"
    scratch.mkdir()
    folder.chmod(0o555)
    return scratch
