"""Places: no more of a thing at once than there are, over all login nodes that share the state folder.

Of a command there are as many as its `max_parallel`; of updates there is one (`dea.remote.releases.turn`).

A place is a file with a heartbeat, its time of modification. Who takes a place that is free makes the place's next
generation with link(2), which one alone can; the highest generation is never removed but by who made a higher one, so
two can never both believe that they hold it. Locks would be simpler, but Lustre can be mounted with locks that hold on one
node only.
"""

import os

from dea.remote.audit import make_private_folder
from dea.remote.contract.request import Refusal
from dea.remote.contract.status import BUSY
from dea.remote.decision import Site

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable

_FREE = (0, 0)  # the time of modification of a place that was given back
_UNREADABLE_S = 120.0  # how long a holder counts whose own word is gone: after a power cut its file can be empty


class Place:
    """A place that this process holds.

    Args:
        path: The place's file.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def beat(self) -> None:
        """Say that the holder lives."""
        _touch(self._path, None)

    def give_back(self) -> None:
        """Free the place. One that is not given back is free when its heartbeat is old."""
        _touch(self._path, _FREE)

    def is_held(self) -> bool:
        """Tell whether the place is still this holder's: one that was frozen for too long may have lost it."""
        folder, name = os.path.split(self._path)
        number, _, generation = name.partition(".")
        return _generations(folder).get(int(number), [])[-1:] == [int(generation)]


def place_for(site: Site, name: str, places: int) -> Place:
    """Take one of a command's places.

    Raises:
        Refusal: With `BUSY` if all are taken.
        OSError: If the state folder cannot be written.
    """
    place = take_place(os.path.join(site.state, "places", name), places, site.lost_after_s)
    if place is None:
        raise Refusal(BUSY, f"{name} already runs {places} times, and no more at once: try again later")
    return place


def take_place(
    folder: str,
    places: int,
    lost_after_s: float,
    holder: str = "",
    is_gone: "Callable[[str, float], bool] | None" = None,
) -> "Place | None":
    """Take one of a number of places.

    Args:
        folder: The folder of the places; made if missing.
        places: How many there are.
        lost_after_s: For how long without a heartbeat this holder still counts; it is written down for the others.
        holder: More about this holder for the others.
        is_gone: Tells of what a holder wrote, and for how many seconds it has been silent, whether it is known to be gone.

    Returns:
        The place, or None if all are taken.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    own = os.path.join(folder, f"new-{os.urandom(8).hex()}")
    try:
        descriptor = _create(own)
    except FileNotFoundError:
        make_private_folder(folder)
        descriptor = _create(own)
    try:
        os.write(descriptor, f"{lost_after_s} {holder}".rstrip().encode())
        now = os.fstat(descriptor).st_mtime  # by the file system's own clock, as the heartbeats are
        taken = _generations(folder)
        for number in range(places):
            held = taken.get(number, [-1])
            if held[-1] >= 0 and not _is_free(os.path.join(folder, f"{number}.{held[-1]}"), now, is_gone):
                continue
            path = os.path.join(folder, f"{number}.{held[-1] + 1}")
            try:
                os.link(own, path)
            except FileExistsError:
                if os.fstat(descriptor).st_nlink == 1:
                    continue  # another was faster; else NFS repeated the call, and the link is this process's own
            # What was listed can have been old: who made a higher generation meanwhile holds the place.
            if _generations(folder).get(number, [])[-1:] == [held[-1] + 1]:
                _remove(*(os.path.join(folder, f"{number}.{old}") for old in held))
                return Place(path)
            _remove(path)
        return None
    finally:
        os.close(descriptor)
        _remove(own)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _generations(folder: str) -> "dict[int, list[int]]":
    """Return the generations that there are of each place, in order."""
    found: "dict[int, list[int]]" = {}
    for entry in os.listdir(folder):
        number, _, generation = entry.partition(".")
        if number.isdigit() and generation.isdigit():
            found.setdefault(int(number), []).append(int(generation))
    return {number: sorted(generations) for number, generations in found.items()}


def _is_free(path: str, now: float, is_gone: "Callable[[str, float], bool] | None") -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)  # opening asks an NFS server anew
    except FileNotFoundError:
        return False  # somebody holds a higher generation by now
    try:
        beat = os.fstat(descriptor).st_mtime
        if beat == 0:
            return True
        said, _, holder = os.read(descriptor, 512).decode("utf-8", "replace").partition(" ")
    finally:
        os.close(descriptor)
    try:
        lost_after_s = float(said)
    except ValueError:
        lost_after_s = _UNREADABLE_S
    return (is_gone is not None and is_gone(holder, now - beat)) or now - beat > lost_after_s


def _touch(path: str, times: "tuple[int, int] | None") -> None:
    try:
        os.utime(path, times)
    except OSError:
        pass  # it was given to another, because this process was frozen for too long, or the file system fails


def _remove(*paths: str) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except OSError:
            pass  # somebody else has
