"""Reads what Slurm's squeue and sacct print, as tables, into jobs. Nothing is asked here.

The states are described in squeue(1) and sacct(1), JOB STATE CODES. squeue has a JSON form too: it differs between versions,
and Debian's prints every job of the cluster whatever it is asked for.
"""

from dataclasses import replace

from dea.remote.contract.job import (
    CANCELLED,
    EXITING,
    FAILED,
    FINAL,
    HELD,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    UNKNOWN,
    Asked,
    Job,
    Used,
    moment,
)
from dea.remote.schedulers.arrays import array_of
from dea.remote.schedulers.measures import count, seconds, signal_of, size_bytes, whole_seconds

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    Row = dict[str, str]

SQUEUE_FIELDS = (
    "ArrayJobID", "ArrayTaskID", "State", "exit_code", "Reason", "Partition", "Account", "NumCPUs", "MinMemory", "TimeLimit",
    "SubmitTime", "StartTime", "EndTime", "NodeList", "Name",
)  # fmt: skip
"""The columns of squeue."""

SACCT_FIELDS = (
    "JobID", "JobName", "State", "ExitCode", "Reason", "Partition", "Account", "ReqCPUS", "ReqMem", "Timelimit", "TotalCPU",
    "MaxRSS", "ElapsedRaw", "Submit", "Start", "End", "NodeList",
)  # fmt: skip

_STATES = {
    "PENDING": QUEUED,
    "CONFIGURING": QUEUED,  # its nodes are being made ready
    "REQUEUED": QUEUED,
    "REQUEUE_FED": QUEUED,
    "REQUEUE_HOLD": HELD,
    "SPECIAL_EXIT": HELD,
    "RESV_DEL_HOLD": HELD,
    "RUNNING": RUNNING,
    "RESIZING": RUNNING,
    "SIGNALING": RUNNING,
    "SUSPENDED": RUNNING,  # and still on its nodes
    "STOPPED": RUNNING,
    "COMPLETING": EXITING,
    "STAGE_OUT": EXITING,
    "COMPLETED": SUCCEEDED,
    "FAILED": FAILED,
    "CANCELLED": CANCELLED,
    "TIMEOUT": FAILED,
    "DEADLINE": FAILED,
    "NODE_FAIL": FAILED,
    "BOOT_FAIL": FAILED,
    "OUT_OF_MEMORY": FAILED,
    "PREEMPTED": FAILED,
    "LAUNCH_FAILED": FAILED,
    "REVOKED": UNKNOWN,  # another cluster of the federation has it
}
_REASONS = {
    "TIMEOUT": "it exceeded its walltime",
    "DEADLINE": "its deadline passed",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "OUT_OF_MEMORY": "it used more memory than it had asked for",
    "PREEMPTED": "another job took its place",
    "LAUNCH_FAILED": "it could not be started",
}
_NEVER_MET = "DependencyNeverSatisfied"
_HELD_BY = ("JobHeldUser", "JobHeldAdmin", "Dependency", _NEVER_MET, "JobHoldMaxRequeue")
_NOTHING = ("", "(null)", "N/A", "None", "Unknown", "None assigned")


def read_table(text: str, columns: "tuple[str, ...]", separator: str) -> "list[Row]":
    r"""Return the rows of a table whose columns all end with a separator.

    >>> read_table("1|two\nlines|\n2|b|\n", ("id", "name"), "|")
    [{'id': '1', 'name': 'two\nlines'}, {'id': '2', 'name': 'b'}]
    """
    rows = []
    for row in text.split(f"{separator}\n"):
        values = row.split(separator)
        if len(values) == len(columns):
            rows.append(dict(zip(columns, values)))  # noqa: B905 - of one length, and Python 3.9 has no strict
    return rows


def job_from_queue(job_id: str, rows: "list[Row]") -> Job:
    """Return a job out of the controller's rows: `12`, a task `12_3`, or an array as a whole."""
    number, _, task = job_id.partition("_")
    jobs = {}
    is_array = False
    for row in rows:
        its_task = _text(row["ArrayTaskID"])
        if row["ArrayJobID"] == number and (not task or its_task == task):
            is_array = its_task is not None and not task
            jobs[f"{number}_{its_task}" if its_task is not None else number] = _from_queue(job_id, row)
    if not jobs:
        return Job(job_id, UNKNOWN, reason="Slurm's controller does not know it")
    return _array(job_id, jobs) if is_array else next(iter(jobs.values()))


def job_from_accounting(job_id: str, table: "list[Row]") -> "Job | None":
    """Return a job out of the accounting's rows, with `SACCT_FIELDS`, or None if it is not in there."""
    rows: "dict[str, Row]" = {}
    steps: "dict[str, list[Row]]" = {}
    for row in table:
        name, _, step = str(row["JobID"]).partition(".")
        if name != job_id and name.partition("_")[0] != job_id:
            continue
        if step:
            steps.setdefault(name, []).append(row)
        else:
            rows[name] = row
    jobs = {name: _from_accounting(job_id, row, steps.get(name, [])) for name, row in rows.items()}
    if not jobs:
        return None
    if any("_" in name for name in jobs):
        return _array(job_id, jobs) if "_" not in job_id else jobs.get(job_id)
    return next(iter(jobs.values()))


