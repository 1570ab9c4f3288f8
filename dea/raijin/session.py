"""One SSH session with the login node: connects with the stored credentials, runs commands, gives back what they said."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from dea.raijin.credentials import Credentials, load_credentials
from dea.raijin.errors import (
    AuthenticationFailed,
    CannotConnect,
    CommandTimeout,
    ConnectionClosed,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    HandshakeTimeout,
    HostKeyMismatch,
    HostUnreachable,
    NoExitStatus,
    RequestRefused,
    SchemaMismatch,
    SessionLimitReached,
)
from dea.raijin.result import CommandResult
from dea.raijin.schemas import Schema, schema_of
from dea.raijin.streams import BoundedBuffer, Drain
from dea.remote.contract import USAGE, Refusal, bind, check_size, join, shown, words_for

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DEFAULT_MAX_OUTPUT_BYTES = 16 * 1024 * 1024

_NO_EXIT_STATUS = -1  # paramiko.Channel.recv_exit_status
_LOGGED_CHARACTERS = 8192
# Fast and authenticated first; paramiko would try them last. What the transport does not know is left out.
_CIPHERS_FIRST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_KEX_FIRST = ("curve25519-sha256@libssh.org",)  # half the time of OpenSSH's default against the same server
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")  # how an RSA host key signs; its type is ssh-rsa (RFC 8332)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds.

    Attributes:
        connect: The TCP connection, all addresses of the name together.
        banner: The login node's first line.
        handshake: The key exchange, banner included.
        authentication: The answer to the key.
        channel: Opening a channel and having the command accepted.
        linger: After a command's end, how long its streams may be silent and still open before they are left.
        drain: After a command's end, how long to read on at the most, while what it left behind goes on writing.
    """

    connect: float = 10.0
    banner: float = 15.0
    handshake: float = 20.0
    authentication: float = 30.0
    channel: float = 15.0
    linger: float = 1.0
    drain: float = 10.0


class _PinnedHostKeys(paramiko.MissingHostKeyPolicy):
    """Accepts the pinned keys and nothing else. No other host key is ever loaded, so each comes through here."""

    def __init__(self, pinned: tuple[paramiko.PKey, ...]) -> None:
        self.pinned = pinned
        self.refused: paramiko.PKey | None = None

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        if key not in self.pinned:
            self.refused = key
            raise paramiko.SSHException("not a pinned host key")


