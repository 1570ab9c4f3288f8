"""The token bucket: a burst passes, a flood waits, and nobody is shut out for good."""

import pytest

from dea.remote import bucket


@pytest.fixture
def clock(monkeypatch):
    """Let time be what the test says."""

    class Clock:
        now = 1e9

        def time(self):
            return self.now

        monotonic = time

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(bucket, "time", clock)
    return clock


def test_a_burst_passes_and_then_tokens_come_at_their_rate(tmp_path, clock):
    def take():
        return bucket.take_token(str(tmp_path), 3, 2.0)

    assert [take() for _ in range(5)] == [None, None, None, 0.5, 0.5]
    clock.now += 0.5
    assert [take() for _ in range(2)] == [None, 0.5]
    clock.now += 1000
    assert [take() for _ in range(4)] == [None, None, None, 0.5]


def test_a_clock_that_goes_back_or_was_wrong_shuts_nobody_out(tmp_path, clock):
    def take():
        return bucket.take_token(str(tmp_path), 2, 1.0)

    assert take() is None
    clock.now += 1e8  # a node whose clock is years ahead
    assert take() is None
    clock.now -= 1e8
    assert take() is None
    clock.now += 1
    assert take() is None


@pytest.mark.parametrize("content", [b"", b"x", b"nan nan", b"-5 1", b"inf inf", b"1e400 0", b"\0" * 42, b"1 2 3"])
def test_a_file_that_is_not_what_was_written_counts_as_full(tmp_path, content):
    (tmp_path / "requests").write_bytes(content)
    assert bucket.take_token(str(tmp_path), 2, 1.0) is None


def test_where_nothing_can_be_written_requests_pass(tmp_path):
    assert bucket.take_token(str(tmp_path / "missing"), 1, 1.0) is None


def test_a_flood_is_busy_and_told_how_long_to_wait(gate):
    gate.describe_site(request_burst=3, requests_per_second=1)
    gate.state.mkdir()
    statuses = [gate("echo_args a").returncode for _ in range(3)]
    busy = gate.ask("--run-id run-0001 echo_args a")
    if busy.status == 0:  # a machine slow enough for a token to come back
        busy = gate.ask("--run-id run-0002 echo_args a")
    assert statuses == [0, 0, 0]
    assert (busy.status, busy.receipt.outcome, busy.stdout) == (75, "busy", b"")
    assert 0 < busy.receipt.retry_after_s <= 1
    assert b"the account's requests come too fast" in busy.stderr
    # Asking for a result is a request too; whoever is logged in is not limited.
    assert not gate.run_folder("run-0002").exists()
