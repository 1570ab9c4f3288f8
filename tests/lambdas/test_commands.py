"""The command classes: both forms of a function, and what an incomplete one is told."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from dea.lambdas import (
    BaseCommand,
    CommandDefinitionError,
    InvalidDelivery,
    OrchestratorException,
    RaijinCommand,
    warm,
)
from dea.raijin import RaijinSession
from dea.raijin.testing import FakeSession


class Documented(BaseCommand):
    """A command in the form that functions have always had."""

    COMMAND_NAME = "documented"

    def __init__(self) -> None:
        super().__init__(self)

    def command(self, *args: Any, **kwargs: Any) -> Any:
        return {"args": args, "kwargs": kwargs}


def documented_handler(event: Any, context: Any) -> Any:
    return Documented().run()


def test_the_documented_form_works_unchanged() -> None:
    assert documented_handler({"a": 1}, object()) == {"args": (), "kwargs": {}}


def test_run_passes_its_arguments_on() -> None:
    assert Documented().run(1, two=2) == {"args": (1,), "kwargs": {"two": 2}}


class Short(BaseCommand):
    """A command in the shorter form."""

    COMMAND_NAME = "short"

    def command(self) -> Any:
        return self.event, self.context


def test_the_short_form_has_event_and_context_as_attributes() -> None:
    context = object()
    assert Short.handler({"a": 1}, context) == ({"a": 1}, context)


def test_a_command_that_takes_event_and_context_gets_them() -> None:
    class TakesBoth(BaseCommand):
        COMMAND_NAME = "takes_both"

        def command(self, event: Any, context: Any) -> Any:  # type: ignore[override]
            return event, context, self.event

    context = object()
    assert TakesBoth.handler({"a": 1}, context) == ({"a": 1}, context, {"a": 1})


def test_a_type_error_inside_the_command_is_not_hidden() -> None:
    class Wrong(BaseCommand):
        COMMAND_NAME = "wrong"

        def command(self) -> Any:
            raise TypeError("from inside")

    with pytest.raises(TypeError, match="from inside"):
        Wrong.handler({}, None)


def test_the_logger_is_named_for_the_command() -> None:
    assert Documented().logger is logging.getLogger("orchestrator.documented")


def test_a_class_without_a_name_of_its_own_is_told_so() -> None:
    class Nameless(BaseCommand):
        def command(self) -> Any:
            return None

    class Inherits(Documented):
        pass

    for cls in (Nameless, Inherits):
        with pytest.raises(CommandDefinitionError, match=f"{cls.__name__} has no COMMAND_NAME"):
            cls()


def test_a_class_that_does_not_override_command_is_told_so() -> None:
    class Idle(RaijinCommand):
        COMMAND_NAME = "idle"

    with pytest.raises(CommandDefinitionError, match="Idle does not override command"):
        Idle()


class Asks(RaijinCommand):
    """A command that asks the login node."""

    COMMAND_NAME = "asks"

    def command(self) -> Any:
        return self.raijin.exec_command("example")


def test_a_raijin_command_has_a_session_that_is_not_yet_connected() -> None:
    assert isinstance(Asks().raijin, RaijinSession)  # there is no AWS and no login node here


class Closing(FakeSession):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("answer", [("out", "", 0), RuntimeError("broken")])
def test_a_session_that_the_command_has_put_in_place_is_closed_when_run_ends_however_it_ends(answer: Any) -> None:
    command = Asks()
    command.raijin = session = Closing({"example": answer})
    if isinstance(answer, Exception):
        with pytest.raises(RuntimeError):
            command.run()
    else:
        assert tuple(command.run()) == answer
    assert session.closed == 1


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> dict[Any, RaijinSession]:
    """A process that keeps no session yet, and makes those that never connect."""
    kept: dict[Any, RaijinSession] = {}
    monkeypatch.setattr(warm, "_idle", kept)
    monkeypatch.setattr(warm, "RaijinSession", lambda **_: Closing({"example": ("out", "", 0)}))
    return kept


def used_by(command: RaijinCommand) -> Closing:
    session = command.raijin
    assert isinstance(session, Closing)
    command.run()
    return session


def test_the_next_invocation_has_the_session_of_the_one_before(idle: dict[Any, RaijinSession]) -> None:
    first = used_by(Asks())
    assert used_by(Asks()) is first
    assert (first.closed, first.requests) == (0, ["example", "example"])


def test_it_is_kept_after_a_failure_too(idle: dict[Any, RaijinSession]) -> None:
    class Fails(RaijinCommand):
        COMMAND_NAME = "asks"

        def command(self) -> None:
            raise RuntimeError("broken")

    failing = Fails()
    session = failing.raijin
    with pytest.raises(RuntimeError):
        failing.run()
    assert used_by(Asks()) is session


def test_two_commands_at_once_have_two_sessions_and_one_is_kept(idle: dict[Any, RaijinSession]) -> None:
    one, other = Asks(), Asks()
    first, second = one.raijin, other.raijin
    assert first is not second
    assert used_by(one) is first
    assert used_by(other) is second
    assert [one.closed for one in (first, second) if isinstance(one, Closing)] == [0, 1]


def test_another_user_has_another_session(idle: dict[Any, RaijinSession], monkeypatch: pytest.MonkeyPatch) -> None:
    first = used_by(Asks())
    monkeypatch.setenv("DEA_RAIJIN_USER_PATH", "orchestrator.raijin.users.other")
    assert used_by(Asks()) is not first


def test_a_session_stays_its_users_whatever_the_command_sets(
    idle: dict[Any, RaijinSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next command of the other user would log in with this one's key."""

    class Sets(RaijinCommand):
        COMMAND_NAME = "asks"

        def command(self) -> None:
            monkeypatch.setenv("DEA_RAIJIN_USER_PATH", "orchestrator.raijin.users.other")

    first = used_by(Sets())
    assert used_by(Asks()) is not first
    monkeypatch.delenv("DEA_RAIJIN_USER_PATH")
    assert used_by(Asks()) is first