class RaijinSession:
    """A session with the login node; a context manager.

    Args:
        user_path: The prefix of the SSM parameters' names; None for `DEA_RAIJIN_USER_PATH`, or else
            `orchestrator.raijin.users.default`. Another key is another prefix.
        timeouts: How long each step may take.
        ssm: The boto3 client to read the credentials with; None for one with this process's AWS settings.
        logger: Where output and results are logged: stdout at DEBUG; stderr at WARNING when the command succeeded, at
            ERROR with the status when not. None for this module's own logger.

    It connects at the first use and stays connected until `close`; a connection that broke in between is made anew before
    anything is sent. The SSH agent and the local user's keys and known hosts are never used.

    Note:
        One command at a time: a session is not to be shared between threads.
    """

    def __init__(
        self,
        user_path: str | None = None,
        *,
        timeouts: Timeouts = Timeouts(),
        ssm: SSMClient | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._user_path = user_path
        self._timeouts = timeouts
        self._logger = logger or logging.getLogger(__name__)
        self._ssm = ssm
        self._credentials: Credentials | None = None
        self._client: paramiko.SSHClient | None = None

    def __enter__(self) -> RaijinSession:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ssh_client(self) -> paramiko.SSHClient:
        """The connected paramiko client."""
        self.connect()
        assert self._client is not None  # noqa: S101 - what connect() has just made
        return self._client

    def connect(self) -> None:
        """Connect and authenticate, unless connected.

        Raises:
            CredentialsError: If the stored credentials are missing, denied or unusable.
            CannotConnect: If the login node cannot be reached, is not the right one, or does not let the user in.
        """
        if self._client is not None:
            transport = self._client.get_transport()
            if transport is not None and transport.is_active():
                return
            self.close()
        if self._credentials is None:
            begin = time.monotonic()
            self._credentials = load_credentials(self._user_path, ssm=self._ssm)
            self._logger.debug("credentials read", extra={"duration_s": round(time.monotonic() - begin, 3)})
        begin = time.monotonic()
        self._client = _open(self._credentials, self._timeouts)
        duration_s = round(time.monotonic() - begin, 3)
        self._logger.debug(
            "connected",
            extra={"host": self._credentials.host, "port": self._credentials.port, "duration_s": duration_s},
        )

    def close(self) -> None:
        """Close the connection; does nothing if there is none."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def exec_command(
        self, command: str, *, timeout: float | None = None, max_output: int | None = DEFAULT_MAX_OUTPUT_BYTES
    ) -> CommandResult:
        """Run one command on the login node and wait for its end.

        Args:
            command: The request: a command's name and its arguments, quoted as for a shell (`dea.remote.contract.join`
                does it). No shell reads it.
            timeout: How long to wait for the end of the command, in seconds; None for as long as it takes.
            max_output: How much of each stream to keep in memory, in bytes: head and tail; the rest is counted. None for all.

        Returns:
            The result, which unpacks as `stdout, stderr, exit_code`. Another exit status than 0 is no error here: see
            `CommandResult.check`.

        Raises:
            RequestRefused: If the command cannot be sent as it is. Nothing was sent.
            CredentialsError: As `connect`. Nothing was sent.
            CannotConnect: As `connect`, or if no channel could be opened. Nothing ran.
            OutcomeUnknown: If the command was sent and its end was not seen: it took too long, or the connection broke.

        Note:
            Returns when the command has ended, at most `Timeouts.linger` later if something that it left behind still
            holds its output open, at most `Timeouts.drain` later if that goes on writing.
        """
        return self._execute(command, command, timeout, max_output)

    def run(self, command: str, /, *values: object, **options: object) -> CommandResult:
        """Build a command's arguments of Python values, check them, run it and wait for its end.

        Args:
            command: Its name.
            values: Its positional arguments, in order.
            options: Its options, with `_` where the option has `-`: text, number, boolean (a flag), path, or a list of them
                for one that can be repeated. None leaves one out.

        Returns:
            The result, as `exec_command` does. Secret values are not in it, nor in the log.

        Raises:
            RequestRefused: If the arguments break the schema that travels in the function's package, with all that is
                wrong; or if there is no such schema. Nothing was sent.
            SchemaMismatch: If the login node refused them because its own schema is another. Nothing ran.
            RaijinError: As `exec_command`.
        """
        schema = schema_of(command)
        try:
            words = words_for(schema.arguments, values, options)
            recorded = bind(schema.arguments, words).recorded
        except Refusal as refusal:
            raise RequestRefused(f"{command}: {refusal}") from None
        result = self._execute(
            join([command, *words]), join([command, *recorded]), timeout=None, max_output=DEFAULT_MAX_OUTPUT_BYTES
        )
        if result.exit_code == USAGE and result.stderr.startswith("dea-remote: "):
            self._compare_schema(command, schema, result)
        return result

    def _compare_schema(self, command: str, schema: Schema, result: CommandResult) -> None:
        """Ask the login node for its schema after it refused arguments that fit ours.

        Raises:
            SchemaMismatch: If it is another.
        """
        question = f"--json --describe {command}"
        described = self._execute(question, question, timeout=self._timeouts.channel, max_output=None)
        try:
            approved = str(json.loads(described.stdout)["schema"])
        except (ValueError, KeyError, TypeError):
            return  # it does not say: the refusal stands as it is
        if approved != schema.digest:
            raise SchemaMismatch(
                f"the login node's argument rules of {command} ({approved[:12]}) are not those of this package "
                f"({schema.digest[:12]}): package and deploy the function again; it said: {result.stderr.strip()}",
                command=command,
                packaged=schema.digest,
                approved=approved,
            )

    def _execute(self, request: str, command: str, timeout: float | None, max_output: int | None) -> CommandResult:
        """Send a request; `command` is what is said of it in the log, the result and errors."""
        _check_request(request)
        stdout, stderr = BoundedBuffer(max_output), BoundedBuffer(max_output)
        transport, channel = self._open_channel()
        begin = time.monotonic()
        try:
            self._send(transport, channel, request, command)
            left_open = self._await_end(transport, channel, command, stdout, stderr, begin, timeout)
        finally:
            channel.close()
        result = CommandResult(
            command=command,
            stdout=stdout.text(),
            stderr=stderr.text(),
            exit_code=channel.exit_status,
            duration_s=time.monotonic() - begin,
            stdout_bytes=stdout.total_bytes,
            stderr_bytes=stderr.total_bytes,
            truncated=stdout.truncated or stderr.truncated,
            left_open=left_open,
        )
        self._log(result)
        return result

    def _open_channel(self) -> tuple[paramiko.Transport, paramiko.Channel]:
        """Open a channel; over a new connection if the one that was kept turns out to be broken, since nothing was sent."""
        kept = self._client
        transport = _transport_of(self.ssh_client)
        try:
            return transport, transport.open_session(timeout=self._timeouts.channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._client is not kept or isinstance(error, paramiko.ChannelException):
                raise self._no_channel(transport, error) from error
        self.close()
        transport = _transport_of(self.ssh_client)
        try:
            return transport, transport.open_session(timeout=self._timeouts.channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._no_channel(transport, error) from error

    def _send(self, transport: paramiko.Transport, channel: paramiko.Channel, request: str, command: str) -> None:
        """Ask for the command to be run and wait until the login node has accepted that."""
        # paramiko waits for the answer without a limit; closing the transport under it is what ends that wait.
        watch = threading.Timer(self._timeouts.channel, transport.close)
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

    def _await_end(
        self,
        transport: paramiko.Transport,
        channel: paramiko.Channel,
        command: str,
        stdout: BoundedBuffer,
        stderr: BoundedBuffer,
        begin: float,
        timeout: float | None,
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
            if now - quiet_since > self._timeouts.linger or now - exited_at > self._timeouts.drain:
                left_open = True
                break
        if left_open and transport.is_active():
            channel.close()
            for drain in drains:
                drain.join(self._timeouts.channel)
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

    def _no_channel(self, transport: paramiko.Transport, error: Exception) -> CannotConnect:
        assert self._credentials is not None  # noqa: S101 - connected
        where = (self._credentials.host, self._credentials.port)
        if isinstance(error, paramiko.ChannelException):
            return SessionLimitReached(
                f"{where[0]} refused another channel ({error.text}): close other sessions of this connection (MaxSessions)",
                *where,
            )
        if transport.is_active():
            return HandshakeTimeout(f"{where[0]} did not open a channel within {self._timeouts.channel} s", *where)
        return ConnectionClosed(
            f"{where[0]} closed the connection before a channel was open: {str(error) or 'no reason given'}", *where
        )

    def _log(self, result: CommandResult) -> None:
        fields = {
            "command": result.command[:_LOGGED_CHARACTERS],
            "exit_code": result.exit_code,
            "duration_s": round(result.duration_s, 3),
        }
        if result.stdout:
            self._logger.debug("stdout: %s", _logged(result.stdout), extra=fields)
        if not result.ok:
            self._logger.error("exit status %d, stderr: %s", result.exit_code, _logged(result.stderr), extra=fields)
        elif result.stderr:
            self._logger.warning("stderr: %s", _logged(result.stderr), extra=fields)


def _transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - a connected client has one
    return transport


def _logged(output: str) -> str:
    return output.rstrip("\n")[:_LOGGED_CHARACTERS]


def _check_request(command: str) -> None:
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


def _open(credentials: Credentials, timeouts: Timeouts) -> paramiko.SSHClient:
    """Connect, check the host key, authenticate.

    Raises:
        CannotConnect: The subclass that says why not.
    """
    where = (credentials.host, credentials.port)
    sock = _connect_socket(credentials, timeouts.connect)
    policy = _PinnedHostKeys(credentials.host_keys)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(policy)
    try:
        client.connect(
            *where,
            username=credentials.user,
            pkey=credentials.private_key,
            sock=sock,
            timeout=timeouts.handshake,
            banner_timeout=timeouts.banner,
            auth_timeout=timeouts.authentication,
            channel_timeout=timeouts.channel,
            allow_agent=False,
            look_for_keys=False,
            transport_factory=lambda *args, **kwargs: _Transport(*args, **kwargs).prefer(credentials.host_keys),
        )
    except Exception as error:
        client.close()
        sock.close()
        named = _named(error, policy, credentials, timeouts)
        if named is None:
            raise
        raise named from error
    return client


def _named(
    error: Exception, policy: _PinnedHostKeys, credentials: Credentials, timeouts: Timeouts
) -> CannotConnect | None:
    """Return our error for one of paramiko's, or None for one that is no failure of the connection."""
    host, port = where = (credentials.host, credentials.port)
    cause = error.__context__
    if policy.refused is not None:
        pinned = ", ".join(key.fingerprint for key in credentials.host_keys)
        return HostKeyMismatch(
            f"{host}:{port} has the host key {policy.refused.fingerprint}, pinned are {pinned}: ask the site whether its key has changed, "
            "and only then store the new one",
            *where,
            offered=policy.refused.fingerprint,
        )
    if isinstance(error, IncompatiblePeer):
        kinds = ", ".join(sorted({key.get_name() for key in credentials.host_keys}))
        return HostKeyMismatch(
            f"{host}:{port} has no host key of the pinned types ({kinds}), or no algorithm in common: {error}", *where
        )
    if isinstance(error, paramiko.AuthenticationException) and "timeout" not in str(error).lower():
        return AuthenticationFailed(
            f"{host}:{port} did not accept user {credentials.user!r} with the key {credentials.private_key.fingerprint}: check the user, "
            "and that authorized_keys there has this key",
            *where,
        )
    if isinstance(error, TimeoutError) or isinstance(cause, TimeoutError) or "timeout" in str(error).lower():
        return HandshakeTimeout(
            f"{host}:{port} accepted the connection and then did not answer as an SSH server in time "
            f"(banner {timeouts.banner} s, key exchange {timeouts.handshake} s, authentication {timeouts.authentication} s): "
            "is this the right port, is the node overloaded?",
            *where,
        )
    if isinstance(error, (paramiko.SSHException, EOFError, OSError)):
        said = str(error) or type(error).__name__
        return ConnectionClosed(
            f"{host}:{port} closed the connection during the handshake ({said}): is it an SSH server, does it admit this address?",
            *where,
        )
    return None


