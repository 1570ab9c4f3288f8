"""The one version of the four distributions: where it is written, and the one command that changes it everywhere."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import print_json

PARTS = ("lambdas", "raijin", "remote", "workspace")

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)\d+)?", re.ASCII)
_VERSION_LINE = re.compile(r'^((?:__)?version(?:__)? = ")[^"]+(")$', re.MULTILINE)
_SIBLING = re.compile(r'("dea-(?:lambdas|raijin|remote|workspace)==)[^"]+(")')


def show(new: str = "", *, as_json: bool) -> None:
    """Print the version and where it is written, having set it everywhere if another is given.

    Args:
        new: The new version; empty to change nothing.
        as_json: Whether to print `{"version", "written", "changed"}`.

    Raises:
        WorkspaceError: As `bump` and `current`.
    """
    changed = bump(new) if new else []
    version = current()
    if as_json:
        print_json({"version": version, "written": written(), "changed": changed})
    elif new:
        sys.stdout.writelines(f"changed {path}\n" for path in changed)
    else:
        sys.stdout.write(f"{version}\n")


def written(root: Path = ROOT) -> dict[str, str]:
    """Return every place that states the version, and what it states: projects, pins of siblings, the dispatcher's own."""
    found = {}
    for part in PARTS:
        path = f"dea/{part}/pyproject.toml"
        project = tomllib.loads((root / path).read_text("utf-8"))["project"]
        found[path] = project["version"]
        for dependency in project["dependencies"]:
            name, _, version = dependency.partition("==")
            if name.startswith("dea-"):
                found[f"{path}: {name}"] = version
    match = _VERSION_LINE.search((root / "dea/remote/__init__.py").read_text("utf-8"))
    found["dea/remote/__init__.py"] = match.group(0).split('"')[1] if match else ""
    return found


def current(root: Path = ROOT) -> str:
    """Return the version.

    Raises:
        WorkspaceError: If the places that state it do not agree.
    """
    found = written(root)
    if len(set(found.values())) != 1:
        listed = ", ".join(f"{version} in {place}" for place, version in found.items())
        raise WorkspaceError(f"the version is not the same everywhere ({listed}): set it with inv version --set X.Y.Z")
    return next(iter(found.values()))


def bump(version: str, root: Path = ROOT) -> list[str]:
    """Write a version everywhere and return the files that changed.

    Raises:
        WorkspaceError: If it is not of the form X.Y.Z, X.Y.ZaN, X.Y.ZbN or X.Y.ZrcN, or a file does not state its version once;
            then nothing has changed.
    """
    if not _VERSION.fullmatch(version):
        raise WorkspaceError(f"{version!r} is no version: use X.Y.Z (or X.Y.ZrcN)")
    changed = {}
    for path in (*(f"dea/{part}/pyproject.toml" for part in PARTS), "dea/remote/__init__.py"):
        before = (root / path).read_text("utf-8")
        after, count = _VERSION_LINE.subn(rf"\g<1>{version}\g<2>", before)
        if count != 1:
            raise WorkspaceError(f"{path} states its version {count} times, not once: mend it by hand")
        after = _SIBLING.sub(rf"\g<1>{version}\g<2>", after)
        if after != before:
            changed[path] = after
    for path, text in changed.items():
        (root / path).write_text(text, "utf-8")
    return list(changed)
