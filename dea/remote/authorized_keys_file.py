"""Edits `authorized_keys` so that no byte of a stranger's line changes: locked, backed up, replaced in one step, for its owner alone.

A line is ours if its forced command is the dispatcher; its key label says which one it is. It goes to the file's beginning,
so that a last line without a newline stays the last one, as it is. What a line says is told by `dea.remote.authorized_keys`.
"""

import fcntl
import os
import stat
import time

from dea.remote.approval import unsafe
from dea.remote.authorized_keys import Entry, entry_of
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import REFUSED
from dea.remote.disk import force_to_disk, write_durably

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_TIMEOUT_S = 10.0
"""How long to wait for another edit: each takes milliseconds."""

BACKUPS = 10
"""How many backups stay."""

_DRAFT = ".new-"
_DRAFT_LOST_AFTER_S = 3600.0
_BACKUP = ".dea-"
_BACKUP_DIGITS = "00000000T000000.000000Z"
_MAX_BYTES = 1024 * 1024


class Edit:
    """What an edit did.

    Attributes:
        changed: Whether the file has another content now.
        backup: The path of the backup, or None.
        remarks: What else was put right, one sentence each.
    """

    __slots__ = ("backup", "changed", "remarks")

    def __init__(self) -> None:
        self.changed = False
        self.backup: "str | None" = None
        self.remarks: "list[str]" = []


def authorized_keys_of(home: str) -> str:
    """Return where sshd looks for an account's keys, unless the site has it look elsewhere (sshd_config(5), AuthorizedKeysFile)."""
    return os.path.join(home, ".ssh", "authorized_keys")


def entries(content: bytes) -> "list[tuple[bytes, Entry | None]]":
    """Return the lines, each with its ending, and what they say."""
    *lines, last = content.split(b"\n")
    raw = [line + b"\n" for line in lines] + ([last] if last else [])
    return [(line, entry_of(line.decode("utf-8", "surrogateescape"))) for line in raw]


def with_line(content: bytes, line: str, *, beside: bool = False) -> bytes:
    """Return the content with a line of ours: in the place of its label's, else at the beginning.

    Args:
        content: The file's content.
        line: The line, with the forced command of the dispatcher.
        beside: Whether lines of the same label with other keys stay.

    Raises:
        Refusal: If the same key stands in a line that is not its label's. sshd takes the first that fits, and a stranger's
            may give a shell.
    """
    new = entry_of(line)
    if new is None or new.label is None:
        raise Refusal(REFUSED, f"{shown(line)} is no line of a key with the dispatcher as its forced command")
    kept: "list[bytes]" = []
    elsewhere = []
    placed = False
    for number, (raw, entry) in enumerate(entries(content), 1):
        is_same_key = entry is not None and entry.key.data.rstrip("=") == new.key.data.rstrip("=")
        if entry is None or entry.label != new.label or (beside and not is_same_key):
            kept.append(raw)
            if entry is not None and is_same_key:
                elsewhere.append(f"line {number}" + (f" (the key {shown(entry.label)})" if entry.label else ""))
        elif not placed:
            kept.append(line.encode("utf-8") + b"\n")
            placed = True
    if elsewhere:
        raise Refusal(
            REFUSED,
            f"the key {new.key.fingerprint} is in authorized_keys already, in {' and '.join(elsewhere)}: a key that may do two"
            " things can do the wider; make another key, or remove that line",
        )
    return b"".join(kept if placed else [line.encode("utf-8") + b"\n", *kept])


def without_label(content: bytes, label: str, *, but: "str | None" = None) -> bytes:
    """Return the content without the lines of a key label.

    Args:
        content: The file's content.
        label: The label.
        but: The fingerprint of the one key of that label that stays; None for none.

    Raises:
        Refusal: If the key that is to stay is not there.
    """
    found = entries(content)
    if but is not None and but not in (entry.key.fingerprint for _, entry in found if entry and entry.label == label):
        raise Refusal(
            REFUSED, f"no line of the key {shown(label)} has the fingerprint {shown(but)}: nothing is removed"
        )
    return b"".join(
        raw for raw, entry in found if entry is None or entry.label != label or entry.key.fingerprint == but
    )


