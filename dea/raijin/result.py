"""What a command gave: its output, its exit status, and what of the output was kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dea.raijin.errors import CommandFailed


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of one command that ended; unpacks as `stdout, stderr, exit_code`.

    Attributes:
        command: What was sent.
        stdout: Standard output, decoded as UTF-8 with U+FFFD for what is not. Beyond the cap: its head, a line that says
            how many bytes were left out, its tail.
        stderr: Standard error, likewise.
        exit_code: The exit status, 0 to 255; 128+n for a command that signal n killed.
        duration_s: Seconds from sending the command to its end.
        stdout_bytes: How many bytes the command wrote, kept or not.
        stderr_bytes: Likewise.
        truncated: Whether output was left out of `stdout` or `stderr`.
        left_open: Whether something that the command left behind still held stdout or stderr; its later output is not here.
    """

    command: str
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    exit_code: int
    duration_s: float
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool = False
    left_open: bool = False

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.exit_code == 0

    def check(self) -> CommandResult:
        """Return this result if the exit status is 0.

        Raises:
            CommandFailed: If it is not; it carries this result.
        """
        if not self.ok:
            said = self.stderr.strip().splitlines()
            detail = f": {said[-1][:200]}" if said else ""
            raise CommandFailed(f"{self.command[:80]!r} ended with exit status {self.exit_code}{detail}", self)
        return self

    def __iter__(self) -> Iterator[str | int]:
        return iter((self.stdout, self.stderr, self.exit_code))
