"""One SSH session with the login node: connects with the stored credentials, runs commands, gives back what they said."""

from __future__ import annotations

import json
import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING

import paramiko

from dea.raijin.connection import Timeouts, open_connection
from dea.raijin.credentials import Credentials, load_credentials
from dea.raijin.errors import (
    CannotConnect,
    ConnectionClosed,
    HandshakeTimeout,
    RequestRefused,
    SchemaMismatch,
    SessionLimitReached,
)
from dea.raijin.exchange import await_end, check_request, send
from dea.raijin.result import CommandResult
from dea.raijin.schemas import Schema, schema_of
from dea.raijin.streams import BoundedBuffer
from dea.remote.contract import USAGE, Refusal, bind, join, words_for

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DEFAULT_MAX_OUTPUT_BYTES = 16 * 1024 * 1024

_LOGGED_CHARACTERS = 8192


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
        self._client = open_connection(self._credentials, self._timeouts)
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
        check_request(request)
        stdout, stderr = BoundedBuffer(max_output), BoundedBuffer(max_output)
        transport, channel = self._open_channel()
        begin = time.monotonic()
        try:
            send(transport, channel, request, command, self._timeouts)
            left_open = await_end(transport, channel, command, stdout, stderr, begin, timeout, self._timeouts)
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
