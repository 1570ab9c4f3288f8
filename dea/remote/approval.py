"""Checks before a run that a command is what was approved: its approval, every file's content, and who could write to it.

It only reads; `dea.workspace.approval` writes approvals. What this catches, and what it does not, is said in
docs/explanation/approval.md.
"""

import os
import stat

from dea.remote.contract.request import Refusal
from dea.remote.contract.schema import is_sound
from dea.remote.contract.status import NOT_FOUND, REFUSED
from dea.remote.digest import sha256
from dea.remote.plain_json import decode

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
"""The version of the format of `approved.json`; any other is refused."""

SCRIPTS = "raijin_scripts"
APPROVED = "approved.json"
SITE, SITE_APPROVED = "site.yaml", "site.approved.json"

_MAX_APPROVAL_BYTES = 4 * 1024 * 1024
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LIMITS = (
    "timeout", "max_parallel", "max_output_bytes", "stored_days", "stored_bytes", "request_burst", "requests_per_second",
)  # fmt: skip


class Unapproved(Exception):
    """A command, or what is true of the site, is not as it was approved.

    Attributes:
        problems: All that is wrong and what to do, one sentence each.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def find(checkout: str, name: str) -> str:
    """Return the path of a command's folder.

    Raises:
        Refusal: With `NOT_FOUND` if there is no such command, with `REFUSED` if it is no plain executable file in a plain
            folder.
    """
    folder = os.path.join(checkout, SCRIPTS, name)
    program = os.path.join(folder, "run")
    try:
        # lstat: a link could lead out of the folder that was approved
        folder_mode, mode = os.lstat(folder).st_mode, os.lstat(program).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal(NOT_FOUND, f"there is no command {name}: --list names those that there are") from None
    except OSError as error:
        raise Refusal(REFUSED, f"{name} cannot be looked at ({error.strerror}): tell the operator") from error
    if not stat.S_ISDIR(folder_mode) or not stat.S_ISREG(mode):
        raise Refusal(REFUSED, f"{name} is not a folder with a plain file `run`: symbolic links are not followed")
    if not os.access(program, os.X_OK):
        raise Refusal(REFUSED, f"{name}/run is not executable: chmod +x it")
    return folder


def commands_in(checkout: str) -> "list[str]":
    """Return the names of the folders that hold a `run`, sorted; one of them may be no name that a command can have.

    Raises:
        OSError: If the folder of the commands cannot be read.
    """
    scripts = os.path.join(checkout, SCRIPTS)
    return [name for name in sorted(os.listdir(scripts)) if os.path.lexists(os.path.join(scripts, name, "run"))]


def load_command(checkout: str, name: str) -> "dict[str, Any]":
    """Return the content of a command's approval, without checking that it still holds.

    Raises:
        Unapproved: If there is none, or none that this dispatcher can read.
    """
    approved = _load(os.path.join(checkout, SCRIPTS, name, APPROVED), f"inv approve --name {name}")
    if approved.get("command") != name or "run" not in approved["files"]:
        raise Unapproved(f"{name}/{APPROVED} is the approval of something else: run inv approve --name {name}")
    if not is_sound(approved.get("arguments")):
        raise Unapproved(f"{name}/{APPROVED} has no schema of the arguments: run inv approve --name {name}")
    return approved


def load_site(checkout: str) -> "dict[str, Any]":
    """Return what is approved to be true of the site (`path`, `environment`, `timeout`); empty where no site is described.

    Raises:
        Unapproved: If `site.yaml` is there without an approval, or has changed since.
    """
    scripts = os.path.join(checkout, SCRIPTS)
    if not os.path.lexists(os.path.join(scripts, SITE)) and not os.path.lexists(os.path.join(scripts, SITE_APPROVED)):
        return {}
    approved = _load(os.path.join(scripts, SITE_APPROVED), "inv approve --name site")
    if SITE not in approved["files"]:
        raise Unapproved(f"{SITE_APPROVED} is the approval of something else: run inv approve --name site")
    return approved


def verify(checkout: str, folder: str, approval: str, files: "dict[str, str]") -> None:
    """Check that files are as approved, and that nobody but their owner and root could have changed them.

    Args:
        checkout: The checkout's root, the last folder that is checked.
        folder: The folder that the names in `files` belong to.
        approval: The path of the approval itself.
        files: The SHA-256 of each file, in hexadecimal digits, by its path within `folder`.

    Raises:
        Unapproved: Naming every file and folder that is not as it should be.
    """
    problems: "list[str]" = []
    trusted = (0, os.getuid())
    folders = {os.path.dirname(approval)}
    for name, digest in files.items():
        path = os.path.join(folder, name)
        problem = _problem_with_file(path, digest, trusted)
        if problem:
            problems.append(f"{os.path.relpath(path, checkout)} {problem}")
        folders.add(os.path.dirname(path))
    problem = unsafe(os.lstat(approval), trusted, stat.S_ISREG)
    if problem:
        problems.append(f"{os.path.relpath(approval, checkout)} {problem}")
    checked: "set[str]" = set()
    for lowest in sorted(folders):
        above = lowest
        while above not in checked:
            checked.add(above)
            try:
                problem = unsafe(os.lstat(above), trusted, stat.S_ISDIR)
            except OSError as error:
                problem = f"cannot be looked at ({error.strerror})"
            if problem:
                problems.append(f"{os.path.relpath(above, checkout)} {problem}")
            if above == checkout or above == os.path.dirname(above):
                break
            above = os.path.dirname(above)
    if problems:
        raise Unapproved(*problems)


def unsafe(status: os.stat_result, trusted: "tuple[int, int]", is_kind: "Any") -> "str | None":
    """Return why a file or folder cannot be trusted, or None: the rules of sshd's StrictModes."""
    if not is_kind(status.st_mode):
        return "is a symbolic link or no plain file or folder: put the thing itself there"
    if status.st_uid not in trusted:
        return f"belongs to user {status.st_uid}: it must belong to root or to the account that runs it"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o}): chmod go-w it"
    return None


