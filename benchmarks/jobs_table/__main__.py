"""A poll of the jobs table with more and more jobs in it: what it reads by the index, and what a scan would.

Nothing is timed: what DynamoDB charges for and what comes over the network is counted in the requests and answers, which
are the same on every machine. DynamoDB is moto, in this process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import boto3
from moto import mock_aws

from benchmarks.measuring import Turns
from benchmarks.report import Report, Table, main
from dea.lambdas.jobs import JobRecord, JobsTable, recorded
from dea.lambdas.jobs.definition import create_table
from dea.lambdas.jobs.table import item_of
from dea.remote.contract.job import Asked, Job, Submitted, Used

NAME = "dea-jobs"
SIZES = ((100, 0), (100, 1_000), (100, 10_000), (1_000, 10_000))
"""How many jobs are open and how many have ended, in each table."""
HEADINGS = (
    "Jobs", "poll: requests", "items", "bytes, times the first line's", "scan: requests", "items", "bytes, times the poll's",
)  # fmt: skip

_BATCH = 25  # Amazon DynamoDB API Reference, "BatchWriteItem"
_TIMES = ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z", "2026-01-01T01:05:00Z")


@dataclass
class Read:
    """What was read.

    Attributes:
        requests: How many requests it took.
        items: How many items DynamoDB looked at.
        size_bytes: How many bytes the answers had.
    """

    requests: int = 0
    items: int = 0
    size_bytes: int = 0


def measure(turns: Turns) -> Report:
    """Count what is read of each table; once is enough, because it is the same each time."""
    for _ in turns:
        measured = [(opened, ended, *_measure(opened, ended)) for opened, ended in SIZES]
    base = measured[0][2].size_bytes
    rows = [
        [
            f"{opened:,} open, {ended:,} ended",
            f"{poll.requests}",
            f"{poll.items:,}",
            f"{poll.size_bytes / base:.1f}",
            f"{scan.requests}",
            f"{scan.items:,}",
            f"{scan.size_bytes / poll.size_bytes:.1f}",
        ]
        for opened, ended, poll, scan in measured
    ]
    return Report(
        tables={"counts": Table(HEADINGS, rows)}, details="nothing is timed: requests and answers are counted"
    )


def _measure(opened: int, ended: int) -> tuple[Read, Read]:
    """Return what a poll reads, and what a scan would, of a table with so many jobs."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="ap-southeast-2")
        create_table(client, NAME)
        table = JobsTable(NAME, client)
        records = [*(_open(number) for number in range(opened)), *(_ended(opened + number) for number in range(ended))]
        requests: list[Any] = [{"PutRequest": {"Item": item_of(record)}} for record in records]
        for start in range(0, len(requests), _BATCH):
            client.batch_write_item(RequestItems={NAME: requests[start : start + _BATCH]})
        with _counting(client) as poll:
            _check(len(table.followed()), opened)
        with _counting(client) as scan:
            _check(len(list(table.since(""))), opened + ended)
        return poll, scan


def _check(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"{found} jobs were found, and there are {expected}")


@contextmanager
def _counting(client: Any) -> Iterator[Read]:
    """Count what DynamoDB reads for the requests made meanwhile."""
    read = Read()

    def count(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        read.requests += 1
        read.items += parsed["ScannedCount"]
        read.size_bytes += len(http_response.content)

    handler: Callable[..., None] = count
    client.meta.events.register("after-call.dynamodb", handler)
    try:
        yield read
    finally:
        client.meta.events.unregister("after-call.dynamodb", handler)


def _open(number: int) -> JobRecord:
    """Return a job that runs, as it is after two polls."""
    submitted, began, _ = _TIMES
    answer = Submitted("pbs", f"{number}.gadi-pbs", f"submit_job-{number:040}", "tidy", submitted)
    record = recorded(answer, run_id=answer.run_id or "", command="execute_clean", now=submitted).told()
    job = Job(
        record.job.id,
        "running",
        name="tidy",
        queue="normal",
        project="v10",
        asked=Asked(ncpus=48, mem_bytes=190 * 2**30, walltime_s=7200),
        used=Used(cpu_s=0.0, mem_bytes=0, walltime_s=0),
        submitted=submitted,
        started=began,
        host="gadi-cpu-clx-0001",
        raw_state="R",
    )
    return _seen(record, job, began)


def _ended(number: int) -> JobRecord:
    """Return a job that has ended."""
    record = _open(number)
    used = Used(cpu_s=160_000.0, mem_bytes=100 * 2**30, walltime_s=3600)
    job = replace(record.job, state="succeeded", exit_status=0, used=used, ended=_TIMES[2], raw_state="F")
    return _seen(record, job, _TIMES[2])


def _seen(record: JobRecord, job: Job, as_of: str) -> JobRecord:
    made = record.seen(job, as_of, now=as_of, lost_after_s=3600)
    if made is None:
        sys.exit("a job's history could not be made")
    return made.told()


if __name__ == "__main__":
    sys.exit(main("jobs_table", measure, __doc__))
