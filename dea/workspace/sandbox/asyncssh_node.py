"""The login node as an asyncssh server, where the machine has no sshd: the same `authorized_keys`, the same forced command.

asyncssh would apply `command=` by itself, but then the original command is gone; so the key's options are taken from
`authorized_keys` here and the forced command is started as sshd does it, with SSH_ORIGINAL_COMMAND.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import pwd
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncssh

HOST = "127.0.0.1"
_CHUNK_BYTES = 65536
_IDLE_S = 0.5
_DRAIN_S = 8.0


class _Server(asyncssh.SSHServer):
    """Lets in the one account with a key from `authorized_keys`, and remembers that key's options."""

    def __init__(self, authorized_keys: Path, home: Path) -> None:
        self._authorized_keys = authorized_keys
        self.home = home
        self.options: Mapping[str, Any] = {}
        self.connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if username != getpass.getuser():
            return False
        address = self.connection.get_extra_info("peername")[0]
        known = asyncssh.import_authorized_keys(self._authorized_keys.read_text("utf-8"))
        options = known.validate(key, address, address)
        if options is None or "command" not in options:  # a key without a forced command is nothing that we serve
            return False
        self.options = options
        return True


async def start(host_key: Path, authorized_keys: Path, home: Path) -> int:
    """Start serving in the running event loop and return the port. Pty, forwarding and sftp are refused."""
    acceptor = await asyncssh.create_server(
        lambda: _Server(authorized_keys, home),
        HOST,
        0,
        server_host_keys=[str(host_key)],
        process_factory=_serve,
        encoding=None,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        config=None,
    )
    return acceptor.get_port()


async def _serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the forced command for one channel: streams both ways, then its exit status."""
    connection: Any = process.channel.get_connection()
    server: _Server = connection.get_owner()
    child, ends = await _start_child(process, str(server.options["command"]), server.home)
    pumps = [_Pump(*pair) for pair in zip(ends[1:], (process.stdout, process.stderr), strict=True)]
    feeding = asyncio.create_task(_feed(process, ends[0]))
    tasks = [asyncio.create_task(pump.run()) for pump in pumps]
    status = await child.wait()
    # What a child left behind holds open is not waited for; what the client has not taken yet is.
    deadline = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline and (pending := [task for task in tasks if not task.done()]):
        before = [pump.total_bytes for pump in pumps]
        await asyncio.wait(pending, timeout=_IDLE_S)
        if before == [pump.total_bytes for pump in pumps] and not any(pump.sending for pump in pumps):
            break
    for task in (feeding, *tasks):
        task.cancel()
    with contextlib.suppress(OSError, asyncssh.Error):
        process.exit(status if status >= 0 else 255)


async def _start_child(
    process: asyncssh.SSHServerProcess[bytes], forced_command: str, home: Path
) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Start the forced command as sshd does; return it and our ends of its stdin, stdout and stderr."""
    account = pwd.getpwuid(os.getuid())
    address, port = process.get_extra_info("peername")[:2]
    own_address, own_port = process.get_extra_info("sockname")[:2]
    environment = {
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "HOME": str(home),
        "SHELL": account.pw_shell,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SSH_CLIENT": f"{address} {port} {own_port}",
        "SSH_CONNECTION": f"{address} {port} {own_address} {own_port}",
    }
    if process.command is not None:
        environment["SSH_ORIGINAL_COMMAND"] = process.command
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        child = await asyncio.create_subprocess_exec(
            account.pw_shell or "/bin/sh",
            "-c",
            forced_command,
            stdin=in_read,
            stdout=out_write,
            stderr=err_write,
            env=environment,
            cwd=home,
            start_new_session=True,
        )
    finally:
        for descriptor in (in_read, out_write, err_write):
            os.close(descriptor)
    return child, [in_write, out_read, err_read]


class _Pump:
    """Carries one output stream of the child to the client."""

    def __init__(self, descriptor: int, writer: asyncssh.SSHWriter[bytes]) -> None:
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._writer = writer
        self.total_bytes = 0
        self.sending = False

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._file
        )
        try:
            while data := await reader.read(_CHUNK_BYTES):
                self.total_bytes += len(data)
                self.sending = True
                self._writer.write(data)
                await self._writer.drain()
                self.sending = False
        except (OSError, asyncssh.Error):
            self.sending = False  # the client is gone; the child gets SIGPIPE, as under sshd
        finally:
            transport.close()


async def _feed(process: asyncssh.SSHServerProcess[bytes], descriptor: int) -> None:
    """Carry the client's input to the child."""
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(
        asyncio.BaseProtocol, os.fdopen(descriptor, "wb", buffering=0)
    )
    try:
        while data := await process.stdin.read(_CHUNK_BYTES):
            transport.write(data)
    except (OSError, asyncssh.Error):
        pass
    finally:
        transport.close()
