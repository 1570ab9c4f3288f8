"""Every error of `dea.raijin`, one tree, split by who must act.

    RaijinError
    ├── RequestRefused                the caller: the request cannot be sent
    │   └── SchemaMismatch            whoever deploys: the login node's argument rules are others
    ├── CredentialsError              whoever keeps the SSM parameters
    │   ├── MissingParameter, MissingHostKey, ParameterAccessDenied
    │   ├── ParameterStoreUnavailable (retryable), ParameterStoreNotConfigured
    │   └── InvalidHost, InvalidHostKey, InvalidPrivateKey, PassphraseProtectedKey
    ├── CannotConnect                 the way there; nothing ran
    │   ├── HostUnreachable, ConnectionRefused, ConnectTimeout, ConnectionClosed, HandshakeTimeout,
    │   │   SessionLimitReached, ConnectionLimitReached (all retryable)
    │   └── HostKeyMismatch, AuthenticationFailed
    ├── LoginNodeBusy (retryable)     the login node: no room now; the call started nothing
    ├── UnknownRun                    the caller: no such run
    ├── OutcomeUnknown                nobody knows: ask again with the run's id
    │   └── CommandTimeout, StillRunning, ConnectionLost, InvalidAnswer, RunLost
    ├── IncompleteOutput              whoever sets limits: the run ended, and not all of its output is kept
    ├── CommandFailed                 the command itself: it ended with another status than 0
    └── SomeFailed                    each of several calls for itself

No message holds key material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dea.raijin.result import CommandResult


class RaijinError(Exception):
    """The root of the tree.

    Attributes:
        retryable: Whether the same call may succeed later without anyone changing anything, and is safe to repeat.
    """

    retryable: bool = False


class RequestRefused(RaijinError):
    """The request is not sent: it is too long, no list of words, or breaks the schema; or a run id or a time is none."""


class SchemaMismatch(RequestRefused):
    """The login node refused arguments that fit the package's schema, because its own schema is another.

    Attributes:
        command: The command's name.
        packaged: The SHA-256 of the package's schema.
        approved: The SHA-256 of the login node's.
    """

    def __init__(self, message: str, *, command: str, packaged: str, approved: str) -> None:
        super().__init__(message)
        self.command = command
        self.packaged = packaged
        self.approved = approved


class CredentialsError(RaijinError):
    """What SSM Parameter Store holds, or may not give, does not make a connection possible.

    Attributes:
        parameters: The names of the parameters that it is about.
    """

    def __init__(self, message: str, *parameters: str) -> None:
        super().__init__(message)
        self.parameters = parameters


class MissingParameter(CredentialsError):
    """At least one of the SSM parameters does not exist."""


class MissingHostKey(MissingParameter):
    """The SSM parameter with the pinned host keys does not exist or holds none."""


class ParameterAccessDenied(CredentialsError):
    """The AWS identity may not read the SSM parameters or decrypt with their KMS key."""


class ParameterStoreUnavailable(CredentialsError):
    """SSM Parameter Store did not answer, or was too busy to."""

    retryable = True


class ParameterStoreNotConfigured(CredentialsError):
    """This process has no AWS region or credentials, or settings that cannot be used; or SSM rejects what it asks for."""


class InvalidHost(CredentialsError):
    """The stored host is no `name` or `name:port`."""


class InvalidHostKey(CredentialsError):
    """A line of the stored host keys is no public key."""


class InvalidPrivateKey(CredentialsError):
    """The stored private key cannot be read as one, or is of a type that is not supported."""


class PassphraseProtectedKey(InvalidPrivateKey):
    """The stored private key asks for a passphrase, which nobody is there to type."""


class CannotConnect(RaijinError):
    """No session could be opened. Nothing was sent and nothing ran.

    Attributes:
        host: The login node's name.
        port: Its port.
    """

    def __init__(self, message: str, host: str, port: int) -> None:
        super().__init__(message)
        self.host = host
        self.port = port


class HostUnreachable(CannotConnect):
    """The login node's name does not resolve, or no route leads there."""

    retryable = True


