"""Reads what PBS's `qstat -f` prints, as JSON or as text, into jobs (pbs_job_attributes(7B)).

Values that look like JSON have lost their type on the way (a job named `123` is a number): all are taken as texts. Nothing
is asked here.
"""

import json
import re

from dea.remote.contract.job import (
    CANCELLED,
    EXITING,
    FAILED,
    HELD,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    UNKNOWN,
    Asked,
    Job,
    Used,
)
from dea.remote.schedulers.arrays import array_of
from dea.remote.schedulers.measures import (
    SIGNALED,
    count,
    seconds,
    signal_of,
    size_bytes,
    time_of_ctime,
    time_of_epoch,
    whole_seconds,
)

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

    Attributes = dict[str, Any]  # texts, and dictionaries of texts for the resources

MAX_REASON = 1000

# qstat(1B), "State". `F` and `X` are ends, and what they say of it is in the exit status.
_STATES = {
    "B": RUNNING,  # of an array: some of it has begun
    "E": EXITING,
    "H": HELD,
    "Q": QUEUED,
    "R": RUNNING,
    "S": RUNNING,  # suspended, and still on its nodes
    "T": QUEUED,  # on its way between queues
    "U": RUNNING,  # suspended while somebody uses the machine
    "W": QUEUED,  # for its time to begin
    "M": UNKNOWN,  # moved to another server, which knows
}
_FINISHED, _EXPIRED = "F", "X"

_DELETED = "91"
"""The substate of a finished job that somebody deleted (JOB_SUBSTATE_TERMINATED in OpenPBS's job.h)."""

# Negative exit statuses are PBS's own (OpenPBS, job.h: JOB_EXEC_...).
_ENDED_BY_PBS = {
    -1: "it could not be started",
    -2: "it could not be started",
    -3: "it could not be started, and may be tried again",
    -4: "it was ended when its node started anew",
    -5: "it was ended when its node started anew",
    -6: "it was ended when its node started anew",
    -7: "it could not be restarted from its checkpoint",
    -10: "its account is not valid on the node",
    -11: "it was sent back to the queue",
    -24: "it used more CPUs at once than it had asked for",
    -25: "it used more CPUs than it had asked for",
    -26: "it used more virtual memory than it had asked for",
    -27: "it used more memory than it had asked for",
    -28: "it used more CPU time than it had asked for",
    -29: "it exceeded its walltime",
}
_HOLDERS = {"u": "its user", "o": "an operator", "s": "the system", "p": "its user, without a password"}
_DEFAULT_PROJECT = "_pbs_project_default"
_INDICES = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)


ID = "Job Id"
"""Among a job's attributes: its id, as PBS has it."""


class Unreadable(ValueError):
    """What should be JSON is not, or says a thing twice: some versions write values into it as they are."""


def key_of(job_id: str) -> str:
    """Return what tells a job from others of one server: its id without the server's name, which is not always given.

    >>> key_of("13[2].gadi-pbs"), key_of("13[2]")
    ('13[2]', '13[2]')
    """
    return job_id.partition(".")[0]


def read_json(text: str) -> "dict[str, Attributes]":
    """Return the jobs' attributes by the jobs' keys, out of `qstat -f -F json`.

    Raises:
        Unreadable: It is not JSON, or not of this kind.
    """
    try:
        # Numbers stay as they are written: `007` would be none, 0.10 a shorter one.
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_only)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    jobs = document.get("Jobs", {}) if isinstance(document, dict) else None
    if not isinstance(jobs, dict) or not all(isinstance(attributes, dict) for attributes in jobs.values()):
        raise Unreadable("it is JSON, but not qstat's")
    return {key_of(job_id): {**attributes, ID: job_id} for job_id, attributes in jobs.items()}


def read_text(text: str) -> "dict[str, Attributes]":
    """Return the jobs' attributes by the jobs' keys, out of `qstat -f`, which wraps long lines and goes on after a tab.

    A variable of a job's can hold line breaks, and so read as another job: what is there twice has no attributes at all.
    """
    jobs: "dict[str, Attributes]" = {}
    attributes: "Attributes" = {}
    for line in text.replace("\n\t", "").split("\n"):
        if line.startswith("Job Id: "):
            job_id = line[len("Job Id: ") :].strip()
            attributes = {ID: job_id}
            key = key_of(job_id)
            jobs[key] = attributes if key not in jobs else {}
        elif line.startswith("    ") and " = " in line:
            name, _, value = line[4:].partition(" = ")
            if not _KEY.fullmatch(name):
                continue  # the rest of a value with a line break in it
            group, dot, resource = name.partition(".")
            if not dot:
                attributes.setdefault(name, value)
            elif isinstance(attributes.setdefault(group, {}), dict):
                attributes[group].setdefault(resource, value)
    return jobs


def is_of(job_id: str, attributes: "Attributes") -> bool:
    """Tell whether these attributes are of the job asked for, and not of another server's of the same number.

    >>> is_of("13.gadi-pbs", {ID: "13.gadi-pbs"}), is_of("13", {ID: "13.gadi-pbs"}), is_of("13.other", {ID: "13.gadi-pbs"})
    (True, True, False)
    """
    asked, there = (name.split(".")[1:2] for name in (job_id, attributes.get(ID, "")))
    return not asked or not there or asked == there


def job_from(job_id: str, attributes: "Attributes", subjobs: "dict[str, Attributes]") -> Job:
    """Return a job.

    Args:
        job_id: As it was asked for.
        attributes: Its own attributes.
        subjobs: Those of an array's subjobs, by key; else empty.
    """
    job = _one(job_id, attributes)
    if _text(attributes.get("array")) != "True":
        return job
    # What an array says of itself is about its last subjob, and it counts none that was taken out of the queue.
    tasks = {key: _one(key, one) for key, one in subjobs.items()}
    count = _tasks_in(_text(attributes.get("array_indices_submitted")) or "")
    return array_of(job, tasks, ended=job.raw_state in (_FINISHED, _EXPIRED), count=count)


