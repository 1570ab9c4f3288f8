"""PBS: OpenPBS and PBS Pro, NCI's among them. What is asked of it, and what its answers mean; nothing is called here.

The programs are described in qsub(1B), qstat(1B), qdel(1B) and qselect(1B). Their exit status is the low byte of the
server's error (OpenPBS, pbs_error.h), so the same number can be another program's own: the text beside it decides.
"""

import re

from dea.remote.contract.job import UNKNOWN, Job, is_job_id
from dea.remote.contract.request import shown
from dea.remote.schedulers.calls import Answer, Call, chunks
from dea.remote.schedulers.errors import Refused, Uncertain, Unreachable
from dea.remote.schedulers.measures import duration, seconds
from dea.remote.schedulers.order import Order
from dea.remote.schedulers.pbs_jobs import ID, Unreadable, is_of, job_from, key_of, read_json, read_text

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Generator

    from dea.remote.schedulers.pbs_jobs import Attributes

NAME = "pbs"

NAME_LIMIT = 15
"""How long a job's name may be for every version; newer ones take 236 characters (qsub(1B), -N)."""

UNKNOWN_IS_MET = False
"""Whether a dependency on a job that the scheduler does not know counts as met: here such a job ends without having run."""

_UNKNOWN_ID = 153  # PBSE_UNKJOBID
_FINISHED = 35  # PBSE_HISTJOBID
_SYSTEM, _INTERNAL, _PROTOCOL = 162, 163, 183  # PBSE_SYSTEM, PBSE_INTERNAL, PBSE_PROTOCOL
_ANSWERED = (0, _FINISHED, _UNKNOWN_ID)
_MEBIBYTE = 1 << 20

_UNKNOWN_SAID = re.compile(
    r"(?:Unknown Job Id|illegally formed job identifier:?|Unknown queue destination) ([0-9]+(?:\[[0-9]*\])?)", re.ASCII
)
_FINISHED_SAID = re.compile(r"Job has finished")
# qsub's own last word before anything is sent: the job cannot be there. That one address refused the connection is said of
# the first of two servers too, and then the second can have the job.
_NEVER_SENT = re.compile(r"cannot connect to|Unknown Host|could not find server", re.I)
_NOT_CONNECTED = re.compile(
    r"cannot connect to|Connection refused|No route to host|Unknown Host|could not find server", re.I
)
# Statuses by which the server says no once it has looked at a job: PBSE_UNKJOBID and on, but for the three that say that
# something went wrong on the way.
_SERVER_ERRORS = frozenset(range(153, 253)) - {_SYSTEM, _INTERNAL, _PROTOCOL}
# And three beyond, where the low byte begins anew: a site's hook says no (PBSE_HOOKERROR), or somebody has too many jobs
# already, or too much of a resource (PBSE_ENTLIMCT, PBSE_ENTLIMRESC).
_SERVER_ERRORS |= {32, 38, 39}
# What qsub itself finds wrong, before it asks a server.
_NOT_SENT = re.compile(r"usage: qsub|illegal -\S+ value|script not a file")
_HISTORY = re.compile(r"job_history_enable = True", re.I)
_HISTORY_KEPT = re.compile(r"job_history_duration = (\S+)")
_HISTORY_KEPT_S = 14 * 86400.0  # pbs_server_attributes(7B), job_history_duration: for how long, unless the site says
_MARGIN_S = 60.0


def submit_call(order: Order) -> Call:
    """Return the call that submits a job. The script goes by stdin: what was read and checked is what runs."""
    # -f: without a background process, which would go on submitting after qsub itself was ended. -r n: a job that may have
    # done its work is not run anew because a node died; an array must be rerunnable. Never -V: the whole environment.
    argv = ["qsub", "-f", "-N", order.name_within(NAME_LIMIT), "-r", "y" if order.array else "n", "-j", "oe"]
    for flag, value in (("-q", order.queue), ("-P", order.project), ("-J", order.array)):
        if value is not None:
            argv += [flag, value]
    for name, amount in _resources(order):
        argv += ["-l", f"{name}={amount}"]
    if order.after:
        argv += ["-W", "depend=" + ",".join(f"{relation}:{job}" for relation, job in order.after)]
    if order.all_variables:
        argv += ["-v", ",".join(f"{name}={value}" for name, value in order.all_variables)]
    if order.output is not None:
        argv += ["-o", f"{order.output.rstrip('/')}/"]
    return Call(tuple(argv), stdin=order.script, folder=order.output)


def submitted(answer: Answer) -> str:
    """Return the id of the job that was submitted.

    Raises:
        Refused: PBS will not have it.
        Unreachable: PBS was not reached.
        Uncertain: It cannot be told.
    """
    lines = answer.stdout.strip().split("\n")
    if answer.status == 0 and is_job_id(lines[-1].strip()):
        return lines[-1].strip()
    if not answer.cut_off and answer.status != 0:
        if _NEVER_SENT.search(answer.stderr):
            raise Unreachable(f"qsub: {answer.said}")
        if answer.status in _SERVER_ERRORS or _NOT_SENT.search(answer.stderr):
            raise Refused(f"qsub: {answer.said}")
    raise Uncertain(f"qsub: {answer.said}")


