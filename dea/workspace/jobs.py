"""Looks at batch jobs: `inv jobs`. It reads the table that the functions write, and asks no scheduler."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from dea.lambdas.jobs import InvalidSetting, JobRecord, JobSettings, JobsTable, TableMissing
from dea.lambdas.jobs.metrics import cpu_efficiency_percent, queue_wait_s
from dea.lambdas.jobs.table import CONFIG
from dea.remote.contract.job import FINAL, LOST, STATES, Job, moment
from dea.workspace import aws_account
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import print_json, progress
from dea.workspace.runs import parse_since, shortened, shown_duration
from dea.workspace.sandbox import exported_dynamodb
from dea.workspace.sandbox.exported import check_leads_to

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_HEADINGS = ("submitted (UTC)", "job", "name", "queue", "state", "waited", "ran", "CPU", "command")
_RIGHT = ("waited", "ran", "CPU")
_NAME_WIDTH = 24
_REASON_WIDTH = 80


def show(*, job_id: str, since: str, state: str, table: str, as_json: bool, target: str) -> None:
    """Print jobs as a table or as JSON: those that are followed now, those of some time, or one with its history.

    Args:
        job_id: The one job's id; empty for all.
        since: Those submitted since then, as for `inv runs`, whatever became of them; empty for those that are followed.
        state: Those in this state only; empty for all.
        table: The table's name; empty for what the environment says.
        as_json: Whether to print `{"jobs": [...]}` with everything that is known of each.
        target: `sandbox` or `aws`.

    Raises:
        WorkspaceError: If there is no such job, an option is not what it must be, or the table cannot be read.
    """
    if state and state not in STATES:
        raise WorkspaceError(f"--state {state!r:.40} is none: choose one of {', '.join(STATES)}")
    if job_id and (since or state):
        raise WorkspaceError("an id says which job: leave out --since and --state")
    if state in FINAL - {LOST} and not since:
        # An empty table would read as if none had ended so.
        raise WorkspaceError(
            f"--state {state}: a job that has ended is not followed any more; add --since, as --since 1d"
        )
    now = datetime.datetime.now(datetime.UTC)
    earliest = parse_since(since, now).strftime("%Y-%m-%dT%H:%M:%SZ") if since else ""
    with _reading(target, table) as jobs, progress(f"reading the table {jobs.name}"):
        if job_id:
            records = jobs.find(job_id)
            if not records:
                raise WorkspaceError(f"there is no job {job_id!r:.80} in the table {jobs.name}")
        else:
            found = jobs.since(earliest) if since else jobs.followed()
            records = [record for record in found if state in ("", record.job.state)]
    records.sort(key=lambda record: record.submitted, reverse=True)
    if as_json:
        print_json({"jobs": [_as_json(record) for record in records]})
    elif job_id:
        for record in records:
            _print_one(record, now)
    else:
        _print_table(records, now)


def state_of(job: Job) -> str:
    """Return how a job stands, with what it ended with.

    >>> state_of(Job("1", "failed", exit_status=3)), state_of(Job("1", "failed", signal=9)), state_of(Job("1", "queued"))
    ('failed 3', 'failed signal 9', 'queued')
    """
    if job.signal is not None:
        return f"{job.state} signal {job.signal}"
    return f"{job.state} {job.exit_status}" if job.exit_status else job.state


def printable(text: str) -> str:
    r"""Return a text of the scheduler's, or of whoever named the job, without what steers a terminal.

    >>> printable("node down\x1b[2J"), printable("größer")
    ('node down\\x1b[2J', 'größer')
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def waited_s(job: Job, now: datetime.datetime) -> float | None:
    """Return how long a job waited for its start, or has been waiting; None where nobody knows.

    >>> waited_s(Job("1", "queued", submitted="2026-01-01T00:00:00Z"), datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.UTC))
    60.0
    """
    if job.started is None and job.submitted is not None and not job.final:
        return max(0.0, (now - moment(job.submitted)).total_seconds())
    return queue_wait_s(job)


