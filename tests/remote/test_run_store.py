"""Claims, starts and ends when the file system repeats calls or answers wrongly: the token that is read back decides."""

import os
from pathlib import Path

import pytest

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
    assert entries(store) == []


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
