"""Lists the runs of a key, newest first: `--history [--since TIME]`; by hand, those of all keys."""

import calendar
import time

from dea.remote.contract.receipt import LOST
from dea.remote.contract.words import join
from dea.remote.decision import Key, Site
from dea.remote.runs.follow import standing
from dea.remote.runs.store import Run, Store, folder_of, stores

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any


def history(site: Site, key: Key, since: "str | None") -> "tuple[dict[str, object], list[str]]":
    """Return the runs, and the same as lines of text.

    Args:
        site: Where the dispatcher is.
        key: Whose runs; by hand, everybody's.
        since: Only those that were claimed at this time (UTC, ISO 8601) or later, or None for all.
    """
    of_key = [Store(site.state, folder_of(key.label))] if key.label is not None else stores(site.state)
    entries = [
        _entry(site, store, run) for store in of_key for run in store.runs() if run.claim["received"] >= (since or "")
    ]
    entries.sort(key=lambda entry: str(entry["received"]), reverse=True)
    lines = [
        f"{entry['received']}  {entry['key'] or 'by hand'}  {entry['run_id']}  {entry['outcome']}"
        + (f" {entry['status']}" if entry["status"] is not None else "")
        + (f"  {entry['duration_s']:.1f} s" if entry["duration_s"] is not None else "")
        + f"  {_line_of([entry['command'], *entry['arguments']])}"
        for entry in entries
    ]
    return {"runs": entries}, lines or ["no runs"]


def _entry(site: Site, store: Store, run: Run) -> "dict[str, Any]":
    found = standing(store, run)
    state = found.reported(site.lost_after_s)
    outcome = found.outcome or {}
    stored = {name: None if state == LOST else run.stored_bytes(name) for name in ("stdout", "stderr")}
    ended = outcome.get("ended")
    return {
        "run_id": run.run_id,
        "attempt": run.claim["attempt"],
        "attempt_of": run.claim["attempt_of"],
        "key": run.claim["key"],
        "command": run.claim["command"],
        "arguments": run.claim["arguments"],
        "outcome": state,
        "status": outcome.get("status"),
        "received": run.claim["received"],
        "started": found.started,
        "ended": ended,
        "duration_s": _seconds_between(found.started, ended) if found.started and ended else None,
        "stdout_bytes": outcome.get("stdout_bytes", stored["stdout"]),
        "stderr_bytes": outcome.get("stderr_bytes", stored["stderr"]),
    }


def _line_of(words: "list[str]") -> str:
    try:
        return join(words)
    except ValueError:  # by hand, an argument can hold what no request may
        return " ".join(ascii(word) for word in words)


def _seconds_between(start: str, end: str) -> float:
    return round(_seconds(end) - _seconds(start), 3)


def _seconds(stamp: str) -> float:
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float(stamp[19:23])
