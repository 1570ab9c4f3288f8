"""Judges what a native library was built for, by its ELF header: the machine, the C library, the version of Python."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dea.workspace.packaging import Target

_MACHINES = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
_ENDINGS = (".so", ".pyd", ".dylib", ".dll")
_PYTHON = re.compile(r"\.cpython-3(\d+)\b", re.ASCII)
_MAGIC = b"\x7fELF"
_READER = Path(__file__).with_name("headers.py")
_LIMIT_S = 10.0  # of processor time, for each library: a sound one takes some hundredths


def is_library(path: Path) -> bool:
    """Tell whether a file is a native library, or has the name of one."""
    if path.name.endswith(_ENDINGS):
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def problems(folder: Path, names: Sequence[str], target: Target) -> dict[str, str]:
    """Return why native libraries cannot be loaded by a runtime, by their names; those that can be are not in it.

    Args:
        folder: Where they are.
        names: Their paths there.
        target: The runtime.
    """
    said = _said(folder, names)
    found = {name: _problem(name, said[name], target) for name in names}
    return {name: problem for name, problem in found.items() if problem}


def _said(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any] | str]:
    """Return what each library says of itself, or why that is not known."""
    said: dict[str, dict[str, Any] | str] = {}
    while left := [name for name in names if name not in said]:
        request = {"folder": str(folder), "names": left, "limit_s": _LIMIT_S}
        # -P: a package of any name may lie beside the program.
        done = subprocess.run(
            [sys.executable, "-P", str(_READER)],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        said.update(json.loads(line) for line in done.stdout.splitlines())
        if unread := [name for name in left if name not in said]:
            ended = done.returncode == -signal.SIGPROF
            how = f"take longer than {_LIMIT_S:g} s" if ended else f"end who reads them (status {done.returncode})"
            said[unread[0]] = f"is damaged: its headers {how}"
    return said


def _problem(name: str, said: dict[str, Any] | str, target: Target) -> str:
    tag = _PYTHON.search(name)
    if tag and f"3.{tag[1]}" != target.python:
        return f"is built for Python 3.{tag[1]}"
    if isinstance(said, str):
        return said
    machine, bits = said["machine"], said["bits"]
    if machine != _MACHINES[target.architecture] or bits != 64:
        return f"is built for {machine.removeprefix('EM_')}, {bits} bit"
    if musl := [needed for needed in said["needed"] if "musl" in needed]:
        return f"needs another C library, {musl[0]}"
    glibc = tuple(said["glibc"])
    if glibc > target.glibc:
        return f"needs glibc {_dotted(glibc)}, and the runtime has {_dotted(target.glibc)}"
    return ""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