def ran_s(job: Job, now: datetime.datetime) -> float | None:
    """Return how long a job ran, or has been running; None where nobody knows."""
    if job.started is None or (job.ended is None and job.final):
        return None
    end = now if job.ended is None else moment(job.ended)
    return max(0.0, (end - moment(job.started)).total_seconds())


def _as_json(record: JobRecord) -> dict[str, Any]:
    return {
        **record.job.encode(),
        "run_id": record.run_id,
        "scheduler": record.scheduler,
        "command": record.command,
        "as_of": record.as_of,
        "unknown_since": record.unknown_since,
        "followed": record.followed,
        "unsent_events": len(record.outbox),
        "queue_wait_s": queue_wait_s(record.job),
        "cpu_efficiency_percent": cpu_efficiency_percent(record.job),
        "history": [asdict(change) for change in record.history],
    }


def _print_table(records: Iterable[JobRecord], now: datetime.datetime) -> None:
    rows = [_row(record, now) for record in records]
    table = _table(_HEADINGS)
    for row in rows:
        table.add_row(*row)
    out = Console(highlight=False, markup=False)
    # A line that is broken inside an id is of no use; what is too long the terminal wraps.
    out.width = max(out.width, sum(max(len(row[at]) for row in (_HEADINGS, *rows)) + 2 for at in range(len(_HEADINGS))))
    out.print(table)


def _row(record: JobRecord, now: datetime.datetime) -> tuple[str, ...]:
    job = record.job
    return (
        _shown_time(record.submitted),
        job.id,
        shortened(printable(job.name or "-"), _NAME_WIDTH),
        printable(job.queue or "-"),
        state_of(job),
        shown_duration(waited_s(job, now)),
        shown_duration(ran_s(job, now)),
        _shown_percent(cpu_efficiency_percent(job)),
        record.command,
    )


def _print_one(record: JobRecord, now: datetime.datetime) -> None:
    job = record.job
    facts = {
        "job": job.id,
        "name": job.name,
        "state": state_of(job),
        "reason": job.reason,
        "queue": job.queue,
        "project": job.project,
        "host": job.host,
        "waited": shown_duration(waited_s(job, now)),
        "ran": shown_duration(ran_s(job, now)),
        "CPU": _shown_percent(cpu_efficiency_percent(job)),
        "command": record.command,
        "run": record.run_id,
        "told by": f"{record.scheduler}, {_shown_time(record.as_of)}",
    }
    out = Console(highlight=False, markup=False, soft_wrap=True)
    for name, value in facts.items():
        if value not in (None, "-"):
            out.print(f"{name:<9}{printable(str(value))}")
    out.print()
    table = _table(("as of (UTC)", "state", "reason"))
    for change in record.history:
        ended = Job(job.id, change.state, exit_status=change.exit_status, signal=change.signal)
        table.add_row(
            _shown_time(change.as_of), state_of(ended), shortened(printable(change.reason or ""), _REASON_WIDTH)
        )
    out.width = max(out.width, 60 + _REASON_WIDTH)
    out.print(table)


def _table(headings: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="right" if heading in _RIGHT else "left")
    return table


def _shown_time(time: str) -> str:
    return time[:19].replace("T", " ")


def _shown_percent(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:.0f} %"


@contextmanager
def _reading(target: str, name: str) -> Iterator[JobsTable]:
    """Have the table of a target.

    Raises:
        WorkspaceError: If the target is not there, or for whatever goes wrong inside.
    """
    try:
        client = _client(target)
        yield JobsTable(name or JobSettings.of().table, client)
    except (TableMissing, InvalidSetting, BotoCoreError, ClientError) as error:
        raise WorkspaceError(f"the jobs cannot be read: {error}") from error


def _client(target: str) -> DynamoDBClient:
    check_leads_to(target, os.environ)
    if target == "aws":
        return aws_account.session().client("dynamodb", config=CONFIG)
    return exported_dynamodb()
