"""The connections of one session: few, kept between calls, shared by what runs at once, bounded for the whole process.

It opens them with `dea.raijin.connection`, and knows nothing of what a request or an answer means.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Iterator

import paramiko

from dea.raijin.connection import Timeouts, open_connection
from dea.raijin.credentials import Credentials
from dea.raijin.credentials_cache import CredentialsCache
from dea.raijin.errors import (
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionLimitReached,
    HandshakeTimeout,
    HostKeyMismatch,
    SessionLimitReached,
)
from dea.raijin.exchange import DeadlinePassed, Peer, Receiver, exchange
from dea.raijin.retry import Deadline

CHANNELS_PER_CONNECTION = 8
"""OpenSSH allows 10 by default (`MaxSessions`, sshd_config(5)); one that the client has closed may still count there."""

MAX_CONNECTIONS = 8
"""The most that one process has open, all its sessions together: many processes share a login node."""

_STEP_S = 0.1


class Connections:
    """The connections of one session; its methods may be called from several threads.

    Args:
        credentials: Where to log in.
        timeouts: How long each step may take.
        logger: Where connecting is logged, at DEBUG.
    """

    def __init__(self, credentials: CredentialsCache, timeouts: Timeouts, logger: logging.Logger) -> None:
        self._credentials = credentials
        self._timeouts = timeouts
        self._logger = logger
        self._open: list[_Connection] = []
        self._changing = threading.Condition()
        self._connecting = threading.Lock()

    @property
    def count(self) -> int:
        """How many are open."""
        with self._changing:
            return sum(one.transport.is_active() for one in self._open)

    def client(self) -> paramiko.SSHClient:
        """Return the client of a connection, a new one if there is none.

        Raises:
            CredentialsError: If the stored credentials are missing, denied or unusable.
            CannotConnect: If there is no connection to be had.
        """
        with self._connecting:
            with self._changing:
                self._forget_broken()
                if self._open:
                    return self._open[0].client
            made = self._connect(Deadline(None))
            with self._changing:
                self._open.append(made)
            made.kept = True
            return made.client

    def close(self) -> None:
        """Close all of them; does nothing if there is none."""
        with self._changing:
            closing, self._open = self._open, []
            self._changing.notify_all()
        for one in closing:
            one.client.close()

    def exchange(self, request: str, receiver: Receiver, deadline: Deadline) -> int:
        """Send a request and drain the answer; return the exit status.

        Raises:
            CredentialsError: As `client`. Nothing was sent.
            CannotConnect: As `client`, or if no channel was to be had. Nothing was sent.
            Interrupted: If the end of the answer was not seen.
            DeadlinePassed: If the time is over.
        """
        if deadline.passed:
            raise DeadlinePassed(sent=False)
        with self._channel(deadline) as (peer, channel):
            return exchange(peer, channel, request, receiver, deadline, self._timeouts)

    @contextlib.contextmanager
    def _channel(self, deadline: Deadline) -> Iterator[tuple[Peer, paramiko.Channel]]:
        """Open a channel; over a new connection if the one that was kept does not answer, since nothing was sent yet."""
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(self._place(deadline))
            kept, connection.kept = connection.kept, True
            try:
                channel = self._open_channel(
                    connection, self._timeouts.kept if kept else self._timeouts.channel, deadline
                )
            except (HandshakeTimeout, ConnectionClosed):
                if not kept:
                    raise
                self._forget(connection)
                stack.close()
                connection = stack.enter_context(self._place(deadline))
                connection.kept = True
                channel = self._open_channel(connection, self._timeouts.channel, deadline)
            yield connection, channel

    def _open_channel(self, connection: _Connection, timeout_s: float, deadline: Deadline) -> paramiko.Channel:
        where = (connection.host, connection.port)
        try:
            return connection.transport.open_session(timeout=deadline.within(timeout_s))
        except paramiko.ChannelException as error:
            with self._changing:
                connection.room = connection.channels - 1
            if connection.room == 0:
                # All its sessions are taken by what this side has closed and that side has not.
                self._forget(connection)
            raise SessionLimitReached(
                f"{where[0]} refused another channel ({error.text}): close other sessions of this connection (MaxSessions)",
                *where,
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if connection.transport.is_active():
                raise HandshakeTimeout(f"{where[0]} did not open a channel within {timeout_s} s", *where) from error
            raise ConnectionClosed(
                f"{where[0]} closed the connection before a channel was open: {str(error) or 'no reason given'}", *where
            ) from error

    @contextlib.contextmanager
    def _place(self, deadline: Deadline) -> Iterator[_Connection]:
        """Have room for one channel on a connection while the context is open."""
        connection = self._take_place(deadline)
        try:
            yield connection
        finally:
            with self._changing:
                connection.channels -= 1
                if connection.channels == 0:
                    connection.room = CHANNELS_PER_CONNECTION
                over = connection.channels == 0 and connection not in self._open
                self._changing.notify()
            if over:
                connection.client.close()

    def _take_place(self, deadline: Deadline) -> _Connection:
        """Return a connection with room for one more channel, and take that room."""
        waited = Deadline(deadline.within(self._timeouts.connect))
        while True:
            if deadline.passed:
                raise DeadlinePassed(sent=False)
            with self._changing:
                self._forget_broken()
                for one in self._open:
                    if one.channels < one.room:
                        one.channels += 1
                        return one
            if not self._connecting.acquire(timeout=_STEP_S):  # one at a time: who waits finds room on the new one
                continue
            try:
                with self._changing:
                    if any(one.channels < one.room for one in self._open):
                        continue
                made = self._connect(deadline)
                made.channels = 1
                with self._changing:
                    self._open.append(made)
                    return made
            except ConnectionLimitReached:
                if waited.passed:
                    raise
            finally:
                self._connecting.release()
            with self._changing:
                self._changing.wait(_STEP_S)

    def _forget(self, connection: _Connection) -> None:
        """Open no more channels there; what others do on it may go on."""
        with self._changing:
            if connection in self._open:
                self._open.remove(connection)

    def _forget_broken(self) -> None:
        self._open = [one for one in self._open if one.transport.is_active()]

    def _connect(self, deadline: Deadline) -> _Connection:
        """Open a connection with the stored credentials; read them anew if they are refused and may be old."""
        if deadline.passed:
            raise DeadlinePassed(sent=False)
        begin = time.monotonic()
        credentials, is_new = self._credentials.get()
        if is_new:
            self._logger.debug("credentials read", extra={"duration_s": round(time.monotonic() - begin, 3)})
        begin = time.monotonic()
        try:
            client = self._open_one(credentials, deadline)
        except (AuthenticationFailed, HostKeyMismatch):
            # The key, or the login node's, may have been replaced since they were read.
            anew = None if is_new else self._credentials.renewed(credentials)
            if anew is None or anew == credentials:
                raise
            self._logger.info("the stored credentials have changed")
            credentials = anew
            client = self._open_one(credentials, deadline)
        duration_s = round(time.monotonic() - begin, 3)
        self._logger.debug(
            "connected", extra={"host": credentials.host, "port": credentials.port, "duration_s": duration_s}
        )
        return _Connection(client, credentials)

    def _open_one(self, credentials: Credentials, deadline: Deadline) -> paramiko.SSHClient:
        with _admission.place(credentials):
            client = open_connection(credentials, self._timeouts.within(deadline.remaining_s()))
            _admission.note(client)
        return client


class _Connection(Peer):
    """One connection, and how many channels are open on it."""

    def __init__(self, client: paramiko.SSHClient, credentials: Credentials) -> None:
        transport = client.get_transport()
        assert transport is not None  # noqa: S101 - a connected client has one
        super().__init__(transport)
        self.client = client
        self.host, self.port = credentials.host, credentials.port
        self.channels = 0
        self.room = CHANNELS_PER_CONNECTION
        self.kept = False


class _Admission:
    """Counts the connections that this process has open or is opening. What breaks, or is dropped unclosed, does not count."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._opening = 0
        self._transports: weakref.WeakSet[paramiko.Transport] = weakref.WeakSet()

    @contextlib.contextmanager
    def place(self, credentials: Credentials) -> Iterator[None]:
        """Have a place for a connection while it is being opened.

        Raises:
            ConnectionLimitReached: If there is none.
        """
        with self._lock:
            count = self._opening + sum(transport.is_active() for transport in self._transports)
            if count >= self._limit:
                raise ConnectionLimitReached(
                    f"this process has {count} connections open, and no more at once: close sessions that are not needed",
                    credentials.host,
                    credentials.port,
                )
            self._opening += 1
        try:
            yield
        finally:
            with self._lock:
                self._opening -= 1

    def note(self, client: paramiko.SSHClient) -> None:
        """Count an open connection for as long as it lives."""
        transport = client.get_transport()
        if transport is not None:
            with self._lock:
                self._transports.add(transport)


_admission = _Admission(MAX_CONNECTIONS)
