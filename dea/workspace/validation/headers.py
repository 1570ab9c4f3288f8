"""The program that reads the headers of native libraries, in a process of its own: `native` starts it and judges.

It gets `{"folder", "names", "limit_s"}` as JSON on standard input and prints a line of JSON for each library, in their order:
its name, and what it says of itself or why that cannot be read. Damaged headers can send pyelftools to 2^32 versions. So
this process has so many seconds of processor time for each library and then is ended by the kernel, whatever it is at
(setitimer(2)), and so much memory.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

_MAX_MEMORY_BYTES = 2 << 30
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", re.ASCII)


def main() -> None:
    """Read each library, and say so at once: what comes after may be the end."""
    request: dict[str, Any] = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for name in request["names"]:
        signal.setitimer(signal.ITIMER_PROF, request["limit_s"])
        sys.stdout.write(json.dumps([name, said_by(Path(request["folder"]) / name)]) + "\n")
        sys.stdout.flush()


def said_by(path: Path) -> dict[str, Any] | str:
    """Return what a library says of itself, or why that cannot be read: `machine`, `bits`, `needed`, `glibc`."""
    try:
        with path.open("rb") as file:
            library = ELFFile(file)
            return {
                "machine": str(library["e_machine"]),
                "bits": library.elfclass,
                "needed": _needed(library),
                "glibc": _highest_glibc(library),
            }
    except ELFError:
        return "is no library of Linux"
    except Exception as error:  # noqa: BLE001 - pyelftools follows what garbled headers say, wherever that ends
        return f"has headers that cannot be read: {error!r:.80}"


def _needed(library: ELFFile) -> list[str]:
    """Return the names of the libraries that it needs."""
    return sorted(
        {
            str(vars(tag)["needed"])  # the library's name, which the tag has by its type
            for section in library.iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags("DT_NEEDED")
        }
    )


def _highest_glibc(library: ELFFile) -> tuple[int, int]:
    """Return the newest version of glibc that a symbol of it asks for; zeros if none does."""
    versions = [
        (int(found[1]), int(found[2]))
        for section in library.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, needs in section.iter_versions()
        for need in needs
        if (found := _GLIBC.fullmatch(str(need.name)))
    ]
    return max(versions, default=(0, 0))


if __name__ == "__main__":
    main()
