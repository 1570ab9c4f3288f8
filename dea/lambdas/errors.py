"""The error that a command raises when what it asked for did not work out."""

from __future__ import annotations


class OrchestratorException(Exception):
    """A command of the login node did not do what the function needed.

    Args:
        message: What went wrong.
        stdout: What the command wrote, if it ran.
        stderr: Likewise.
        exit_code: Its exit status; None if there is none.

    Its text, which Lambda reports as `errorMessage`, is the message with the exit status and the end of stderr.
    """

    def __init__(self, message: str, stdout: str = "", stderr: str = "", exit_code: int | None = None) -> None:
        super().__init__(message, stdout, stderr, exit_code)
        self.message = message
        self.stdout = stdout
        self.stderr = stderr
        self.exit_code = exit_code

    def __str__(self) -> str:
        status = "" if self.exit_code is None else f" (exit status {self.exit_code})"
        said = self.stderr.strip()[-500:]
        return f"{self.message}{status}" + (f": {said}" if said else "")