def test_what_is_kept_is_closed_when_the_process_ends() -> None:
    code = """
from dea.lambdas import RaijinCommand, warm
from dea.raijin.testing import FakeSession

class Said(FakeSession):
    def close(self):
        print("closed")

class Asks(RaijinCommand):
    COMMAND_NAME = "asks"

    def command(self):
        self.raijin

warm.RaijinSession = lambda **_: Said({})
Asks().run()
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ended\nclosed\n"


def test_a_kept_session_knows_nothing_of_the_delivery_before(idle: dict[Any, RaijinSession]) -> None:
    Asks.handler({}, Context("first"))
    [session] = idle.values()
    assert session.remaining_s is None
    assert session.run_ids is None  # its own: random


class Context:
    """Lambda's context object."""

    invoked_function_arn = "arn:aws:lambda:ap-southeast-2:123456789012:function:asks:live"

    def __init__(self, aws_request_id: str, remaining_ms: int = 900_000) -> None:
        self.aws_request_id = aws_request_id
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


class Looks(RaijinCommand):
    """Tells what the session was told."""

    COMMAND_NAME = "looks"

    def command(self) -> Any:
        remaining_s = self.raijin.remaining_s
        calls = [self.raijin.exec_command("example"), self.raijin.exec_command("example", key="k")]
        return [call.run_id for call in calls], remaining_s and remaining_s()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> type[Looks]:
    monkeypatch.setattr(Looks, "raijin", FakeSession({"example": ("", "", 0)}))
    return Looks


def test_a_retry_by_lambda_asks_for_the_same_runs(looks: type[Looks]) -> None:
    first, retried, other = (looks.handler({}, Context(name))[0] for name in ("a", "a", "b"))
    assert first == retried
    assert len({*first, *other}) == 4


def test_two_command_classes_for_one_event_have_runs_of_their_own(looks: type[Looks]) -> None:
    class Other(looks):  # type: ignore[misc, valid-type]
        COMMAND_NAME = "other"

    first, second = (cls.handler({}, Context("a"))[0] for cls in (looks, Other))
    assert len({*first, *second}) == 4


def test_the_documented_form_asks_for_new_runs_each_time(looks: type[Looks]) -> None:
    first, second = looks().run()[0], looks().run()[0]
    assert len({*first, *second}) == 4


@pytest.mark.parametrize(("remaining_ms", "expected_s"), [(900_000, 890.0), (50_000, 40.0), (3_000, 2.4)])
def test_the_session_waits_until_shortly_before_the_end(
    looks: type[Looks], remaining_ms: int, expected_s: float
) -> None:
    assert looks.handler({}, Context("a", remaining_ms))[1] == pytest.approx(expected_s)


def test_the_margin_is_the_classs_to_set(looks: type[Looks], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "DEADLINE_MARGIN_S", 60.0)
    assert looks.handler({}, Context("a", 900_000))[1] == pytest.approx(840.0)


def test_without_a_context_there_is_no_deadline(looks: type[Looks]) -> None:
    assert looks().run()[1] is None


def test_a_delivery_that_nobody_filled_in_runs_nothing(looks: type[Looks]) -> None:
    with pytest.raises(InvalidDelivery, match="EnteredTime"):
        looks.handler({"dea_delivery": {"Execution": {"Id": "x"}, "State": {"Name": "y"}}}, Context("a"))
    assert looks.raijin.requests == []  # type: ignore[attr-defined]


def test_a_command_with_a_session_of_its_own_has_the_deliverys_run_ids() -> None:
    class Own(BaseCommand):
        COMMAND_NAME = "own"

        def command(self) -> Any:
            return [self.run_ids(), self.run_ids("k")]

    assert Own.handler({}, Context("a")) == Own.handler({}, Context("a")) != Own.handler({}, Context("b"))


def test_a_command_that_outlives_its_event_counts_anew_for_the_next_and_on_within_one() -> None:
    class Own(BaseCommand):
        COMMAND_NAME = "own"

        def command(self) -> Any:
            return self.run_ids()

    kept = Own()
    ids = []
    for event, context in (({"id": 1}, Context("a")), ({"id": 2}, Context("b")), ({"id": 1}, Context("a"))):
        kept.event, kept.context = event, context
        ids.append((kept.run(), kept.run()))
    assert ids[0] == ids[2]
    assert len({*ids[0], *ids[1]}) == 4


def test_the_handler_makes_an_answer_of_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asks, "raijin", FakeSession({"example": ("x" * 10_000, "", 3)}))
    monkeypatch.setattr(Asks, "ANSWER_MAX_BYTES", 2_000)
    answer = Asks.handler({}, Context("a"))
    assert (answer["exit_code"], answer["stdout_bytes"], answer["truncated"]) == (3, 10_000, True)
    assert len(json.dumps(answer)) <= 2_000


def test_an_orchestrator_exception_says_what_happened() -> None:
    error = OrchestratorException("listing failed", "out", "quota exceeded\n", 3)
    assert (error.stdout, error.stderr, error.exit_code) == ("out", "quota exceeded\n", 3)
    assert str(error) == "listing failed (exit status 3): quota exceeded"
    assert str(OrchestratorException("no way")) == "no way"
