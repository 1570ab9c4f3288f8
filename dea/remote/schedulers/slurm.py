"""Slurm. What is asked of it, and what its answers mean; nothing is called here.

The programs are described in sbatch(1), squeue(1), sacct(1) and scancel(1). squeue asks the controller, which forgets a job
some minutes after its end (`MinJobAge`); sacct asks the accounting, which a site need not have.
"""

import os
import re
import time
from dataclasses import replace

from dea.remote.contract.job import FINAL, SUCCEEDED, UNKNOWN, Job, is_job_id, moment
from dea.remote.contract.request import shown
from dea.remote.schedulers.calls import Answer, Call, chunks
from dea.remote.schedulers.errors import Refused, Uncertain, Unreachable
from dea.remote.schedulers.measures import duration
from dea.remote.schedulers.order import Order
from dea.remote.schedulers.slurm_jobs import (
    SACCT_FIELDS,
    SQUEUE_FIELDS,
    job_from_accounting,
    job_from_queue,
    read_table,
)

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Generator

NAME = "slurm"

NAME_LIMIT = 64
"""How long a job's name is at most: Slurm takes more, and its tables show less."""

UNKNOWN_IS_MET = True
"""Whether a dependency on a job that the scheduler does not know counts as met. Slurm forgets a job minutes after its end,
how it ended too, and then runs what was to run only after its success (sbatch(1), --dependency)."""

_MEBIBYTE = 1 << 20
_MARGIN_S = 60.0
_MAX_ID = 0xFFFFFFF0  # from here on, numbers of 32 bits have meanings of their own (slurm.h, NO_VAL and INFINITE)

# The controller was asked, or may have been, and no answer came (slurm_errno.h and the texts of slurm_strerror).
_ON_THE_WAY = re.compile(
    r"Socket timed out|Zero Bytes|Unexpected message|Protocol|communication|Connection reset|Broken pipe|send/recv|Transport"
    # "Unable to contact slurm controller (receive failure)": it was contacted, and may have the job.
    r"|(?:send|receive|shutdown) failure|timed out|Interrupted system call|Resource temporarily unavailable",
    re.I,
)
_NOT_CONNECTED = re.compile(r"Unable to contact slurm controller|Connection refused|controller not responding", re.I)
_UNKNOWN_SAID = re.compile(r"Invalid job id", re.I)
_ENDED_SAID = re.compile(r"already (?:completing|completed)|Job/step already", re.I)
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled|not configured|Unable to .*SlurmDBD|slurmdbd", re.I)
_CONFIGURATION = Call(("scontrol", "show", "config"))
_TASKS_FORGOTTEN = (
    "Slurm forgets an array's tasks one by one, and keeps no accounting: not all is known of how they ended"
)
_MIN_JOB_AGE = re.compile(r"^MinJobAge\s*=\s*([0-9]+)", re.M)


def submit_call(order: Order) -> Call:
    """Return the call that submits a job. The script goes by stdin: what was read and checked is what runs."""
    variables = ",".join(f"{name}={value}" for name, value in order.all_variables)
    argv = ["sbatch", "--parsable", f"--job-name={order.name_within(NAME_LIMIT)}", "--no-requeue"]
    argv.append(f"--export={variables or 'NONE'}")
    for option, value in (("--partition", order.queue), ("--account", order.project), ("--array", order.array)):
        if value is not None:
            argv.append(f"{option}={value}")
    if order.walltime_s is not None:
        argv.append(f"--time={duration(order.walltime_s)}")
    if order.ncpus is not None:
        argv += ["--ntasks=1", f"--cpus-per-task={order.ncpus}"]
    if order.mem_bytes is not None:
        argv.append(f"--mem={-(-order.mem_bytes // _MEBIBYTE)}M")
    if order.storage:
        argv.append("--licenses=" + ",".join(order.storage))
    if order.resources:
        argv.append("--gres=" + ",".join(f"{name}:{amount}" for name, amount in order.resources))
    if order.after:
        argv.append("--dependency=" + ",".join(f"{relation}:{job}" for relation, job in order.after))
        # Or it would wait for ever for what can never be met.
        argv.append("--kill-on-invalid-dep=yes")
    if order.output is not None:
        file = "%x.o%A.%a" if order.array is not None else "%x.o%j"
        argv += [f"--output={order.output.rstrip('/')}/{file}", f"--chdir={order.output}"]
    return Call(tuple(argv), stdin=order.script, folder=order.output)


