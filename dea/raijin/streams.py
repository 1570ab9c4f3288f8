"""Drains a channel's stdout and stderr together, keeping a bounded part of each in memory.

Both must be drained at once, because they share one SSH window: a command that fills one while nobody reads it stops.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_CHUNK_BYTES = 65536


class BoundedBuffer:
    """Keeps the head and the tail of what is written to it, and counts all of it.

    Args:
        limit_bytes: The most to keep, half of it for the head; None for all.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        if limit_bytes is not None and limit_bytes < 0:
            raise ValueError(f"max_output is a number of bytes or None for no limit, not {limit_bytes}")
        self.total_bytes = 0
        self._head_room = limit_bytes - limit_bytes // 2 if limit_bytes is not None else None
        self._tail_limit = limit_bytes // 2 if limit_bytes is not None else 0
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def write(self, data: bytes) -> None:
        """Take in the next bytes."""
        self.total_bytes += len(data)
        if self._head_room is None:
            self._head.append(data)
            return
        if self._head_room:
            self._head.append(data[: self._head_room])
            data = data[self._head_room :]
            self._head_room -= len(self._head[-1])
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
            while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
                self._tail_bytes -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self._tail_bytes > self._tail_limit or self.total_bytes > sum(map(len, self._head)) + self._tail_bytes

    def text(self) -> str:
        """Return what was kept, decoded as UTF-8 with U+FFFD for what is not; with a line for what was left out."""
        head = b"".join(self._head)
        tail = b"".join(self._tail)
        if not self.truncated:
            return (head + tail).decode("utf-8", "replace")
        tail = tail[len(tail) - self._tail_limit :] if self._tail_limit else b""
        left_out = self.total_bytes - len(head) - len(tail)
        note = f"\n[... {left_out} bytes left out ...]\n"
        return head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")


class Drain:
    """One thread that reads a stream to its end into a buffer.

    Args:
        receive: Returns up to the given number of bytes, empty at the end: `paramiko.Channel.recv`, say.
        buffer: Where they go.
    """

    def __init__(self, receive: Callable[[int], bytes], buffer: BoundedBuffer) -> None:
        self.buffer = buffer
        self.last_activity = time.monotonic()
        self._receive = receive
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := self._receive(_CHUNK_BYTES):
            self.last_activity = time.monotonic()
            if self._failure is None:
                try:
                    self.buffer.write(data)
                except Exception as error:  # noqa: BLE001 - no memory, say: go on draining, or the other end would stop
                    self._failure = error

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the stream; tell whether it was reached."""
        self._thread.join(max(timeout_s, 0))
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what kept the output from being stored, if anything did: what is missing must not pass for all there was."""
        if self._failure is not None:
            raise self._failure