def _load(path: str, remedy: str) -> "dict[str, Any]":
    shown_path = "/".join(path.split("/")[-2:])
    try:
        content = _read(path, _MAX_APPROVAL_BYTES)
    except FileNotFoundError:
        raise Unapproved(f"it is not approved: {shown_path} is missing; run {remedy}") from None
    except OSError as error:
        raise Unapproved(f"{shown_path} cannot be read ({error.strerror})") from error
    try:
        value = decode(content)
        sound = True
    except ValueError:
        sound = False
    if sound and value.get("format") != FORMAT:
        raise Unapproved(
            f"{shown_path} has format {value.get('format')!r}, this dispatcher reads {FORMAT}: run {remedy}"
        )
    if not sound or not _is_sound(value):
        raise Unapproved(f"{shown_path} is not what inv approve writes: run {remedy}")
    return value


def _is_sound(document: "dict[str, Any]") -> bool:
    """Tell whether what both kinds of approval say is of its type: a limit of 0 or false would be none at all."""
    limits = [document[name] for name in _LIMITS if name in document]
    texts = [document[name] for name in ("path", "summary", "schema", "content") if name in document]
    for mapping in (document.get("files"), document.get("environment", {})):
        if not isinstance(mapping, dict):
            return False
        texts += mapping.values()
    return (
        all(type(limit) is int and limit > 0 for limit in limits)
        and all(isinstance(text, str) for text in texts)
        and isinstance(document.get("stdin", False), bool)
    )


def _read(path: str, limit: int) -> bytes:
    # O_NONBLOCK: a named pipe in a file's place must not hang the dispatcher.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise OSError(0, "it is no plain file, or far too large")
        return _rest_of(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _rest_of(descriptor: int, size_bytes: int) -> bytes:
    chunks: "list[bytes]" = []
    while True:
        chunk = os.read(descriptor, size_bytes + 1)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _problem_with_file(path: str, digest: str, trusted: "tuple[int, int]") -> "str | None":
    """Return what is wrong with a file, or None. Its state and its content are taken from one descriptor."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return "is missing: it was there when the command was approved"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    try:
        status = os.fstat(descriptor)
        problem = unsafe(status, trusted, stat.S_ISREG)
        if problem:
            return problem
        found = sha256()
        while True:
            # No more room than it takes: a large buffer for a small file costs more than reading it.
            chunk = os.read(descriptor, min(status.st_size + 1, 1 << 18))
            if not chunk:
                break
            found.update(chunk)
        return None if found.hexdigest() == digest else "has changed since it was approved"
    finally:
        os.close(descriptor)
