"""The parts of a package: each distribution, and the function itself, selected, compiled and compressed, or taken from the cache.

What a part is made of decides its key in the cache, so a part is made once, on whichever function's behalf.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import cache, distributions, rules, segments, sources
from dea.workspace.packaging.bytecode import Compiler, compile_modules, pyc_name
from dea.workspace.packaging.distributions import Distribution, File
from dea.workspace.packaging.locking import Lock
from dea.workspace.packaging.requirements import InternalPackage, Requirements
from dea.workspace.packaging.rules import Uses
from dea.workspace.packaging.segments import Segment
from dea.workspace.packaging.sources import Source
from dea.workspace.packaging.targets import Target

# Functions that are packaged at once may need the same: the second waits for the first, and finds it made.
_INSTALLING = threading.Lock()
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Part:
    """One part of a package.

    Attributes:
        name: The distribution's name, or the function's.
        version: The distribution's version, or nothing.
        digest: The SHA-256 of all that the distribution has, or of the function's files.
        segment_key: The key of its segment in the cache.
        left_out: What stayed out, by rule: how many files and bytes.
    """

    name: str
    version: str
    digest: str
    segment_key: str
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def segment(self) -> Segment | None:
        """Return its files, or None if the cache has lost them since."""
        content = cache.get(self.segment_key)
        return None if content is None else Segment.decode(content)


@dataclass(frozen=True)
class Recipe:
    """What decides, beside its files, what becomes of a part.

    Attributes:
        target: What the package is made for.
        compiler: The interpreter that compiles, or None for sources alone.
        uses: What the rules ask for.
    """

    target: Target
    compiler: Compiler | None
    uses: Uses

    def key(self, kind: str, *inputs: Any) -> str:
        """Return the key in the cache of something made by this recipe, of these inputs."""
        exact = self.compiler.version if self.compiler else None
        facts = [kind, _own_digest(), segments.COMPRESSOR, self.target.python, exact, inputs]
        return f"{kind}-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"


def third_party(
    lock: Lock, needed: Requirements, recipe: Recipe, progress: Callable[[str], Any], root: Path = ROOT
) -> list[Part]:
    """Return the parts that the pinned packages are.

    Raises:
        WorkspaceError: If they cannot be had, are not complete, or write over one another.
    """
    required = needed.all_third_party()
    key = recipe.key("set", lock.body, required, recipe.target.architecture, _plain(recipe.uses))
    if (parts := _known_set(key)) is not None:
        return parts
    with _INSTALLING:
        if (parts := _known_set(key)) is None:
            parts = _install(lock, needed, recipe, progress, root)
            cache.put(key, json.dumps([asdict(part) for part in parts]).encode())
    return parts


def internal(packages: Mapping[InternalPackage, Sequence[Source]], recipe: Recipe) -> list[Part]:
    """Return the parts that internal packages are, built from their files.

    Raises:
        WorkspaceError: If one cannot be built or has a module that is no Python of the target version.
    """
    keys = {package: _internal_key(package, files, recipe) for package, files in packages.items()}
    found = _known(keys)
    if len(found) < len(packages):
        with _BUILDING:
            found = _known(keys)
            found |= _build({package: packages[package] for package in packages if package not in found}, keys, recipe)
    return [found[package] for package in packages]


def own(name: str, files: Sequence[Source], recipe: Recipe, where: str) -> Part:
    """Return the part that the function's own files are.

    Args:
        name: The function's name.
        files: Its files.
        recipe: How it is made.
        where: The folder to name in an error.

    Raises:
        WorkspaceError: If a module is no Python of the target version.
    """
    digest = sources.digest(files)
    key = recipe.key("own", digest)
    part = Part(name, "", digest, key)
    if not cache.has(key):
        with _workplace() as folder:
            contents = _contents(sources.write(files, folder), recipe, strict=where)
            cache.put(key, segments.make(contents).encode())
    return part


def _known_set(key: str) -> list[Part] | None:
    known = cache.get(key)
    parts = [Part(**values) for values in json.loads(bytes(known))] if known is not None else []
    return parts if known is not None and all(cache.has(part.segment_key) for part in parts) else None


def _install(
    lock: Lock, needed: Requirements, recipe: Recipe, progress: Callable[[str], Any], root: Path
) -> list[Part]:
    cache.clean()
    with _workplace() as folder:
        with progress(f"installing {len(lock.versions)} pinned packages for {recipe.target}"):
            found = distributions.install(lock, recipe.target, folder, root=root)
            internal = [Distribution(one.name, one.version, (), one.dependencies, ()) for one in needed.internal]
            own = Distribution("the function", "", (), needed.third_party, ())
            distributions.check_complete([*found, *internal, own], recipe.target)
            _check_services(found, recipe.uses)
        with progress("compiling and compressing them"), ThreadPoolExecutor() as threads:
            uses = replace(
                recipe.uses,
                requires=recipe.uses.requires | rules.required([*found, *internal]),
                reads_metadata_of=recipe.uses.reads_metadata_of | rules.metadata_read(found),
            )
            selected = [rules.select(one, uses) for one in found]
            _keep_apart(found, selected)
            return list(threads.map(functools.partial(_distribution_part, replace(recipe, uses=uses)), found, selected))


def _build(
    packages: Mapping[InternalPackage, Sequence[Source]], keys: Mapping[InternalPackage, str], recipe: Recipe
) -> dict[InternalPackage, Part]:
    if not packages:
        return {}
    with _workplace() as folder, ThreadPoolExecutor() as threads:
        copy = folder / "checkout"
        for package, files in packages.items():
            sources.write(files, copy / package.path)
        (copy / ".gitignore").touch()  # a build backend looks for one in every folder above
        built = distributions.build_internal(list(packages), folder, root=copy)
        made = threads.map(functools.partial(_internal_part, recipe), (keys[package] for package in packages), built)
        return dict(zip(packages, made, strict=True))


def _internal_key(package: InternalPackage, files: Iterable[Source], recipe: Recipe) -> str:
    digests = {file.name: file.sha256 for file in files}
    return recipe.key("internal", distributions.BUILDER, package.path, digests, _plain(recipe.uses))


def _known(keys: Mapping[InternalPackage, str]) -> dict[InternalPackage, Part]:
    return {package: part for package, key in keys.items() if (part := _known_part(key)) is not None}


def _known_part(key: str) -> Part | None:
    known = cache.get(key)
    part = Part(**json.loads(bytes(known))) if known is not None else None
    return part if part is not None and cache.has(part.segment_key) else None


def _internal_part(recipe: Recipe, key: str, built: Distribution) -> Part:
    part = _distribution_part(recipe, built, rules.select(built, recipe.uses), strict="")
    cache.put(key, json.dumps(asdict(part)).encode())
    return part


def _distribution_part(
    recipe: Recipe, distribution: Distribution, selection: rules.Selection, *, strict: str | None = None
) -> Part:
    shortened = {name: hashlib.sha256(content).hexdigest() for name, content in selection.shortened.items()}
    key = recipe.key("segment", distribution.digest, [file.name for file in selection.kept], shortened)
    left_out = {
        rule: [len(files), sum(file.path.stat().st_size for file in files)]
        for rule, files in selection.left_out.items()
    }
    if selection.shortened:
        whole = sum(file.path.stat().st_size for file in selection.kept if file.name in selection.shortened)
        left_out["endpoints"] = [0, whole - sum(map(len, selection.shortened.values()))]
    part = Part(distribution.name, distribution.version, distribution.digest, key, dict(sorted(left_out.items())))
    if not cache.has(key):
        contents = _contents(selection.kept, recipe, strict=strict)
        contents = [(name, selection.shortened.get(name, content), mode) for name, content, mode in contents]
        cache.put(key, segments.make(contents).encode())
    return part


def _contents(files: Sequence[File], recipe: Recipe, *, strict: str | None) -> list[tuple[str, bytes, bool]]:
    """Return what goes into a segment: the files, and the compiled form of the modules among them.

    Args:
        files: The files.
        recipe: How they are made.
        strict: The folder to name if a module is no Python of the target version; None for packages of others, which hold
            such files on purpose (templates, other versions' syntax).
    """
    contents = [(file.name, file.path.read_bytes(), file.executable) for file in files]
    modules = [file for file in files if file.name.endswith(".py")]
    if recipe.compiler is None:
        return contents
    for module, compiled in zip(modules, compile_modules(recipe.compiler, modules), strict=True):
        if compiled.content is not None:
            contents.append((pyc_name(module.name, recipe.target.python), compiled.content, False))
        elif strict is not None:
            raise WorkspaceError(
                f"line {compiled.line} of {strict}{module.name} is no Python {recipe.target.python}: {compiled.problem}"
            )
    return contents


def _keep_apart(found: Iterable[Distribution], selected: Iterable[rules.Selection]) -> None:
    """Check that no two distributions have different files of one name; the same file goes in once.

    Raises:
        WorkspaceError: If two have: installing them wrote one over the other.
    """
    owners: dict[str, tuple[str, str]] = {}
    for distribution, selection in zip(found, selected, strict=True):
        for file in list(selection.kept):
            owner, recorded = owners.setdefault(file.name, (distribution.name, file.recorded))
            if owner == distribution.name:
                continue
            if recorded != file.recorded or not recorded:
                raise WorkspaceError(
                    f"{owner} and {distribution.name} both have a file {file.name}: only one of them can be in a package"
                )
            selection.kept.remove(file)


def _check_services(found: Iterable[Distribution], uses: Uses) -> None:
    botocore = next((one for one in found if one.name == "botocore"), None)
    if botocore is None:
        return
    there = {file.name.split("/")[2] for file in botocore.files if file.name.startswith("botocore/data/")}
    if unknown := sorted(uses.services - there):
        raise WorkspaceError(
            f"function.yaml names services that botocore {botocore.version} does not know: {', '.join(unknown)}"
        )


def _plain(uses: Uses) -> list[list[str] | bool]:
    return [sorted(uses.services), sorted(uses.requires), sorted(uses.reads_metadata_of), uses.dispatcher]


@functools.cache
def _own_digest() -> str:
    """Return the digest of the code that makes packages: what another version of it made is not taken for its own."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _workplace:  # noqa: N801 - a context manager, used as a function
    """A folder for one build, beside the cache, because it may take hundreds of megabytes; it is gone at the end."""

    def __enter__(self) -> Path:
        with cache.usable():
            cache.folder().mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="build-", dir=cache.folder()))
        return self._folder

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        # Thousands of files: what comes next does not wait for that, but the process does.
        threading.Thread(target=shutil.rmtree, args=(self._folder,), kwargs={"ignore_errors": True}).start()
        if isinstance(error, OSError):  # what a build reads and writes is all in there
            with cache.usable():
                raise error
