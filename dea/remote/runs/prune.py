"""Removes stored output that is old or too much, and claims that are very old: `--prune`, and now and then by itself.

Output goes, the claim stays: for a month at least, the same run id is still known, and still runs nothing. What runs is
never touched.
"""

import os

from dea.remote.contract.receipt import RUNNING
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import USAGE
from dea.remote.runs.follow import CLAIMED, standing
from dea.remote.runs.store import OUTCOME, PULSE, STDERR, STDOUT, Run, Store, discard, now, stores

OUTPUT_DAYS = 14.0
"""How long output is kept, unless the site says otherwise."""

OUTPUT_BYTES = 4 << 30
"""How much output of ended runs is kept in all, unless the site says otherwise: many a home folder holds only 10 GiB."""

CLAIM_DAYS = 30.0
"""How long a claim is kept at least: longer than anything repeats a request by itself (SQS keeps messages for 14 days)."""

_DAY_S = 86400.0
_EVERY_S = 3600.0
_LARGE_BYTES = 64 << 20
_MARK = "pruned"


class Pruned:
    """What was removed.

    Attributes:
        outputs: Of how many runs the output.
        claims: How many claims.
        removed_bytes: How much output.
        kept_bytes: How much is left.
    """

    __slots__ = ("claims", "kept_bytes", "outputs", "removed_bytes")

    def __init__(self) -> None:
        self.outputs = 0
        self.claims = 0
        self.removed_bytes = 0
        self.kept_bytes = 0


def report(state: str, arguments: "tuple[str, ...]") -> "tuple[dict[str, object], list[str]]":
    """Prune by hand, and return what was removed, and the same as lines of text.

    Args:
        state: The state folder, unless the arguments name another.
        arguments: `--older-than-days N`, `--max-bytes N`, `--state DIR`.

    Raises:
        Refusal: If an argument is none of these.
    """
    days, max_bytes = OUTPUT_DAYS, float(OUTPUT_BYTES)
    rest = iter(arguments)
    for option in rest:
        value = next(rest, "")
        if option == "--state" and value:
            state = value
        elif option == "--older-than-days":
            days = _number(option, value)
        elif option == "--max-bytes":
            max_bytes = _number(option, value)
        else:
            raise Refusal(USAGE, f"{shown(option)}: --prune takes --older-than-days N, --max-bytes N and --state DIR")
    pruned = prune(state, days, max_bytes)
    return (
        {name: getattr(pruned, name) for name in Pruned.__slots__},
        [
            f"removed the output of {pruned.outputs} runs ({pruned.removed_bytes} bytes) and {pruned.claims} claims;"
            f" {pruned.kept_bytes} bytes of output are kept"
        ],
    )


def prune(state: str, days: float, max_bytes: float) -> Pruned:
    """Remove output older than some days, the oldest of what is then still too much, and claims older than a month or that.

    Args:
        state: The state folder.
        days: How old output may be.
        max_bytes: How much there may be in all.
    """
    pruned = Pruned()
    kept: "list[tuple[float, int, Run]]" = []
    for store in stores(state):
        time = store.now()
        _remove_leftovers(store, time)
        for run in store.runs():
            found = standing(store, run)
            if found.state in (RUNNING, CLAIMED) and found.silent_s <= _DAY_S:
                pruned.kept_bytes += _size_of(run)
                continue
            age_s = time - _time_of_end(run)
            if age_s > max(days, CLAIM_DAYS) * _DAY_S:
                pruned.removed_bytes += _size_of(run)
                _remove_claim(store, run)
                pruned.claims += 1
            else:
                kept.append((age_s, _size_of(run), run))
    kept.sort(key=lambda entry: entry[0])
    total = pruned.kept_bytes
    for age_s, size_bytes, run in kept:  # the newest first
        total += size_bytes
        if size_bytes and (age_s > days * _DAY_S or total > max_bytes):
            total -= size_bytes
            _remove_output(run)
            pruned.outputs += 1
            pruned.removed_bytes += size_bytes
        else:
            pruned.kept_bytes += size_bytes
    return pruned


def prune_now_and_then(state: str, days: float, max_bytes: float, stored_bytes: int) -> None:
    """Prune if the last time is an hour ago, or if much was stored just now. For a process that nobody waits for.

    Args:
        state: The state folder.
        days: As for `prune`.
        max_bytes: As for `prune`.
        stored_bytes: How much output the run has that was just over.
    """
    mark = os.path.join(state, "runs", _MARK)
    time = now(state)
    try:
        if time - os.stat(mark).st_mtime < _EVERY_S and stored_bytes < _LARGE_BYTES:
            return
        os.utime(mark)
    except FileNotFoundError:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    prune(state, days, max_bytes)


def _number(option: str, value: str) -> float:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise Refusal(USAGE, f"{option} {shown(value)}: give a whole number")
    return float(value)


def _size_of(run: Run) -> int:
    return run.stored_bytes(STDOUT) + run.stored_bytes(STDERR)


def _time_of_end(run: Run) -> float:
    for name in (OUTCOME, PULSE):
        try:
            return os.stat(run.path(name)).st_mtime
        except FileNotFoundError:
            continue
    return 0.0


def _remove_output(run: Run) -> None:
    for name in (STDOUT, STDERR):
        try:
            os.unlink(run.path(name))
        except FileNotFoundError:
            pass  # another prunes too


def _remove_claim(store: Store, run: Run) -> None:
    """Remove a claim in one step, so that nobody finds half of it."""
    gone = os.path.join(store.folder, f".gone-{run.run_id}")
    try:
        os.rename(run.folder, gone)
    except OSError:
        pass  # another prunes too, or was killed at the next step
    discard(gone)


def _remove_leftovers(store: Store, time: float) -> None:
    """Remove what was prepared by processes that died before they could claim, and claims half removed."""
    for entry in os.listdir(store.folder):
        path = os.path.join(store.folder, entry)
        try:
            if entry.startswith(".") and time - os.stat(path).st_mtime > _DAY_S:
                discard(path)
        except FileNotFoundError:
            continue
