"""Installed distributions, each with its files, as they go into a package: third-party ones by uv, internal ones built here.

Nothing is chosen here; what stays out is decided in `dea.workspace.packaging.rules`.
"""

from __future__ import annotations

import csv
import email.parser
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hatchling.__about__ import __version__ as _hatchling

from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.installer import InstallerError, run_uv
from dea.workspace.packaging.locking import Lock
from dea.workspace.packaging.requirements import InternalPackage, normalised
from dea.workspace.packaging.targets import Target

BUILDER = f"hatchling {_hatchling}"
"""What builds internal packages. It has a say in their metadata, which has a version of its own, and names itself there."""

_NO_WHEEL = re.compile(r"Because (?:only )?([A-Za-z0-9][A-Za-z0-9._-]*)==\S+ has no (?:usable )?wheels", re.ASCII)

# Builds wheels: for each pair of a source folder and an output folder, prints the wheel's path. What a backend prints goes
# to stderr.
_BUILD = """\
import contextlib, importlib, json, os, sys, tomllib
answers = sys.stdout
for source, output in json.load(sys.stdin):
    os.makedirs(output)
    os.chdir(source)
    with open("pyproject.toml", "rb") as file:
        name, _, attribute = tomllib.load(file)["build-system"]["build-backend"].partition(":")
    backend = importlib.import_module(name)
    with contextlib.redirect_stdout(sys.stderr):
        wheel = (getattr(backend, attribute) if attribute else backend).build_wheel(output)
    print(os.path.join(output, wheel), file=answers, flush=True)
"""

# What an installer writes of itself: it has no say in what a distribution is.
_INSTALLERS_OWN = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"})
# Programs for a shell: the installer writes the path of its own interpreter into them.
_SCRIPTS = "bin/"


@dataclass(frozen=True)
class File:
    """One file of a package.

    Attributes:
        name: Its path in the package, with `/`.
        path: Where its content is now.
        executable: Whether its owner may execute it.
        recorded: Its hash as its distribution's `RECORD` has it; another distribution may have written it over.
    """

    name: str
    path: Path
    executable: bool
    recorded: str = ""


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    Attributes:
        name: Its normalised name.
        version: Its version.
        files: Its files, sorted by name, without programs for a shell.
        requires: Its `Requires-Dist` lines.
        tags: The tags of the wheel that it came in: `py3-none-any`.
    """

    name: str
    version: str
    files: tuple[File, ...]
    requires: tuple[str, ...]
    tags: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all its files' names, modes and contents."""
        digest = hashlib.sha256()
        for file in self.files:
            content = hashlib.sha256(file.path.read_bytes()).hexdigest()
            digest.update(json.dumps([file.name, file.executable, content]).encode())
        return digest.hexdigest()

    @property
    def is_pure(self) -> bool:
        """Whether it runs on any machine."""
        return all(tag.endswith("-none-any") for tag in self.tags)


