"""Lists the commands that are available on the login node: the template for a function that talks to it."""

from dea.lambdas import OrchestratorException, RaijinCommand


class ExampleCommand(RaijinCommand):
    """Asks the login node which commands it has."""

    COMMAND_NAME = "example"

    def __init__(self) -> None:
        super().__init__(self)

    def command(self) -> dict[str, list[str]]:
        """Run `example` on the login node and return `{"commands": [name, ...]}`.

        Raises:
            OrchestratorException: If the command ended with another exit status than 0.
        """
        stdout, stderr, exit_code = self.raijin.exec_command("example")
        if exit_code != 0:
            raise OrchestratorException("the commands could not be listed", stdout, stderr, exit_code)
        commands = stdout.split()
        self.logger.info("commands listed", extra={"count": len(commands)})
        return {"commands": commands}


# Not ExampleCommand().run(): so the command knows which delivery it is in, and a retry by Lambda runs nothing twice.
handler = ExampleCommand.handler
