"""The batch job as both ends know it: its states, its fields, and the JSON that the login node's commands print of it.

The login node asks the scheduler and writes; whoever follows jobs reads. Pure: no I/O. A plain dispatch never imports it.
"""

import re
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
"""The version of the format of the three answers; a reader refuses any other."""

QUEUED, HELD, RUNNING, EXITING = "queued", "held", "running", "exiting"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
LOST, UNKNOWN = "lost", "unknown"
STATES = (QUEUED, HELD, RUNNING, EXITING, SUCCEEDED, FAILED, CANCELLED, LOST, UNKNOWN)
"""How a job can stand. `unknown`: nobody can tell now; `lost`: nobody could for so long that it is believed gone."""

FINAL = frozenset({SUCCEEDED, FAILED, CANCELLED, LOST})
"""States that are an end. `lost` yields to another of them if that is found out later; the others never change."""

SCHEDULERS = ("pbs", "slurm")

MAX_IDS = 2000
"""How many jobs one `job_status` takes."""

JOB_ID = r"[0-9]{1,12}(\[[0-9]{0,9}\])?(\.[A-Za-z0-9][A-Za-z0-9.-]{0,127})?|[0-9]{1,12}_[0-9]{1,9}"
"""What a job's id looks like: PBS's `12.server`, `12[].server`, `12[3].server`; Slurm's `12`, `12_3`. Matched whole."""

