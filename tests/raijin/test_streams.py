"""What is kept of what arrives, what is handed on, and what is held back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dea.raijin.streams import BoundedBuffer, Output, StderrHold
from dea.remote.contract import Receipt, take_receipt

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


receipts = st.sampled_from(
    [
        Receipt("a-run-id", "exited", 0, received="t", version="1"),
        Receipt("a-run-id", "busy", 75, received="t", version="1"),
    ]
)
# What looks like parts of a receipt, or like the dispatcher's words, must not confuse it.
tricky = st.lists(
    st.sampled_from([b"\x1e", b"\n", b"x", b'{"receipt": 1}', b"dea-remote: ", b"dea", b"\x1e{}\n", b"y" * 9000]),
    max_size=12,
).map(b"".join)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@given(tricky, receipts, st.lists(st.integers(0, 10**6), max_size=8))
def test_the_receipt_is_held_back_whole_and_nothing_of_the_run_is_lost(
    written: bytes, receipt: Receipt, cuts: list[int]
) -> None:
    hold = StderrHold()
    passed = b"".join(hold.feed(piece) for piece in in_pieces(written + receipt.encode(), cuts))
    said, found = take_receipt(hold.held, "a-run-id")
    assert found == receipt
    assert passed + said == written


@given(tricky, receipts, st.lists(st.integers(0, 10**6), max_size=8), st.integers(0, 10**6))
def test_what_has_passed_is_never_of_a_receipt_wherever_the_connection_breaks(
    written: bytes, receipt: Receipt, cuts: list[int], end: int
) -> None:
    whole = written + receipt.encode()
    hold = StderrHold()
    passed = b"".join(hold.feed(piece) for piece in in_pieces(whole[: end % (len(whole) + 1)], cuts))
    assert written.startswith(passed)


def test_what_is_held_is_bounded() -> None:
    hold = StderrHold()
    passed = sum(len(hold.feed(b"\x1e" + b"x" * 999)) for _ in range(1000))
    assert passed + len(hold.held) == 1_000_000
    assert len(hold.held) < 10_000


def test_the_dispatchers_words_are_held_until_its_receipt_says_whose_they_are() -> None:
    output = Output()
    output.take_stderr(b"dea-remote: no room\n")
    assert output.offsets == (0, 0)
    output.begin_answer()  # the connection broke: they were never anybody's output
    output.take_stderr(b"warning\ndea-remote: not at the beginning\n")
    assert output.offsets == (0, 41)


def test_output_is_handed_on_once_and_in_order() -> None:
    got: list[tuple[str, bytes]] = []
    output = Output(0, lambda name, data: got.append((name, data)))
    output.take_stdout(b"one")
    output.take_stderr(b"two")
    output.take_stdout(b"three")
    assert got == [("stdout", b"one"), ("stderr", b"two"), ("stdout", b"three")]
    assert output.offsets == (8, 3)
