"""Opens a package: unpacks the zip into a read-only folder and asks an interpreter of its version what it sees there.

It judges nothing; `dea.workspace.validation.checks` does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from dea.workspace import interpreters, settings
from dea.workspace.checkout import Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import Target, manifest
from dea.workspace.packaging.manifest import Manifest, Unreadable
from dea.workspace.unpacking import DAMAGED, make_read_only, temporary_folder

_MAX_UNPACKED_BYTES = 2**30
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TIMEOUT_S = 120
_PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Answers:
    """What the probe found out. What it did not come to is None.

    Attributes:
        compiled: How many modules and compiled ones there are, and each compiled one that would not serve.
        syntax: Why the handler's module is no Python of this version; empty if it is.
        handler: Why Lambda could not call the handler; empty if it could.
        modules: Why a module cannot be imported, by its name; empty if it can.
        written: What importing wrote into the package's folder.
        ended: How the process ended before its end; empty if it did not.
    """

    compiled: dict[str, Any] | None = None
    syntax: str | None = None
    handler: str | None = None
    modules: dict[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    ended: str = ""


@dataclass(frozen=True)
class Opened:
    """A package, unpacked.

    Attributes:
        function: The function that it is a package of.
        path: The zip.
        folder: The folder that it is unpacked in.
        manifest: What it says of itself; why that is not known, if it is not.
        target: What it is made for; without a manifest, what `function.yaml` says.
        handler: The handler, `MODULE.FUNCTION`; likewise.
        files: The paths of its files within it, sorted.
        unzipped_bytes: The size of what is in it.
        faults: What is wrong with the zip itself.
        answers: What an interpreter of its version sees; None if this machine has none.
        not_imported: Why nothing of it could be imported here; empty if it was.
    """

    function: Function
    path: Path
    folder: Path
    manifest: Manifest | Unreadable
    target: Target
    handler: str
    files: tuple[str, ...]
    unzipped_bytes: int
    faults: tuple[str, ...]
    answers: Answers | None
    not_imported: str


@contextlib.contextmanager
def opened(function: Function, path: Path, variables: Mapping[str, str]) -> Iterator[Opened]:
    """Open a package while the context is open.

    Args:
        function: The function.
        path: The zip.
        variables: The environment variables to import it with, beside Lambda's own.

    Raises:
        WorkspaceError: If there is no such file, or it is no zip that can be unpacked here.
    """
    with temporary_folder() as folder:
        task_root = folder / "task"
        try:
            with zipfile.ZipFile(path) as archive:
                unzipped_bytes = sum(info.file_size for info in archive.infolist())
                if unzipped_bytes > _MAX_UNPACKED_BYTES:
                    raise WorkspaceError(f"{path} would take {unzipped_bytes} bytes unpacked: it is not unpacked")
                faults = _unpack(archive, task_root)
        except FileNotFoundError:
            raise WorkspaceError(f"{path} is missing: make it with inv package --name {function.name}") from None
        except DAMAGED as error:
            raise WorkspaceError(f"{path} cannot be unpacked: {error}") from error
        files = sorted(found.relative_to(task_root).as_posix() for found in task_root.rglob("*") if found.is_file())
        said = _manifest(task_root / manifest.FILE)
        if isinstance(said, Unreadable):
            wanted = settings.read(function)
            target, handler = Target(wanted.python, wanted.architecture), wanted.handler
        else:
            target, handler = said.target, said.handler
        made = Opened(
            function=function,
            path=path,
            folder=task_root,
            manifest=said,
            target=target,
            handler=handler,
            files=tuple(files),
            unzipped_bytes=unzipped_bytes,
            faults=tuple(faults),
            answers=None,
            not_imported="",
        )
        yield _asked(made, variables)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> list[str]:
    """Unpack what can safely be, and return what is wrong with the rest."""
    folder.mkdir()
    faults, seen = [], set()
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
            faults.append(f"{info.filename!a} leads out of the package")
        elif stat.S_ISLNK(info.external_attr >> 16):
            faults.append(f"{info.filename!a} is a symbolic link")
        elif info.filename in seen:
            faults.append(f"{info.filename!a} is in it twice")
        else:
            seen.add(info.filename)
            try:
                archive.extract(info, folder)
            except DAMAGED as error:
                if isinstance(error, OSError) and error.errno in _NO_ROOM:
                    raise  # that says nothing of the package
                faults.append(f"{info.filename!a} cannot be unpacked: {error}")
    return faults


def _manifest(path: Path) -> Manifest | Unreadable:
    try:
        return manifest.parse(path.read_bytes())
    except OSError:
        return Unreadable(f"it has no {path.name}: it was not made by inv package")
    except Unreadable as error:
        return error


def _asked(package: Opened, variables: Mapping[str, str]) -> Opened:
    found = interpreters.find(package.target.python)
    if found is None:
        return replace(package, not_imported=f"this machine has no Python {package.target.python}")
    elsewhere = package.target.why_not_here()
    module, _, attribute = package.handler.rpartition(".")
    request = {
        "folder": str(package.folder),
        "module": module,
        "attribute": attribute,
        "import": not elsewhere,
        "modules": [] if isinstance(package.manifest, Unreadable) else package.manifest.required_modules(),
    }
    make_read_only(package.folder)
    before = _state(package.folder)
    answers = _probe(found[0], request, _environment(package, variables))
    written = tuple(sorted(name for name, when in _state(package.folder).items() if before.get(name) != when))
    return replace(package, answers=Answers(**answers, written=written), not_imported=elsewhere)


def _probe(interpreter: Path, request: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    command = [str(interpreter), "-I", "-S", "-B", "-c", _PROBE.read_text("utf-8")]
    answers: dict[str, Any] = {"modules": {}}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            env=environment,
            cwd=request["folder"],
            timeout=_TIMEOUT_S,
            check=False,
        )
        output, ended = done.stdout, f"the process ended with status {done.returncode}"
        if said := done.stderr.decode("utf-8", "replace").strip().splitlines():
            ended += f": {said[-1]:.200}"
    except subprocess.TimeoutExpired as error:
        output, ended = error.stdout or b"", f"it did not end within {_TIMEOUT_S} s"
    for line in output.splitlines():
        what, value = json.loads(line)
        if what == "module":
            answers["modules"][value[0]] = value[1]
        elif what == "end":
            ended = ""
        else:
            answers[what] = value
    return {**answers, "ended": ended}


def _environment(package: Opened, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the package's process sees: the function's variables and Lambda's own, and nothing of the user's."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(package.folder),
        "_HANDLER": package.handler,
        "AWS_REGION": "ap-southeast-2",
        "AWS_DEFAULT_REGION": "ap-southeast-2",
        "AWS_LAMBDA_FUNCTION_NAME": package.function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        # No credentials are to be had: a package that needs some to be imported waits for nothing.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return when each file was written, and its size."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): (one.st_mtime_ns, one.st_size) for path, one in found.items()}
