"""Claims, starts and ends when the file system repeats calls or answers wrongly: the token that is read back decides."""

import os
from pathlib import Path

import pytest

from dea.remote.runs.follow import Output, Watch, follow, standing
from dea.remote.runs.store import Store, hashes


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path), "key-test")


def prepared(store, token):
    claim = {"format": 1, "run_id": "run-0001", "token": token, "attempt": 1, "attempt_of": None}
    return store.prepare(claim)


def entries(store):
    return [path.name for path in Path(store.folder).iterdir()]


def repeated(call):
    """Let a call work and be reported as failed: NFS, when the answer to the first call was lost."""

    def twice(*arguments):
        call(*arguments)
        call(*arguments)

    return twice


def test_the_first_claim_wins(store):
    first, second = prepared(store, "a"), prepared(store, "b")
    assert store.claim(first).claim["token"] == "a"
    assert store.claim(second).claim["token"] == "a"
    assert entries(store) == ["run-0001"]


def test_a_claim_that_worked_and_was_repeated_is_ones_own(store, monkeypatch):
    run = prepared(store, "a")
    monkeypatch.setattr(os, "rename", repeated(os.rename))
    found = store.claim(run)
    assert (found.claim["token"], Path(found.folder)) == ("a", Path(store.folder, "run-0001"))
    assert Path(found.path("stdout")).exists()


def test_a_claim_that_failed_for_good_is_an_error(store, monkeypatch):
    run = prepared(store, "a")

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        store.claim(run)
    assert entries(store) == [".new-a"]  # who knows whether it gets its name yet; pruning removes it after a day


def test_a_claim_that_worked_is_not_discarded_before_its_token_is_read(store, monkeypatch):
    """NFS reports an error, and what this client then believes of the names is not yet what the server has done."""
    run = prepared(store, "a")

    def worked_late(old, new):
        Path(new).mkdir()
        for path in Path(old).iterdir():
            os.link(path, Path(new, path.name))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", worked_late)
    assert store.claim(run).claim["token"] == "a"
    assert Path(run.folder).exists()


@pytest.mark.parametrize("again", [False, True])
def test_the_first_start_wins_even_if_its_link_is_repeated(store, monkeypatch, again):
    run = store.claim(prepared(store, "a"))
    run.reserve("b")
    if again:
        monkeypatch.setattr(os, "link", repeated(os.link))
    for token in ("a", "b"):
        run.prepare_start({"token": token})
    assert run.start({"token": "b"})
    assert not run.start({"token": "a"})
    assert run.started() == {"token": "b"}


def test_a_start_that_could_not_be_decided_is_an_error(store, monkeypatch):
    run = store.claim(prepared(store, "a"))

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "link", fails)
    run.prepare_start({"token": "a"})
    with pytest.raises(OSError, match="Input/output"):
        run.start({"token": "a"})


def test_an_outcome_counts_once(store):
    run = store.claim(prepared(store, "a"))
    run.reserve("b")
    first, second = {"outcome": "exited", "status": 0}, {"outcome": "exited", "status": 1}
    run.prepare_outcome("a", first)
    run.prepare_outcome("b", second)
    assert run.end("a", first)
    assert not run.end("b", second)
    assert run.outcome() == first


def test_an_outcome_that_counts_is_never_written_again(store):
    run = store.claim(prepared(store, "a"))
    run.prepare_outcome("a", {"outcome": "cancelled"})
    assert run.end("a", {"outcome": "cancelled"})
    with pytest.raises(FileExistsError, match="decided already"):
        run.prepare_outcome("a", {"outcome": "refused"})
    assert run.outcome() == {"outcome": "cancelled"}


def test_a_finished_run_is_not_lost_because_a_client_remembers_that_it_had_no_outcome(store, monkeypatch):
    run = store.claim(prepared(store, "a"))
    run.prepare_start({"token": "a", "started": "t", "lost_after_s": 60})
    run.start({"token": "a", "started": "t", "lost_after_s": 60})
    os.utime(run.path("pulse"), (0, 0))
    assert standing(store, run).state == "lost"
    run.prepare_outcome("a", {"outcome": "exited", "started": "t"})
    run.end("a", {"outcome": "exited", "started": "t"})
    Path(run.path("outcome")).rename(run.path("outcome.unseen"))
    looked = []

    def forget(folder):
        looked.append(folder)
        Path(run.path("outcome.unseen")).rename(run.path("outcome"))

    monkeypatch.setattr("dea.remote.runs.follow.fresh", forget)
    assert standing(store, run).state == "exited"
    assert looked == [run.folder]


def test_output_is_waited_for_that_the_outcome_counts_and_no_more_is_handed_out(store, monkeypatch):
    run = store.claim(prepared(store, "a"))
    outcome = {"outcome": "exited", "started": "t", "stdout_stored": 3, "stderr_stored": 0}
    run.prepare_outcome("a", outcome)
    run.end("a", outcome)
    Path(run.path("stdout")).write_bytes(b"a")
    sent = []
    monkeypatch.setattr("dea.remote.runs.follow._write_all", lambda _, data: sent.append(data))
    watch = Watch()

    def arrives(at_most_s, *, moved):
        assert sent == [b"a"]
        Path(run.path("stdout")).write_bytes(b"abcd")
        return False

    monkeypatch.setattr(watch, "wait", arrives)
    assert follow(store, run, Output(run, 0, 0), watch, 2.0).state == "exited"
    assert b"".join(sent) == b"abc"


def test_an_outcome_has_its_room_before_it_is_known(store):
    run = store.claim(prepared(store, "a"))
    before = Path(run.path("outcome-a")).stat()
    run.prepare_outcome("a", {"outcome": "exited"})
    after = Path(run.path("outcome-a")).stat()
    assert (before.st_size, before.st_blocks) == (after.st_size, after.st_blocks)


def test_nothing_is_left_of_a_claim_that_could_not_be_prepared(store, monkeypatch):
    write = os.write

    def full(descriptor, data):
        if len(data) > 1000:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        prepared(store, "a")
    assert entries(store) == []


def test_what_is_hashed_is_not_ambiguous():
    sent = {
        hashes("s", name, words, None)[0]
        for name, words in [("a", ("b", "c")), ("a", ("b c",)), ("a", ("b", "c", "")), ("ab", ("c",))]
    }
    assert len(sent) == 4


def test_every_attempt_has_a_number_of_its_own_and_keeps_it(store):
    first = store.claim(prepared(store, "a"))
    assert [store.number_of_attempt(first, run_id) for run_id in ("run-0002", "run-0003", "run-0002")] == [2, 3, 2]
    assert store.attempts(first) == 3
