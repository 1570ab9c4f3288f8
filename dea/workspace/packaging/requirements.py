"""Reads what a function requires: `requirements.txt`, and what the internal packages that it names by path require.

Third-party packages are pinned by `dea.workspace.packaging.locking`; internal ones follow the checkout.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from dea.workspace.checkout import ROOT, Function
from dea.workspace.errors import WorkspaceError

FILE_NAME = "requirements.txt"
INTERNAL_PREFIX = "dea-"
"""What internal packages' names begin with; no index is ever asked for one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_COMMENT = re.compile(r"(^|\s+)#.*$")
_NO_ADDRESS = "the lock would hold it and be of this machine alone; name a version, and let uv's configuration name an index that has it"


@dataclass(frozen=True)
class InternalPackage:
    """A package of this checkout.

    Attributes:
        path: Its folder from the checkout's root, as requirements name it: `./dea/raijin`.
        name: Its name, normalised.
        version: Its version.
        dependencies: What it requires, as its `pyproject.toml` says.
        services: The AWS services that it uses (`[tool.dea-orchestration] aws-services`).
    """

    path: str
    name: str
    version: str
    dependencies: tuple[str, ...]
    services: tuple[str, ...]


@dataclass(frozen=True)
class Requirements:
    """What a function requires.

    Attributes:
        third_party: The lines that name packages of an index, without comments.
        internal: The packages of this checkout, in the order in which they are named.
    """

    third_party: tuple[str, ...]
    internal: tuple[InternalPackage, ...]

    @property
    def names(self) -> frozenset[str]:
        """The normalised names of the third-party packages that the function itself names."""
        return frozenset(name_of(line) for line in self.third_party)

    def all_third_party(self) -> tuple[str, ...]:
        """Return all third-party requirements, those of the internal packages among them, sorted."""
        of_internal = [line for package in self.internal for line in package.dependencies if not is_internal(line)]
        return tuple(sorted({*self.third_party, *of_internal}))


def read(function: Function, root: Path = ROOT) -> Requirements:
    """Read a function's `requirements.txt`.

    Raises:
        WorkspaceError: If it is missing, if a line is an option, an address or an internal package's name, or if an internal
            package is not there or needs another one that is not named.
    """
    path = function.folder / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise WorkspaceError(f"{path} is missing: it names what the function needs, one requirement a line") from None
    except UnicodeDecodeError as error:
        raise WorkspaceError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    third_party, internal = [], []
    for number, line in enumerate(text.splitlines(), 1):
        requirement = _COMMENT.sub("", line).strip()
        where = f"line {number} of {path}"
        if not requirement:
            continue
        if requirement.startswith("-"):
            raise WorkspaceError(
                f"{where} is an option ({requirement!r:.80}): only requirements and paths belong here; indexes belong into uv's configuration"
            )
        if requirement.startswith((".", "/")):
            internal.append(_internal(requirement, where, root))
        elif is_internal(requirement):
            raise WorkspaceError(
                f"{where} names {requirement!r:.80}, which a stranger's index could answer: name it by its path, as in ./dea/raijin"
            )
        elif _is_address(requirement):
            raise WorkspaceError(f"{where} is an address or a file ({requirement!r:.80}): {_NO_ADDRESS}")
        else:
            third_party.append(requirement)
    _check_complete(path, internal)
    return Requirements(tuple(third_party), tuple(internal))


def name_of(requirement: str) -> str:
    """Return the normalised name at the beginning of a requirement.

    >>> name_of("PyYAML[x] >= 6 ; python_version > '3'")
    'pyyaml'
    """
    match = _NAME.match(requirement)
    return normalised(match.group(0)) if match else ""


def normalised(name: str) -> str:
    """Return a package's name in its normal form (PyPA, "Names and normalization").

    >>> normalised("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def is_internal(requirement: str) -> bool:
    """Tell whether a requirement names a package of this checkout."""
    return name_of(requirement).startswith(INTERNAL_PREFIX)


def _is_address(requirement: str) -> bool:
    """Tell whether a requirement says where a package is: a direct reference, a URL or a file.

    >>> _is_address("six @ file:///six.whl"), _is_address("wheels/six.whl"), _is_address("six>=1; os_name != '/'")
    (True, True, False)
    """
    return not {"@", "/"}.isdisjoint(requirement.partition(";")[0]) or requirement.endswith((".whl", ".tar.gz", ".zip"))


def _internal(line: str, where: str, root: Path) -> InternalPackage:
    folder = (root / line).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise WorkspaceError(
            f"{where}: {line!r:.80} leads out of the checkout: name an internal package by its path from the root"
        )
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        project = document["project"]
        name, version = normalised(project["name"]), str(project["version"])
    except OSError as error:
        raise WorkspaceError(
            f"{where}: there is no internal package {line!r:.80} ({error.strerror}: {line}/pyproject.toml): paths are from the repository's root"
        ) from error
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise WorkspaceError(f"{where}: {line}/pyproject.toml names no project with a version: {error}") from error
    if direct := next(filter(_is_address, project.get("dependencies", ())), None):
        raise WorkspaceError(
            f"{where}: {line}/pyproject.toml requires an address or a file ({direct!r:.80}): {_NO_ADDRESS}"
        )
    services = document.get("tool", {}).get("dea-orchestration", {}).get("aws-services", [])
    return InternalPackage(
        f"./{folder.relative_to(root.resolve()).as_posix()}",
        name,
        version,
        tuple(project.get("dependencies", ())),
        tuple(services),
    )


def _check_complete(path: Path, internal: list[InternalPackage]) -> None:
    """Check that each internal package's own internal requirements are named too, because no index is asked for them."""
    named = {package.name for package in internal}
    for package in internal:
        for dependency in package.dependencies:
            name = name_of(dependency)
            if is_internal(dependency) and name not in named:
                folder = f"./dea/{name.removeprefix(INTERNAL_PREFIX)}"
                raise WorkspaceError(f"{path}: {package.path} needs {name}: name it too, with a line {folder}")
