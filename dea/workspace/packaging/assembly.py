"""Puts a function's package together: the same inputs make the same bytes, on any machine.

The parts come from `dea.workspace.packaging.parts`; the manifest says what they were made of.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dea.remote.contract.packaged import FILE as SCHEMAS
from dea.workspace import approval, interpreters, settings
from dea.workspace.checkout import ROOT, Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import (
    cache,
    distributions,
    inspection,
    locking,
    manifest,
    parts,
    requirements,
    rules,
    segments,
)
from dea.workspace.packaging.bytecode import Compiler, compiler_for
from dea.workspace.packaging.cache import Buffer
from dea.workspace.packaging.parts import Part, Recipe
from dea.workspace.packaging.requirements import Requirements
from dea.workspace.packaging.segments import Segment
from dea.workspace.packaging.sources import Snapshot
from dea.workspace.packaging.targets import Target
from dea.workspace.settings import Settings

MAX_UNZIPPED_BYTES = 250 * 1024 * 1024  # AWS Lambda Developer Guide, "Lambda quotas": deployment package, unzipped
MAX_UPLOAD_BYTES = 50 * 1024 * 1024  # the same: zipped, for direct upload

_LARGEST = 5
_TRIES = 3  # what the cache has lost since, or finds damaged, is made again


@dataclass(frozen=True)
class Package:
    """A package that was built.

    Attributes:
        function: The function's name.
        path: The zip.
        sha256: Its SHA-256, in hexadecimal digits.
        size_bytes: Its size.
        unzipped_bytes: The size of what is in it.
        python: The version of Python that it is for.
        architecture: The architecture that it is for.
        changed: Whether the file was written: False if it held the same bytes already.
        has_pyc: Whether its modules are compiled.
        sizes: What it is made of, the largest first.
    """

    function: str
    path: Path
    sha256: str
    size_bytes: int
    unzipped_bytes: int
    python: str
    architecture: str
    changed: bool
    has_pyc: bool
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Size:
    """What one part of a package takes.

    Attributes:
        part: Its name and version.
        files: How many files it has in the package.
        zipped_bytes: What they take in the zip.
        unzipped_bytes: What they take unpacked.
        left_out: What stayed out, by rule: how many files and bytes.
    """

    part: str
    files: int
    zipped_bytes: int
    unzipped_bytes: int
    left_out: dict[str, list[int]]


class NoCompiler(WorkspaceError):
    """This machine has no interpreter of the target version, and compiled modules were insisted on."""


def build(
    function: Function,
    *,
    output: Path | None = None,
    python: str | None = None,
    architecture: str | None = None,
    require_pyc: bool = False,
    progress: Callable[[str], Any] = nullcontext,
    root: Path = ROOT,
    snapshot: Snapshot | None = None,
) -> Package:
    """Build a function's package, for its target and never for this machine.

    Args:
        function: The function.
        output: The zip; None for `dist/NAME.zip` in the checkout.
        python: Another version of Python than `function.yaml` names.
        architecture: Another architecture.
        require_pyc: Fail where the modules cannot be compiled, instead of making the package without.
        progress: Makes a context manager of a text, for what takes longer.
        root: The checkout.
        snapshot: The checkout's internal packages, if they have been read already.

    Raises:
        WorkspaceError: If anything that belongs into it cannot be had or be right. The zip that was there stays as it was.

    Note:
        A function without a lock gets one. Nothing is written if the zip holds the same bytes already.
    """
    wanted = settings.read(function)
    target = Target(python or wanted.python, architecture or wanted.architecture)
    needed = requirements.read(function, root)
    lock = _lock(function, needed, progress, root)
    snapshot = snapshot or Snapshot(root)
    with ThreadPoolExecutor() as beside:  # one waits for an interpreter, the other reads
        finding = beside.submit(compiler_for, target.python)
        files = inspection.own_files(function)
        internal = {package: snapshot.files(package) for package in needed.internal}
        compiler = finding.result()
    if compiler is None and require_pyc:
        raise NoCompiler(without_compiler(target))
    packages = frozenset({*lock.versions, *(package.name for package in internal)})
    uses = inspection.uses_of(wanted, needed, packages, files, internal)
    inspection.check_own(function, wanted, packages, uses, files)
    recipe = Recipe(target, compiler, uses)

    for _ in range(_TRIES):
        with ThreadPoolExecutor() as beside:  # one waits for the network, the others for the processor
            of_checkout = beside.submit(parts.internal, internal, recipe)
            of_function = beside.submit(parts.own, function.name, files, recipe, f"functions/{function.name}/")
            made = parts.third_party(lock, needed, recipe, progress, root)
            kept = [part.segment() for part in made]
            rest = [*of_checkout.result(), of_function.result()]
        made += rest
        kept += [part.segment() for part in rest]
        taken = [segment for segment in kept if segment is not None]
        if len(taken) == len(made):
            break
    else:
        raise WorkspaceError(f"the package cache loses what is put into it: look at {cache.folder()}, or remove it")
    documents = {manifest.FILE: _manifest(function, wanted, recipe, lock, needed, made, taken)}
    if any(package.name == "dea-raijin" for package in needed.internal):
        documents[SCHEMAS] = approval.packaged_schemas(wanted.commands, root)
    folders = {
        entry.name.partition("/")[0] + "/" for segment in taken for entry in segment.entries if "/" in entry.name
    }
    about = segments.make(
        [(name, text.encode(), False) for name, text in documents.items()] + [(name, b"", False) for name in folders]
    )
    _check_clashes([*zip((part.name for part in made), taken, strict=True), ("the manifest", about)], function)
    sizes = tuple(sorted(map(_size, made, taken), key=lambda size: -size.unzipped_bytes))
    unzipped_bytes = sum(segment.size for segment in (*taken, about))
    if unzipped_bytes > MAX_UNZIPPED_BYTES:
        largest = ", ".join(f"{size.part} {megabytes(size.unzipped_bytes)}" for size in sizes[:_LARGEST])
        raise WorkspaceError(
            f"{function.name} is {megabytes(unzipped_bytes)} unzipped, and Lambda takes {megabytes(MAX_UNZIPPED_BYTES)}: the largest are {largest}"
        )
    pieces = segments.join([about, *taken])
    path = output or root / "dist" / f"{function.name}.zip"
    changed = not _holds(path, pieces)
    if changed:
        try:
            cache.write_whole(path, *pieces)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}; what was there is as it was") from error
    return Package(
        function=function.name,
        path=path,
        sha256=_sha256(pieces),
        size_bytes=sum(map(len, pieces)),
        unzipped_bytes=unzipped_bytes,
        python=target.python,
        architecture=target.architecture,
        changed=changed,
        has_pyc=compiler is not None,
        sizes=sizes,
    )


def without_compiler(target: Target) -> str:
    """Return what it costs that this machine has no interpreter of a version, and how to get one."""
    return (
        f"this machine has no Python {target.python} to compile with: without compiled modules a cold start takes twice as long; "
        f"{interpreters.how_to_install(target.python)}"
    )


def megabytes(size_bytes: int) -> str:
    """Return a size as a person reads it.

    >>> megabytes(12_345_678)
    '11.8 MB'
    """
    return f"{size_bytes / 1024 / 1024:.1f} MB"


def _lock(function: Function, needed: Requirements, progress: Callable[[str], Any], root: Path) -> locking.Lock:
    try:
        return locking.read(function, needed)
    except locking.LockMissing:
        with progress(f"locking {function.name}, which has no {locking.FILE_NAME} yet"):
            locking.lock(function, root=root)
        return locking.read(function, needed)


def _check_clashes(segments_by_part: Sequence[tuple[str, Segment]], function: Function) -> None:
    """Check that no two parts have a file of one name, and that the function hides no package.

    Raises:
        WorkspaceError: If it is so.
    """
    owners: dict[str, str] = {}
    for part, segment in segments_by_part:
        for entry in segment.entries:
            owner = owners.setdefault(entry.name, part)
            if owner != part:
                raise WorkspaceError(
                    f"{owner} and {part} both have a file {entry.name}: only one of them can be in a package"
                )
    hidden = {_importable(name) for name, part in owners.items() if part not in (function.name, "the manifest")} - {""}
    for name, part in owners.items():
        if part == function.name and _importable(name) in hidden:
            raise WorkspaceError(
                f"functions/{function.name}/{name} would hide the package {_importable(name)}: rename it"
            )


def _importable(name: str) -> str:
    """Return the module or package that a file makes importable by its first name, or nothing."""
    first, slash, _ = name.partition("/")
    if slash:
        return first if name.endswith(".py") else ""
    return first.partition(".")[0] if first.endswith((".py", ".so")) else ""


def _manifest(
    function: Function,
    wanted: Settings,
    recipe: Recipe,
    lock: locking.Lock,
    needed: Requirements,
    made: Sequence[Part],
    taken: Sequence[Segment],
) -> str:
    compiler: Compiler | None = recipe.compiler
    document = {
        "format": manifest.FORMAT,
        "function": function.name,
        "handler": wanted.handler,
        "python": recipe.target.python,
        "architecture": recipe.target.architecture,
        "glibc": ".".join(map(str, recipe.target.glibc)),
        "interpreter": f"CPython {compiler.version}" if compiler else None,
        "builder": distributions.BUILDER if needed.internal else None,
        "compressor": segments.COMPRESSOR,
        "commands": list(wanted.commands),
        "services": sorted(recipe.uses.services),
        "requirements": list(needed.all_third_party()),
        "lock": hashlib.sha256(lock.body.encode()).hexdigest(),
        "parts": [
            {
                "name": part.name,
                "version": part.version,
                "sha256": part.digest,
                "modules": sorted({_importable(entry.name) for entry in segment.entries} - {""}),
                "left_out": part.left_out,
            }
            for part, segment in zip(made, taken, strict=True)
        ],
        "rules": rules.RULES,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _size(part: Part, segment: Segment) -> Size:
    label = f"{part.name} {part.version}".rstrip()
    return Size(label, len(segment.entries), len(segment.data), segment.size, part.left_out)


def _sha256(pieces: Iterable[Buffer]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _holds(path: Path, pieces: Sequence[Buffer]) -> bool:
    """Tell whether a file holds exactly these bytes."""
    try:
        with path.open("rb") as file:
            same = os.fstat(file.fileno()).st_size == sum(map(len, pieces))
            return same and all(file.read(len(piece)) == piece for piece in pieces)
    except OSError:
        return False
