"""Finds the files that an approval covers, and what would keep a command from running."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path

from dea.remote.approval import APPROVED
from dea.remote.decision import INSTALL
from dea.remote.launch import PATH
from dea.remote.signature import SUFFIX
from dea.workspace import tracked

SIGNATURE = APPROVED + SUFFIX

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
    problems += [
        f"{name} is ignored by git, so the approval would not cover it: take it out of .gitignore"
        for name in ("run", "command.yaml")
        if (folder / name).is_file() and name not in names
    ]
    programs = ["run", *(name for name in names if name == INSTALL)]
    return problems + [problem for name in programs for problem in _problems_with_program(folder / name, site_path)]


def _problems_with_program(program: Path, site_path: str) -> list[str]:
    """Return why one of a command's two programs, `run` and `install.sh`, could not be started."""
    if program.is_symlink() or not program.is_file():
        return [f"{program.name} is missing: the file that is started"]
    is_executable = program.stat().st_mode & stat.S_IXUSR
    problems = [] if is_executable else [f"{program.name} is not executable: chmod +x {program.name}"]
    problem = _problem_with_first_line(program, site_path)
    return [*problems, f"{program.name}{problem}"] if problem else problems


def _problem_with_first_line(program: Path, site_path: str) -> str | None:
    """Return what is wrong with a program's first line, as what follows the program's name in a sentence; or None."""
    content = program.read_bytes()
    if content.startswith(b"\x7fELF"):
        return None
    first = content[:_MAX_SHEBANG_BYTES].partition(b"\n")[0]
    if b"\r\n" in content or first.endswith(b"\r"):
        return " has CRLF line ends: its interpreter would not be found; convert it (dos2unix)"
    words = first[2:].decode("utf-8", "replace").split()
    if not first.startswith(b"#!") or not words or not words[0].startswith("/"):
        return " has no interpreter: begin it with #!/bin/sh, or another absolute path"
    interpreter = Path(words[0])
    if not interpreter.exists() and (
        interpreter.parent.exists() or str(interpreter.parent) not in site_path.split(":")
    ):
        return f"'s interpreter {interpreter} does not exist here, nor is it in a folder of site.yaml's path that only the site has"
    return _problem_with_env(words[1:], site_path or PATH) if interpreter.name == "env" else None


def _problem_with_env(words: list[str], path: str) -> str | None:
    """Return what is wrong with what stands behind `#!/usr/bin/env`, or None: it would end with a status 127 of its own."""
    if words[:1] == ["-S"] or not words:
        return None if words else " has no interpreter: env needs its name"
    if len(words) > 1:
        # execve(2): all that stands there is one argument
        return f" has no interpreter: Linux hands {' '.join(words)!r} to env as one word; use env -S, or the interpreter's own path"
    only_there = not all(Path(folder).is_dir() for folder in path.split(":"))
    if only_there or shutil.which(words[0], path=path):
        return None
    return f"'s interpreter {words[0]} is in no folder of the path that commands have, {path}"
