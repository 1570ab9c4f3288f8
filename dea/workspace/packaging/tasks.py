"""What a person sees of packaging: `inv lock` and `inv package`, their lines, tables and JSON."""

from __future__ import annotations

import base64
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json, progress
from dea.workspace.packaging import locking, requirements
from dea.workspace.packaging.assembly import MAX_UPLOAD_BYTES, Package, build, megabytes, without_compiler
from dea.workspace.packaging.sources import Snapshot
from dea.workspace.packaging.targets import Target
from dea.workspace.settings import supported_architecture, supported_python

_SHOWING = threading.Lock()


def lock(name: str, *, upgrade: bool, check: bool) -> int:
    """Pin what functions require, or check that it is pinned; say for each what came of it.

    Args:
        name: The function's name, or `all`.
        upgrade: Take the newest versions instead of keeping those that fit.
        check: Write nothing.

    Returns:
        0, or 1 if one could not be locked or is not.

    Raises:
        WorkspaceError: If there is no such function, or the options do not fit together.
    """
    if upgrade and check:
        raise WorkspaceError("--check writes nothing, so it cannot --upgrade: say one of them")

    def one(function: checkout.Function) -> None:
        path = _shown(function.folder / locking.FILE_NAME)
        if check:
            locking.read(function, requirements.read(function))
            print(f"{path} is up to date")
            return
        with progress(f"locking {function.name}"):
            changed = locking.lock(function, upgrade=upgrade)
        print(f"{path} {'written' if changed else 'is unchanged'}")

    return _each(checkout.selected(name), one)


def package(  # noqa: D417 - as `build`
    name: str,
    *,
    output: str,
    python: str,
    architecture: str,
    require_pyc: bool,
    explain: bool,
    as_json: bool,
) -> int:
    """Build packages; say for each where it is, how large, and its digests.

    Args:
        name: The function's name, or `all`.
        explain: Print what each part takes, and what was left out by which rule.
        as_json: Print a JSON list of all instead.

    Returns:
        0, or 1 if one could not be built; the others are built all the same.

    Raises:
        WorkspaceError: If there is no such function, or the options do not fit together.
    """
    if output and name == "all":
        raise WorkspaceError("--output names one file, and --name all makes several: they go to dist/NAME.zip")
    target_python = _supported(python, supported_python)
    target_architecture = _supported(architecture, supported_architecture)
    warned: set[str] = set()
    made: list[dict[str, Any]] = []

    def show(built: Package) -> None:
        if not built.has_pyc and built.python not in warned:
            warned.add(built.python)
            _remark(f"warning: {without_compiler(Target(built.python, built.architecture))}")
        if built.size_bytes > MAX_UPLOAD_BYTES:
            _remark(f"{built.function}: above {megabytes(MAX_UPLOAD_BYTES)} Lambda takes a package only through S3")
        made.append(_as_json(built))
        if not as_json:
            _show(built)
            if explain:
                _explain(built)

    make = functools.partial(
        build,
        output=Path(output).absolute() if output else None,
        python=target_python,
        architecture=target_architecture,
        require_pyc=require_pyc,
        snapshot=Snapshot(),
    )
    functions = checkout.selected(name)
    if len(functions) == 1:
        show(make(functions[0], progress=progress))
        status = 0
    else:
        threads = ThreadPoolExecutor(os.cpu_count())  # much of a build is waiting for other processes and for the disk
        try:
            built = {function: threads.submit(make, function, progress=_progress_of_one) for function in functions}
            status = _each(functions, lambda function: show(built[function].result()))
        finally:
            threads.shutdown(cancel_futures=True)
    if as_json:
        print_json(made)
    return status


def _supported(value: str, check: Callable[[object], str]) -> str | None:
    try:
        return check(value) if value else None
    except ValueError as error:
        raise WorkspaceError(f"{value!r} {error}") from None


def _each(functions: Sequence[checkout.Function], act: Callable[[checkout.Function], None]) -> int:
    """Act on each function; a failure is said and keeps none of the others from being acted on."""
    if len(functions) == 1:
        act(functions[0])
        return 0
    status = 0
    for function in functions:
        try:
            act(function)
        except WorkspaceError as error:
            _remark(f"{function.name}: {error}")
            status = 1
    return status


@contextmanager
def _progress_of_one(what: str) -> Iterator[None]:
    """Show progress of one of several builds at a time, which is all that a terminal's line has room for."""
    if not _SHOWING.acquire(blocking=False):
        yield
        return
    try:
        with progress(what):
            yield
    finally:
        _SHOWING.release()


def _remark(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _code_sha256(sha256: str) -> str:
    """Return a digest as AWS Lambda has it, in `CodeSha256`."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _show(built: Package) -> None:
    what = "written" if built.changed else "unchanged"
    sizes = f"{megabytes(built.size_bytes)}, {megabytes(built.unzipped_bytes)} unzipped"
    print(f"{_shown(built.path)} {what}: {sizes}, for {Target(built.python, built.architecture)}")
    print(f"  SHA-256     {built.sha256}")
    print(f"  CodeSha256  {_code_sha256(built.sha256)}")


def _as_json(built: Package) -> dict[str, Any]:
    return {
        "function": built.function,
        "path": str(built.path),
        "sha256": built.sha256,
        "code_sha256": _code_sha256(built.sha256),
        "size_bytes": built.size_bytes,
        "unzipped_bytes": built.unzipped_bytes,
        "python": built.python,
        "architecture": built.architecture,
        "changed": built.changed,
        "compiled": built.has_pyc,
        "parts": [vars(size) for size in built.sizes],
    }


def _explain(built: Package) -> None:
    from rich.console import Console  # noqa: PLC0415 - half of what a build costs
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    for title in ("files", "zipped", "unzipped"):
        table.add_column(title, justify="right")
    table.add_column("left out")
    for size in built.sizes:
        left_out = ", ".join(
            f"{rule}: {files} files, {megabytes(bytes_)}" for rule, (files, bytes_) in size.left_out.items()
        )
        table.add_row(
            size.part, str(size.files), megabytes(size.zipped_bytes), megabytes(size.unzipped_bytes), left_out
        )
    Console(file=sys.stdout, markup=False, highlight=False).print(table)