def install(lock: Lock, target: Target, folder: Path, *, root: Path = ROOT) -> list[Distribution]:
    """Install the pinned third-party packages for a target into a folder: wheels, each with a hash that the lock has.

    A package that has no wheel at all is built from its source distribution, if what comes out runs on any machine.

    Raises:
        WorkspaceError: If one cannot be had, has another hash, or would have to be compiled; nothing is left out instead.
    """
    if not lock.versions:
        return []
    pins = folder / "pins.txt"
    folder.mkdir(parents=True, exist_ok=True)
    pins.write_text(lock.body, "utf-8")
    built: list[str] = []
    while True:
        try:
            run_uv(
                f"installing the pins of {lock.path.parent.name} for {target}",
                *("pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder / "installed")),
                *("--no-deps", "--require-hashes", "--only-binary", ":all:", *target.uv_options),
                *(option for name in built for option in ("--no-binary", name)),
                *("--requirements", str(pins)),
                root=root,
            )
            break
        except InstallerError as error:
            without = _NO_WHEEL.search(str(error))
            if without is not None and without.group(1) not in built:
                built.append(without.group(1))
            elif built:
                raise WorkspaceError(_not_to_be_had(built[-1], target, f"building it failed: {error}")) from None
            else:
                raise
    found = read_installed(folder / "installed")
    for distribution in found:
        if distribution.name in {normalised(name) for name in built} and not distribution.is_pure:
            raise WorkspaceError(
                _not_to_be_had(f"{distribution.name} {distribution.version}", target, "it is not pure Python")
            )
    return found


def build_internal(packages: Sequence[InternalPackage], folder: Path, *, root: Path = ROOT) -> list[Distribution]:
    """Build internal packages' wheels from the checkout, and unpack them.

    All in one process, each by its own build backend (PEP 517), which this environment has: a build frontend would start
    three for each package.

    Raises:
        WorkspaceError: If a build backend cannot build one.
    """
    places = [folder / "internal" / package.name for package in packages]
    request = [[str(root / package.path), f"{place}-wheel"] for package, place in zip(packages, places, strict=True)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _BUILD],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    wheels = done.stdout.splitlines()
    if done.returncode or len(wheels) != len(packages):
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        failed = packages[min(len(wheels), len(packages) - 1)]
        raise WorkspaceError(f"building {failed.path} failed: {said[-1].strip()}")
    found = []
    for wheel, place in zip(wheels, places, strict=True):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        found += read_installed(place)
    return found


def read_installed(folder: Path) -> list[Distribution]:
    """Return the distributions in a folder, by their `RECORD` (PyPA, "Recording installed projects"), sorted by name."""
    return sorted(map(_read, folder.glob("*.dist-info")), key=lambda found: found.name) if folder.is_dir() else []


def check_complete(found: Iterable[Distribution], target: Target) -> None:
    """Check that everything that a distribution requires on the target is there, in a version that fits.

    Raises:
        WorkspaceError: If not, with all that is missing.
    """
    from packaging.requirements import Requirement  # noqa: PLC0415 - a warm build needs none of it

    by_name = {distribution.name: distribution for distribution in found}
    problems = []
    for distribution in by_name.values():
        for line in distribution.requires:
            required = Requirement(line)
            if required.marker is not None and not required.marker.evaluate(target.marker_environment):
                continue
            there = by_name.get(normalised(required.name))
            if there is None:
                problems.append(f"{distribution.name} needs {required.name}, which is not pinned")
            elif not required.specifier.contains(there.version, prereleases=True):
                problems.append(
                    f"{distribution.name} needs {required.name}{required.specifier}, and {there.version} is pinned"
                )
    if problems:
        raise WorkspaceError(
            f"the pins are not complete for {target}: {'; '.join(problems)}; name this target in function.yaml and run inv lock"
        )


def _read(info: Path) -> Distribution:
    metadata = email.parser.Parser().parsestr((info / "METADATA").read_text("utf-8"), headersonly=True)
    wheel = email.parser.Parser().parsestr((info / "WHEEL").read_text("utf-8"), headersonly=True)
    folder = info.parent
    files = []
    with (info / "RECORD").open(encoding="utf-8", newline="") as record:
        for name, recorded, *_ in csv.reader(record):
            path = folder / name
            if name.startswith(_SCRIPTS) or (name.startswith(f"{info.name}/") and path.name in _INSTALLERS_OWN):
                continue
            if ".." not in Path(name).parts and not Path(name).is_absolute() and path.is_file():
                files.append(File(name, path, bool(path.stat().st_mode & 0o100), recorded))
    return Distribution(
        normalised(metadata["Name"]),
        metadata["Version"],
        tuple(sorted(files, key=lambda file: file.name)),
        tuple(metadata.get_all("Requires-Dist", ())),
        tuple(wheel.get_all("Tag", ())),
    )


def _not_to_be_had(name: str, target: Target, why: str) -> str:
    return f"{name} has no wheel for {target} and cannot be built for it: pin a version that has one, or replace it ({why})"
