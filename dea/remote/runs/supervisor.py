"""Stays with a claimed run, in a session of its own that outlives the connection: starts it, unless another has, and records its end.

It is forked by the process that the client is connected to, so it costs no second start of Python, and secrets reach it
without being written down.
"""

import gc
import os
import time

from dea.remote import fault
from dea.remote.audit import ERROR, tell_syslog, timestamp
from dea.remote.contract.receipt import CANCELLED, EXITED, LOST, REFUSED, SIGNALED, TIMED_OUT
from dea.remote.contract.request import Refusal
from dea.remote.contract.status import TIMED_OUT as STATUS_TIMED_OUT
from dea.remote.decision import Plan
from dea.remote.exchange import Exchange, failure, not_startable, spoken
from dea.remote.launch import NotStarted
from dea.remote.plain_json import encode
from dea.remote.runs.capture import Room, Stream, drain, run_captured
from dea.remote.runs.store import CLAIM, FORMAT, OUTCOME, OUTCOME_BYTES, STARTED, STDERR, STDOUT, Run

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from dea.remote.places import Place

STATUS_CANCELLED = 143
"""128 and TERM, as a shell reports a command that was asked to end."""


def fork_supervisor(run: Run, token: str, plan: Plan, exchange: Exchange, place: "Place | None") -> int:
    """Start a process that stays with a run.

    Args:
        run: The run, claimed.
        token: A token of the new process's own; the room for its outcome is taken already.
        plan: What is to run.
        exchange: The request that brought it, for the audit log.
        place: The place that it holds of those that `max_parallel` allows, from now on the new process's.

    Returns:
        A descriptor: something to read on it means that a look is worth it, its end that nothing more will come.

    Raises:
        OSError: If there can be no further process.
    """
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    if os.fork() != 0:
        os.close(waker)
        return woken
    try:
        os.close(woken)
        os.setsid()
        # The SSH channel ends when the last descriptor of it is closed.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        gc.enable()
        _Supervisor(run, token, plan, exchange, place, waker).supervise()
    except BaseException as error:  # noqa: BLE001 - the last resort: whoever asks finds the run lost, the operator finds this
        tell_syslog(f"run {run.run_id}: {failure(error)}".encode("utf-8", "backslashreplace"), severity=ERROR)
    finally:
        os._exit(0)


