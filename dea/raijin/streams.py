"""What arrives of a run's two streams: handed on as it comes, a bounded part kept, how far each got remembered.

It does not know connections: `dea.raijin.exchange` fills it, over as many of them as it takes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from dea.raijin.destinations import Destination

StreamName = Literal["stdout", "stderr"]
OnOutput = Callable[[StreamName, bytes], None]
"""Takes the next bytes of a stream."""

_MARK = b"\x1e"
_RECEIPT_BYTES = 8192  # no receipt is that long: what is longer is output
_WORDS = b"dea-remote: "  # how each of the dispatcher's own lines begins
_WORDS_BYTES = 256 * 1024  # and no refusal of a request of 64 KiB says that much


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


class StderrHold:
    r"""Holds back what may be the dispatcher's and not the run's: the receipt at the end, or its words instead of a run.

    What is the last thing on stderr is known only at the end, and that an answer is a refusal only by its receipt. All else
    passes at once. What is held when a connection breaks was never handed on, so it is asked for again.

    >>> hold = StderrHold()
    >>> hold.feed(b'warning\n\x1e{"rec'), hold.feed(b'eipt": 1}\n'), hold.held
    (b'warning\n', b'', b'\x1e{"receipt": 1}\n')
    """

    def __init__(self) -> None:
        self.held = b""
        self._begins = True

    def feed(self, data: bytes) -> bytes:
        """Take in the next bytes and return those that are surely the run's."""
        data = self.held + data
        if self._begins and data[: len(_WORDS)] == _WORDS[: len(data)] and len(data) <= _WORDS_BYTES:
            self.held = data
            return b""
        self._begins = False
        begin = data.rfind(_MARK)
        if begin < 0 or len(data) - begin > _RECEIPT_BYTES or -1 < data.find(b"\n", begin) < len(data) - 1:
            self.held = b""
            return data
        self.held = data[begin:]
        return data[:begin]


class Output:
    """What has arrived of one run so far.

    Args:
        limit_bytes: How much of each stream to keep in memory; None for all.
        on_output: Is given the bytes of both streams as they come: each once, in each stream's order, never two at once.
        stdout_to: Where all of stdout goes besides; None for nowhere.
        has_receipt: Whether a receipt is to be looked for on stderr.

    Attributes:
        stdout: The kept part of stdout; its `total_bytes` is how far it got.
        stderr: Likewise, without the receipt.
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        on_output: OnOutput | None = None,
        stdout_to: Destination | None = None,
        *,
        has_receipt: bool = True,
    ) -> None:
        self._has_receipt = has_receipt
        self.stdout, self.stderr = BoundedBuffer(limit_bytes), BoundedBuffer(limit_bytes)
        self._on_output = on_output
        self._stdout_to = stdout_to
        self._hold = StderrHold()
        self._one_at_a_time = threading.Lock()

    @property
    def offsets(self) -> tuple[int, int]:
        """How many bytes of stdout and stderr have arrived."""
        return self.stdout.total_bytes, self.stderr.total_bytes

    @property
    def held(self) -> bytes:
        """What is held back of stderr."""
        return self._hold.held

    def begin_answer(self) -> None:
        """Forget what was held of an answer that broke off: the next one begins where the output got to."""
        self._hold = StderrHold()

    def take_stdout(self, data: bytes) -> None:
        """Take in the next bytes of stdout."""
        if self._stdout_to is not None:
            self._stdout_to.write(data)
        self._hand_on("stdout", data)
        self.stdout.write(data)

    def take_stderr(self, data: bytes) -> None:
        """Take in the next bytes of stderr, the receipt's among them."""
        self.add_stderr(self._hold.feed(data) if self._has_receipt else data)

    def add_stderr(self, data: bytes) -> None:
        """Take in bytes that are surely to be seen."""
        if data:
            self._hand_on("stderr", data)
            self.stderr.write(data)

    def _hand_on(self, name: StreamName, data: bytes) -> None:
        if self._on_output is not None:
            with self._one_at_a_time:
                self._on_output(name, data)