class ConnectionRefused(CannotConnect):
    """Nothing listens on the port."""

    retryable = True


class ConnectTimeout(CannotConnect):
    """The login node did not accept the TCP connection in time."""

    retryable = True


class ConnectionClosed(CannotConnect):
    """The login node closed the connection before the session was open."""

    retryable = True


class HandshakeTimeout(CannotConnect):
    """The login node accepted the connection but did not go on in time: no banner, key exchange or authentication."""

    retryable = True


class SessionLimitReached(CannotConnect):
    """The login node refused another channel on an open connection."""

    retryable = True


class HostKeyMismatch(CannotConnect):
    """The login node's host key is none of the pinned ones.

    Attributes:
        offered: The fingerprint of the key that was offered, as OpenSSH writes it, if one was.
    """

    def __init__(self, message: str, host: str, port: int, offered: str | None = None) -> None:
        super().__init__(message, host, port)
        self.offered = offered


class AuthenticationFailed(CannotConnect):
    """The login node did not accept the user with this key."""


class ConnectionLimitReached(CannotConnect):
    """This process has as many connections open as it may, and none of this session's has room."""

    retryable = True


class LoginNodeBusy(RaijinError):
    """The login node has no room for this command, and had none until the deadline. This call started nothing.

    Attributes:
        run_id: The run's id; ask with the same one again.
        retry_after_s: How long the login node asks to wait; None if it does not say.
    """

    retryable = True

    def __init__(self, message: str, *, run_id: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.retry_after_s = retry_after_s


class UnknownRun(RaijinError):
    """The login node knows no run of that id among those of this key.

    Attributes:
        run_id: The id.
    """

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class OutcomeUnknown(RaijinError):
    """The request may have arrived, and how its run ended is not known: neither success nor failure.

    The run may have ended, may go on, or may never have started. Asking again with its id never starts a second one.

    Attributes:
        command: What was sent.
        run_id: The run's id; None for a question, which runs nothing.
        stdout: What had arrived of it.
        stderr: What had arrived of it.
        retryable: Whether the same call names the same run again: the id was given or derived, not drawn at random.
    """

    def __init__(
        self,
        message: str,
        *,
        command: str,
        run_id: str | None = None,
        stdout: str = "",
        stderr: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.command = command
        self.run_id = run_id
        self.stdout = stdout
        self.stderr = stderr
        self.retryable = retryable


class CommandTimeout(OutcomeUnknown):
    """The run had not ended within the time that the caller gave it; it goes on."""


class StillRunning(OutcomeUnknown):
    """The run has not ended yet, and the caller did not want to wait for it."""


class ConnectionLost(OutcomeUnknown):
    """The connection broke after the request was sent, and none that lasted was to be had since."""


class InvalidAnswer(OutcomeUnknown):
    """The login node answered, but not as the dispatcher does: without exit status, receipt, or all of the output."""


class RunLost(OutcomeUnknown):
    """The run was started and gives no sign of life any more: its login node died, say. What it did is not known."""


class CommandFailed(RaijinError):
    """The command ended with another exit status than 0.

    Attributes:
        result: The whole result.
    """

    def __init__(self, message: str, result: CommandResult) -> None:
        super().__init__(message)
        self.result = result


class IncompleteOutput(RaijinError):
    """The run ended, and the login node does not keep all that it wrote to stdout: `stdout_to` got nothing.

    Attributes:
        run_id: The run's id.
        result: The result, with what there is of the output.
    """

    def __init__(self, message: str, run_id: str, result: CommandResult) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.result = result


class SomeFailed(RaijinError):
    """Of many calls, some have no result. The others' results are here.

    Attributes:
        results: For each call, in order, its result or its error.
        retryable: Whether the errors all are.
    """

    def __init__(self, message: str, results: tuple[CommandResult | RaijinError, ...]) -> None:
        super().__init__(message)
        self.results = results
        self.retryable = all(one.retryable for one in self.errors)

    @property
    def errors(self) -> tuple[RaijinError, ...]:
        """The errors alone."""
        return tuple(one for one in self.results if isinstance(one, RaijinError))
