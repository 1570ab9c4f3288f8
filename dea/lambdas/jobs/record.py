"""What is known of one batch job, and what another sight of it changes. Pure: no table, no clock.

A record is written whole, under the condition that the one it was made from is still there (`version`). So all that must
never happen is decided here, once, on values: a job does not go back, an end does not change, an old answer tells nothing.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

from dea.remote.contract.job import LOST, QUEUED, UNKNOWN, Job, Submitted, Used, after, moment

MAX_CHANGES = 100
"""How many changes a record remembers, the newest; a DynamoDB item ends at 400 KB, and a job may be requeued for weeks."""

MAX_REASON = 200
"""How much of its reason each change remembers, in characters. The job itself has all of it."""

LOST_FOLLOWED = datetime.timedelta(days=7)
"""For how long a lost job is still asked for: a server that comes back may know its end."""

_MISSING = frozenset({UNKNOWN, LOST})


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a job's state: an entry of its history.

    Attributes:
        number: Which of the job's changes it is, from 1 on.
        previous: The state before; None for the first, at submission.
        state: The state then.
        as_of: When the scheduler said so.
        exit_status: As of the job, then.
        signal: Likewise.
        reason: Likewise.
    """

    number: int
    previous: str | None
    state: str
    as_of: str
    exit_status: int | None = None
    signal: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        job: The job, as it was last told.
        run_id: The run that submitted it. A scheduler that was set up anew counts from 1 again: only both are unique.
        scheduler: `pbs` or `slurm`.
        command: The command that submitted it.
        submitted: When that was. What the scheduler says later, in `job`, can be another time: that of a requeued job is.
        as_of: When the scheduler said what `job` holds.
        version: Counts what was written, from 1 on.
        history: The changes of its state, oldest first.
        outbox: The details of the events that nobody is known to have sent yet, oldest first.
        unknown_since: When the scheduler was first heard not to know it; None while it does.
        written: When the record was written.
        asked: Whether the scheduler is still to be asked for it.
    """

    job: Job
    run_id: str
    scheduler: str
    command: str
    submitted: str
    as_of: str
    version: int
    history: tuple[Change, ...]
    outbox: tuple[dict[str, Any], ...]
    unknown_since: str | None
    written: str
    asked: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others, the job's id and the run's."""
        return self.job.id, self.run_id

    @property
    def followed(self) -> bool:
        """Whether it is still to be asked for or to be told of."""
        return self.asked or bool(self.outbox)

    @property
    def ended(self) -> bool:
        """Whether its end is known. `lost` is none: the end may still be found out."""
        return self.job.final and self.job.state != LOST

    def seen(self, job: Job, as_of: str, *, now: str, lost_after_s: float) -> JobRecord | None:
        """Return the record after the scheduler was asked once more, or None if that tells nothing new.

        Args:
            job: What it said.
            as_of: When it was asked.
            now: The time of writing.
            lost_after_s: After how many seconds a job that it does not know is lost.
        """
        as_of = min(as_of, now)  # a clock that is ahead must not make all later answers look old
        if moment(as_of) <= moment(self.as_of):
            return None  # somebody knows more already
        since = self.unknown_since or as_of
        if job.state == UNKNOWN and _s(since, as_of) >= lost_after_s:
            job = replace(job, state=LOST, reason=f"the scheduler has not known it since {since}")
        known = after(self.job, job)
        if known.state != self.job.state:
            made = self._changed(known, as_of)
        elif _told(known) != _told(self.job):
            made = replace(self, job=known)
        elif known.state == LOST and job.state in _MISSING and not self.outbox and self._is_given_up(as_of):
            made = replace(self, asked=False)
        else:
            return None
        missing = since if known.state in _MISSING else None
        return replace(made, as_of=as_of, version=self.version + 1, unknown_since=missing, written=now)

    def given_away(self, *, now: str) -> JobRecord:
        """Return the record once the scheduler has given the id to another job: of this one it can say nothing any more."""
        lost = replace(
            self.job, state=LOST, reason="the scheduler was set up anew, and has given its id to another job"
        )
        made = self._changed(lost, now) if self.job.state != LOST else replace(self, job=lost)
        return replace(made, as_of=now, version=self.version + 1, written=now, asked=False)

    def told(self) -> JobRecord:
        """Return the record once its events are sent."""
        return replace(self, outbox=())

    def _changed(self, job: Job, as_of: str) -> JobRecord:
        reason = None if job.reason is None else job.reason[:MAX_REASON]
        number = self.history[-1].number + 1
        change = Change(number, self.job.state, job.state, as_of, job.exit_status, job.signal, reason)
        event = _event(job, self.run_id, self.scheduler, self.command, change)
        return replace(
            self,
            job=job,
            history=(*self.history, change)[-MAX_CHANGES:],
            outbox=(*self.outbox, event),
            asked=not job.final or job.state == LOST,
        )

    def _is_given_up(self, as_of: str) -> bool:
        return moment(as_of) - moment(self.history[-1].as_of) >= LOST_FOLLOWED


def recorded(submitted: Submitted, *, run_id: str, command: str, now: str) -> JobRecord:
    """Return the first record of a job.

    Args:
        submitted: What the command that submitted it said.
        run_id: That command's run.
        command: Its name.
        now: The time of writing.
    """
    when = min(submitted.submitted, now)
    job = Job(submitted.job_id, QUEUED, name=submitted.name, submitted=submitted.submitted)
    change = Change(1, None, QUEUED, when)
    return JobRecord(
        job=job,
        run_id=run_id,
        scheduler=submitted.scheduler,
        command=command,
        submitted=when,
        as_of=when,
        version=1,
        history=(change,),
        outbox=(_event(job, run_id, submitted.scheduler, command, change),),
        unknown_since=None,
        written=now,
    )


def _event(job: Job, run_id: str, scheduler: str, command: str, change: Change) -> dict[str, Any]:
    """Return an event's detail. It is stored until it is sent, so that each copy of it says the same."""
    return {
        "event_id": f"{job.id}/{run_id}/{change.number}",
        "number": change.number,
        "previous_state": change.previous,
        "state": change.state,
        "as_of": change.as_of,
        "run_id": run_id,
        "scheduler": scheduler,
        "command": command,
        "job": job.encode(),
    }


def _told(job: Job) -> Job:
    """Return what of a job is worth a write when its state stays: not what grows with every poll."""
    return replace(job, used=Used(), raw_state=None)


def _s(earlier: str, later: str) -> float:
    return (moment(later) - moment(earlier)).total_seconds()
