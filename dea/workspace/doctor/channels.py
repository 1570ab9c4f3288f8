"""One channel of an SSH connection at a time, without any of a session's care: what is sent is sent once, and read to its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import paramiko

from dea.raijin import RaijinSession

TIMEOUT_S = 30.0
_CHUNK_BYTES = 65536
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What came back on a channel.

    Attributes:
        stdout: The beginning of it.
        stderr: The beginning of it.
        status: The exit status; -1 if none came.
    """

    stdout: bytes
    stderr: bytes
    status: int


def transport_of(session: RaijinSession) -> paramiko.Transport:
    """Return the connection of a connected session.

    Raises:
        SSHException: If there is none.
    """
    transport = session.ssh_client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection is gone")
    return transport


@contextlib.contextmanager
def watched(transport: paramiko.Transport) -> Iterator[None]:
    """Close a connection on which nothing is answered in time: paramiko waits for ever for some answers."""
    timer = threading.Timer(TIMEOUT_S, transport.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def execute(transport: paramiko.Transport, request: str, environment: Mapping[str, str] | None = None) -> Answer:
    """Send a request and return what comes of it.

    Raises:
        SSHException: If the channel cannot be opened, or the request is not accepted.
        OSError: If no answer comes in time.
    """
    with watched(transport), contextlib.closing(transport.open_session(timeout=TIMEOUT_S)) as channel:
        for name, value in (environment or {}).items():
            channel.set_environment_variable(name, value)
        channel.exec_command(request)
        return read(channel)


def read(channel: paramiko.Channel, until: float | None = None) -> Answer:
    """Read a channel to its end.

    Args:
        channel: The channel; nothing more is sent over it.
        until: The end of waiting, by the monotonic clock; None for `TIMEOUT_S` from now.

    Raises:
        TimeoutError: If it does not end by then.
    """
    until = time.monotonic() + TIMEOUT_S if until is None else until
    channel.shutdown_write()
    stdout, stderr = b"", b""
    while (
        not (channel.exit_status_ready() and channel.eof_received)
        or channel.recv_ready()
        or channel.recv_stderr_ready()
    ):
        if channel.closed and not (channel.recv_ready() or channel.recv_stderr_ready()):
            break
        if time.monotonic() > until:
            raise TimeoutError("no end came in time")
        if channel.recv_ready():
            stdout += channel.recv(_CHUNK_BYTES)[: _MOST_BYTES - len(stdout)]
        elif channel.recv_stderr_ready():
            stderr += channel.recv_stderr(_CHUNK_BYTES)[: _MOST_BYTES - len(stderr)]
        else:
            time.sleep(0.005)
    return Answer(stdout, stderr, channel.recv_exit_status() if channel.exit_status_ready() else -1)
