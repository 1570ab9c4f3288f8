"""What a command gave: its output, its exit status, and what of the output was kept."""

from __future__ import annotations

from typing import NamedTuple, Self

from dea.raijin.errors import CommandFailed
from dea.raijin.streams import Output
from dea.remote.contract import Receipt


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
        duration_s: Seconds from the call to the result, retries included.
        stdout_bytes: How many bytes the command wrote, kept or not.
        stderr_bytes: Likewise.
        truncated: Whether output was left out of `stdout` or `stderr`, here or on the login node.
        run_id: The run's id; None for a question, which runs nothing.
        outcome: How the run ended: `exited`, `signaled`, `timed_out`, `cancelled` or `refused`; None for a question.
        started: When the command was started (UTC, ISO 8601); None if it was not.
        ended: When it ended, likewise.
        attempt: Which attempt of its request the run is, from 1 on.
        replayed: Whether the run was there before this call asked for it.
        children: How many processes the command left running; None if that is not known.
    """

    command: str
    duration_s: float
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    run_id: str | None
    outcome: str | None
    started: str | None
    ended: str | None
    attempt: int
    replayed: bool
    children: int | None

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
        receipt: Receipt | None = None,
    ) -> Self:
        self = super().__new__(cls, stdout, stderr, exit_code)
        self.command = command
        self.duration_s = duration_s
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.truncated = truncated
        self.run_id = receipt.run_id if receipt else None
        self.outcome = receipt.outcome if receipt else None
        self.started = receipt.started if receipt else None
        self.ended = receipt.ended if receipt else None
        self.attempt = receipt.attempt if receipt else 1
        self.replayed = receipt.replayed if receipt else False
        self.children = receipt.children if receipt else None
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


def result_of(
    output: Output, exit_code: int, *, command: str, duration_s: float, receipt: Receipt | None
) -> CommandResult:
    """Make a result of what arrived, and of the receipt if there is one."""
    here = output.offsets
    wrote = (receipt.stdout_bytes, receipt.stderr_bytes) if receipt else (None, None)
    totals = [count if count is not None and count > got else got for count, got in zip(wrote, here, strict=True)]
    cut = output.stdout.truncated or output.stderr.truncated
    return CommandResult(
        output.stdout.text(),
        output.stderr.text(),
        exit_code,
        command=command,
        duration_s=duration_s,
        stdout_bytes=totals[0],
        stderr_bytes=totals[1],
        truncated=cut or tuple(totals) != here,
        receipt=receipt,
    )
