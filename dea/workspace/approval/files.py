"""Finds the files that an approval covers, and what would keep a command from running."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from dea.remote.approval import APPROVED
from dea.workspace import tracked

SIGNATURE = APPROVED + ".sig"

_MAX_SHEBANG_BYTES = 256  # Linux's BINPRM_BUF_SIZE: what it reads of a script's first line


def covered(folder: Path) -> list[str]:
    """Return the files of a command that an approval covers, by their paths within its folder, sorted.

    These are the files that git does not ignore, without the approval itself.

    Raises:
        WorkspaceError: If git cannot say which they are.
    """
    return [name for name in tracked.files(folder) if name not in (APPROVED, SIGNATURE)]


def digests(folder: Path, names: list[str]) -> dict[str, str]:
    """Return the SHA-256 of files, in hexadecimal digits, by their names."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def problems_with(folder: Path, names: list[str], site_path: str) -> list[str]:
    """Return what is wrong with a command's files: what the dispatcher would refuse, and what could not start.

    Args:
        folder: The command's folder.
        names: The files that the approval covers.
        site_path: The site's own PATH. An interpreter in one of its folders is believed to be there if this machine does
            not have that folder at all.
    """
    problems = []
    for name in names:
        path = folder / name
        if path.is_symlink():
            problems.append(f"{name} is a symbolic link: put the file itself there")
        elif not path.is_file():
            problems.append(f"{name} is no plain file")
    return problems + _problems_with_run(folder / "run", site_path)


def _problems_with_run(run: Path, site_path: str) -> list[str]:
    if run.is_symlink() or not run.is_file():
        return ["run is missing: the file that is started"]
    problems = [] if run.stat().st_mode & stat.S_IXUSR else ["run is not executable: chmod +x run"]
    problem = _problem_with_first_line(run, site_path)
    return [*problems, problem] if problem else problems


def _problem_with_first_line(run: Path, site_path: str) -> str | None:
    content = run.read_bytes()
    if content.startswith(b"\x7fELF"):
        return None
    first = content[:_MAX_SHEBANG_BYTES].partition(b"\n")[0]
    if b"\r\n" in content or first.endswith(b"\r"):
        return "run has CRLF line ends: its interpreter would not be found; convert it (dos2unix)"
    words = first[2:].decode("utf-8", "replace").split()
    if not first.startswith(b"#!") or not words or not words[0].startswith("/"):
        return "run has no interpreter: begin it with #!/bin/sh, or another absolute path"
    interpreter = Path(words[0])
    if not interpreter.exists() and (
        interpreter.parent.exists() or str(interpreter.parent) not in site_path.split(":")
    ):
        return f"run's interpreter {interpreter} does not exist here, nor is it in a folder of site.yaml's path that only the site has"
    return None
