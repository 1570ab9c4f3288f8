"""Hands out what is stored of a run's output, from any byte on, as it comes, and tells how the run stands.

It reads the run's files and nothing else, so it works from any login node; and where the process that runs the command was
forked by this one, a pipe tells when to look, so nothing is polled.
"""

import os
import select
import time

from dea.remote import fault
from dea.remote.contract.receipt import LOST, RUNNING
from dea.remote.runs.store import STDERR, STDOUT, Run, Store, fresh

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

MAX_POLL_S = 1.0
"""How long a follower without a pipe sleeps at most before it looks again."""

LATE_S = 10.0
"""How long output is waited for that the outcome counts, and that is not here: on NFS it comes, after a loss of power it may not."""

CLAIMED = "claimed"
"""How a run stands that nobody has started yet."""

_MIN_POLL_S = 0.004
_CHUNK_BYTES = 1 << 18


class ClientGone(Exception):
    """Nobody reads the answer any more; the run goes on."""


class Standing:
    """How a run stands.

    Attributes:
        state: `RUNNING`, `LOST`, `CLAIMED`, or the outcome.
        outcome: What is recorded of the end, or None.
        started: When the command was started, or None.
        silent_s: For how long there was no heartbeat; 0 where nobody looked.
    """

    __slots__ = ("outcome", "silent_s", "started", "state")

    def __init__(self, state: str, outcome: "dict[str, Any] | None", started: "str | None", silent_s: float) -> None:
        self.state = state
        self.outcome = outcome
        self.started = started
        self.silent_s = silent_s

    def reported(self, lost_after_s: float) -> str:
        """Return what is said of it: a claim that nobody has started is going to run, unless that is long overdue.

        Args:
            lost_after_s: How long "long" is.
        """
        if self.state != CLAIMED:
            return self.state
        return LOST if self.silent_s > lost_after_s else RUNNING


