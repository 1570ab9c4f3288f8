"""A TCP proxy on the loopback that breaks connections as planned: at a byte of one direction, or at a time.

It looks at no byte that it carries: what is cut or garbled is what TCP carries, not what SSH means by it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from dea.raijin import RaijinSession
    from dea.workspace.sandbox import Sandbox

HOST = "127.0.0.1"

FaultKind = Literal["cut", "delay", "stall", "garble"]
Way = Literal["up", "down"]

_CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to happen to one connection, once.

    Attributes:
        kind: `cut` ends it both ways; `delay` holds its way up for `delay_s` and goes on; `stall` lets nothing more through,
            both ways, and keeps it open; `garble` inverts one byte.
        way: The direction whose bytes are counted, delayed or garbled: `up` to the login node, `down` from it.
        at_byte: After so many bytes of that direction, since the connection began or, if it was there when this was armed,
            since then. None if it goes by the time.
        after_s: After so many seconds, counted likewise. None if it goes by bytes.
        delay_s: How long `delay` holds it.
    """

    kind: FaultKind
    way: Way = "down"
    at_byte: int | None = None
    after_s: float | None = None
    delay_s: float = 0.5

    def __post_init__(self) -> None:
        if (self.at_byte is None) == (self.after_s is None):
            raise ValueError("a fault happens at_byte or after_s: give one of them")


class FaultProxy:
    """Listens on a free loopback port and carries each connection to a target, with faults; a context manager.

    Args:
        target: The host and port to connect to.

    Attributes:
        port: The port that it listens on.
        happened: The faults that have happened, in order, `cut_now` included.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.happened: list[Fault] = []
        self._target = target
        self._lock = threading.Lock()
        self._plan: list[Fault] = []
        self._links: list[_Link] = []
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone would not wake the thread that waits for a connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for link in self._open_links():
            link.end()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open_links())

    @property
    def carried(self) -> tuple[int, int]:
        """How many bytes went up and down the connection that is the newest."""
        with self._lock:
            return (self._links[-1].carried["up"], self._links[-1].carried["down"]) if self._links else (0, 0)

    def arm(self, *faults: Fault) -> None:
        """Plan faults in place of what was planned: the first for the newest connection if one is open, one for each later one."""
        with self._lock:
            self._plan = list(faults)
            for link in self._links:
                link.arm(None)
            living = [link for link in self._links if not link.over.is_set()]
            if living and self._plan:
                living[-1].arm(self._plan.pop(0))

    def cut_now(self) -> int:
        """Cut all connections; return how many there were."""
        links = self._open_links()
        for link in links:
            self.happened.append(Fault("cut", after_s=0.0))
            link.end()
        return len(links)

    def _open_links(self) -> list[_Link]:
        with self._lock:
            self._links = [link for link in self._links if not link.over.is_set()] or self._links[-1:]
            return [link for link in self._links if not link.over.is_set()]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                target = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                continue
            target.settimeout(None)
            link = _Link(client, target, self.happened)
            self._open_links()
            with self._lock:
                self._links.append(link)
                if self._plan:
                    link.arm(self._plan.pop(0))
            link.start()


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, target: socket.socket, happened: list[Fault]) -> None:
        self.over = threading.Event()
        self.carried: dict[Way, int] = {"up": 0, "down": 0}
        self._happened = happened
        self._sockets = (client, target)
        for sock in self._sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._since: dict[Way, int] = {"up": 0, "down": 0}
        self._timer: threading.Timer | None = None
        self._stalled = False
        self._due: Fault | None = None

    def start(self) -> None:
        """Carry bytes both ways until an end closes or a fault ends it."""
        client, target = self._sockets
        for way, source, sink in (("up", client, target), ("down", target, client)):
            threading.Thread(target=self._carry, args=(way, source, sink), daemon=True).start()

    def arm(self, fault: Fault | None) -> None:
        """Have a fault happen from now on, in place of the one that was to."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._fault, self._since = fault, dict(self.carried)
            if fault is not None and fault.after_s is not None:
                self._timer = threading.Timer(fault.after_s, self._come_due, [fault])
                self._timer.daemon = True
                self._timer.start()

    def end(self) -> None:
        """End it, both ways."""
        self.over.set()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        for sock in self._sockets:
            # Closing alone would not wake a thread that reads there.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _carry(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK_BYTES):
                for part in self._with_faults(way, data):
                    self.carried[way] += len(part)  # first: who has seen a byte may rely on its being counted
                    sink.sendall(part)
                if self._stalled:
                    self.over.wait()
                if self.over.is_set():
                    return
        except OSError:
            pass
        self.end()

    def _with_faults(self, way: Way, data: bytes) -> list[bytes]:
        """Return what is to go on of some bytes, in parts, having done to them what is due."""
        with self._lock:
            fault, due = self._fault, self._due
        if due is not None and due.way == way:
            return self._strike(due, b"", data)
        if fault is None or fault.way != way or fault.at_byte is None:
            return [] if self._stalled else [data]
        room = fault.at_byte - (self.carried[way] - self._since[way])
        if len(data) <= room or self._stalled:
            return [] if self._stalled else [data]
        return self._strike(fault, data[:room], data[room:])

    def _strike(self, fault: Fault, before: bytes, after: bytes) -> list[bytes]:
        with self._lock:
            self._fault = self._due = None
        self._happened.append(fault)
        if fault.kind == "garble":
            return [before, bytes([after[0] ^ 0xFF]) + after[1:]]
        if fault.kind == "delay":
            self.over.wait(fault.delay_s)
            return [before, after]
        if fault.kind == "stall":
            self._stalled = True
            return [before]
        # What came before the cut arrives: sent before the socket is shut down.
        sink = self._sockets[1 if fault.way == "up" else 0]
        with contextlib.suppress(OSError):
            sink.sendall(before)
        self.end()
        return []

    def _come_due(self, fault: Fault) -> None:
        """Do what is due at a time: at once, or to the next bytes."""
        with self._lock:
            if self._fault is not fault or self.over.is_set():
                return
            if fault.kind in ("delay", "garble"):
                self._due = fault
                return
            self._fault = None
        self._happened.append(fault)
        if fault.kind == "stall":
            self._stalled = True
        else:
            self.end()


def session_through(box: Sandbox, proxy: FaultProxy, **options: Any) -> RaijinSession:
    """Return a session with a sandbox's login node that goes through a proxy.

    Args:
        box: The sandbox; it gets four parameters more.
        proxy: A proxy to one of its login nodes.
        options: As for `RaijinSession`.
    """
    from dea.raijin import RaijinSession  # noqa: PLC0415 - the proxy itself is for any TCP connection

    return RaijinSession(box.stored_for(f"{HOST}:{proxy.port}"), ssm=box.ssm(), **options)
