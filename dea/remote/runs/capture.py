"""Runs one command with its output captured: bounded, counted, whoever else holds the pipes.

The command writes into pipes and not into files, because only what passes through here can be bounded: a limit on files
would kill the command (SIGXFSZ), and a file that a child left behind still writes to has no end. Memory does not grow.
"""

import _signal  # the C half of `signal`: the enums of the Python half are dear to import
import fcntl
import os
import select
import sys
import time

from dea.remote import fault
from dea.remote.launch import FORWARDED, GRACE_S, RESET, UMASK, Ended, NotStarted, count_group, end_group, signal_group

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable

    from dea.remote.decision import Plan

_CHUNK_BYTES = 1 << 18
_FIONREAD = 0x541B  # ioctl_tty(2); `termios`, which names it, is one more file to load
_GROUP_POLL_S = 0.05


class Room:
    """How much may still be stored of a run's output, stdout and stderr together.

    Attributes:
        left_bytes: That.
    """

    __slots__ = ("left_bytes",)

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes


class Stream:
    """One of a command's two output streams, from its pipe into its file.

    Args:
        path: The file; it is there already.
        room: How much may be stored.

    Attributes:
        source: The pipe's end that is read here.
        inlet: The end that the command gets.
        written_bytes: How much the command wrote.
        stored_bytes: How much of that is in the file: a beginning of it, without holes.
        problem: Why not all could be stored, if it was not for lack of room.
    """

    __slots__ = ("_file", "_path", "_room", "inlet", "problem", "source", "stored_bytes", "written_bytes")

    def __init__(self, path: str, room: Room) -> None:
        self._path = path
        self._file: "int | None" = self._open()
        self._room = room
        self.source, self.inlet = os.pipe()
        self.written_bytes = 0
        self.stored_bytes = 0
        self.problem: "str | None" = None

    def take(self, at_most: int = _CHUNK_BYTES) -> int:
        """Take what is in the pipe, waiting if nothing is; return how much it was, 0 at its end."""
        data = os.read(self.source, at_most)
        self.store(data)
        return len(data)

    def store(self, data: bytes) -> None:
        """Count some output, and store it if there is room and nothing before it is missing."""
        whole = self.stored_bytes == self.written_bytes
        self.written_bytes += len(data)
        rest = memoryview(data)[: self._room.left_bytes] if whole and self.problem is None else memoryview(b"")
        try:
            if rest and self._file is None:
                self._file = self._open()
            while rest and self._file is not None:
                count = os.write(self._file, rest)
                rest = rest[count:]
                self.stored_bytes += count
                self._room.left_bytes -= count
        except OSError as error:
            # The disk is full, say. The command's fate is still recorded, in the room taken for it beforehand.
            self.problem = error.strerror or str(error)

    def close(self) -> None:
        """Close the file, which tells other login nodes how long it is; what is still in the pipe is not stored any more.

        A file system can say as late as this that there was no room: then as much is stored as is there.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.close(file)
        except OSError as error:
            self.problem = error.strerror or str(error)
            try:
                self.stored_bytes = min(self.stored_bytes, os.stat(self._path).st_size)
            except OSError:
                self.stored_bytes = 0

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)

    def take_rest(self) -> None:
        """Take what is in the pipe now, when the command has ended; a child that writes on does not keep this from ending."""
        waiting = bytearray(4)
        fcntl.ioctl(self.source, _FIONREAD, waiting)
        left = int.from_bytes(waiting, sys.byteorder)
        while left > 0:
            taken = self.take(min(left, _CHUNK_BYTES))
            left = left - taken if taken else 0


def run_captured(
    plan: "Plan",
    streams: "tuple[Stream, Stream]",
    beat_s: float,
    beat: "Callable[[], bool]",
    look: "Callable[[], None]",
) -> Ended:
    """Run a command in its own folder and process group, store what it writes, and wait for its end.

    Only the command itself is waited for, except after a timeout or a cancellation, which end its whole process group: TERM,
    then KILL after `GRACE_S`.

    Args:
        plan: What to run.
        streams: Its stdout and stderr.
        beat_s: How many seconds apart `beat` is called.
        beat: Keeps the heartbeat, and tells whether the command is asked to end.
        look: Called when there is something new to look at.

    Note:
        Changes this process's folder, umask and signal handlers. Blocks until the end.

    Raises:
        NotStarted: If the program cannot be started. Any other error leaves open how it ended.
    """
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    _signal.set_wakeup_fd(waker)
    pid = _spawn(plan, streams)
    fault.step("command-spawned")
    ending = _Ending(pid, plan.timeout_s)
    poller = select.poll()
    poller.register(woken, select.POLLIN)
    for stream in streams:
        poller.register(stream.source, select.POLLIN)
    next_beat = time.monotonic()
    ended = False
    while not ended or ending.goes_on():
        now = time.monotonic()
        asked = False
        if now >= next_beat:
            next_beat = now + beat_s
            asked = beat()
        ending.consider(now, asked=asked, ended=ended)
        due = min(next_beat, ending.due) - now
        for descriptor, _ in poller.poll(max(0.0, (min(due, _GROUP_POLL_S) if ended else due) * 1000)):
            if descriptor == woken:
                os.read(woken, 512)
            elif not streams[descriptor != streams[0].source].take():
                poller.unregister(descriptor)
            else:
                look()
                fault.step("output-stored")
        # WNOWAIT: while the ended command is not taken away, its number is nobody else's, and a late signal is harmless.
        ended = ended or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    for stream in streams:
        stream.take_rest()
    fault.step("command-ended")
    _signal.set_wakeup_fd(-1)
    _, status = os.waitpid(pid, 0)
    signaled = os.WIFSIGNALED(status)
    return Ended(
        128 + os.WTERMSIG(status) if signaled else os.WEXITSTATUS(status),
        signaled=signaled,
        timed_out=ending.timed_out,
        cancelled=ending.cancelled,
        children=count_group(pid),
    )


def drain(streams: "tuple[Stream, Stream]") -> None:
    """Read and drop what children that the command left behind still write, until the last has closed the pipes.

    Without a reader, the first thing that they say would kill them (SIGPIPE).
    """
    poller = select.poll()
    for stream in streams:
        poller.register(stream.source, select.POLLIN)
    open_now = len(streams)
    while open_now:
        for descriptor, _ in poller.poll():
            if not os.read(descriptor, _CHUNK_BYTES):
                poller.unregister(descriptor)
                open_now -= 1


class _Ending:
    """Ends a command's process group when its time is over or somebody asks for it: TERM, then KILL after `GRACE_S`."""

    def __init__(self, group: int, timeout_s: "float | None") -> None:
        self._group = group
        self._limit = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        self._kill_at = float("inf")
        self.timed_out = False
        self.cancelled = False

    @property
    def due(self) -> float:
        """When there is something to consider, in monotonic seconds."""
        return self._kill_at if self.timed_out or self.cancelled else self._limit

    def consider(self, now: float, *, asked: bool, ended: bool) -> None:
        """Do what is due, unless the command has ended by itself."""
        if self.timed_out or self.cancelled:
            if now >= self._kill_at:
                signal_group(self._group, _signal.SIGKILL)
                self._kill_at = float("inf")
        elif not ended and (asked or now >= self._limit):
            self.cancelled = asked
            self.timed_out = not asked
            self._kill_at = now + GRACE_S
            end_group(self._group)

    def goes_on(self) -> bool:
        """Tell whether the group was told to end, and some of it has yet to be killed."""
        return (self.timed_out or self.cancelled) and self._kill_at < float("inf") and count_group(self._group) > 0


def _spawn(plan: "Plan", streams: "tuple[Stream, Stream]") -> int:
    os.umask(UMASK)
    group = 0

    def forward(signum: int, _frame: object) -> None:
        # The login node goes down, say: the command hears of it, and how it ends is recorded.
        if group:
            signal_group(group, signum)

    # As in `launch`: whoever started this process may have blocked signals.
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for signum in FORWARDED:
        _signal.signal(signum, forward if signum != _signal.SIGHUP else _signal.SIG_IGN)
    try:
        os.chdir(os.path.dirname(plan.program))
        group = os.posix_spawn(
            plan.program,
            [plan.program, *plan.arguments],
            plan.environment,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, streams[0].inlet, 1),
                (os.POSIX_SPAWN_DUP2, streams[1].inlet, 2),
            ),
            setpgroup=0,
            setsigmask=[],
            setsigdef=RESET,
        )
    except OSError as error:
        raise NotStarted(error.strerror) from error
    for stream in streams:
        os.close(stream.inlet)
    return group