def status(job_ids: "list[str]") -> "Generator[Call, Answer, dict[str, Job]]":
    """Ask for many jobs at once; the conversation returns one for each id.

    PBS is asked by the jobs' numbers alone: qstat connects to the server that an id names, and whoever may ask for jobs
    could have it connect to a machine of theirs, which keeps everybody waiting, or answers.

    Raises:
        Unreachable: PBS cannot be asked.
    """
    jobs: "dict[str, Job]" = {}
    for some in chunks(list(dict.fromkeys(job_ids))):
        found: "dict[str, Attributes]" = {}
        keys = list(dict.fromkeys(key_of(job_id) for job_id in some))
        # -x: finished ones too. -t: an array's own standing is no more than that of its last subjob.
        options = ("-x", "-t") if any("[]" in job_id for job_id in some) else ("-x",)
        answer = yield Call(("qstat", *options, "-f", "-F", "json", *keys))
        unknown = _unknown(answer)
        try:
            found = read_json(answer.stdout)
        except Unreadable:
            pass  # one job's value can break the answer for all
        missing = [key for key in keys if key not in found and key not in unknown]
        if missing:
            # Some versions print the first of several jobs only.
            answer = yield Call(("qstat", *options, "-f", *missing))
            unknown |= _unknown(answer)
            found = {**read_text(answer.stdout), **found}
        for job_id in some:
            attributes = found.get(key_of(job_id))
            # What PBS says that it does not know is not there, whatever else reads like it.
            if attributes is None or key_of(job_id) in unknown:
                jobs[job_id] = Job(job_id, UNKNOWN, reason="PBS does not know it")
            elif not is_of(job_id, attributes):
                jobs[job_id] = Job(job_id, UNKNOWN, reason=f"the job of this number here is {attributes[ID]}")
            else:
                jobs[job_id] = job_from(job_id, attributes, _subjobs(job_id, found))
    return jobs


def cancel(job_id: str) -> "Generator[Call, Answer, None]":
    """Ask for a job's end. That it has ended already is no error.

    Raises:
        Refused: PBS does not know it, or does not allow it.
        Unreachable: PBS cannot be asked.
    """
    answer = yield Call(("qdel", job_id))
    if answer.status == 0 or (answer.status == _FINISHED and "has finished" in answer.stderr):
        return
    if _UNKNOWN_SAID.search(answer.stderr):
        raise Refused(f"PBS knows no job {shown(job_id)}")
    if answer.cut_off or answer.status in (_SYSTEM, _INTERNAL, _PROTOCOL) or _NOT_CONNECTED.search(answer.stderr):
        raise Unreachable(f"qdel: {answer.said}")
    raise Refused(f"qdel: {answer.said}")


def find(name: str, account: str, since_s: float) -> "Generator[Call, Answer, tuple[list[str], bool]]":
    """Look for the jobs of a name, finished ones too.

    Args:
        name: The name.
        account: Whose jobs.
        since_s: How long ago the job can have been submitted.

    Returns:
        Their ids, and whether there being none proves that there was none: one that has ended is gone without a history,
        and after a time with one.

    Raises:
        Unreachable: PBS cannot be asked.
    """
    answer = yield Call(("qselect", "-x", "-u", account, "-N", name))
    if answer.status != 0:
        raise Unreachable(f"qselect: {answer.said}")
    ids = [line.strip() for line in answer.stdout.split("\n") if line.strip()]
    if ids:
        if not all(is_job_id(job_id) for job_id in ids):
            raise Unreachable(f"qselect printed what is no job's id: {shown(' '.join(ids))}")
        return ids, True
    answer = yield Call(("qstat", "-B", "-f"))
    if answer.status != 0:
        raise Unreachable(f"qstat -B: {answer.said}")
    said = _HISTORY_KEPT.search(answer.stdout)
    kept_s = seconds(said[1]) if said else _HISTORY_KEPT_S
    return [], _HISTORY.search(answer.stdout) is not None and kept_s is not None and since_s + _MARGIN_S < kept_s


def _resources(order: Order) -> "list[tuple[str, str]]":
    resources = list(order.resources)
    if order.ncpus is not None:
        resources.append(("ncpus", str(order.ncpus)))
    if order.mem_bytes is not None:
        resources.append(("mem", f"{-(-order.mem_bytes // _MEBIBYTE)}mb"))
    if order.walltime_s is not None:
        resources.append(("walltime", duration(order.walltime_s)))
    if order.storage:
        resources.append(("storage", "+".join(order.storage)))
    return resources


def _unknown(answer: Answer) -> "set[str]":
    """Return the keys of the jobs that PBS said it does not know.

    Raises:
        Unreachable: It is no answer: a server that is down gives status 255 and JSON without jobs.
    """
    lines = [line for line in answer.stderr.split("\n") if line.strip()]
    # Whatever the status: complaints of some ids, and nothing else, are an answer about the others.
    of_some = lines and all(_UNKNOWN_SAID.search(line) or _FINISHED_SAID.search(line) for line in lines)
    answered = answer.status in _ANSWERED or (of_some and not answer.cut_off)
    if not answered or _NOT_CONNECTED.search(answer.stderr):
        raise Unreachable(f"qstat: {answer.said}")
    return set(_UNKNOWN_SAID.findall(answer.stderr))


def _subjobs(job_id: str, found: "dict[str, Attributes]") -> "dict[str, Attributes]":
    """Return the subjobs of an array, `13[0]` and so on of `13[]`."""
    key = key_of(job_id)
    if not key.endswith("[]"):
        return {}
    begin = key[:-1]
    return {other: attributes for other, attributes in found.items() if other.startswith(begin) and other != key}
