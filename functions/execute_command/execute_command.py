"""Runs a command that its function.yaml names, with the arguments that the event gives, once for each event."""

from dea.lambdas import OrchestratorException, RaijinCommand
from dea.lambdas.events import call_of
from dea.raijin import CommandResult


class ExecuteCommand(RaijinCommand):
    """Runs the command that the event names. One that submits a batch job belongs to submit_job, which records the job."""

    COMMAND_NAME = "execute_command"

    def command(self) -> CommandResult:
        """Do what the event asks for: `{"command": NAME, "arguments": {NAME: VALUE, ...}}`.

        Returns:
            The result, of which the handler makes an answer that fits.

        Raises:
            InvalidEvent: If the event is none of that form. Nothing ran.
            RequestRefused: If function.yaml does not name the command, or the arguments break its schema. Nothing ran.
            OrchestratorException: If the command ended with another exit status than 0. A retry is told the same.
        """
        call = call_of(self.event)
        result = self.raijin.exec_command(call)
        if not result.ok:
            raise OrchestratorException(f"{call.command.partition(' ')[0]} failed", *result)
        return result


handler = ExecuteCommand.handler
