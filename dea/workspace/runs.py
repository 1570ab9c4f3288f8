"""Looks at runs, and repeats or ends them: `inv runs`, `inv result`, `inv rerun`, `inv cancel`.

They ask the login node that the environment leads to: that of a sandbox which `inv sandbox` keeps up, or the one that AWS's
credentials lead to. A key sees the runs of its own label, no others.
"""

from __future__ import annotations

import datetime
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from dea.raijin import CommandResult, RaijinError, RaijinSession, RunLost, RunRecord, StillRunning
from dea.remote.contract import FAILED
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json, progress
from dea.workspace.sandbox import exported_session
from dea.workspace.sandbox.exported import check_leads_to

STATUS_NOT_ENDED = 75
"""What a task ends with while the run goes on (`EX_TEMPFAIL` of sysexits.h): ask again later."""

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_HEADINGS = ("when (UTC)", "key", "command", "outcome", "duration", "run id")
_COMMAND = _HEADINGS.index("command")
_COMMAND_WIDTH = 24  # the least that is shown of a command
_WIDE = 120  # what is shown of it in a pipe or a file


def show(*, since: str, as_json: bool, target: str) -> None:
    """Print the runs that the login node remembers, newest first, as a table or as JSON.

    Args:
        since: The earliest: a time (ISO 8601; UTC unless it says otherwise), how long ago (`90m`, `2d`), or empty for all.
        as_json: Whether to print `{"runs": [...]}` with everything that is known of each.
        target: `sandbox` or `aws`.

    Raises:
        WorkspaceError: If the time is none, or the login node cannot be asked.
    """
    earliest = parse_since(since, datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ") if since else None
    with _asking(target) as session, progress("asking for the runs"):
        runs = session.runs(since=earliest)
    if as_json:
        print_json({"runs": [asdict(run) for run in runs]})
        return
    out = Console(highlight=False, markup=False)
    rows = [
        (
            run.received[:19].replace("T", " "),
            run.key or "-",
            shlex.join([run.command, *run.arguments]),
            outcome_of(run),
            shown_duration(run.duration_s),
            run.run_id,
        )
        for run in runs
    ]
    # A line that is broken inside an id is of no use: the command gives way, and what is still too long the terminal wraps.
    others = sum(max(len(row[at]) for row in (_HEADINGS, *rows)) + 2 for at in range(len(_HEADINGS)) if at != _COMMAND)
    room = max(out.width - others, _COMMAND_WIDTH) if out.is_terminal else _WIDE
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=True, justify="right" if heading == "duration" else "left")
    for row in rows:
        table.add_row(*(shortened(text, room) if at == _COMMAND else text for at, text in enumerate(row)))
    out.width = others + room
    out.print(table)


def result(run_id: str, *, now: bool, as_json: bool, target: str) -> int:
    """Print what a run wrote, as it comes if it still runs, and end with its exit status.

    Args:
        run_id: The run's id.
        now: Whether to print what there is so far instead of waiting for the end.
        as_json: Whether to print it as JSON, once it is there.
        target: `sandbox` or `aws`.

    Returns:
        The run's exit status; 75 if it has not ended, 125 if it is lost.

    Raises:
        WorkspaceError: If there is no such run, or the login node cannot be asked.
    """
    with _asking(target) as session:
        if not now:
            _say(f"waiting for the end of {run_id}; Ctrl-C leaves it running")
        return _told(lambda: session.result(run_id, wait=not now, on_output=None if as_json else _pass_on), as_json)


def rerun(run_id: str, *, as_json: bool, target: str) -> int:
    """Run the stored request of a run again, as a run of its own, and go on as `result` does for that.

    Raises:
        WorkspaceError: If there is no such run, it cannot be repeated, or the login node cannot be asked.
    """
    with _asking(target) as session:
        _say(f"running {run_id} again; Ctrl-C leaves it running")
        return _told(lambda: session.rerun(run_id, on_output=None if as_json else _pass_on), as_json)