def submitted(answer: Answer) -> str:
    """Return the id of the job that was submitted.

    Raises:
        Refused: Slurm will not have it.
        Unreachable: Slurm was not reached.
        Uncertain: It cannot be told.
    """
    # With --parsable: the id, and after a semicolon the cluster's name where there are several.
    job_id = answer.stdout.strip().partition(";")[0]
    if answer.status == 0 and is_job_id(job_id):
        return job_id
    if not answer.cut_off and answer.status != 0 and not _ON_THE_WAY.search(answer.stderr):
        if _NOT_CONNECTED.search(answer.stderr):
            raise Unreachable(f"sbatch: {answer.said}")
        if "sbatch: error:" in answer.stderr or "sbatch: fatal:" in answer.stderr or 'Try "sbatch' in answer.stderr:
            raise Refused(f"sbatch: {answer.said}")
    raise Uncertain(f"sbatch: {answer.said}")


def status(job_ids: "list[str]", separator: "str | None" = None) -> "Generator[Call, Answer, dict[str, Job]]":
    """Ask for many jobs at once; the conversation returns one for each id.

    Args:
        job_ids: The ids.
        separator: What the columns end with (default: nothing that can be guessed). A job's name can hold anything, line
            breaks too: whoever knew the separator could name a job so that it reads as the row of another.

    Raises:
        Unreachable: Slurm cannot be asked.
    """
    separator = separator or f"|{os.urandom(8).hex()}|"
    # One id that is none of Slurm's would be an error for all.
    asked = [job_id for job_id in dict.fromkeys(job_ids) if _is_own(job_id)]
    jobs = {job_id: Job(job_id, UNKNOWN, reason="it is no id of Slurm's") for job_id in job_ids}
    accounting = True
    for some in chunks(asked):
        # A number that never was is left out of an answer for several, and an error in an answer for one.
        columns = ",".join(f"{field}:{separator}" for field in SQUEUE_FIELDS)
        answer = yield Call(
            ("squeue", "--noheader", "--states=all", "--array", f"--Format={columns}", "--jobs", ",".join(some))
        )
        if answer.status != 0 and not _UNKNOWN_SAID.search(answer.stderr):
            raise Unreachable(f"squeue: {answer.said}")
        rows = read_table(answer.stdout, SQUEUE_FIELDS, separator)
        arrays = {row["ArrayJobID"] for row in rows if row["ArrayTaskID"] != "N/A"}
        for job_id in some:
            jobs[job_id] = job_from_queue(job_id, rows)
        # Only the accounting knows what a job used, and the jobs that the controller has forgotten.
        due = [job_id for job_id in some if jobs[job_id].state in FINAL or jobs[job_id].state == UNKNOWN]
        if due and accounting:
            answer = yield Call(
                ("sacct", "--parsable", f"--delimiter={separator}", "--noheader", f"--format={','.join(SACCT_FIELDS)}",
                 "--jobs", ",".join(due))
            )  # fmt: skip
            accounting = answer.status == 0
            if answer.status != 0 and not _NO_ACCOUNTING.search(answer.stderr):
                raise Unreachable(f"sacct: {answer.said}")
            rows = read_table(answer.stdout, SACCT_FIELDS, separator)
            for job_id in due if accounting else ():
                told = job_from_accounting(job_id, rows)
                if told is not None:
                    jobs[job_id] = _joined(jobs[job_id], told, is_array=job_id in arrays)
                    arrays.discard(job_id)
        # Of an array, the controller forgets each task by itself, the failed ones too: what is left may all be well.
        good = [job_id for job_id in due if job_id in arrays and jobs[job_id].state == SUCCEEDED]
        if good:
            kept_s = _kept_s((yield _CONFIGURATION))
            for job_id in good:
                submitted = jobs[job_id].submitted
                if submitted is None or not moment(submitted).timestamp() + kept_s > time.time() + _MARGIN_S:
                    jobs[job_id] = replace(jobs[job_id], state=UNKNOWN, exit_status=None, reason=_TASKS_FORGOTTEN)
    return jobs


