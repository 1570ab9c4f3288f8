"""Pins a function's third-party packages, for its target, with hashes: `inv lock` and `functions/X/requirements.lock`.

The file is a requirements file that pip and uv read. It holds no internal package, which follow the checkout, no address of
an index and no absolute path. Its first lines say what it was made from, so that one that is stale is noticed without asking
anybody.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dea.workspace import settings
from dea.workspace.checkout import ROOT, Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.installer import run_uv
from dea.workspace.packaging import cache, requirements
from dea.workspace.packaging.requirements import Requirements, normalised
from dea.workspace.packaging.targets import Target

FILE_NAME = "requirements.lock"

_FORMAT = 1
_INPUTS = re.compile(r"^# inputs: sha256:([0-9a-f]{64})$", re.MULTILINE)
_PINS = re.compile(r"^# pins: sha256:([0-9a-f]{64})$", re.MULTILINE)
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """A function's pins.

    Attributes:
        path: The file.
        body: The pins with their hashes, as a requirements file.
        versions: The pinned version of each package by its normalised name.
    """

    path: Path
    body: str
    versions: dict[str, str]


class LockMissing(WorkspaceError):
    """A function has no `requirements.lock`."""


def target_of(function: Function) -> Target:
    """Return the target that a function's `function.yaml` names."""
    wanted = settings.read(function)
    return Target(wanted.python, wanted.architecture)


def read(function: Function, needed: Requirements) -> Lock:
    """Read a function's lock and check that it is of what the function requires now.

    Raises:
        LockMissing: If there is none.
        WorkspaceError: If it is stale, or was changed by hand.
    """
    path = function.folder / FILE_NAME
    remedy = f"run inv lock --name {function.name}"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise LockMissing(f"{path} is missing: {remedy}") from None
    except UnicodeDecodeError:
        raise WorkspaceError(f"{path} is not what inv lock writes: {remedy}") from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    inputs, pins = _INPUTS.search(text), _PINS.search(text)
    if inputs is None or pins is None:
        raise WorkspaceError(f"{path} is not what inv lock writes: {remedy}")
    body = _body(text)
    if pins.group(1) != _digest(body):
        raise WorkspaceError(f"{path} was changed since it was locked: {remedy}")
    if inputs.group(1) != _inputs(target_of(function), needed):
        raise WorkspaceError(
            f"{path} is stale: {requirements.FILE_NAME}, an internal package's requirements or the target have changed; {remedy}"
        )
    return Lock(path, body, {normalised(name): version for name, version in _PIN.findall(body)})


def lock(function: Function, *, upgrade: bool = False, root: Path = ROOT) -> bool:
    """Pin what a function requires, keeping the pins that still fit; return whether the file changed.

    Args:
        function: The function.
        upgrade: Forget the pins, and take the newest versions.
        root: The checkout.

    Raises:
        WorkspaceError: If there is no set of packages that fits; an internal package's requirement that conflicts with the
            function's own is such a case. Or if it cannot be written. The old lock is left alone.

    Note:
        A lock that was damaged, as by a merge, is replaced like none at all: its pins are not to be trusted.
    """
    needed = requirements.read(function, root)
    target = target_of(function)
    path = function.folder / FILE_NAME
    try:
        before = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    with tempfile.TemporaryDirectory(prefix="dea-lock-") as folder:
        draft = Path(folder) / FILE_NAME
        if before is not None and not upgrade and _is_whole(before):
            draft.write_bytes(before)  # uv prefers the versions that it finds in its output
        internal = [option for package in needed.internal for option in ("--no-emit-package", package.name)]
        run_uv(
            f"locking {function.name} for {target}",
            *("pip", "compile", "--quiet", "--python", sys.executable, *target.uv_options, "--generate-hashes"),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", *internal),
            *(["--upgrade"] if upgrade else []),
            *("--output-file", str(draft), str(function.folder / requirements.FILE_NAME)),
            root=root,
        )
        body = draft.read_text("utf-8")
    text = (
        f"# The pins of {requirements.FILE_NAME} for {target}, made by inv lock; not to be changed by hand.\n"
        f"# inputs: sha256:{_inputs(target, needed)}\n# pins: sha256:{_digest(body)}\n{body}"
    )
    changed = text.encode() != before
    if changed:
        try:
            cache.write_whole(path, text.encode())
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}; what was there is as it was") from error
    return changed


def _body(text: str) -> str:
    """Return the pins of a lock, which follow the two digests."""
    ends = [found.end() for found in (_INPUTS.search(text), _PINS.search(text)) if found is not None]
    return text[max(ends, default=0) :].lstrip("\n")


def _is_whole(content: bytes) -> bool:
    """Tell whether a lock's pins are those that were written, whatever they were made of."""
    text = content.decode("utf-8", "replace")
    pins = _PINS.search(text)
    return pins is not None and pins.group(1) == _digest(_body(text))


def _inputs(target: Target, needed: Requirements) -> str:
    """Return the digest of all that decides which pins are right."""
    inputs = {
        "format": _FORMAT,
        "target": target.uv_options,
        "third_party": sorted(needed.third_party),
        "all": needed.all_third_party(),
    }
    return _digest(json.dumps(inputs, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
