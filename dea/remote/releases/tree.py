"""Writes the files of one commit into a folder, and compares such a folder with its commit.

The objects are read and written one by one. `git archive` and `git checkout` would let attributes in the tree, filters and
the umask have a say in what a file holds and who can write it; here every byte and every mode is the commit's.
"""

import hashlib
import os
import stat
import subprocess

from dea.remote.disk import force_to_disk, write_durably
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.fetch import Git

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from typing import IO

_PLAIN, _EXECUTABLE, _LINK = "100644", "100755", "120000"
_MODES = {_PLAIN: 0o644, _EXECUTABLE: 0o755}
_MAX_SHOWN = 3
_CACHES = "__pycache__"


class Entry:
    """One file of a commit.

    Attributes:
        mode: git's mode of it.
        name: The object's id.
        path: Its path within the tree.
    """

    __slots__ = ("mode", "name", "path")

    def __init__(self, mode: str, name: str, path: str) -> None:
        self.mode = mode
        self.name = name
        self.path = path


def entries(git: Git, commit: str) -> "list[Entry]":
    """Return the files of a commit.

    Raises:
        ReleaseError: If it has something that a release cannot have: a submodule, or a path that leads elsewhere.
    """
    found = []
    for line in git.ask("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
        if not line:
            continue
        about, _, raw = line.partition(b"\t")
        mode, _kind, name = about.decode("ascii").split(" ")
        path = os.fsdecode(raw)
        if mode not in (_PLAIN, _EXECUTABLE, _LINK):
            raise ReleaseError(f"commit {commit} has {path!a} with mode {mode}: a release holds files and links only")
        if _CACHES in path.split("/"):
            # Python could run what is compiled there instead of the source that was reviewed.
            raise ReleaseError(f"commit {commit} has {path!a}: what Python compiles is not committed; git rm it")
        if any(part.lower() in ("", ".", "..", ".git") for part in path.split("/")):
            raise ReleaseError(f"commit {commit} has the path {path!a}, which leads elsewhere")
        found.append(Entry(mode, name, path))
    return found


def write(git: Git, commit: str, folder: str) -> None:
    """Write a commit's files into a new folder, durably; nobody but the account can write any of them.

    Args:
        git: The repository.
        commit: The commit.
        folder: Where to; must not be there yet.

    Raises:
        ReleaseError: If an object is missing or the commit has something that a release cannot have.
        OSError: If it cannot be written.
    """
    _make(folder)
    made = {""}
    # Links last: no file is ever written through one.
    with _Objects(git) as objects:
        for entry in sorted(entries(git, commit), key=lambda entry: entry.mode == _LINK):
            above = os.path.dirname(entry.path)
            for folder_name in _folders_to(above):
                if folder_name not in made:
                    _make(os.path.join(folder, folder_name))
                    made.add(folder_name)
            path = os.path.join(folder, entry.path)
            content = objects.read(entry.name)
            if entry.mode == _LINK:
                os.symlink(os.fsdecode(content), path)
            else:
                write_durably(path, content, _MODES[entry.mode])
    for folder_name in made:
        force_to_disk(os.path.join(folder, folder_name))


def differences(git: Git, commit: str, folder: str) -> "list[str]":
    """Return what of a folder is not as in the commit: changed, missing and added files, and what others can write.

    What Python compiled may be there beside it.
    """
    wanted = {entry.path: entry for entry in entries(git, commit)}
    problems = []
    for above, folders, files in os.walk(folder):
        is_cache = _CACHES in os.path.relpath(above, folder).split("/")
        for name in (".", *(files if is_cache else ())):
            if os.lstat(os.path.join(above, name)).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                problems.append(f"{os.path.relpath(os.path.join(above, name), folder)} can be written by others")
        if is_cache:
            continue
        for name in [*files, *(one for one in folders if os.path.islink(os.path.join(above, one)))]:
            path = os.path.join(above, name)
            entry = wanted.pop(os.path.relpath(path, folder), None)
            if entry is None:
                problems.append(f"{os.path.relpath(path, folder)} was added")
            elif not _is_as(path, entry):
                problems.append(f"{entry.path} was changed")
    return problems + [f"{path} is missing" for path in wanted]


def summary(problems: "list[str]") -> str:
    """Return some of many problems in one line."""
    more = f", and {len(problems) - _MAX_SHOWN} more" if len(problems) > _MAX_SHOWN else ""
    return ", ".join(ascii(problem)[1:-1] for problem in problems[:_MAX_SHOWN]) + more


class _Objects:
    """The repository's objects, from one process of git (git-cat-file(1), `--batch`)."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def __enter__(self) -> "_Objects":
        self._process = subprocess.Popen(
            self._git.command("cat-file", "--batch"),
            env=self._git.environment(),
            cwd=os.path.dirname(self._git.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, name: str) -> bytes:
        """Return the content of one object."""
        to_git, from_git = self._process.stdin, self._process.stdout
        if to_git is None or from_git is None:
            raise ReleaseError("git cat-file has no pipes")
        to_git.write(name.encode("ascii") + b"\n")
        to_git.flush()
        header = from_git.readline().split()
        if len(header) != 3 or header[0] != name.encode("ascii") or header[1] != b"blob":
            raise ReleaseError(f"git has no object {name}: the clone is broken")
        content = _exactly(from_git, int(header[2]))
        _exactly(from_git, 1)  # a newline
        if _name_of(content, name) != name:
            raise ReleaseError(f"the object {name} has another content than its name says: the clone is broken")
        return content


def _exactly(stream: "IO[bytes]", count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise ReleaseError("git cat-file ended too early")
    return content


def _name_of(content: bytes, like: str) -> str:
    """Return the name that git gives to a content, by the same hash as a name that is known."""
    algorithm = hashlib.sha256 if len(like) == 64 else hashlib.sha1  # git's own choice, not one of ours
    return algorithm(b"blob %d\0" % len(content) + content).hexdigest()


def _is_as(path: str, entry: Entry) -> bool:
    mode = os.lstat(path).st_mode
    if entry.mode == _LINK:
        content = os.fsencode(os.readlink(path)) if stat.S_ISLNK(mode) else b""
        return stat.S_ISLNK(mode) and _name_of(content, entry.name) == entry.name
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) != _MODES[entry.mode]:
        return False
    with open(path, "rb") as file:
        return _name_of(file.read(), entry.name) == entry.name


def _folders_to(folder: str) -> "list[str]":
    """Return a folder and those above it, the highest first.

    >>> _folders_to("a/b/c")
    ['a', 'a/b', 'a/b/c']
    """
    parts = folder.split("/") if folder else []
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _make(folder: str) -> None:
    os.mkdir(folder, 0o755)
    os.chmod(folder, 0o755)  # noqa: S103 - not writable by others, whatever the umask