def cancel(job_id: str) -> "Generator[Call, Answer, None]":
    """Ask for a job's end. That it has ended already is no error.

    Raises:
        Refused: Slurm does not know it, or does not allow it.
        Unreachable: Slurm cannot be asked.
    """
    answer = yield Call(("scancel", "--verbose", job_id))
    if _UNKNOWN_SAID.search(answer.stderr):
        raise Refused(f"Slurm knows no job {shown(job_id)}")
    if answer.status == 0 or _ENDED_SAID.search(answer.stderr):
        return
    if answer.cut_off or _NOT_CONNECTED.search(answer.stderr) or _ON_THE_WAY.search(answer.stderr):
        raise Unreachable(f"scancel: {answer.said}")
    raise Refused(f"scancel: {answer.said}")


def find(name: str, account: str, since_s: float) -> "Generator[Call, Answer, tuple[list[str], bool]]":
    """Look for the jobs of a name, ended ones too.

    Args:
        name: The name.
        account: Whose jobs.
        since_s: How long ago the job can have been submitted.

    Returns:
        Their ids, and whether there being none proves that there was none: the controller forgets.

    Raises:
        Unreachable: Slurm cannot be asked.
    """
    answer = yield Call(("squeue", "--noheader", "--states=all", "--format=%F", f"--user={account}", f"--name={name}"))
    if answer.status != 0:
        raise Unreachable(f"squeue: {answer.said}")
    ids = list(dict.fromkeys(answer.stdout.split()))
    if not ids:
        answer = yield Call(
            ("sacct", "--allocations", "--parsable2", "--noheader", "--format=JobID", f"--user={account}",
             f"--name={name}", f"--starttime=now-{int(since_s + _MARGIN_S)}seconds")
        )  # fmt: skip
        if answer.status == 0:
            return list(dict.fromkeys(line.partition("_")[0] for line in answer.stdout.split())), True
        return [], since_s + _MARGIN_S < _kept_s((yield _CONFIGURATION))
    return ids, True


def _kept_s(answer: Answer) -> float:
    """Return for how long the controller keeps a job after its end.

    Raises:
        Unreachable: It does not say.
    """
    kept = _MIN_JOB_AGE.search(answer.stdout)
    if answer.status != 0 or kept is None:
        raise Unreachable(f"scontrol: {answer.said}")
    return int(kept[1]) or float("inf")  # slurm.conf(5): 0 is for ever


def _is_own(job_id: str) -> bool:
    """Tell whether Slurm can have a job of this id: numbers of 32 bits, a task's after `_`.

    >>> _is_own("12"), _is_own("12_3"), _is_own("12.gadi-pbs"), _is_own("99999999999")
    (True, True, False, False)
    """
    number, _, task = job_id.partition("_")
    return number.isdigit() and int(number) < _MAX_ID and (not task or (task.isdigit() and int(task) < _MAX_ID))


def _joined(queued: Job, told: Job, *, is_array: bool) -> Job:
    """Return what controller and accounting know together: the accounting is right about an end, and can be late with it.

    Of an array, the accounting alone knows all tasks: what the controller has left says nothing of the whole.
    """
    if told.state not in FINAL:
        return queued if queued.state != UNKNOWN and not is_array else told
    return replace(queued, used=told.used) if queued.state == told.state else told
