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
    │   │   SessionLimitReached (all retryable)
    │   └── HostKeyMismatch, AuthenticationFailed
    ├── OutcomeUnknown                the command was sent and its end was not seen: neither success nor failure
    │   └── CommandTimeout, ConnectionLost, NoExitStatus
    └── CommandFailed                 the command itself: it ended with another status than 0

No message holds key material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from dea.raijin.result import CommandResult


class RaijinError(Exception):
    """The root of the tree.

    Attributes:
        retryable: Whether the same call may succeed later without anyone changing anything, and is safe to repeat.
    """

    retryable: ClassVar[bool] = False


class RequestRefused(RaijinError):
    """The request cannot be sent as it is: it is too long, or not text."""


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
    """This process has no AWS region or credentials, or SSM rejects what it asks for."""


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


class OutcomeUnknown(RaijinError):
    """The command was sent, and how it ended was not seen. It may have run, may run on, or may never have started.

    Attributes:
        command: What was sent.
        stdout: What had arrived of it.
        stderr: What had arrived of it.
        exit_code: The exit status if that had arrived, else None.
    """

    def __init__(
        self, message: str, *, command: str, stdout: str = "", stderr: str = "", exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.command = command
        self.stdout = stdout
        self.stderr = stderr
        self.exit_code = exit_code


class CommandTimeout(OutcomeUnknown):
    """The command had not ended within the time that the caller gave it."""


class ConnectionLost(OutcomeUnknown):
    """The connection broke after the command was sent."""


class NoExitStatus(OutcomeUnknown):
    """The login node closed the channel without an exit status: the forced command itself was killed, say."""


class CommandFailed(RaijinError):
    """The command ended with another exit status than 0.

    Attributes:
        result: The whole result.
    """

    def __init__(self, message: str, result: CommandResult) -> None:
        super().__init__(message)
        self.result = result