def cancel(run_id: str, *, as_json: bool, target: str) -> int:
    """End a run; print how it stands then.

    Returns:
        0 if it has ended, by this or before; 75 if it could not be ended yet.

    Raises:
        WorkspaceError: If there is no such run, or the login node cannot be asked.
    """
    with _asking(target) as session, progress(f"cancelling {run_id}"):
        outcome = session.cancel(run_id).outcome
    if as_json:
        print_json({"run_id": run_id, "outcome": outcome})
    else:
        sys.stdout.write(f"{run_id}: {outcome}\n")
    return STATUS_NOT_ENDED if outcome == "running" else 0


def parse_since(text: str, now: datetime.datetime) -> datetime.datetime:
    """Return the moment that a person means.

    Raises:
        WorkspaceError: If it is none.

    >>> noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
    >>> print(parse_since("90m", noon), parse_since("2026-01-01", noon), sep=", ")
    2026-01-02 10:30:00+00:00, 2026-01-01 00:00:00+00:00
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - datetime.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WorkspaceError(
            f"--since {text!r:.80} is no time: give one as 2026-01-31 or 2026-01-31T12:00, or how long ago as 90m, 12h or 2d"
        ) from None
    return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def outcome_of(run: RunRecord) -> str:
    """Return how a run ended, with its exit status where that says more.

    >>> from types import SimpleNamespace as Run
    >>> [outcome_of(Run(outcome=outcome, status=status)) for outcome, status in (("exited", 3), ("cancelled", 143), ("lost", None))]
    ['exited 3', 'cancelled', 'lost']
    """
    return f"{run.outcome} {run.status}" if run.outcome in ("exited", "signaled") else run.outcome


def shown_duration(duration_s: float | None) -> str:
    """Return a duration as a person reads it.

    >>> shown_duration(0.071), shown_duration(12.34), shown_duration(754.2), shown_duration(7325), shown_duration(None)
    ('0.07 s', '12.3 s', '12 m 34 s', '2 h 02 m', '-')
    """
    if duration_s is None:
        return "-"
    if duration_s < 10:
        return f"{duration_s:.2f} s"
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes} m {seconds:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def shortened(line: str, limit: int) -> str:
    """Return a command line with its end left out if it is long.

    >>> shortened("echo_args one two", 12)
    'echo_args...'
    """
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def _told(ask: Callable[[], CommandResult], as_json: bool) -> int:
    """Have a run's output printed, and say on stderr how it stands; return the exit status."""
    try:
        found = ask()
    except (StillRunning, RunLost) as error:
        if as_json:
            outcome = "running" if isinstance(error, StillRunning) else "lost"
            print_json({"run_id": error.run_id, "outcome": outcome, "stdout": error.stdout, "stderr": error.stderr})
        _say(str(error))
        return STATUS_NOT_ENDED if isinstance(error, StillRunning) else FAILED
    if as_json:
        print_json(
            {
                "run_id": found.run_id,
                "outcome": found.outcome,
                "exit_code": found.exit_code,
                "started": found.started,
                "ended": found.ended,
                "stdout": found.stdout,
                "stderr": found.stderr,
                "stdout_bytes": found.stdout_bytes,
                "stderr_bytes": found.stderr_bytes,
                "truncated": found.truncated,
            }
        )
    else:
        remark = "; the login node has kept its beginning only" if found.truncated else ""
        _say(f"{found.run_id}: {found.outcome}, status {found.exit_code}{remark}")
    return found.exit_code


def _say(remark: str) -> None:
    console.print(remark, markup=False, soft_wrap=True)


def _pass_on(name: str, data: bytes) -> None:
    stream = sys.stdout if name == "stdout" else sys.stderr
    stream.buffer.write(data)
    stream.flush()


@contextmanager
def _asking(target: str) -> Iterator[RaijinSession]:
    """Have a session with the login node of a target.

    Raises:
        WorkspaceError: If the target is not there, or for whatever goes wrong inside.
    """
    session = _session(target)
    try:
        with progress("connecting to the login node"):
            session.connect()
        yield session
    except RaijinError as error:
        raise WorkspaceError(str(error)) from error
    finally:
        session.close()


def _session(target: str) -> RaijinSession:
    check_leads_to(target, os.environ)
    return RaijinSession() if target == "aws" else exported_session()
