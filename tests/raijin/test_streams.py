"""The bounded buffer: what it keeps of what is written to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dea.raijin.streams import BoundedBuffer

chunks = st.lists(st.binary(max_size=20).map(lambda data: bytes(byte % 26 + 97 for byte in data)), max_size=20)


@given(chunks, st.none() | st.integers(0, 60))
def test_head_and_tail_are_kept_and_the_rest_is_counted(written: list[bytes], limit: int | None) -> None:
    buffer = BoundedBuffer(limit)
    for data in written:
        buffer.write(data)
    whole = b"".join(written)
    assert buffer.total_bytes == len(whole)
    if limit is None or len(whole) <= limit:
        assert not buffer.truncated
        assert buffer.text() == whole.decode()
        return
    assert buffer.truncated
    head, tail = limit - limit // 2, limit // 2
    kept = f"\n[... {len(whole) - limit} bytes left out ...]\n"
    assert buffer.text() == whole[:head].decode() + kept + whole[len(whole) - tail :].decode()


def test_memory_stays_bounded_while_much_is_written() -> None:
    buffer = BoundedBuffer(1000)
    for _ in range(10_000):
        buffer.write(b"x" * 700)
    assert sum(map(len, buffer._tail)) < 3000
    assert buffer.total_bytes == 7_000_000


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_output"):
        BoundedBuffer(-1)


def test_a_character_cut_in_two_is_replaced_not_an_error() -> None:
    buffer = BoundedBuffer(3)
    buffer.write("ééé".encode())
    assert buffer.text().startswith("é\n[...") or buffer.text().startswith("é\ufffd") or "\ufffd" in buffer.text()