def _tasks_in(indices: str) -> int:
    """Return how many tasks there are in `0-9`, `0-9:2` or `1,4-6`; 0 if it says something else.

    >>> _tasks_in("0-9"), _tasks_in("0-9:2"), _tasks_in("1,4-6"), _tasks_in("0-9%2"), _tasks_in("-")
    (10, 5, 4, 10, 0)
    """
    total = 0
    for part in indices.partition("%")[0].split(","):
        match = _INDICES.fullmatch(part)
        if match is None:
            return 0
        first, last, step = (int(number) if number else None for number in match.groups())
        total += len(range(first or 0, (first or 0 if last is None else last) + 1, step or 1))
    return total


def _one(job_id: str, attributes: "Attributes") -> Job:
    raw_state = _text(attributes.get("job_state"))
    state, exit_status, signal, reason = _standing(raw_state, attributes)
    asked, used = attributes.get("Resource_List"), attributes.get("resources_used")
    asked = asked if isinstance(asked, dict) else {}
    used = used if isinstance(used, dict) else {}
    ended = raw_state in (_FINISHED, _EXPIRED)
    project = _text(attributes.get("project"))
    return Job(
        id=job_id,
        state=state,
        name=_text(attributes.get("Job_Name")),
        exit_status=exit_status,
        signal=signal,
        reason=reason[:MAX_REASON] if reason else None,
        queue=_text(attributes.get("queue")),
        project=None if project == _DEFAULT_PROJECT else project,
        asked=Asked(
            count(_text(asked.get("ncpus"))),
            size_bytes(_text(asked.get("mem"))),
            whole_seconds(_text(asked.get("walltime"))),
        ),
        used=Used(
            seconds(_text(used.get("cput"))),
            size_bytes(_text(used.get("mem"))),
            whole_seconds(_text(used.get("walltime"))),
        ),
        submitted=time_of_ctime(_text(attributes.get("ctime"))),
        started=time_of_ctime(_text(attributes.get("stime"))),
        ended=(
            time_of_ctime(_text(attributes.get("obittime")))
            or time_of_epoch(_text(attributes.get("history_timestamp")))
            if ended
            else None
        ),
        host=_host(_text(attributes.get("exec_host"))),
        raw_state=raw_state,
    )


def _standing(raw_state: "str | None", attributes: "Attributes") -> "tuple[str, int | None, int | None, str | None]":
    """Return state, exit status, signal and reason."""
    comment = _text(attributes.get("comment"))
    if raw_state in (_FINISHED, _EXPIRED):
        status = _exit_status(attributes)
        if status is None:
            state, reason = _end_without_status(raw_state, attributes, comment)
            return state, None, None, reason
        return _end(status, comment, deleted=_text(attributes.get("substate")) == _DELETED)
    state = _STATES.get(raw_state or "", UNKNOWN)
    if state == UNKNOWN:
        comment = comment or f"PBS's state {raw_state!r} says nothing of how it stands"
    elif state == HELD:
        comment = comment or _hold(attributes)
    return state, None, None, comment


def _end(status: int, comment: "str | None", *, deleted: bool) -> "tuple[str, int | None, int | None, str | None]":
    exit_status = status if 0 <= status < SIGNALED else None
    if deleted:
        return CANCELLED, exit_status, signal_of(status), comment
    if status < 0:
        said = _ENDED_BY_PBS.get(status, "PBS ended it")
        return FAILED, None, None, f"{said} (PBS's status {status})" + (f": {comment}" if comment else "")
    return SUCCEEDED if status == 0 else FAILED, exit_status, signal_of(status), comment


def _end_without_status(
    raw_state: "str | None", attributes: "Attributes", comment: "str | None"
) -> "tuple[str, str | None]":
    """Return state and reason of a job that has ended without an exit status: whatever it is, it is no success."""
    if _text(attributes.get("substate")) == _DELETED:
        return CANCELLED, comment or "it was deleted before it ran"
    if raw_state == _EXPIRED:
        return EXITING, "this task has ended; PBS says how when the whole array has"
    if _text(attributes.get("stime")) is None:
        return FAILED, _never_ran(attributes, comment)
    return UNKNOWN, comment or "PBS says that it has ended, and not how"


def _exit_status(attributes: "Attributes") -> "int | None":
    try:
        return int(_text(attributes.get("Exit_status")) or "")
    except ValueError:
        return None


def _never_ran(attributes: "Attributes", comment: "str | None") -> str:
    depends = _text(attributes.get("depend"))
    if depends:
        return f"it never ran: what it depends on ({depends}) can never be met"
    return "it never ran" + (f": {comment}" if comment else ", and PBS does not say why")


def _hold(attributes: "Attributes") -> str:
    holders = [_HOLDERS[kind] for kind in _text(attributes.get("Hold_Types")) or "" if kind in _HOLDERS]
    depends = _text(attributes.get("depend"))
    if depends:
        return f"it waits for what it depends on: {depends}"
    return f"it is held by {' and '.join(holders)}" if holders else "it is held"


def _host(exec_host: "str | None") -> "str | None":
    """Return the hosts of `host/index*cpus+host/index`, each once."""
    if not exec_host:
        return None
    return "+".join(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+")))[:MAX_REASON]


def _text(value: object) -> "str | None":
    return value[:4096] if isinstance(value, str) else None


def _only(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":
    """Make an object of its pairs, none of them twice: a crafted value could have made the second, or the first."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made