class _Supervisor:
    def __init__(self, run: Run, token: str, plan: Plan, exchange: Exchange, place: "Place | None", waker: int) -> None:
        self._run = run
        self._token = token
        self._plan = plan
        self._exchange = exchange
        self._place = place
        self._waker = waker
        self._started = timestamp(time.time())

    def supervise(self) -> None:
        if not self._start():
            return
        room = Room(self._plan.max_output_bytes)
        streams = Stream(self._run.path(STDOUT), room), Stream(self._run.path(STDERR), room)
        name = str(self._run.claim["command"])
        ended = None
        try:
            self._run.force_to_disk(CLAIM, STARTED)
            fault.step("start-durable")
            about: "dict[str, object]" = {
                "run_id": self._run.run_id,
                "command": name,
                "arguments": list(self._plan.arguments),
            }
            self._exchange.record(("started", about))
            fault.step("start-recorded")
            self._look()
            if not self._run.is_asked_to_end():
                try:
                    ended = run_captured(self._plan, streams, self._exchange.site.beat_s, self._beat, self._look)
                except NotStarted as error:
                    raise not_startable(name, str(error)) from error
                except Exception as error:
                    # It has started, and nobody knows how it ends: without an outcome it will be found lost, never refused.
                    self._record_end(LOST, None, problems=failure(error).problems)
                    raise RuntimeError(f"{name} is lost: {error}") from error
        except (Refusal, OSError) as error:
            refusal = error if isinstance(error, Refusal) else failure(error)
            for problem in refusal.problems:
                streams[1].store(spoken(problem))
            self._end(REFUSED, refusal.status, streams, problems=refusal.problems)
            return
        # No end is recorded within the `try`: an error after it must not record another over it.
        if ended is None:
            self._end(CANCELLED, STATUS_CANCELLED, streams)
            return
        outcome, status = SIGNALED if ended.signaled else EXITED, ended.status
        if ended.timed_out:
            outcome, status = TIMED_OUT, STATUS_TIMED_OUT
            streams[1].store(spoken(f"{name} was ended: it ran longer than {self._plan.timeout_s} s"))
        elif ended.cancelled:
            outcome, status = CANCELLED, STATUS_CANCELLED
        self._end(outcome, status, streams, children=ended.children)
        drain(streams)

    def _start(self) -> bool:
        """Decide that this process runs the command, before anything of it is started; False if another was first."""
        fault.step("supervisor-began")
        site = self._exchange.site
        start: "dict[str, object]" = {
            "token": self._token,
            "node": site.node,
            "pid": os.getpid(),
            "started": self._started,
            "lost_after_s": site.lost_after_s,
        }
        mine = False
        try:
            self._run.prepare_start(start)
            fault.step("start-prepared")
            mine = self._run.start(start)
        finally:
            if not mine and self._place is not None:
                self._place.give_back()
        if mine:
            self._run.beat()
            fault.step("start-linked")
        return mine

    def _beat(self) -> bool:
        self._run.beat()
        if self._place is not None:
            self._place.beat()
        return self._run.is_asked_to_end()

    def _look(self) -> None:
        """Tell the front process, if it is still there, that a look is worth it."""
        try:
            os.write(self._waker, b".")
        except OSError:
            pass  # it has enough to read, or is gone

    def _end(
        self,
        outcome: str,
        status: int,
        streams: "tuple[Stream, Stream]",
        *,
        children: "int | None" = None,
        problems: "tuple[str, ...]" = (),
    ) -> None:
        """Record how the run ended, for the audit log and for whoever asks."""
        out, err = streams
        # Before the outcome is seen, so that whoever sees it, on another login node too, sees all of the output; and what
        # a file system says only then (that the disk is full) is said with the outcome.
        for stream in streams:
            stream.close()
        problems = (*problems, *(f"not all output is stored: {s.problem}" for s in streams if s.problem is not None))
        # How it ended is the truth, and the lack of a line is said beside it.
        unrecorded = self._record_end(outcome, status, children=children, problems=problems)
        for problem in unrecorded:
            err.store(spoken(problem))
        err.close()
        problems = (*problems, *unrecorded)
        fault.step("end-recorded")
        document: "dict[str, object]" = {
            "format": FORMAT,
            "outcome": outcome,
            "status": status,
            # Without a count of children, nothing of the command ever ran.
            "started": self._started if children is not None else None,
            "ended": timestamp(time.time()) if children is not None else None,
            "stdout_bytes": out.written_bytes,
            "stderr_bytes": err.written_bytes,
            "stdout_stored": out.stored_bytes,
            "stderr_stored": err.stored_bytes,
            "children": children,
            "audit": self._exchange.head,
            "problems": list(problems),
        }
        if len(encode(document)) > OUTCOME_BYTES:
            document["problems"] = []
        self._run.prepare_outcome(self._token, document)
        fault.step("outcome-prepared")
        self._run.end(self._token, document)
        fault.step("outcome-linked")
        self._look()
        os.close(self._waker)
        if self._place is not None:
            self._place.give_back()
        # The run is over, whatever becomes of the rest, and children that it left behind are still to be read from.
        try:
            # Not waited for by the client: should the power fail within these milliseconds, the run is lost, not run twice.
            self._run.force_to_disk(STDOUT, STDERR, OUTCOME)
            fault.step("outcome-durable")
        except OSError as error:
            self._tell(error)
        try:
            self._prune(out.stored_bytes + err.stored_bytes)
        except OSError as error:
            self._tell(error)

    def _prune(self, stored_bytes: int) -> None:
        from dea.remote.runs.prune import OUTPUT_BYTES, OUTPUT_DAYS, prune_now_and_then

        days, max_bytes = self._plan.stored_days or OUTPUT_DAYS, self._plan.stored_bytes or float(OUTPUT_BYTES)
        prune_now_and_then(self._exchange.site.state, days, max_bytes, stored_bytes)

    def _tell(self, error: OSError) -> None:
        """Tell the operator what went wrong after the end."""
        tell_syslog(f"run {self._run.run_id}: {failure(error)}".encode("utf-8", "backslashreplace"), severity=ERROR)

    def _record_end(
        self, outcome: str, status: "int | None", *, children: "int | None" = None, problems: "tuple[str, ...]" = ()
    ) -> "tuple[str, ...]":
        """Record an end in the audit log; return why that could not be done."""
        facts: "dict[str, object]" = {
            "run_id": self._run.run_id,
            "command": self._run.claim["command"],
            "outcome": outcome,
            "status": status,
            "children": children,
            "duration_s": self._exchange.duration_s(),
            **({"problems": list(problems)} if problems else {}),
        }
        try:
            self._exchange.record(("refused" if outcome == REFUSED else "ended", facts))
        except Refusal as unrecorded:
            return unrecorded.problems
        return ()
