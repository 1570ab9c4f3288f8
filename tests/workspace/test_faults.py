"""The fault kit itself: what it says it does to a connection, a disk or a process happens."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dea.workspace.errors import WorkspaceError
from dea.workspace.faults import Fault, FaultProxy, fill, frozen, small_disk
from dea.workspace.faults.small_disk import unusable
from tests.conftest import require

TIMEOUT_S = 10.0


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT_S)


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as running:
        yield running


def dial(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=TIMEOUT_S)


def received(connection: socket.socket, size_bytes: int) -> bytes:
    """Return what comes, up to so many bytes or the end."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while len(data) < size_bytes and (more := connection.recv(size_bytes - len(data))):
            data += more
    return data


def test_without_a_fault_bytes_pass_both_ways(proxy: FaultProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"x" * 300_000)
        assert received(connection, 300_000) == b"x" * 300_000
        assert proxy.carried == (300_000, 300_000)
    assert proxy.happened == []


@pytest.mark.parametrize("at_byte", [0, 1, 999])
def test_a_cut_lets_exactly_so_many_bytes_through(proxy: FaultProxy, at_byte: int) -> None:
    proxy.arm(fault := Fault("cut", at_byte=at_byte))
    with dial(proxy) as connection:
        connection.sendall(b"x" * 1000)
        assert received(connection, 1000) == b"x" * at_byte
    assert proxy.happened == [fault]


def test_a_cut_on_the_way_up_leaves_the_other_end_with_what_came_before(proxy: FaultProxy) -> None:
    proxy.arm(Fault("cut", "up", at_byte=10))
    with dial(proxy) as connection:
        connection.sendall(b"x" * 1000)
        assert len(received(connection, 1000)) <= 10
    assert len(proxy.happened) == 1


def test_each_connection_takes_the_next_fault_of_the_plan(proxy: FaultProxy) -> None:
    proxy.arm(Fault("cut", at_byte=1), Fault("cut", at_byte=2))
    lengths = []
    for _ in range(3):
        with dial(proxy) as connection:
            connection.sendall(b"abc")
            lengths.append(len(received(connection, 3)))
    assert lengths == [1, 2, 3]


def test_an_open_connection_is_counted_from_when_it_was_armed(proxy: FaultProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"abc")
        assert received(connection, 3) == b"abc"
        proxy.arm(Fault("cut", at_byte=2))
        connection.sendall(b"defg")
        assert received(connection, 4) == b"de"


def test_a_cut_at_a_time(proxy: FaultProxy) -> None:
    proxy.arm(Fault("cut", after_s=0.05))
    with dial(proxy) as connection:
        assert received(connection, 1) == b""


def test_a_garbled_byte_is_the_one_that_was_meant(proxy: FaultProxy) -> None:
    proxy.arm(Fault("garble", "up", at_byte=2))
    with dial(proxy) as connection:
        connection.sendall(b"abcd")
        assert received(connection, 4) == b"ab" + bytes([ord("c") ^ 0xFF]) + b"d"


def test_a_delay_holds_bytes_up_and_lets_them_go(proxy: FaultProxy) -> None:
    proxy.arm(Fault("delay", at_byte=1, delay_s=0.3))
    begin = time.monotonic()
    with dial(proxy) as connection:
        connection.sendall(b"abc")
        assert received(connection, 3) == b"abc"
    assert time.monotonic() - begin >= 0.3


def test_a_stall_lets_nothing_through_and_keeps_the_connection_open(proxy: FaultProxy) -> None:
    proxy.arm(Fault("stall", at_byte=1))
    with dial(proxy) as connection:
        connection.sendall(b"abc")
        assert received(connection, 1) == b"a"
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert proxy.connections == 1
        assert proxy.cut_now() == 1


def test_a_fault_goes_by_bytes_or_by_time() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        Fault("cut")


def test_a_frozen_process_does_nothing_until_it_is_thawed(tmp_path: Path) -> None:
    script = "import sys,time\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.01)"
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "ticks"])
    try:
        ticks = tmp_path / "ticks"
        wait_for(lambda: ticks.exists() and ticks.stat().st_size > 0)
        with frozen(process.pid) as stopped:
            assert [one.pid for one in stopped] == [process.pid]
            wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            before = ticks.stat().st_size
        wait_for(lambda: ticks.stat().st_size > before)
    finally:
        process.kill()
        process.wait()


def test_a_small_disk_is_soon_full(tmp_path: Path) -> None:
    require(unusable())
    with small_disk(tmp_path / "disk", 64 * 1024) as folder:
        (folder / "before").write_bytes(b"x")
        filler = fill(folder)
        with pytest.raises(OSError, match="No space") as raised:
            (folder / "after").write_bytes(b"x" * 8192)
        assert raised.value.errno == errno.ENOSPC
        filler.unlink()
        (folder / "after").write_bytes(b"x" * 8192)
    assert not os.path.ismount(tmp_path / "disk")


def test_a_large_file_system_is_not_filled_by_mistake(tmp_path: Path) -> None:
    if os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize <= 1024**3:
        pytest.skip("this machine's disk is nearly full (free some of it)")
    with pytest.raises(WorkspaceError, match="only a small file system"):
        fill(tmp_path)


def wait_for(condition) -> None:  # type: ignore[no-untyped-def]  # as any condition
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
