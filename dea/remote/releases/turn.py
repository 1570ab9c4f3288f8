"""One update at a time, over all login nodes that share the state folder.

The turn is a file with a heartbeat, its time of modification. Who finds it free makes its next generation with link(2),
which one alone can; so two never both believe that they hold it. Locks would be simpler, but a file system can be mounted
with locks that hold on one node only. A holder that was killed is noticed at once on its own node, and on another one when
its heartbeat is old.
"""

import os
import threading

from dea.remote.contract.request import shown
from dea.remote.releases.errors import BUSY, ReleaseError

LOST_AFTER_S = 120.0
"""For how long without a heartbeat a holder on another node still counts: longer than a file server takes to restart."""

_BEATS = 30
_FREE = (0, 0)  # the time of modification of a turn that was given back


class Turn:
    """The right to change releases, while the context is open.

    Args:
        folder: Where the turn is kept; made if missing.
        lost_after_s: For how long without a heartbeat this holder counts; it is written down for the others.
    """

    def __init__(self, folder: str, lost_after_s: float = LOST_AFTER_S) -> None:
        self._folder = folder
        self._lost_after_s = lost_after_s
        self._path = ""
        self._over = threading.Event()

    def __enter__(self) -> "Turn":
        """Take the turn.

        Raises:
            ReleaseError: With `BUSY` if another has it.
            OSError: If the folder cannot be written.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        own = os.path.join(self._folder, f"new-{os.urandom(8).hex()}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, " ".join((*_identity(os.getpid()), str(self._lost_after_s))).encode("utf-8"))
            self._path = self._take(own, descriptor)
        finally:
            os.close(descriptor)
            _remove(own)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._over.set()
        _touch(self._path, _FREE)

    def check(self) -> None:
        """Check that the turn is still this process's: one that was frozen for long may have lost it.

        Raises:
            ReleaseError: If it is not.
        """
        if self._path != os.path.join(self._folder, _name(_newest(self._folder))):
            raise ReleaseError("this update stood still for so long that another took its turn", BUSY)

    def _take(self, own: str, descriptor: int) -> str:
        newest = _newest(self._folder)
        # By the file system's own clock, as the heartbeats are: no two nodes' clocks need agree.
        holder = (
            None if newest < 0 else _holder(os.path.join(self._folder, _name(newest)), os.fstat(descriptor).st_mtime)
        )
        if holder is not None:
            raise ReleaseError(f"another update is going on, {holder}: try again later", BUSY)
        path = os.path.join(self._folder, _name(newest + 1))
        try:
            os.link(own, path)
        except FileExistsError:
            if os.fstat(descriptor).st_nlink == 1:  # else NFS repeated the call, and the link is this process's own
                raise ReleaseError("another update has just begun: try again later", BUSY) from None
        if _newest(self._folder) != newest + 1:  # what was listed was old: who made a higher generation has the turn
            _remove(path)
            raise ReleaseError("another update has just begun: try again later", BUSY)
        for entry in os.listdir(self._folder):
            if entry.startswith("turn.") and entry != _name(newest + 1):
                _remove(os.path.join(self._folder, entry))
        return path

    def _beat(self) -> None:
        while not self._over.wait(self._lost_after_s / _BEATS):
            _touch(self._path, None)


def _name(generation: int) -> str:
    return f"turn.{generation}"


def _newest(folder: str) -> int:
    numbers = (entry[len("turn.") :] for entry in os.listdir(folder) if entry.startswith("turn."))
    return max((int(number) for number in numbers if number.isdigit()), default=-1)


def _holder(path: str, now: float) -> "str | None":
    """Return who holds a turn, in words, or None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)  # opening asks an NFS server anew
    except FileNotFoundError:
        return "begun just now"
    try:
        beat = os.fstat(descriptor).st_mtime
        words = os.read(descriptor, 512).decode("utf-8", "replace").split(" ")
    finally:
        os.close(descriptor)
    if beat == 0:
        return None
    if len(words) != 5:
        words = ["", "", "", "", str(LOST_AFTER_S)]  # not what this module writes: its heartbeat still counts
    node, boot, pid, _start, lost_after_s = words
    own_node, own_boot, *_ = own = _identity(int(pid) if pid.isdigit() else 0)
    if (node, boot) == (own_node, own_boot) and boot != "-" and list(own) != words[:4]:
        return None  # it was on this node, and that process is no more
    if now - beat > float(lost_after_s):
        return None
    return f"on {shown(node)}, process {shown(pid)}, heard of {max(0.0, now - beat):.0f} s ago"


def _identity(pid: int) -> "tuple[str, str, str, str]":
    """Return what no other process has: the node, its boot, the process's number and its start (proc(5))."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    state, *fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or ["Z"]
    # A zombie has ended: its parent has only not noticed yet.
    return os.uname().nodename, boot or "-", str(pid), fields[18] if state != "Z" else "-"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _touch(path: str, times: "tuple[int, int] | None") -> None:
    try:
        os.utime(path, times)
    except OSError:
        pass  # another has it, because this process was frozen for too long, or the file system fails


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # somebody else has
