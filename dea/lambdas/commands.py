"""The classes that a function's command inherits from."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from dea.lambdas import warm
from dea.lambdas.answer import LAMBDA_MAX_BYTES, answers_in
from dea.lambdas.deadline import MARGIN_S, time_left
from dea.lambdas.logs import configure_logging
from dea.lambdas.run_ids import DeliveryRunIds
from dea.raijin import RaijinSession
from dea.raijin.credentials import user_path_from


class CommandDefinitionError(TypeError):
    """A command class is not complete; the message says what it lacks."""


class BaseCommand:
    """A command: what one invocation of a Lambda function does.

    A subclass sets `COMMAND_NAME`, which names it in the log, and overrides `command`. Either form of handler works:

        handler = ExampleCommand.handler        # passes event and context on

        def handler(event, context):
            return ExampleCommand().run()

    Only the first tells the command which delivery it is in, so that Lambda's retries find the runs of the first try; and
    which time it has.

    Args:
        command: Not needed; a constructor may pass itself (`super().__init__(self)`), as functions have always done.

    Attributes:
        ANSWER_MAX_BYTES: The most bytes of JSON that the class's own `handler` makes of a `CommandResult`; where a state
            machine is next, `STEP_FUNCTIONS_MAX_BYTES`.
        logger: The logger `orchestrator.<COMMAND_NAME>`.
        event: The event, if the class's own `handler` is used; else None.
        context: Lambda's context object, likewise.

    Raises:
        CommandDefinitionError: If the class has no `COMMAND_NAME` of its own or does not override `command`.
    """

    COMMAND_NAME: ClassVar[str]
    ANSWER_MAX_BYTES: ClassVar[int] = LAMBDA_MAX_BYTES

    def __init__(self, command: BaseCommand | None = None) -> None:  # noqa: ARG002 - accepted from older functions
        cls = type(self)
        name = vars(cls).get("COMMAND_NAME")
        if not isinstance(name, str) or not name:
            raise CommandDefinitionError(
                f'{cls.__name__} has no COMMAND_NAME of its own: give the class one, COMMAND_NAME = "..."'
            )
        if cls.command is BaseCommand.command:
            raise CommandDefinitionError(f"{cls.__name__} does not override command(): define what it does there")
        configure_logging()
        self.logger = logging.getLogger(f"orchestrator.{name}")
        self.event: Any = None
        self.context: Any = None
        self._made_for: tuple[Any, Any] = (None, None)
        self._run_ids: DeliveryRunIds | None = None

    @classmethod
    def handler(cls, event: Any, context: Any) -> Any:
        """Handle one event: make the command and run it.

        The event and Lambda's context are at `self.event` and `self.context`, and are handed to `command` if it takes two
        arguments.

        Returns:
            What `command` returns; Lambda makes JSON of it. A `CommandResult`, or each one in its lists and dicts, becomes
            what `dea.lambdas.answer_of` makes of it; all of it together keeps to `ANSWER_MAX_BYTES`.

        Raises:
            ValueError: If so much stands beside the results that none of them fits.
        """
        command = cls()
        command.event, command.context = event, context
        given = (event, context) if _takes(command.command, event, context) else ()
        return answers_in(command.run(*given), cls.ANSWER_MAX_BYTES)

    @property
    def run_ids(self) -> DeliveryRunIds:
        """The run ids of this delivery's calls, for `RaijinSession(run_ids=...)` where a command makes a session of its own.

        Raises:
            InvalidDelivery: If the event says wrongly which delivery it is.
        """
        # Made once for each invocation: a second run of the command within one goes on counting.
        event, context = self._made_for
        if self._run_ids is None or event is not self.event or context is not self.context:
            self._run_ids = DeliveryRunIds.of_event(self.COMMAND_NAME, self.event, self.context)
            self._made_for = self.event, self.context
        return self._run_ids

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command with these arguments and return what it returns."""
        return self.command(*args, **kwargs)

    def command(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; a subclass overrides this. What it returns is the function's result."""
        raise NotImplementedError  # a class without it cannot be made


class RaijinCommand(BaseCommand):
    """A command that talks to the login node.

    Near the end of the function's time, a call that still waits for its run raises `OutcomeUnknown`: the run goes on, and
    the same call in a retry of the same delivery waits for it again.

    Attributes:
        DEADLINE_MARGIN_S: How much of the function's time to keep, in seconds, but a fifth of it at the most.
    """

    DEADLINE_MARGIN_S: ClassVar[float] = MARGIN_S

    _time_left: Callable[[], float] | None = None
    _taken: RaijinSession | None = None
    _user_path: str

    @functools.cached_property
    def raijin(self) -> RaijinSession:
        """The session; it connects at its first use, and its connection is kept for the next invocation."""
        # Whose session it is stays so: the command may set the variable for something else before it gives it back.
        self._user_path = user_path_from(os.environ)
        self._taken = warm.take(self._user_path, self.logger)
        return self._taken

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command with these arguments and return what it returns.

        Raises:
            InvalidDelivery: If the event says wrongly which delivery it is. Nothing ran.
        """
        with self._at_work(self.run_ids):
            return super().run(*args, **kwargs)

    @contextmanager
    def _at_work(self, run_ids: DeliveryRunIds) -> Iterator[None]:
        """Have the session know the delivery and the deadline; keep it afterwards, or close one that the command has made itself."""
        self._time_left = time_left(self.context, self.DEADLINE_MARGIN_S)
        session = self.raijin
        session.run_ids, session.remaining_s = run_ids, self._time_left
        try:
            yield
        finally:
            session.run_ids = session.remaining_s = None
            if session is self._taken:
                del self.raijin, self._taken
                warm.give_back(session, self._user_path, self.logger)
            else:
                session.close()

    def _time_is_up(self) -> bool:
        return self._time_left is not None and self._time_left() <= 0


def _takes(function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True
