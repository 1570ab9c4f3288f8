"""The receipt: what the dispatcher writes is what the client reads, and nothing else is believed."""

import pytest

from dea.remote.contract import Receipt, take_receipt

ID = "run-0001"
RECEIPT = Receipt(
    ID,
    "exited",
    3,
    received="2026-01-01T00:00:00.000Z",
    started="2026-01-01T00:00:00.010Z",
    ended="2026-01-01T00:00:01.000Z",
    children=1,
    version="0.1.0",
    audit=f"node-2026-01:7:{'a' * 64}",
    stdout_bytes=20,
    stderr_bytes=3,
    stdout_stored=10,
    stderr_stored=3,
    attempt=2,
    attempts=3,
    replayed=True,
)


def test_a_receipt_is_taken_off_the_end_of_stderr():
    assert take_receipt(b"said\n" + RECEIPT.encode(), ID) == (b"said\n", RECEIPT)


@pytest.mark.parametrize("wait_s", [None, 0, 1.5, 60])
def test_a_busy_login_node_says_how_long_to_wait(wait_s):
    busy = Receipt(ID, "busy", 75, received="2026-01-01T00:00:00.000Z", version="1", retry_after_s=wait_s)
    assert take_receipt(busy.encode(), ID) == (b"", busy)


def test_a_run_that_is_not_over_has_no_status():
    for outcome in ("running", "lost"):
        receipt = Receipt(ID, outcome, None, received="2026-01-01T00:00:00.000Z", version="1")
        assert take_receipt(receipt.encode(), ID) == (b"", receipt)


def test_what_a_child_left_behind_says_later_is_kept():
    assert take_receipt(b"said\n" + RECEIPT.encode() + b"late\n", ID) == (b"said\nlate\n", RECEIPT)


def test_only_the_last_record_counts():
    forged = Receipt(ID, "exited", 0, received="2026-01-01T00:00:00.000Z", version="9")
    stderr, receipt = take_receipt(forged.encode() + b"said\n" + RECEIPT.encode(), ID)
    assert receipt == RECEIPT
    assert stderr == forged.encode() + b"said\n"


def test_a_receipt_of_another_run_is_none():
    assert take_receipt(RECEIPT.encode(), "run-0002") == (RECEIPT.encode(), None)


@pytest.mark.parametrize(
    "stderr",
    [
        b"",
        b"said\n",
        b"\x1e",
        b"\x1e\n",
        b"\x1e{}\n",
        b"\x1e[]\n",
        b"\x1enull\n",
        b"\x1e{not json}\n",
        b"\x1e" + b"[" * 3000 + b"\n",
        RECEIPT.encode()[:-1],
        RECEIPT.encode()[1:],
        RECEIPT.encode().replace(b'"receipt": 1', b'"receipt": 2'),
        RECEIPT.encode().replace(b'"exited"', b'"succeeded"'),
        RECEIPT.encode().replace(b'"status": 3', b'"status": true'),
        RECEIPT.encode().replace(b'"status": 3', b'"status": 256'),
        RECEIPT.encode().replace(b'"status": 3', b'"status": "3"'),
        RECEIPT.encode().replace(b'"children": 1', b'"children": -1'),
        RECEIPT.encode().replace(b'"attempt": 2', b'"attempt": 0'),
        RECEIPT.encode().replace(b'"attempts": 3', b'"attempts": null'),
        RECEIPT.encode().replace(b'"replayed": true', b'"replayed": 1'),
        RECEIPT.encode().replace(b'"stdout_stored": 10', b'"stdout_stored": 1.5'),
        RECEIPT.encode().replace(b'"retry_after_s": null', b'"retry_after_s": -1'),
        RECEIPT.encode().replace(b'"retry_after_s": null', b'"retry_after_s": NaN'),
        RECEIPT.encode().replace(b'"retry_after_s": null', b'"retry_after_s": "1"'),
        RECEIPT.encode().replace(b'"status": 3, ', b""),
        RECEIPT.encode().replace(b'"status"', b'"extra": 1, "status"'),
        RECEIPT.encode().replace(b'"version": "0.1.0"', b'"version": 1'),
        RECEIPT.encode().replace(b"0.1.0", b"0" * 5000),
        RECEIPT.encode().replace(b"0.1.0", b"\xff"),
    ],
)
def test_what_is_not_a_whole_receipt_is_none(stderr):
    assert take_receipt(stderr, ID) == (stderr, None)
