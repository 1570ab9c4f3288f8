"""One request and its answer over one channel: sends it, drains what comes back, waits for the exit status."""

from __future__ import annotations

import threading
import time

import paramiko

from dea.raijin.connection import Timeouts
from dea.raijin.errors import CommandTimeout, ConnectionLost, NoExitStatus, RequestRefused
from dea.raijin.streams import BoundedBuffer, Drain
from dea.remote.contract import Refusal, check_size, shown

_NO_EXIT_STATUS = -1  # paramiko.Channel.recv_exit_status


def check_request(command: str) -> None:
    """Refuse what cannot even arrive; whether it may run is the login node's to say.

    Raises:
        RequestRefused: If it is not text or too long.
    """
    try:
        check_size(len(command.encode("utf-8")))
    except UnicodeEncodeError as error:
        raise RequestRefused(f"the command is not valid Unicode at character {error.start}") from error
    except Refusal as refusal:
        raise RequestRefused(str(refusal)) from None
    if "\0" in command:
        raise RequestRefused("the command holds a NUL character, which cannot be sent")


def send(
    transport: paramiko.Transport, channel: paramiko.Channel, request: str, command: str, timeouts: Timeouts
) -> None:
    """Ask for the command to be run and wait until the login node has accepted that.

    Raises:
        ConnectionLost: If it has not: the request may have arrived or not.
    """
    # paramiko waits for the answer without a limit; closing the transport under it is what ends that wait.
    watch = threading.Timer(timeouts.channel, transport.close)
    watch.daemon = True
    watch.start()
    try:
        channel.exec_command(request)
        channel.shutdown_write()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectionLost(
            "the connection broke while the command was being sent: it may or may not have run", command=command
        ) from error
    finally:
        watch.cancel()


def await_end(
    transport: paramiko.Transport,
    channel: paramiko.Channel,
    command: str,
    stdout: BoundedBuffer,
    stderr: BoundedBuffer,
    begin: float,
    timeout: float | None,
    timeouts: Timeouts,
) -> bool:
    """Drain both streams until the command has ended; tell whether a stream was still open then.

    Raises:
        OutcomeUnknown: If no end is seen.
    """
    drains = (Drain(channel.recv, stdout), Drain(channel.recv_stderr, stderr))
    ended = channel.status_event.wait(None if timeout is None else max(0.0, begin + timeout - time.monotonic()))
    if not ended:
        channel.close()
        raise CommandTimeout(
            f"{shown(command)} had not ended after {timeout} s; it may run on: its outcome is unknown",
            command=command,
            stdout=stdout.text(),
            stderr=stderr.text(),
        )
    exited_at = time.monotonic()
    left_open = False
    while not all(drain.join(0.05) for drain in drains):
        quiet_since = max(exited_at, *(drain.last_activity for drain in drains))
        now = time.monotonic()
        if now - quiet_since > timeouts.linger or now - exited_at > timeouts.drain:
            left_open = True
            break
    if left_open and transport.is_active():
        channel.close()
        for drain in drains:
            drain.join(timeouts.channel)
    # A server may close a channel without EOF (RFC 4254, 5.3); only a dead connection leaves the rest unknown.
    elif not channel.eof_received and not transport.is_active():
        raise ConnectionLost(
            f"the connection broke while {shown(command)} ran: its outcome is unknown",
            command=command,
            stdout=stdout.text(),
            stderr=stderr.text(),
            exit_code=None if channel.exit_status == _NO_EXIT_STATUS else channel.exit_status,
        )
    for drain in drains:
        drain.check()
    if channel.exit_status == _NO_EXIT_STATUS:
        raise NoExitStatus(
            f"the login node gave no exit status for {shown(command)}: its outcome is unknown",
            command=command,
            stdout=stdout.text(),
            stderr=stderr.text(),
        )
    return left_open
