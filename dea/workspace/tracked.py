"""Finds the files of a folder that are part of the project: those that git does not ignore, committed or not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dea.workspace.errors import WorkspaceError

_GIT_TIMEOUT_S = 60


def files(folder: Path) -> list[str]:
    """Return the files below a folder by their paths within it, sorted; symbolic links are among them, unresolved.

    Outside a git work tree nothing is ignored but Python's caches.

    Raises:
        WorkspaceError: If git cannot say which they are.
    """
    git = shutil.which("git")
    if git is None or not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        found = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        return sorted(path.relative_to(folder).as_posix() for path in found if "__pycache__" not in path.parts)
    # -z: names as they are, unquoted. Files that are committed but gone are left out by the caller's look at them.
    command = [git, "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_GIT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"git did not say within {_GIT_TIMEOUT_S} s which files it ignores in {folder}") from error
    if answer.returncode != 0:
        reason = answer.stderr.decode("utf-8", "replace").strip()
        raise WorkspaceError(f"git does not say which files it ignores in {folder}: {reason}")
    names = {name.decode("utf-8", "surrogateescape") for name in answer.stdout.split(b"\0") if name}
    return sorted(name for name in names if (folder / name).exists() or (folder / name).is_symlink())
