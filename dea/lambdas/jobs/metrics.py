"""What CloudWatch is told of batch jobs, as lines of the function's log in CloudWatch's embedded metric format.

CloudWatch makes metrics of such lines (Amazon CloudWatch User Guide, "Specification: Embedded metric format"): no request
that could fail, no permission, nothing to wait for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dea.lambdas.jobs.record import JobRecord
from dea.remote.contract.job import EXITING, FINAL, HELD, QUEUED, RUNNING, UNKNOWN, Job, moment

NAMESPACE = "DEA/Jobs"

STANDING = (QUEUED, HELD, RUNNING, EXITING, UNKNOWN)
"""The states that a followed job can be in, each a metric: how many there are."""

_MAX_VALUES = 100  # of one metric in one line, as specified

Metrics = Mapping[str, tuple[str, Sequence[float]]]
"""For each metric's name its unit and its values."""


def of_standing(records: Iterable[JobRecord]) -> Metrics:
    """Return how many jobs stand how, those of which the end is not known."""
    count = Counter(record.job.state for record in records)
    return {_name(state): ("Count", [count[state]]) for state in STANDING}


def of_changes(changes: Iterable[tuple[JobRecord, JobRecord]]) -> Metrics:
    """Return what some records, each given before and after, say for the first time: ends, waits, efficiencies."""
    ended: Counter[str] = Counter()
    waits: list[float] = []
    efficiencies: list[float] = []
    for before, now in changes:
        if now.job.state != before.job.state and now.job.state in FINAL:
            ended[now.job.state] += 1
        if now.job.started != before.job.started and (wait := queue_wait_s(now.job)) is not None:
            waits.append(wait)
        if now.ended and not before.ended and (efficiency := cpu_efficiency_percent(now.job)) is not None:
            efficiencies.append(efficiency)
    counts = {_name(state): ("Count", [ended[state]]) for state in sorted(FINAL)}
    return {**counts, "QueueWait": ("Seconds", waits), "CpuEfficiency": ("Percent", efficiencies)}


def queue_wait_s(job: Job) -> float | None:
    """Return how long a job waited, from its submission to its start; None while that is not known.

    >>> queue_wait_s(Job("1", "running", submitted="2026-01-01T00:00:00Z", started="2026-01-01T00:01:30Z"))
    90.0
    """
    if job.submitted is None or job.started is None:
        return None
    return max(0.0, (moment(job.started) - moment(job.submitted)).total_seconds())


def cpu_efficiency_percent(job: Job) -> float | None:
    """Return how much of the CPU time that a job held it used; None if that is not known.

    >>> from dea.remote.contract.job import Asked, Used
    >>> cpu_efficiency_percent(Job("1", "succeeded", asked=Asked(ncpus=4), used=Used(cpu_s=300.0, walltime_s=100)))
    75.0
    """
    if job.used.cpu_s is None or not job.asked.ncpus or not job.used.walltime_s:
        return None
    return round(100 * job.used.cpu_s / (job.asked.ncpus * job.used.walltime_s), 3)


def lines(metrics: Metrics, *, table: str, timestamp_ms: int) -> Iterator[str]:
    """Yield metrics as lines of the embedded metric format, as many as their values take.

    Args:
        metrics: The metrics; one without values is left out.
        table: The table's name, the only dimension.
        timestamp_ms: The time, in milliseconds since 1970.
    """
    left = {name: (unit, list(values)) for name, (unit, values) in metrics.items() if values}
    while left:
        told = {name: (unit, values[:_MAX_VALUES]) for name, (unit, values) in left.items()}
        definitions = [{"Name": name, "Unit": unit} for name, (unit, _) in told.items()]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Table"]], "Metrics": definitions}
        line: dict[str, Any] = {"_aws": {"Timestamp": timestamp_ms, "CloudWatchMetrics": [directive]}, "Table": table}
        line |= {name: values[0] if len(values) == 1 else values for name, (_, values) in told.items()}
        yield json.dumps(line)
        left = {name: (unit, values[_MAX_VALUES:]) for name, (unit, values) in left.items() if values[_MAX_VALUES:]}


def _name(state: str) -> str:
    """Return a state's metric: `queued` is counted as `Queued`."""
    return state.capitalize()
