"""The command classes: both forms of a function, and what an incomplete one is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dea.lambdas import BaseCommand, CommandDefinitionError, OrchestratorException, RaijinCommand
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
def test_the_session_is_closed_when_run_ends_however_it_ends(answer: Any) -> None:
    command = Asks()
    command.raijin = session = Closing({"example": answer})
    if isinstance(answer, Exception):
        with pytest.raises(RuntimeError):
            command.run()
    else:
        assert tuple(command.run()) == answer
    assert session.closed == 1


def test_an_orchestrator_exception_says_what_happened() -> None:
    error = OrchestratorException("listing failed", "out", "quota exceeded\n", 3)
    assert (error.stdout, error.stderr, error.exit_code) == ("out", "quota exceeded\n", 3)
    assert str(error) == "listing failed (exit status 3): quota exceeded"
    assert str(OrchestratorException("no way")) == "no way"
