"""The session for functions' own tests: the same calls, the same results, and no login node."""

from __future__ import annotations

import pytest

from dea.raijin import CannotConnect, CommandFailed, ConnectionRefused, SomeFailed, UnknownRun
from dea.raijin.testing import FakeSession

ANSWERS = {"example": ("one\n", "", 0), "example -v": ("two\n", "warning\n", 3)}


def test_requests_are_remembered_as_they_were_written() -> None:
    session = FakeSession(ANSWERS)
    assert session.exec_command("example") == ("one\n", "", 0)
    assert session.exec_command("example -v") == ("two\n", "warning\n", 3)
    assert session.exec_command("example 'a b'").stdout == "one\n"
    assert session.requests == ["example", "example -v", "example 'a b'"]


def test_the_ids_that_a_function_derives_can_be_looked_at() -> None:
    session = FakeSession(ANSWERS, run_ids=lambda key, /: f"derived-{key}")
    assert session.exec_command("example", key="a").run_id == "derived-a"
    session.exec_command("example", key="a")
    session.exec_command("example", run_id="given-run-id")
    assert session.run_ids_used == ["derived-a", "given-run-id"]  # the second call found the first one's run
    assert session.requests == ["example"] * 3


def test_the_same_id_gives_the_same_result_and_is_refused_for_something_else() -> None:
    session = FakeSession(ANSWERS)
    first = session.exec_command("example", run_id="given-run-id")
    again = session.exec_command("example", run_id="given-run-id")
    assert (first == again, first.replayed, again.replayed) == (True, False, True)
    assert session.exec_command("example -v", run_id="given-run-id").exit_code == 126


def test_runs_are_started_found_cancelled_and_run_anew() -> None:
    session = FakeSession(ANSWERS)
    run_id = session.start("example -v")
    assert session.result(run_id) == ("two\n", "warning\n", 3)
    assert session.cancel(run_id).outcome == "exited"
    assert session.rerun(run_id).run_id == f"{run_id}-a2"
    assert [(record.run_id, record.attempt) for record in session.runs()] == [(f"{run_id}-a2", 2), (run_id, 1)]
    with pytest.raises(UnknownRun):
        session.result("no-such-run")


def test_an_unknown_command_is_refused() -> None:
    session = FakeSession(ANSWERS)
    result = session.exec_command("nope")
    assert (result.exit_code, result.outcome) == (127, "refused")
    with pytest.raises(CommandFailed, match="there is no such command"):
        session.start("nope")


def test_an_exception_is_raised_at_once() -> None:
    session = FakeSession({**ANSWERS, "broken": ConnectionRefused("refused", "raijin", 22)})
    with pytest.raises(CannotConnect):
        session.exec_command("broken")
    with pytest.raises(SomeFailed) as raised:
        session.run_many(["example", "broken", "example -v"])
    assert [getattr(one, "exit_code", None) for one in raised.value.results] == [0, None, 3]


def test_output_is_handed_on() -> None:
    got: list[tuple[str, bytes]] = []
    FakeSession(ANSWERS).exec_command("example -v", on_output=lambda name, data: got.append((name, data)))
    assert got == [("stdout", b"two\n"), ("stderr", b"warning\n")]