def read(path: str) -> bytes:
    """Return the file's content; empty if there is none.

    Raises:
        Refusal: If it is no plain file of the account's own.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return _content(path, descriptor)
    finally:
        os.close(descriptor)


def edit(path: str, change: "Callable[[bytes], bytes]") -> Edit:
    """Change the file's content, if there is anything to change; else only its mode is put right.

    Args:
        path: The file; it and its folder are made if missing.
        change: Returns the new content for the old one. Called again if somebody else has changed the file meanwhile.

    Raises:
        Refusal: If the file or its folder is not the account's own plain one, or another edit does not end; or what `change`
            raises. Then nothing has changed.
        OSError: If it cannot be written; then nothing has changed.
    """
    done = Edit()
    folder = os.path.dirname(path)
    _prepare_folder(folder, done)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        descriptor = _locked(path, deadline)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode != 0o600:
                os.fchmod(descriptor, 0o600)
                wide = " Others could write it until now: look through its lines." if mode & 0o022 else ""
                done.remarks.append(f"{path} had mode {mode:04o}, now 0600.{wide}")
            before = _content(path, descriptor)
            after = change(before)
            if after == before:
                return done
            draft = f"{path}{_DRAFT}{os.urandom(6).hex()}"
            try:
                write_durably(draft, after)
                done.backup = _back_up(path, before) if before else None
                # Who edits without our lock, ssh-copy-id say, appends to the same file.
                if _content(path, descriptor) != before or not _is_still(path, descriptor):
                    if time.monotonic() > deadline:
                        raise Refusal(REFUSED, f"{path} is being changed by something else: end that first")
                    continue
                os.rename(draft, path)
            finally:
                _remove(draft)
            force_to_disk(folder)
            done.changed = True
            _remove_old(path)
            return done
        finally:
            os.close(descriptor)


def _prepare_folder(folder: str, done: Edit) -> None:
    """Make the folder, or check that it is the account's own; its mode is put right."""
    above = os.path.dirname(folder)
    problem = unsafe(os.stat(above), (0, os.geteuid()), stat.S_ISDIR)
    if problem:
        raise Refusal(REFUSED, f"{above} {problem}: sshd ignores authorized_keys below it")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Refusal(REFUSED, f"{folder} is no plain folder of this account's own: put one in its place")
    mode = stat.S_IMODE(status.st_mode)
    # Another folder than that of keys can be anything, the home folder too: there, others may read, as far as sshd minds.
    wanted = 0o700 if os.path.basename(folder) == ".ssh" else mode & ~0o022
    if mode != wanted:
        os.chmod(folder, wanted)
        done.remarks.append(f"{folder} had mode {mode:04o}, now {wanted:04o}.")


def _open(path: str, flags: int) -> int:
    # O_NONBLOCK: a named pipe in the file's place must not hang this.
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "it is a symbolic link: put the file itself there" if os.path.islink(path) else error.strerror
        raise Refusal(REFUSED, f"{path} cannot be opened: {reason}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise Refusal(REFUSED, f"{path} is no plain file of this account's own: run this as the account that it is for")
    return descriptor


def _locked(path: str, deadline: float) -> int:
    """Open the file, made empty if missing, and lock it. By the file itself: a lock's own file would be left behind."""
    while True:
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise Refusal(REFUSED, f"{path} is locked by another edit for {LOCK_TIMEOUT_S:g} s: end that one")
        time.sleep(0.02)


def _is_still(path: str, descriptor: int) -> bool:
    """Tell whether the file that is open is the one at its path: an edit puts a new one there."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _content(path: str, descriptor: int) -> bytes:
    content = os.pread(descriptor, _MAX_BYTES + 1, 0)
    if len(content) > _MAX_BYTES:
        raise Refusal(REFUSED, f"{path} is larger than {_MAX_BYTES} bytes: that is no file of keys")
    return content


def _back_up(path: str, content: bytes) -> str:
    seconds = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06}Z"
    backup = f"{path}{_BACKUP}{stamp}"
    write_durably(backup, content)
    return backup


def _remove_old(path: str) -> None:
    """Remove all but the newest backups, and what edits that were killed have left."""
    folder, name = os.path.split(path)
    digits = str.maketrans("123456789", "000000000")
    found = [
        entry
        for entry in sorted(os.listdir(folder))
        if entry.startswith(name + _BACKUP) and entry[len(name + _BACKUP) :].translate(digits) == _BACKUP_DIGITS
    ]
    for entry in found[:-BACKUPS]:
        _remove(os.path.join(folder, entry))
    for draft in (os.path.join(folder, entry) for entry in os.listdir(folder) if entry.startswith(name + _DRAFT)):
        try:
            if time.time() - os.lstat(draft).st_mtime > _DRAFT_LOST_AFTER_S:
                os.unlink(draft)
        except FileNotFoundError:
            continue  # another edit removes it too, or has just made it the file


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # it was renamed
