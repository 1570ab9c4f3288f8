"""One request and its answer over one channel: sends it, drains what comes back, waits for the exit status.

It does not know what the answer means, nor what to do when there is none: that is `dea.raijin.runs`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import paramiko

from dea.raijin.connection import Timeouts
from dea.raijin.retry import Deadline

_CHUNK_BYTES = 65536
_NO_EXIT_STATUS = -1  # paramiko.Channel.recv_exit_status
_STEP_S = 0.05


class Interrupted(Exception):
    """The exchange broke off: the request may have arrived, and the end of the answer was not seen."""


class DeadlinePassed(Exception):
    """The time is over, and the answer has not ended.

    Attributes:
        sent: Whether the request may have been sent.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class Receiver(Protocol):
    """Takes in an answer as it comes; each stream from a thread of its own."""

    def begin_answer(self) -> None:
        """Begin a new answer."""

    def take_stdout(self, data: bytes) -> None:
        """Take in the next bytes of stdout."""

    def take_stderr(self, data: bytes) -> None:
        """Take in the next bytes of stderr."""


class Peer:
    """The other end of a connection, as far as an exchange cares: whether it is there.

    Args:
        transport: The connection.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport
        self.heard_at = time.monotonic()
        self._asking = threading.Lock()

    def heard(self) -> None:
        """Note that something came from it."""
        self.heard_at = time.monotonic()

    def answers(self, silence_s: float, timeout_s: float) -> bool:
        """Tell whether it is there: whether something came lately, or it answers a question now.

        A dead peer that no packet reports (a stalled network, a frozen login node) looks like one that has nothing to say.
        """
        with self._asking:
            if time.monotonic() - self.heard_at < silence_s:
                return self.transport.is_active()  # somebody else has just asked
            # What OpenSSH's own client asks; every server must answer, if only that it does not know (RFC 4254, 4).
            # paramiko waits without a limit; closing the transport under it is what ends that wait.
            watch = threading.Timer(timeout_s, self.transport.close)
            watch.daemon = True
            watch.start()
            try:
                self.transport.global_request("keepalive@openssh.com", wait=True)
            except (paramiko.SSHException, EOFError, OSError):
                return False
            finally:
                watch.cancel()
            if not self.transport.is_active():
                return False
            self.heard()
            return True


class _Drain:
    """One thread that reads a stream to its end; both must be drained at once, because they share one SSH window.

    Args:
        receive: Returns up to the given number of bytes, empty at the end: `paramiko.Channel.recv`, say.
        take: Is given them.
        peer: The other end.
        channel: Is closed if they cannot be taken: nobody would read what comes then.
    """

    def __init__(
        self, receive: Callable[[int], bytes], take: Callable[[bytes], None], peer: Peer, channel: paramiko.Channel
    ) -> None:
        self.last_activity = time.monotonic()
        self.failure: BaseException | None = None
        self.broke = False
        self._receive = receive
        self._take = take
        self._peer = peer
        self._channel = channel
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := self._received():
            self.last_activity = time.monotonic()
            self._peer.heard()
            try:
                self._take(data)
            except BaseException as error:  # noqa: BLE001 - raised where the caller waits: what is missing must not pass for all
                self.failure = error
                _close(self._channel, self._peer)
                return

    def _received(self) -> bytes:
        try:
            return self._receive(_CHUNK_BYTES)
        except (paramiko.SSHException, EOFError, OSError):  # it also sends, to make room in the window
            self.broke = True
            _close(self._channel, self._peer)
            return b""

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the stream; tell whether it was reached."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def exchange(
    peer: Peer, channel: paramiko.Channel, request: str, receiver: Receiver, deadline: Deadline, timeouts: Timeouts
) -> int:
    """Send a request over a channel and drain the answer; return the exit status.

    When it returns or raises, the channel is closed and nothing more of this answer will be handed to the receiver.

    Raises:
        Interrupted: If the end of the answer was not seen.
        DeadlinePassed: If the time is over.
        Exception: What the receiver raised.
    """
    receiver.begin_answer()
    try:
        _send(peer.transport, channel, request, deadline, timeouts)
        drains = (
            _Drain(channel.recv, receiver.take_stdout, peer, channel),
            _Drain(channel.recv_stderr, receiver.take_stderr, peer, channel),
        )
        try:
            complete = _await_end(peer, channel, drains, deadline, timeouts)
        finally:
            _close(channel, peer)
            for drain in drains:
                drain.join()
    finally:
        _close(channel, peer)
    for drain in drains:
        if drain.failure is not None:
            raise drain.failure
    if not complete or any(drain.broke for drain in drains):
        raise Interrupted("the connection broke")
    if channel.exit_status == _NO_EXIT_STATUS:
        raise Interrupted("the login node gave no exit status")
    return channel.exit_status


def _close(channel: paramiko.Channel, peer: Peer) -> None:
    """Close a channel; its whole connection if not even that can be said there."""
    try:
        channel.close()
    except (paramiko.SSHException, EOFError, OSError):
        peer.transport.close()


def _send(
    transport: paramiko.Transport, channel: paramiko.Channel, request: str, deadline: Deadline, timeouts: Timeouts
) -> None:
    """Ask for the command to be run and wait until the login node has accepted that.

    Raises:
        Interrupted: If it has not: the request may have arrived or not.
        DeadlinePassed: If it had not when the time was over.
    """
    # paramiko waits for the answer without a limit; closing the transport under it is what ends that wait.
    watch = threading.Timer(deadline.within(timeouts.channel), transport.close)
    watch.daemon = True
    watch.start()
    try:
        channel.exec_command(request)
        channel.shutdown_write()
    except (paramiko.SSHException, EOFError, OSError) as error:
        if deadline.passed:
            raise DeadlinePassed(sent=True) from error
        raise Interrupted("the connection broke while the request was being sent") from error
    finally:
        watch.cancel()


def _await_end(
    peer: Peer, channel: paramiko.Channel, drains: tuple[_Drain, _Drain], deadline: Deadline, timeouts: Timeouts
) -> bool:
    """Wait until the answer has ended; tell whether all of it is there.

    Raises:
        DeadlinePassed: If the time is over.
    """
    while not channel.status_event.wait(deadline.within(timeouts.silence / 4)):
        if deadline.passed:
            raise DeadlinePassed(sent=True)
        silent = time.monotonic() - peer.heard_at >= timeouts.silence
        if silent and not peer.answers(timeouts.silence, deadline.within(timeouts.alive)):
            return False
    exited_at = time.monotonic()
    while not all(drain.join(_STEP_S) for drain in drains):
        now = time.monotonic()
        quiet_since = max(exited_at, *(drain.last_activity for drain in drains))
        # Something that was left behind holds a stream open, and what came first is all that counts.
        if now - quiet_since > timeouts.linger or now - exited_at > timeouts.drain:
            return peer.transport.is_active()
        if deadline.passed:
            raise DeadlinePassed(sent=True)
    # A server may close a channel without EOF (RFC 4254, 5.3); only a dead connection leaves the rest unknown.
    return bool(channel.eof_received) or peer.transport.is_active()
