"""Opens one SSH connection: the socket, the login node's host key against the pinned ones, the algorithms, the key.

It knows nothing of requests: what goes over a connection is `dea.raijin.exchange`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from dataclasses import dataclass
from typing import Self

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from dea.raijin.credentials import Credentials
from dea.raijin.errors import (
    AuthenticationFailed,
    CannotConnect,
    ConnectionClosed,
    ConnectionRefused,
    ConnectTimeout,
    HandshakeTimeout,
    HostKeyMismatch,
    HostUnreachable,
)

# Fast and authenticated first; paramiko would try them last. What the transport does not know is left out.
_CIPHERS_FIRST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_KEX_FIRST = ("curve25519-sha256@libssh.org",)  # half the time of OpenSSH's default against the same server
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")  # how an RSA host key signs; its type is ssh-rsa (RFC 8332)

_REKEY_BYTES = 16 * 1024**3
_LEAST_S = 0.05  # a timeout of 0 would mean not to wait at all, or for ever


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds.

    Attributes:
        connect: The TCP connection, all addresses of the name together.
        banner: The login node's first line.
        handshake: The key exchange, banner included.
        authentication: The answer to the key.
        channel: Opening a channel on a new connection, and having a request accepted.
        kept: Opening a channel on a connection that was kept from an earlier call: when it is over, a new one is made.
        silence: While a run is followed: how long nothing may come before the login node is asked whether it is there.
        alive: Its answer to that.
        linger: After a command's end, how long its streams may be silent and still open before they are left.
        drain: After a command's end, how long to read on at the most, while what it left behind goes on writing.
    """

    connect: float = 10.0
    banner: float = 15.0
    handshake: float = 20.0
    authentication: float = 30.0
    channel: float = 15.0
    kept: float = 2.0
    silence: float = 15.0
    alive: float = 5.0
    linger: float = 1.0
    drain: float = 10.0

    def within(self, remaining_s: float | None) -> Timeouts:
        """Return the same with every step of connecting cut to what is left of a deadline."""
        if remaining_s is None:
            return self
        left = max(remaining_s, _LEAST_S)
        steps = ("connect", "banner", "handshake", "authentication", "channel")
        return dataclasses.replace(self, **{step: min(getattr(self, step), left) for step in steps})


def open_connection(credentials: Credentials, timeouts: Timeouts) -> paramiko.SSHClient:
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
    _rekey_late(client)
    return client


def _rekey_late(client: paramiko.SSHClient) -> None:
    """Change keys after so much as is safe with the cipher, not after 512 MiB as paramiko would.

    Its change of keys in mid-transfer sometimes never ends, which costs half a minute and the connection. RFC 4344, 3.2, lets
    a cipher with blocks of 128 bits go on for 2^32 of them, 64 GiB; OpenSSH does.
    """
    transport = client.get_transport()
    if (
        transport is not None
        and transport.local_cipher.startswith("aes")
        and getattr(transport, "remote_cipher", "").startswith("aes")
    ):
        transport.packetizer.REKEY_BYTES = _REKEY_BYTES


class _PinnedHostKeys(paramiko.MissingHostKeyPolicy):
    """Accepts the pinned keys and nothing else. No other host key is ever loaded, so each comes through here."""

    def __init__(self, pinned: tuple[paramiko.PKey, ...]) -> None:
        self.pinned = pinned
        self.refused: paramiko.PKey | None = None

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        if key not in self.pinned:
            self.refused = key
            raise paramiko.SSHException("not a pinned host key")


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
    # paramiko has the same class for a key that is refused, no answer in time, and a connection that broke meanwhile.
    refused = isinstance(error, paramiko.AuthenticationException) and "saw EOF" not in str(error)
    if refused and "timeout" not in str(error).lower():
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
