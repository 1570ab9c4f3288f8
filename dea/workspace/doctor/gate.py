"""Tries what the key must not be able to do, each thing on a channel of its own, and expects to be refused.

That the server has it switched off would do too; that nothing is let through is what counts. Where a key always runs one
command, what would start it is not tried.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from dea.remote.checks import Check
from dea.remote.contract import NOT_FOUND, REFUSED, USAGE, join, shown
from dea.workspace.doctor import channels
from dea.workspace.doctor.way import EXAMPLE

_MARK = b"open-42"
_TYPED = b"echo open-$((40+2))\n"
_COMMANDS = ("echo open-$((40+2))", "/bin/echo open-42", f"{EXAMPLE}; echo open-42", "sh -c 'echo open-42'")
_SENT = {"LC_DEA_DOCTOR": "open-42", "DEA_DOCTOR": "open-42", "PYTHONPATH": "/open-42"}
_REMEDY = 'write its line in authorized_keys with restrict,command="...": on the login node, python3 dea/remote --doctor looks at it'

# draft-ietf-secsh-filexfer-02, 4: the client names its version, the server answers with its own.
_SFTP_INIT, _SFTP_VERSION = struct.pack(">IBI", 5, 1, 3), 2


class _Open(Exception):
    """Something was let through that must not be."""


def shell(transport: paramiko.Transport) -> str:
    """What is typed is not run."""
    with _channel(transport) as channel:
        channel.invoke_shell()
        channel.sendall(_TYPED)
        answer = channels.read(channel)
    if _MARK in answer.stdout:
        raise _Open("a shell ran what was typed")
    return f"what was typed was not run (status {answer.status})"


def pty(transport: paramiko.Transport) -> str:
    """There is no terminal."""
    with _channel(transport) as channel:
        channel.get_pty()
    raise _Open("it got a terminal")


def local_forwarding(transport: paramiko.Transport) -> str:
    """No connection goes from the login node to anywhere."""
    host, port = transport.getpeername()[:2]  # something listens there for certain
    transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=channels.TIMEOUT_S).close()
    raise _Open(f"a connection went through the login node, to {host}:{port}")


def remote_forwarding(transport: paramiko.Transport) -> str:
    """No port of the login node is listened on."""
    port = transport.request_port_forward("127.0.0.1", 0)
    transport.cancel_port_forward("127.0.0.1", port)
    raise _Open(f"the login node listened on its port {port} for it")


def agent_forwarding(transport: paramiko.Transport) -> str:
    """The client's SSH agent is not offered there."""
    with _channel(transport) as channel:
        _request(transport, channel, "auth-agent-req@openssh.com")
    raise _Open("an agent was forwarded")


def x11_forwarding(transport: paramiko.Transport) -> str:
    """No display is offered there."""
    with _channel(transport) as channel:
        channel.request_x11(handler=lambda *_: None)
    raise _Open("a display was forwarded")


def sftp(transport: paramiko.Transport) -> str:
    """No file is read or written by sftp."""
    with _channel(transport) as channel:
        channel.invoke_subsystem("sftp")
        channel.settimeout(channels.TIMEOUT_S)
        channel.sendall(_SFTP_INIT)
        said = channel.recv(5)  # before the end of what is sent, at which an sftp server ends at once
        if len(said) == 5 and said.startswith(b"\0\0") and said[4] == _SFTP_VERSION:
            raise _Open("an sftp server answered")
        return f"what answers is no sftp server (status {channels.read(channel).status})"


def other_commands(transport: paramiko.Transport) -> str:
    """Nothing runs but what is approved."""
    for command in _COMMANDS:
        answer = channels.execute(transport, command)
        if _MARK in answer.stdout:
            raise _Open(f"{shown(command)} ran")
        if answer.status not in (USAGE, REFUSED, NOT_FOUND):
            raise _Open(f"{shown(command)} ended with status {answer.status}, which is no refusal")
    return f"{len(_COMMANDS)} were refused"


def environment(transport: paramiko.Transport) -> str:
    """No variable that a client sends reaches a command."""
    answer = channels.execute(transport, join(["--explain", EXAMPLE]).replace(" ", " --json ", 1), _SENT)
    try:
        explained: dict[str, Any] = json.loads(answer.stdout)
        if not explained["would_run"]:
            raise _Untried("; ".join(map(str, explained["problems"])))
        reached = sorted({*explained["environment"]} & {*_SENT})
    except (ValueError, KeyError, TypeError) as error:
        raise _Open(
            f"what answers is no dispatcher: {shown((answer.stdout or answer.stderr).decode(errors='replace'))}"
        ) from error
    if reached or _MARK.decode() in answer.stdout.decode(errors="replace"):
        raise _Open(f"a command would get {', '.join(reached) or 'what was sent'}")
    return f"{len(_SENT)} variables were sent, and a command would get none of them"


class _Untried(Exception):
    """It cannot be told."""


TRIES: tuple[Callable[[paramiko.Transport], str], ...] = (
    shell,
    pty,
    local_forwarding,
    remote_forwarding,
    agent_forwarding,
    x11_forwarding,
    sftp,
    other_commands,
    environment,
)
"""All of them, in the order in which they are told. Each is named as its check."""

_STARTS_SOMETHING = (shell, sftp, other_commands, environment)


def attempt(try_: Callable[[paramiko.Transport], str], transport: paramiko.Transport, only: str) -> Check:
    """Try one thing.

    Args:
        try_: One of `TRIES`.
        transport: An authenticated connection.
        only: The one command that the key always runs, or an empty text.
    """
    name = try_.__name__
    if only and try_ in _STARTS_SOMETHING:
        return Check(name, None, f"the key runs {only}, whatever is sent, so nothing was", "look with another key")
    try:
        with channels.watched(transport):
            return Check(name, True, try_(transport))
    except _Open as opened:
        return Check(name, False, f"{opened}", _REMEDY)
    except _Untried as untried:
        return Check(name, None, f"it cannot be told: {untried}")
    except (paramiko.SSHException, OSError, EOFError) as error:
        return _refused(name, transport, error)


def _refused(name: str, transport: paramiko.Transport, error: Exception) -> Check:
    """Return what a try that ended in an error came to: it was refused, unless there is another reason."""
    said = str(error) or type(error).__name__
    if not transport.is_active():
        return Check(name, None, f"the connection broke meanwhile ({said})", "try again")
    if isinstance(error, TimeoutError):
        return Check(name, False, f"it was not refused: {said}", _REMEDY)
    return Check(name, True, "refused")


@contextlib.contextmanager
def _channel(transport: paramiko.Transport) -> Any:
    try:
        channel = transport.open_session(timeout=channels.TIMEOUT_S)
    except paramiko.ChannelException as error:
        raise _Untried(f"there is no channel for it: {error}") from error
    with contextlib.closing(channel):
        yield channel


def _request(transport: Any, channel: Any, what: str) -> None:
    """Make a request of a channel and wait for the answer, as paramiko itself does; this one it makes without wanting one.

    Raises:
        SSHException: If it is refused.
    """
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(what)
    message.add_boolean(True)
    channel._event_pending()
    transport._send_user_message(message)
    channel._wait_for_event()
