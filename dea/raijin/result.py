"""What a command gave: its output, its exit status, and what of the output was kept."""

from __future__ import annotations

from typing import NamedTuple, Self

from dea.raijin.errors import CommandFailed


class _Triple(NamedTuple):
    stdout: str
    stderr: str
    exit_code: int


class CommandResult(_Triple):
    """The result of one command that ended: the tuple `(stdout, stderr, exit_code)`, which knows more.

    Attributes:
        stdout: Standard output, decoded as UTF-8 with U+FFFD for what is not. Beyond the cap: its head, a line that says
            how many bytes were left out, its tail.
        stderr: Standard error, likewise.
        exit_code: The exit status, 0 to 255; 128+n for a command that signal n killed.
        command: What was sent.
        duration_s: Seconds from sending the command to its end.
        stdout_bytes: How many bytes the command wrote, kept or not.
        stderr_bytes: Likewise.
        truncated: Whether output was left out of `stdout` or `stderr`.
        left_open: Whether something that the command left behind still held stdout or stderr; its later output is not here.
    """

    command: str
    duration_s: float
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    left_open: bool

    def __new__(  # noqa: D102 - the class describes it
        cls,
        stdout: str,
        stderr: str,
        exit_code: int,
        *,
        command: str,
        duration_s: float,
        stdout_bytes: int,
        stderr_bytes: int,
        truncated: bool = False,
        left_open: bool = False,
    ) -> Self:
        self = super().__new__(cls, stdout, stderr, exit_code)
        self.command = command
        self.duration_s = duration_s
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.truncated = truncated
        self.left_open = left_open
        return self

    def __repr__(self) -> str:
        return (
            f"<CommandResult {self.command[:80]!r}: exit status {self.exit_code} after {self.duration_s:.3f} s, "
            f"{self.stdout_bytes} bytes on stdout, {self.stderr_bytes} on stderr>"
        )

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.exit_code == 0

    def check(self) -> Self:
        """Return this result if the exit status is 0.

        Raises:
            CommandFailed: If it is not; it carries this result.
        """
        if not self.ok:
            said = self.stderr.strip().splitlines()
            detail = f": {said[-1][:200]}" if said else ""
            raise CommandFailed(f"{self.command[:80]!r} ended with exit status {self.exit_code}{detail}", self)
        return self
