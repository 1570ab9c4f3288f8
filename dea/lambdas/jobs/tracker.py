"""Follows batch jobs: asks once for all of them, writes what is new, tells of it.

Each step may be its last, and another tracker may be at work at the same time. So every step leaves what the next poll needs:
a record carries the events that nobody is known to have sent, and is followed until it has none.
"""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dea.lambdas.jobs import metrics
from dea.lambdas.jobs.asking import AnswerOfNoJob, ask
from dea.lambdas.jobs.bus import EventBus
from dea.lambdas.jobs.record import JobRecord
from dea.lambdas.jobs.settings import LOST_AFTER_S, JobSettings
from dea.lambdas.jobs.table import JobsTable
from dea.raijin import RaijinError, RaijinSession
from dea.remote.contract.job import Job, moment

LEFT_BEHIND_S = 180
"""How old a record with unsent events must be for a tracker to send what another one wrote: longer than one may take, so that
two at the same time do not both send."""

SETTLED_AT_ONCE = 100
"""Of how many records the events are sent before that is noted: a tracker that has too many to send in its time gets on."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What one poll did.

    Attributes:
        followed: How many jobs are followed.
        asked: How many of them the scheduler was asked for.
        changed: How many records were written.
        raced: How many were not, because another tracker was there first.
        sent: How many events were sent.
        unsent: How many EventBridge did not take; they are sent again.
    """

    followed: int
    asked: int
    changed: int
    raced: int
    sent: int
    unsent: int


Sighting = tuple[JobRecord, Job, str]
"""A record, what the scheduler says of its job now, and as of when."""


class Tracker:
    """Follows the jobs of a table.

    Args:
        table: The table.
        bus: Where to tell of changes.
        lost_after_s: After how many seconds a job that the scheduler does not know is lost.
        clock: Tells the time, in seconds since 1970.
        emit: Takes a line with metrics.
    """

    def __init__(
        self,
        table: JobsTable,
        bus: EventBus,
        *,
        lost_after_s: float = LOST_AFTER_S,
        clock: Callable[[], float] = time.time,
        emit: Callable[[str], object] | None = None,
    ) -> None:
        self.table = table
        self._bus = bus
        self._lost_after_s = lost_after_s
        self._clock = clock
        self._emit = emit or _print

    @classmethod
    def of(cls, settings: JobSettings) -> Tracker:
        """Return the tracker that the settings describe, with this process's AWS settings."""
        return cls(JobsTable(settings.table), EventBus(settings.bus), lost_after_s=settings.lost_after_s)

    def poll(self, session: RaijinSession) -> Report:
        """Ask how the followed jobs stand, write what is new, tell of it; and of what others left behind.

        Args:
            session: The session with the login node that knows the jobs.

        Raises:
            RaijinError: If the login node or the scheduler could not be asked: nothing is known then, and nothing written.
            AnswerOfNoJob: If its answer was none, likewise.
            ClientError: If DynamoDB or EventBridge refuses.
        """
        records = self.table.followed()
        # By id, the newest last: where two jobs have the same, the scheduler means that one.
        to_ask = {one.job.id: one for one in sorted(records, key=lambda one: one.submitted) if one.asked}
        sightings: list[Sighting] = []
        failure: Exception | None = None
        try:
            for standing in ask(session, to_ask):
                sightings += [(to_ask[job.id], job, standing.as_of) for job in standing.jobs]
        except (RaijinError, AnswerOfNoJob) as error:
            failure = error  # what is in the outboxes can still be sent, and what was answered is known
        written, raced = self._write(sightings)
        now = {record.key: record for record in (*records, *written)}
        fresh = {record.key for record in written}
        to_send = [one for one in now.values() if one.outbox and (one.key in fresh or self._is_left_behind(one))]
        sent = self._send(to_send)
        self._tell(metrics.of_standing(now.values()))
        events = sum(len(record.outbox) for record in to_send)
        told = sum(len(record.outbox) for record in sent)
        report = Report(len(records), len(to_ask), len(written), raced, told, events - told)
        if failure is not None:
            raise failure
        return report

    def note(self, sightings: Iterable[Sighting]) -> list[JobRecord]:
        """Write what sightings tell that is new, and tell of it; return the records that were written.

        Raises:
            ClientError: If DynamoDB or EventBridge refuses.
        """
        written, _ = self._write(sightings)
        self._send(written)
        return written

    def _write(self, sightings: Iterable[Sighting]) -> tuple[list[JobRecord], int]:
        now = self._time()
        made: dict[tuple[str, str], tuple[JobRecord, JobRecord]] = {}
        for record, job, as_of in sightings:
            new = record.seen(job, as_of, now=now, lost_after_s=self._lost_after_s)
            if new is not None:
                made[record.key] = record, new
        written = self.table.write(new for _, new in made.values())
        self._tell(metrics.of_changes(made[record.key] for record in written))
        return written, len(made) - len(written)

    def _send(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        waiting = [record for record in records if record.outbox]
        sent: list[JobRecord] = []
        for start in range(0, len(waiting), SETTLED_AT_ONCE):
            some = self._bus.send(waiting[start : start + SETTLED_AT_ONCE])
            self.table.settle(record.told() for record in some)
            sent += some
        return sent

    def _is_left_behind(self, record: JobRecord) -> bool:
        return self._clock() - moment(record.written).timestamp() >= LEFT_BEHIND_S

    def _tell(self, told: metrics.Metrics) -> None:
        for line in metrics.lines(told, table=self.table.name, timestamp_ms=int(self._clock() * 1000)):
            self._emit(line)

    def _time(self) -> str:
        return datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(line: str) -> None:
    # Not by logging: the line must be JSON by itself, whatever the log's format is.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