def _connect_socket(credentials: Credentials, timeout_s: float) -> socket.socket:
    host, port = where = (credentials.host, credentials.port)
    try:
        sock = socket.create_connection(where, timeout=timeout_s)
    except TimeoutError as error:
        raise ConnectTimeout(
            f"{host}:{port} did not accept a connection within {timeout_s} s: is the way there open?", *where
        ) from error
    except ConnectionRefusedError as error:
        raise ConnectionRefused(
            f"{host}:{port} refused the connection: is the port right, does the SSH server run?", *where
        ) from error
    except OSError as error:
        raise HostUnreachable(
            f"{host}:{port} cannot be reached ({error}): check the name and the network", *where
        ) from error
    # Requests are small and waited for: Nagle's algorithm would hold each back.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # The kernel notices a dead peer, where paramiko's keepalive does not: probes after 30 s of silence, given up after 30 s more.
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


class _Transport(paramiko.Transport):
    """A transport that asks for a host key of a pinned type, for fast algorithms first, and that notices a stalled handshake."""

    def prefer(self, host_keys: tuple[paramiko.PKey, ...]) -> Self:
        """Set which algorithms to ask for, and in which order."""
        security = self.get_security_options()
        pinned = {key.get_name() for key in host_keys}
        if "ssh-rsa" in pinned:
            pinned.update(_RSA_SIGNATURES)
        # Without a type in common paramiko raises IncompatiblePeer, which _named() explains.
        with contextlib.suppress(ValueError):
            security.key_types = [kind for kind in security.key_types if kind in pinned]
        security.ciphers = sorted(security.ciphers, key=lambda cipher: cipher not in _CIPHERS_FIRST)
        security.kex = sorted(security.kex, key=lambda kex: kex not in _KEX_FIRST)
        return self

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """Negotiate, as paramiko does; it returns in silence when the time is over, and this does not.

        Raises:
            TimeoutError: If the key exchange had not ended by then.
        """
        super().start_client(event=event, timeout=timeout)
        try:
            self.get_remote_server_key()
        except paramiko.SSHException as error:
            if self.is_active():
                raise TimeoutError("the key exchange did not end in time") from error
            raise