def _array(job_id: str, jobs: "dict[str, Job]") -> Job:
    """Return an array by its tasks; what one of them says of the whole is taken from the first."""
    tasks = list(jobs.values())
    ended = all(task.state in FINAL for task in tasks)
    submitted = [task.submitted for task in tasks if task.submitted]
    started = [task.started for task in tasks if task.started]
    ends = [task.ended for task in tasks if task.ended]
    parent = replace(
        tasks[0],
        id=job_id,
        state=UNKNOWN,
        exit_status=None,
        signal=None,
        reason=None,
        submitted=min(submitted, default=None),
        started=min(started, default=None),
        ended=max(ends, default=None) if ended else None,
        used=Used(
            _sum([task.used.cpu_s for task in tasks]),
            max((task.used.mem_bytes for task in tasks if task.used.mem_bytes is not None), default=None),
            max((task.used.walltime_s for task in tasks if task.used.walltime_s is not None), default=None),
        ),
    )
    return array_of(parent, jobs, ended=ended)


def _from_queue(job_id: str, row: "Row") -> Job:
    status, signal = _exit_of(row["exit_code"])
    state, exit_status, signal, reason = _standing(row["State"], row["Reason"], status, signal)
    # Of a job that was ended before it began, Slurm says that it began at its end, and nowhere.
    begun = state not in (QUEUED, HELD) and _text(row["NodeList"]) is not None
    started = _utc(row["StartTime"]) if begun else None
    ended = _utc(row["EndTime"]) if state in FINAL else None
    return Job(
        id=job_id,
        state=state,
        name=_text(row["Name"]),
        exit_status=exit_status,
        signal=signal,
        reason=reason,
        queue=_text(row["Partition"]),
        project=_text(row["Account"]),
        asked=Asked(count(row["NumCPUs"]), size_bytes(row["MinMemory"]) or None, whole_seconds(row["TimeLimit"])),
        used=Used(
            walltime_s=int((moment(ended) - moment(started)).total_seconds()) if started and ended else None,
        ),
        submitted=_utc(row["SubmitTime"]),
        started=started,
        ended=ended,
        host=_text(row["NodeList"]),
        raw_state=row["State"],
    )


def _from_accounting(job_id: str, row: "Row", steps: "list[Row]") -> Job:
    raw_state = row["State"].partition(" ")[0]  # `CANCELLED by 1000`
    status, signal = _exit_of(row["ExitCode"])
    state, exit_status, signal, reason = _standing(raw_state, row["Reason"], status, signal)
    peaks = [size_bytes(step["MaxRSS"]) for step in (row, *steps)]
    begun = state not in (QUEUED, HELD) and _text(row["NodeList"]) is not None
    return Job(
        id=job_id,
        state=state,
        name=_text(row["JobName"]),
        exit_status=exit_status,
        signal=signal,
        reason=reason,
        queue=_text(row["Partition"]),
        project=_text(row["Account"]),
        # Older versions say `4Gn` for each node and `4Gc` for each CPU.
        asked=Asked(count(row["ReqCPUS"]), size_bytes(row["ReqMem"].rstrip("nc")), whole_seconds(row["Timelimit"])),
        used=Used(
            seconds(row["TotalCPU"]),
            max((peak for peak in peaks if peak is not None), default=None),
            whole_seconds(row["ElapsedRaw"]),
        ),
        submitted=_utc(row["Submit"]),
        started=_utc(row["Start"]) if begun else None,
        ended=_utc(row["End"]) if state in FINAL else None,
        host=_text(row["NodeList"]),
        raw_state=raw_state or None,
    )


def _standing(
    raw_state: str, why: str, exit_status: "int | None", signal: "int | None"
) -> "tuple[str, int | None, int | None, str | None]":
    """Return state, exit status, signal and reason."""
    state = _STATES.get(raw_state, UNKNOWN)
    said = _text(why)
    if state == UNKNOWN:
        said = f"Slurm's state {raw_state!r} says nothing of how it stands"
    elif state == QUEUED and said in _HELD_BY:
        state = HELD
    if state not in FINAL:
        return state, None, None, said
    if raw_state in _REASONS:
        # Ended from outside: what its script returned, if it did, is not how it ended.
        return FAILED, None, signal, _REASONS[raw_state]
    if state == CANCELLED:
        if said == _NEVER_MET:
            state, said = FAILED, "it never ran: what it depends on can never be met"
        return state, None, signal, said
    if state == SUCCEEDED and (exit_status != 0 or signal is not None):
        return UNKNOWN, None, None, f"Slurm calls it completed, with exit status {exit_status} and signal {signal}"
    if signal is None and exit_status is not None:
        return state, exit_status, signal_of(exit_status), said
    return state, None, signal, said


def _exit_of(text: str) -> "tuple[int | None, int | None]":
    """Return exit status and signal, of a status as wait(2) gives it or of `STATUS:SIGNAL`.

    >>> _exit_of("768"), _exit_of("9"), _exit_of("3:0"), _exit_of("N/A")
    ((3, None), (0, 9), (3, None), (None, None))
    """
    first, colon, second = text.partition(":")
    status, signal = count(first), count(second)
    if status is None:
        return None, None
    return (status, signal or None) if colon else (status >> 8 & 255, status & 127 or None)


def _sum(amounts: "list[float | None]") -> "float | None":
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _text(value: str) -> "str | None":
    return None if value in _NOTHING else value


def _utc(text: str) -> "str | None":
    """Return a time of Slurm's, which was printed in UTC."""
    return f"{text}Z" if len(text) == len("2026-01-01T00:00:00") and text[0].isdigit() else None
