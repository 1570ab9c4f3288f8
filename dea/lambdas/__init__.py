"""What a Lambda function is made of: command classes, their error, and logging that shows on Lambda.

It knows the login node only through `dea.raijin`.
"""

from dea.lambdas.commands import BaseCommand, CommandDefinitionError, RaijinCommand
from dea.lambdas.errors import OrchestratorException
from dea.lambdas.logs import configure_logging

__all__ = ["BaseCommand", "CommandDefinitionError", "OrchestratorException", "RaijinCommand", "configure_logging"]