_ID = re.compile(JOB_ID, re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_MAX_TEXT = 4096


class InvalidAnswer(ValueError):
    """What should have been a command's answer about jobs is not one."""


@dataclass(frozen=True)
class Asked:
    """The resources that a job asked for; None where it, or the scheduler, did not say."""

    ncpus: "int | None" = None
    mem_bytes: "int | None" = None
    walltime_s: "int | None" = None


@dataclass(frozen=True)
class Used:
    """The resources that a job used, as far as the scheduler says; `cpu_s` is over all its CPUs."""

    cpu_s: "float | None" = None
    mem_bytes: "int | None" = None
    walltime_s: "int | None" = None


@dataclass(frozen=True)
class Job:
    """What is known of a batch job.

    Attributes:
        id: The one that it was asked for by.
        state: One of `STATES`.
        name: The job's name.
        exit_status: The script's own, 0 to 255; None if it has none: it has not ended, never ran, or was ended by a
            signal or by the scheduler.
        signal: The signal that ended it. A shell that reports 128+n of a program that signal n ended counts as told.
        reason: Why it stands as it does, in words, the scheduler's where it has some.
        queue: The queue, or partition.
        project: What it is charged to: PBS's project, Slurm's account.
        asked: The resources that it asked for.
        used: The resources that it used.
        submitted: When the scheduler took it; times are UTC, as `2026-01-01T00:00:00Z`.
        started: When it began to run.
        ended: When it ended.
        host: Where it runs or ran.
        raw_state: The scheduler's own word for the state, such as `F` or `CANCELLED`.
    """

    id: str
    state: str
    name: "str | None" = None
    exit_status: "int | None" = None
    signal: "int | None" = None
    reason: "str | None" = None
    queue: "str | None" = None
    project: "str | None" = None
    asked: Asked = Asked()
    used: Used = Used()
    submitted: "str | None" = None
    started: "str | None" = None
    ended: "str | None" = None
    host: "str | None" = None
    raw_state: "str | None" = None

    @property
    def final(self) -> bool:
        """Whether the state is an end."""
        return self.state in FINAL

    def encode(self) -> "dict[str, object]":
        """Return the fields as JSON has them; `parse_job` is the inverse."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**own, "asked": dict(vars(self.asked)), "used": dict(vars(self.used))}


@dataclass(frozen=True)
class Submitted:
    """What `submit_job` and the `execute_` commands answer."""

    scheduler: str
    job_id: str
    run_id: "str | None"
    name: str
    submitted: str

    def encode(self) -> "dict[str, object]":
        """Return the answer as JSON has it; `parse_submitted` is the inverse."""
        return {"format": FORMAT, **vars(self)}


@dataclass(frozen=True)
class Standing:
    """What `job_status` answers: one job for each id asked for, in that order.

    Attributes:
        scheduler: One of `SCHEDULERS`.
        as_of: When the scheduler was asked. Callers share answers, so that this may be some seconds ago.
        jobs: The jobs.
    """

    scheduler: str
    as_of: str
    jobs: "tuple[Job, ...]"

    def encode(self) -> "dict[str, object]":
        """Return the answer as JSON has it; `parse_standing` is the inverse."""
        jobs = [job.encode() for job in self.jobs]
        return {"format": FORMAT, "scheduler": self.scheduler, "as_of": self.as_of, "jobs": jobs}


def is_job_id(text: str) -> bool:
    """Say whether this can be a job's id.

    >>> [is_job_id(text) for text in ("12.gadi-pbs", "12[3].gadi-pbs", "12_3", "12;id", "-f")]
    [True, True, True, False, False]
    """
    return _ID.fullmatch(text) is not None


def after(known: "Job | None", seen: Job) -> Job:
    """Return what is known of a job once it was seen again; the newer sight comes second.

    A known end stays, but that `lost` yields to a true end. Sight of nothing (`unknown`, `lost`) keeps every other field.

    >>> after(Job("1", "succeeded"), Job("1", "running")).state
    'succeeded'
    >>> after(Job("1", "lost"), Job("1", "failed", exit_status=3)).state
    'failed'
    >>> seen = after(Job("1", "running", name="tidy"), Job("1", "unknown"))
    >>> seen.state, seen.name
    ('unknown', 'tidy')
    """
    if known is None:
        return seen
    if known.final and not (known.state == LOST and seen.final):
        return known
    if seen.state in (UNKNOWN, LOST):
        return replace(known, state=seen.state, reason=seen.reason, raw_state=seen.raw_state)
    return seen


def moment(time: str) -> datetime:
    """Return a time of an answer as an aware one.

    Raises:
        InvalidAnswer: It is no time, or not in UTC.

    >>> moment("2026-01-01T00:00:00Z")
    datetime.datetime(2026, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        if _TIME.fullmatch(time):
            return datetime.fromisoformat(time[:-1]).replace(tzinfo=timezone.utc)
    except ValueError:
        pass  # such as the 31st of February
    raise InvalidAnswer(f"no time in UTC: {time[:40]!r}")


def parse_submitted(content: "str | bytes") -> Submitted:
    """Read the answer of a command that submits.

    Raises:
        InvalidAnswer: It is anything else.
    """
    answer = _answer(content, {"scheduler", "job_id", "run_id", "name", "submitted"})
    return Submitted(
        scheduler=_scheduler(answer),
        job_id=_id(answer["job_id"]),
        run_id=None if answer["run_id"] is None else _text("run_id", answer["run_id"]),
        name=_text("name", answer["name"]),
        submitted=_time("submitted", answer["submitted"]),
    )


def parse_standing(content: "str | bytes") -> Standing:
    """Read the answer of `job_status`.

    Raises:
        InvalidAnswer: It is anything else.
    """
    answer = _answer(content, {"scheduler", "as_of", "jobs"})
    if not isinstance(answer["jobs"], list):
        raise InvalidAnswer(f"jobs is no list: {answer['jobs']!r:.80}")
    jobs = tuple(parse_job(job) for job in answer["jobs"])
    return Standing(_scheduler(answer), _time("as_of", answer["as_of"]), jobs)


def parse_cancelled(content: "str | bytes") -> Job:
    """Read the answer of `cancel_job`: the job as it stood after the request.

    Raises:
        InvalidAnswer: It is anything else.
    """
    answer = _answer(content, {"scheduler", "job"})
    _scheduler(answer)
    return parse_job(answer["job"])


def parse_job(value: object) -> Job:
    """Make a job of its fields: every one must be there and of its type.

    Raises:
        InvalidAnswer: It is anything else.

    >>> parse_job(Job("12", "failed", exit_status=3).encode()).exit_status
    3
    """
    entry = _object("a job", value, {field.name for field in fields(Job)})
    if entry["state"] not in STATES:
        raise InvalidAnswer(f"no state of a job: {entry['state']!r:.80}")
    asked = _object("asked", entry.pop("asked"), {field.name for field in fields(Asked)})
    used = _object("used", entry.pop("used"), {field.name for field in fields(Used)})
    for name in ("name", "reason", "queue", "project", "host", "raw_state"):
        if entry[name] is not None:
            _text(name, entry[name])
    for name in ("submitted", "started", "ended"):
        if entry[name] is not None:
            _time(name, entry[name])
    for name, limit in (("exit_status", 255), ("signal", 127)):
        if entry[name] is not None and not (type(entry[name]) is int and 0 <= entry[name] <= limit):
            raise InvalidAnswer(f"{name} is no number up to {limit}: {entry[name]!r:.80}")
    for name, amount in (*asked.items(), *used.items()):
        kinds = (int, float) if name == "cpu_s" else (int,)
        if amount is not None and not (type(amount) in kinds and 0 <= amount < float("inf")):
            raise InvalidAnswer(f"{name} is no amount: {amount!r:.80}")
    _id(entry["id"])
    return Job(asked=Asked(**asked), used=Used(**used), **entry)


def _answer(content: "str | bytes", names: "set[str]") -> "dict[str, Any]":
    import json

    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(f"the answer about jobs is no JSON: {content[:80]!r}") from error
    answer = _object("the answer about jobs", value, {"format", *names})
    if type(answer["format"]) is not int or answer["format"] != FORMAT:
        raise InvalidAnswer(f"format {answer['format']!r:.80}: this reads format {FORMAT}")
    return answer


def _object(what: str, value: object, names: "set[str]") -> "dict[str, Any]":
    if not isinstance(value, dict):
        raise InvalidAnswer(f"{what} is no object: {value!r:.80}")
    if set(value) != names:
        odd = ", ".join(sorted(map(str, set(value) ^ names)))
        raise InvalidAnswer(f"{what} lacks, or has too much of: {odd:.200}")
    return dict(value)


def _scheduler(answer: "dict[str, Any]") -> str:
    if answer["scheduler"] not in SCHEDULERS:
        raise InvalidAnswer(f"no scheduler: {answer['scheduler']!r:.80}")
    return str(answer["scheduler"])


def _id(value: object) -> str:
    if not isinstance(value, str) or not is_job_id(value):
        raise InvalidAnswer(f"no id of a job: {value!r:.80}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise InvalidAnswer(f"{name} is no text of up to {_MAX_TEXT} characters: {value!r:.80}")
    return value


def _time(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidAnswer(f"{name} is no time: {value!r:.80}")
    moment(value)
    return value
