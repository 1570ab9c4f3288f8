"""The classes that a function's command inherits from."""

from __future__ import annotations

import inspect
import logging
from typing import Any, ClassVar

from dea.lambdas.logs import configure_logging
from dea.raijin import RaijinSession


class CommandDefinitionError(TypeError):
    """A command class is not complete; the message says what it lacks."""


class BaseCommand:
    """A command: what one invocation of a Lambda function does.

    A subclass sets `COMMAND_NAME`, which names it in the log, and overrides `command`. Either form of handler works:

        def handler(event, context):
            return ExampleCommand().run()

        handler = ExampleCommand.handler        # passes event and context on

    Args:
        command: Not needed; a constructor may pass itself (`super().__init__(self)`), as functions have always done.

    Attributes:
        logger: The logger `orchestrator.<COMMAND_NAME>`.
        event: The event, if the class's own `handler` is used; else None.
        context: Lambda's context object, likewise.

    Raises:
        CommandDefinitionError: If the class has no `COMMAND_NAME` of its own or does not override `command`.
    """

    COMMAND_NAME: ClassVar[str]

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

    @classmethod
    def handler(cls, event: Any, context: Any) -> Any:
        """Handle one event: make the command and run it.

        The event and Lambda's context are at `self.event` and `self.context`, and are handed to `command` if it takes two
        arguments.

        Returns:
            What `command` returns; Lambda makes JSON of it.
        """
        command = cls()
        command.event, command.context = event, context
        try:
            inspect.signature(command.command).bind(event, context)
        except TypeError:
            return command.run()
        return command.run(event, context)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command with these arguments and return what it returns."""
        return self.command(*args, **kwargs)

    def command(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; a subclass overrides this. What it returns is the function's result."""
        raise NotImplementedError  # a class without it cannot be made


class RaijinCommand(BaseCommand):
    """A command that talks to the login node.

    Attributes:
        raijin: The session; it connects at its first use and is closed when `run` returns.
    """

    def __init__(self, command: BaseCommand | None = None) -> None:
        super().__init__(command)
        self.raijin = RaijinSession(logger=self.logger)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, then close the session."""
        try:
            return super().run(*args, **kwargs)
        finally:
            self.raijin.close()
