"""A scheduler, a login node, AWS and a clock that a test has in its hands: what a tracker meets, and when it dies of it."""

from __future__ import annotations

import datetime
import functools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import boto3

from dea.lambdas.jobs import EventBus, JobRecord, JobsTable, Report, Tracker, recorded
from dea.lambdas.jobs.definition import create_table
from dea.raijin.testing import Answer, FakeSession
from dea.remote.contract.job import UNKNOWN, Job, Standing, Submitted

REGION = "ap-southeast-2"
GRACE_S = 3600
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()


@functools.cache
def _session() -> boto3.Session:
    """One for all worlds: it keeps what it has read of each service."""
    return boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=REGION)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


def stamp(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Requests:
    """Every request to AWS passes here: it is counted, and something can be made to happen before or after any one.

    Attributes:
        count: How many there have been since `begin`.
        names: Their names.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self, before: Mapping[int, Callable[[], None]] | None = None, after: Any = None) -> None:
        """Count from 0 again; do this before, or after, the request of that number."""
        self.names: list[str] = []
        self._before, self._after = dict(before or {}), dict(after or {})

    @property
    def count(self) -> int:
        return len(self.names)

    def watch(self, client: Any) -> Any:
        client.meta.events.register("before-call.*.*", self._sent)
        client.meta.events.register("after-call.*.*", self._answered)
        return client

    def _sent(self, model: Any, **_: Any) -> None:
        number = self.count
        self.names.append(model.name)
        self._before.pop(number, lambda: None)()

    def _answered(self, **_: Any) -> None:
        self._after.pop(self.count - 1, lambda: None)()


def die() -> None:
    raise Killed


@dataclass
class World:
    """All of it.

    Attributes:
        now: The time, in seconds since 1970.
        jobs: How the scheduler says that each of its jobs stands. One that it does not have, it does not know.
        down: What the login node says instead of an answer.
        told: Each answer of the scheduler: the job's id, as of when, and its state.
        sent: The details of the events that EventBridge took, in order.
        refuses_events: Whether EventBridge takes none.
    """

    requests: Requests = field(default_factory=Requests)
    now: float = BEGIN
    jobs: dict[str, Job] = field(default_factory=dict)
    down: Answer | Exception | None = None
    told: set[tuple[str, str, str]] = field(default_factory=set)
    sent: list[dict[str, Any]] = field(default_factory=list)
    refuses_events: bool = False
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        session = _session()
        dynamodb = self.requests.watch(session.client("dynamodb"))
        create_table(dynamodb)
        self.requests.begin()
        self.events = self.requests.watch(session.client("events"))
        self.table = JobsTable("dea-jobs", dynamodb, pause=lambda _: None)
        self.tracker = Tracker(
            self.table,
            EventBus("default", _Bus(self)),
            lost_after_s=GRACE_S,
            clock=lambda: self.now,
            emit=lambda line: self.metrics.append(json.loads(line)),
        )

    def submit(self, job_id: str, run_id: str = "run-00000001") -> JobRecord:
        """Have the scheduler take a job, and record it as the function does."""
        self.jobs[job_id] = Job(job_id, "queued", name="tidy", queue="normal", submitted=stamp(self.now))
        answer = Submitted("pbs", job_id, run_id, "tidy", stamp(self.now))
        return self.table.record(recorded(answer, run_id=run_id, command="submit_job", now=stamp(self.now)))

    def becomes(self, job_id: str, state: str, **fields: Any) -> None:
        """Have a job stand so from now on; `unknown` takes it from the scheduler's memory."""
        if state == UNKNOWN:
            self.jobs.pop(job_id, None)
        else:
            base = {"name": "tidy", "queue": "normal", "submitted": stamp(BEGIN)}
            self.jobs[job_id] = Job(job_id, state, **{**base, **fields})

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def standing(self, ids: list[str]) -> Standing:
        """Return what the scheduler says now."""
        jobs = tuple(self.jobs.get(one) or Job(one, UNKNOWN, reason="Unknown Job Id") for one in ids)
        self.told |= {(job.id, stamp(self.now), job.state) for job in jobs}
        return Standing("pbs", stamp(self.now), jobs)

    def session(self, *, as_told: Standing | None = None) -> FakeSession:
        """Return a session with the login node; or with one that gives an old answer."""
        return FakeSession(_LoginNode(self, as_told))

    def poll(self, **options: Any) -> Report:
        return self.tracker.poll(self.session(**options))

    def record(self, job_id: str) -> JobRecord:
        [record] = self.table.find(job_id)
        return record

    def settle(self) -> None:
        """Let everything work for a while: what was left behind is sent."""
        self.down, self.refuses_events = None, False
        for _ in range(2):
            self.passes(300)
            self.poll()


class _LoginNode(Mapping[str, Answer | Exception]):
    """Answers `job_status` as the scheduler stands at that moment."""

    def __init__(self, world: World, as_told: Standing | None) -> None:
        self._world, self._as_told = world, as_told

    def get(self, request: str, default: Any = None) -> Any:
        name, *ids = shlex.split(request)
        if name != "job_status":
            return default
        if self._world.down is not None:
            return self._world.down
        standing = self._as_told or self._world.standing(ids)
        by_id = {job.id: job for job in standing.jobs}
        standing = replace(standing, jobs=tuple(by_id[one] for one in ids))
        return json.dumps(standing.encode()), "", 0

    def __getitem__(self, request: str) -> Answer | Exception:
        found: Answer | Exception = self.get(request)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Bus:
    """boto3's client of EventBridge, which remembers what was taken."""

    def __init__(self, world: World) -> None:
        self._world = world

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        world = self._world
        if world.refuses_events:
            return {"FailedEntryCount": len(Entries), "Entries": [{"ErrorCode": "InternalFailure"} for _ in Entries]}
        taken: list[dict[str, Any]] = []

        def remember(**_: Any) -> None:
            taken.extend(json.loads(entry["Detail"]) for entry in Entries)

        # Before the one that may kill: what AWS has taken is taken, whoever hears of it.
        world.events.meta.events.register_first("after-call.events.PutEvents", remember)
        try:
            answer: dict[str, Any] = world.events.put_events(Entries=Entries)
        finally:
            world.events.meta.events.unregister("after-call.events.PutEvents", remember)
            world.sent += taken
        return answer
