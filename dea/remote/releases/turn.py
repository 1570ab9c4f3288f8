"""One update at a time, over all login nodes that share the state folder: a place of which there is one.

Beyond what a place is (`dea.remote.places`), the holder is one process from beginning to end, and says which: so a holder
that was killed is noticed at once on its own node, and on another one when its heartbeat is old.
"""

import os
import threading

from dea.remote.contract.request import shown
from dea.remote.places import Place, take_place
from dea.remote.releases.errors import BUSY, ReleaseError

LOST_AFTER_S = 120.0
"""For how long without a heartbeat a holder on another node still counts: longer than a file server takes to restart."""

_BEATS = 30


class Turn:
    """The right to change releases, while the context is open.

    Args:
        folder: Where the turn is kept; made if missing.
        lost_after_s: For how long without a heartbeat this holder counts; it is written down for the others.
    """

    def __init__(self, folder: str, lost_after_s: float = LOST_AFTER_S) -> None:
        self._folder = folder
        self._lost_after_s = lost_after_s
        self._other = "begun just now"
        self._over = threading.Event()
        self._place: Place
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Turn":
        """Take the turn.

        Raises:
            ReleaseError: With `BUSY` if another has it.
            OSError: If the folder cannot be written.
        """
        place = take_place(self._folder, 1, self._lost_after_s, " ".join(_identity(os.getpid())), self._is_gone)
        if place is None:
            raise ReleaseError(f"another update is going on, {self._other}: try again later", BUSY)
        self._place = place
        self._beating.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._over.set()
        self._beating.join()  # a beat after that would take it anew
        self._place.give_back()

    def check(self) -> None:
        """Check that the turn is still this process's: one that was frozen for long may have lost it.

        Raises:
            ReleaseError: If it is not.
        """
        if not self._place.is_held():
            raise ReleaseError("this update stood still for so long that another took its turn", BUSY)

    def _beat(self) -> None:
        while not self._over.wait(self._lost_after_s / _BEATS):
            self._place.beat()

    def _is_gone(self, holder: str, silent_s: float) -> bool:
        """Tell whether a holder was a process of this node that is no more."""
        words = holder.split(" ")
        if len(words) != 4:
            self._other = "which did not say where"  # not what this module writes: its heartbeat still counts
            return False
        node, boot, pid, _start = words
        self._other = f"on {shown(node)}, process {shown(pid)}, heard of {max(0.0, silent_s):.0f} s ago"
        own_node, own_boot, *_ = own = _identity(int(pid) if pid.isdigit() else 0)
        return (node, boot) == (own_node, own_boot) and boot != "-" and list(own) != words


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
