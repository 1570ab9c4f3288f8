"""How an array of jobs stands, by its tasks: it has succeeded only if every one of them has."""

from dataclasses import replace

from dea.remote.contract.job import (
    CANCELLED,
    EXITING,
    FAILED,
    FINAL,
    HELD,
    LOST,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    UNKNOWN,
    Job,
)

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 20


def array_of(parent: Job, tasks: "dict[str, Job]", *, ended: bool, count: int = 0) -> Job:
    """Return an array's job with the standing of its tasks.

    Args:
        parent: What is known of the array as a whole.
        tasks: Its tasks, by id.
        ended: Whether the scheduler says that the array has ended: no task of it is still to come.
        count: How many tasks there must be, as far as that is known.

    >>> parent = Job("13[]", "failed", exit_status=1, raw_state="F")
    >>> tasks = {"13[0]": Job("13[0]", "succeeded", exit_status=0), "13[1]": Job("13[1]", "failed", exit_status=2)}
    >>> done = array_of(parent, tasks, ended=True)
    >>> done.state, done.exit_status, done.reason
    ('failed', 2, '1 of 2 tasks failed: 13[1]')
    """
    states = [task.state for task in tasks.values()]
    if not ended:
        return replace(parent, state=_open(parent, states), exit_status=None, signal=None)
    if not tasks:
        if parent.state == SUCCEEDED:
            # Its own status is that of one task alone.
            return replace(parent, state=UNKNOWN, exit_status=None, reason="nothing is known of the array's tasks")
        return parent
    for state in (FAILED, CANCELLED, LOST):
        if state in states:
            some = [name for name, task in tasks.items() if task.state == state]
            first = tasks[some[0]]
            names = ", ".join(some[:_SHOWN]) + (", ..." if len(some) > _SHOWN else "")
            reason = f"{len(some)} of {len(tasks)} tasks {state}: {names}"
            return replace(parent, state=state, exit_status=first.exit_status, signal=first.signal, reason=reason)
    if all(state == SUCCEEDED for state in states) and len(tasks) >= count:
        return replace(parent, state=SUCCEEDED, exit_status=0, signal=None)
    return replace(
        parent, state=UNKNOWN, exit_status=None, signal=None, reason="not all is known of how the array's tasks ended"
    )


def _open(parent: Job, states: "Iterable[str]") -> str:
    """Return the state of an array that has not ended: that of the task that is furthest on."""
    there = set(states)
    if there & {RUNNING, *FINAL}:
        return RUNNING
    for state in (EXITING, QUEUED, HELD):
        if state in there:
            return state
    return parent.state if parent.state not in FINAL else UNKNOWN
