r"""A session for a function's own tests: answers without a login node, and remembers what it was asked.

command = ExampleCommand()
command.raijin = FakeSession({"example": ("one\ntwo\n", "", 0)})
assert command.run() == {"commands": ["one", "two"]}
assert command.raijin.requests == ["example"]
"""

from __future__ import annotations

from collections.abc import Mapping

from dea.raijin.result import CommandResult
from dea.raijin.session import RaijinSession

_NOT_FOUND = ("", "dea-remote: there is no such command\n", 127)


class FakeSession(RaijinSession):
    """A `RaijinSession` that never connects.

    Args:
        answers: For each request, or for the name that it begins with, its `(stdout, stderr, exit_code)`; an exception is
            raised. What is in neither form is answered as the login node answers an unknown name: 127.

    Attributes:
        requests: What was asked so far.
    """

    def __init__(self, answers: Mapping[str, tuple[str, str, int] | Exception]) -> None:
        super().__init__()
        self.requests: list[str] = []
        self._answers = answers

    def connect(self) -> None:
        """Do nothing."""

    def _execute(
        self,
        request: str,
        command: str,
        timeout: float | None,  # noqa: ARG002 - answers at once
        max_output: int | None,  # noqa: ARG002
    ) -> CommandResult:
        """Return the answer to this request."""
        self.requests.append(request)
        answer = self._answers.get(request, self._answers.get(request.split(" ", maxsplit=1)[0], _NOT_FOUND))
        if isinstance(answer, Exception):
            raise answer
        stdout, stderr, exit_code = answer
        return CommandResult(
            stdout,
            stderr,
            exit_code,
            command=command,
            duration_s=0.0,
            stdout_bytes=len(stdout.encode()),
            stderr_bytes=len(stderr.encode()),
        )
