"""Reads what a native library was built for, by its ELF header: the machine, the C library, the version of Python."""

from __future__ import annotations

import re
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from dea.workspace.packaging import Target

_MACHINES = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
_ENDINGS = (".so", ".pyd", ".dylib", ".dll")
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", re.ASCII)
_PYTHON = re.compile(r"\.cpython-3(\d+)\b", re.ASCII)
_MAGIC = b"\x7fELF"


def is_library(path: Path) -> bool:
    """Tell whether a file is a native library, or has the name of one."""
    if path.name.endswith(_ENDINGS):
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def problem(path: Path, target: Target) -> str:
    """Return why a native library cannot be loaded by a runtime, or nothing.

    Args:
        path: The library.
        target: The runtime.
    """
    tag = _PYTHON.search(path.name)
    if tag and f"3.{tag[1]}" != target.python:
        return f"is built for Python 3.{tag[1]}"
    try:
        with path.open("rb") as file:
            return _problem(ELFFile(file), target)
    except ELFError:
        return "is no library of Linux"
    except Exception as error:  # noqa: BLE001 - pyelftools follows what garbled headers say, wherever that ends
        return f"has headers that cannot be read: {error!r:.80}"


def _problem(library: ELFFile, target: Target) -> str:
    machine = str(library["e_machine"])
    if machine != _MACHINES[target.architecture] or library.elfclass != 64:
        return f"is built for {machine.removeprefix('EM_')}, {library.elfclass} bit"
    needed = sorted(
        {
            str(vars(tag)["needed"])  # the library's name, which the tag has by its type
            for section in library.iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags("DT_NEEDED")
        }
    )
    if musl := [name for name in needed if "musl" in name]:
        return f"needs another C library, {musl[0]}"
    versions = [
        (int(found[1]), int(found[2]))
        for section in library.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, needs in section.iter_versions()
        for need in needs
        if (found := _GLIBC.fullmatch(str(need.name)))
    ]
    highest = max(versions, default=(0, 0))
    if highest > target.glibc:
        return f"needs glibc {_dotted(highest)}, and the runtime has {_dotted(target.glibc)}"
    return ""


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
