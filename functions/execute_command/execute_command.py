"""Runs a command that its function.yaml names, with the arguments that the event gives, once for each event."""

from typing import Any

from dea.lambdas import OrchestratorException, RaijinCommand, answer_of
from dea.lambdas.events import call_of


class ExecuteCommand(RaijinCommand):
    """Runs the command that the event names. One that submits a batch job belongs to submit_job, which records the job."""

    COMMAND_NAME = "execute_command"

    def command(self) -> dict[str, Any]:
        """Do what the event asks for: `{"command": NAME, "arguments": {NAME: VALUE, ...}}`.

        Returns:
            The answer that `dea.lambdas.answer_of` makes of the result.

        Raises:
            InvalidEvent: If the event is none of that form. Nothing ran.
            RequestRefused: If function.yaml does not name the command, or the arguments break its schema. Nothing ran.
            OrchestratorException: If the command ended with another exit status than 0. A retry is told the same.
        """
        call = call_of(self.event)
        result = self.raijin.exec_command(call)
        if not result.ok:
            raise OrchestratorException(f"{call.command.partition(' ')[0]} failed", *result)
        return answer_of(result)


handler = ExecuteCommand.handler