class Output:
    """The two streams of a run's output, on their way to the client.

    Args:
        run: The run.
        from_stdout: How many bytes of stdout the client has already.
        from_stderr: The same for stderr.

    Attributes:
        has_sent: Whether anything of either has gone to the client.
    """

    def __init__(self, run: Run, from_stdout: int, from_stderr: int) -> None:
        self._paths = (run.path(STDOUT), run.path(STDERR))
        self._sent = [from_stdout, from_stderr]
        self.has_sent = False

    def hand_out(self, outcome: "dict[str, Any] | None" = None) -> bool:
        """Write to the client what has been stored since; return whether that was anything.

        Args:
            outcome: The run's, if it is known: what is beyond what it counts is not handed out.

        Raises:
            ClientGone: If nobody reads it.
        """
        moved = [self._hand_out(number, stored_bytes(outcome, name)) for number, name in enumerate((STDOUT, STDERR))]
        return any(moved)

    def lacks(self, outcome: "dict[str, Any]") -> bool:
        """Tell whether a file is there and shorter than the outcome says: its bytes have yet to come to this login node."""
        for number, name in enumerate((STDOUT, STDERR)):
            stored = stored_bytes(outcome, name)
            if stored is not None and self._sent[number] < stored and os.path.exists(self._paths[number]):
                return True
        return False

    def _hand_out(self, number: int, at_most: "int | None") -> bool:
        try:
            # Opened each time: that asks an NFS server how long the file is by now.
            descriptor = os.open(self._paths[number], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False  # pruned
        moved = False
        try:
            size_bytes = os.fstat(descriptor).st_size  # by now: the other stream has its turn, even if this one grows
            if at_most is not None:
                size_bytes = min(size_bytes, at_most)
            while self._sent[number] < size_bytes:
                data = os.pread(descriptor, min(_CHUNK_BYTES, size_bytes - self._sent[number]), self._sent[number])
                if not data:
                    break  # an NFS client can know the length before the content
                self._sent[number] += len(data)
                moved = self.has_sent = True
                _write_all(number + 1, data)
                fault.step("output-begun")
        finally:
            os.close(descriptor)
        return moved


def stored_bytes(outcome: "dict[str, Any] | None", name: str) -> "int | None":
    """Return how much of stdout or stderr was stored when the run ended; None if that is not known."""
    return (outcome or {}).get(f"{name}_stored")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            os.set_blocking(descriptor, True)  # somebody else who has it, ssh(1) say, has made it non-blocking
        except OSError as error:
            raise ClientGone from error


def standing(store: Store, run: Run) -> Standing:
    """Find out how a run stands: the one place where its files get their meaning.

    Raises:
        OSError: If the state folder cannot be read, or its clock not be touched.
    """
    outcome = run.outcome()
    if outcome is not None:
        return _over(outcome)
    started = run.started()
    silent_s = run.silent_s(store.now())
    if started is None:
        return Standing(CLAIMED, None, None, silent_s)
    if silent_s <= started["lost_after_s"]:
        return Standing(RUNNING, None, started["started"], silent_s)
    fresh(run.folder)  # that there is none may be what an NFS client remembers
    outcome = run.outcome()
    if outcome is not None:  # it came just now
        return _over(outcome)
    return Standing(LOST, None, started["started"], silent_s)


def _over(outcome: "dict[str, Any]") -> Standing:
    return Standing(str(outcome["outcome"]), outcome, outcome["started"], 0.0)


class Watch:
    """Waits for what is new about a run.

    Args:
        woken: A descriptor that says when to look, or None to poll.
    """

    def __init__(self, woken: "int | None" = None) -> None:
        self.woken = woken
        self._poll_s = _MIN_POLL_S
        self._poller = select.poll()
        self._poller.register(1, 0)  # nothing is read from there, but when its reader is gone, that shows
        if woken is not None:
            self._poller.register(woken, select.POLLIN)

    def wait(self, at_most_s: float, *, moved: bool) -> bool:
        """Wait until a look is worth it, for a limited time.

        Args:
            at_most_s: That time.
            moved: Whether the last look found something new: then the next one comes soon.

        Returns:
            Whether the descriptor said so.

        Raises:
            ClientGone: If nobody reads stdout any more.
        """
        self._poll_s = _MIN_POLL_S if moved else min(self._poll_s * 1.5, MAX_POLL_S)
        timeout_s = at_most_s if self.woken is not None else min(self._poll_s, at_most_s)
        said = False
        for descriptor, _ in self._poller.poll(max(1.0, timeout_s * 1000)):
            if descriptor != self.woken:
                raise ClientGone
            said = True
            if not os.read(descriptor, 1 << 16):
                # The supervisor has ended, or never was: from now on only the files tell.
                self._poller.unregister(descriptor)
                os.close(descriptor)
                self.woken = None
                self._poll_s = _MIN_POLL_S
        return said


def follow(
    store: Store, run: Run, output: "Output | None", watch: Watch, beat_s: float, *, until_started: bool = False
) -> Standing:
    """Hand out a run's output until it is over, lost, or still nobody's.

    Args:
        store: The key's runs.
        run: The run.
        output: Where its output goes, or None if nobody wants it.
        watch: How to wait.
        beat_s: How many seconds apart heartbeats are: more often there is no use in asking for them.
        until_started: Whether to wait for the start only.

    Returns:
        How it stands: over, `LOST`; `RUNNING` if only its start was waited for; `CLAIMED` if it was claimed two heartbeats
        ago and nobody has started it.

    Raises:
        ClientGone: If nobody reads the answer any more.
        OSError: If the state folder fails.
    """
    own = watch.woken is not None
    looked = time.monotonic() if own else float("-inf")
    said = False
    late_at = 0.0
    while True:
        outcome = run.outcome()  # before the output: what is stored by then is all of it
        moved = output.hand_out(outcome) if output is not None else False
        if outcome is not None:
            if output is not None and output.lacks(outcome):
                late_at = late_at or time.monotonic() + LATE_S
                if time.monotonic() < late_at:
                    watch.wait(beat_s, moved=moved)
                    continue
            return _over(outcome)
        if until_started and (said or not own):
            started = run.started()
            if started is not None:
                return Standing(RUNNING, None, started["started"], 0.0)
        if time.monotonic() - looked >= beat_s:
            looked = time.monotonic()
            found = standing(store, run)
            if found.state not in (RUNNING, CLAIMED) or (found.state == CLAIMED and found.silent_s > 2 * beat_s):
                if found.outcome is not None:
                    continue  # with all of its output
                if output is not None:
                    output.hand_out()
                return found
        said = watch.wait(beat_s, moved=moved)
