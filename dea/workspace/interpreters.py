"""Finds the CPython interpreters of this machine, by absolute path.

Standard library only: the noxfile reads it before anything is installed. Version managers' shims are left out: they answer
to a name and then run whatever version the current folder asks for.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

_NAME = re.compile(r"python3\.\d+", re.ASCII)
_ASK = (
    "import sys; v = sys.version_info; level = '' if v[3] == 'final' else v[3][0] + str(v[4]); "
    "print(sys.implementation.name, '%d.%d' % v[:2], '%d.%d.%d' % v[:3] + level, getattr(sys, '_base_executable', sys.executable))"
)


@functools.cache
def installed() -> dict[str, Path]:
    """Return the path of one CPython for each minor version (`3.11`) that this machine has, sorted by version.

    It looks at `PATH` and then at pyenv's and uv's versions; the first of a version counts.
    """
    found: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("python3.*")):
            if not _NAME.fullmatch(path.name) or path.name.removeprefix("python") in found:
                continue
            if (answer := _ask(path)) is not None:
                found.setdefault(answer[0], answer[2])
    return dict(sorted(found.items(), key=lambda item: int(item[0].partition(".")[2])))


def find(version: str) -> tuple[Path, str] | None:
    """Return a CPython of one minor version, and its exact version (`3.13.0`), without asking all others; None if there is none."""
    for folder in _folders():
        path = folder / f"python{version}"
        if path.is_file() and (answer := _ask(path)) is not None and answer[0] == version:
            return answer[2], answer[1]
    return None


def here() -> Path:
    """Return the interpreter that runs this, or that its virtual environment was made with, wherever it is."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def how_to_install(version: str) -> str:
    """Return what makes `find` find a minor version, on any Linux: few distributions have a package of every version."""
    return f"uv python install {version} installs it for you alone"


def at_least(version: str) -> dict[str, Path]:
    """Return those of `installed` from a minor version (`3.9`) on."""
    lowest = int(version.partition(".")[2])
    return {found: path for found, path in installed().items() if int(found.partition(".")[2]) >= lowest}


def login_node() -> Path:
    """Return the interpreter that a forced command names: the system's own where there is one.

    Raises:
        RuntimeError: If this machine has no CPython 3.9 or newer.
    """
    system = Path("/usr/bin/python3")
    answer = _ask(system)
    if answer is not None and answer[0] in at_least("3.9"):
        return system
    if not at_least("3.9"):
        raise RuntimeError("no CPython 3.9 or newer on this machine: install python3")
    return next(iter(at_least("3.9").values()))


def _folders() -> list[Path]:
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    # The variables are pyenv's and uv's own; an empty one is as good as none.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    managed = [path for base, pattern in ((pyenv, "versions/*/bin"), (uv, "*/bin")) for path in _glob(base, pattern)]
    return [folder for folder in (*on_path, *managed) if folder.name != "shims" and os.access(folder, os.X_OK)]


def _glob(base: Path, pattern: str) -> list[Path]:
    try:
        return sorted(base.glob(pattern))
    except PermissionError:  # another user's
        return []


def _ask(path: Path) -> tuple[str, str, Path] | None:
    """Return an interpreter's minor and exact version and its real executable, or None if it is no working CPython."""
    command = [str(path), "-I", "-S", "-c", _ASK]
    try:
        answer = os.fsdecode(subprocess.run(command, capture_output=True, timeout=10, check=True).stdout)
        implementation, minor, exact, executable = answer.strip().split(" ", 3)
    except (OSError, subprocess.SubprocessError, ValueError):  # the last, because it may say anything or nothing
        return None
    return (minor, exact, Path(executable)) if implementation == "cpython" else None
