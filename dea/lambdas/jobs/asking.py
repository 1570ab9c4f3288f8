"""What the login node's commands say of batch jobs: asks them through a session, and reads their answers.

Only `job_status` is asked here, for any number of jobs. The commands that submit and cancel are their functions' to call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dea.lambdas.errors import OrchestratorException
from dea.lambdas.jobs.portions import portions
from dea.raijin import Call, CommandResult, RaijinSession, random_run_id
from dea.remote.contract.job import (
    MAX_IDS,
    InvalidAnswer,
    Job,
    Standing,
    Submitted,
    parse_cancelled,
    parse_standing,
    parse_submitted,
)

MAX_IDS_BYTES = 60_000
"""How many bytes of ids one request takes: it ends at 64 KiB, its options and its name included."""

UNREACHABLE, UNCERTAIN = 69, 76
"""What commands about jobs end with if the scheduler did not answer, or if nobody knows whether it took a job. Another attempt
of the run is safe then: it does nothing twice, and asks first what became of the first one."""

MAX_ATTEMPTS = 20
"""How many attempts of one run there are at most: Lambda, a queue and a person together hardly try as often."""

_Read = TypeVar("_Read")


class AnswerOfNoJob(OrchestratorException):
    """A command ended well, and what it printed is not what such a command prints: nothing is concluded from it."""


def ask(session: RaijinSession, ids: Iterable[str]) -> Iterator[Standing]:
    """Ask how jobs stand, with as few calls as there can be, and yield each answer.

    Args:
        session: The session.
        ids: The jobs' ids, each once.

    Raises:
        CommandFailed: If the command fails: the scheduler does not answer, say.
        AnswerOfNoJob: If what it printed is no answer.
        RaijinError: If the login node cannot be asked.
    """
    for some in _portions(ids):
        # An id of its own each time: a retry of the tracker's event asks about other jobs, and wants no old answer.
        call = Call.of("job_status", *some).named(run_id=random_run_id(None))
        result = session.exec_command(call).check()
        standing = _read(result, parse_standing)
        if [job.id for job in standing.jobs] != some:
            raise AnswerOfNoJob("job_status ended well, and has not answered for each job in turn", *result)
        yield standing


def perform(session: RaijinSession, call: Call) -> CommandResult:
    """Run a command about one job. Where an earlier try of the same delivery came to nothing, make another attempt of its run.

    A retry of an event is told what the first try was told: that the scheduler did not answer, say. So what was told before is
    passed over, attempt by attempt, up to one that is new, or is an answer.

    Args:
        session: The session, with the delivery's run ids.
        call: The call.

    Raises:
        RaijinError: If the login node refuses, cannot be asked, or does not know how the run ended.
    """
    result = session.exec_command(call)
    first = result.run_id
    for number in range(1, MAX_ATTEMPTS):
        if first is None or not result.replayed or result.exit_code not in (UNREACHABLE, UNCERTAIN):
            break
        result = session.rerun(first, key=f"attempt {number}")
    return result


def submitted(result: CommandResult) -> Submitted:
    """Read what a command that submits has printed.

    Raises:
        AnswerOfNoJob: If that is no answer of one.
    """
    return _read(result, parse_submitted)


def cancelled(result: CommandResult) -> tuple[Job, str]:
    """Read what `cancel_job` has printed: the job as it stood then, and as of when.

    It does not say when it asked the scheduler, but not before it was started; a retry is told the first run's answer.

    Raises:
        AnswerOfNoJob: If that is no answer of it.
    """
    if result.started is None:
        raise AnswerOfNoJob("cancel_job has no answer: it never started", *result)
    return _read(result, parse_cancelled), f"{result.started[:19]}Z"


def _read(result: CommandResult, parse: Callable[[str], _Read]) -> _Read:
    try:
        return parse(result.stdout)
    except InvalidAnswer as error:
        name = result.command.partition(" ")[0]
        raise AnswerOfNoJob(
            f"{name} ended well, and what it printed is no answer about jobs ({error}); look at it with inv result {result.run_id}",
            result.stdout,
            result.stderr,
            result.exit_code,
        ) from error


def _portions(ids: Iterable[str]) -> Iterator[list[str]]:
    """Divide ids into as many as one request takes."""
    # Each costs a blank too, and quotes around the id of an array.
    return portions(ids, lambda one: len(one.encode()) + 3, most=MAX_IDS, most_bytes=MAX_IDS_BYTES)
