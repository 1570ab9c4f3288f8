"""Follows a page as a reader does: its commands in one shell, in order, and the files that it has the reader write.

A `console` block holds commands, each after `$ ` (a line that ends in a backslash goes on), and what they print. A block with
a caption is a file: the caption is its path. A block with `% not run: WHY` above it is passed over.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import blocks, read

_MARK = "-- a step of the page ends: "
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Step:
    """One command of a page.

    Attributes:
        command: The command as a shell reads it.
        shown: What the page says that it prints: `...` stands for anything. Empty if it does not say.
    """

    command: str
    shown: str


@dataclass(frozen=True)
class Done:
    """What came of a step."""

    step: Step
    status: int
    printed: str

    def problem(self) -> str:
        """Return why it is not as the page says, or nothing."""
        if self.status:
            return f"$ {self.step.command}\nends with status {self.status} and prints:\n{self.printed}"
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if self.step.shown and not _CHECKER.check_output(self.step.shown, self.printed, flags):
            return f"$ {self.step.command}\nprints:\n{self.printed}\nand the page shows:\n{self.step.shown}"
        return ""


def steps_in(console: str) -> list[Step]:
    """Return the commands of a console block."""
    steps: list[Step] = []
    goes_on = False
    for line in console.splitlines():
        if line.startswith("$ ") or goes_on:
            text = line.removeprefix("$ ") if not goes_on else line
            command = f"{steps.pop().command}\n{text}" if goes_on else text
            steps.append(Step(command, ""))
            goes_on = line.endswith("\\")
        elif steps:
            steps[-1] = Step(steps[-1].command, f"{steps[-1].shown}{line}\n")
    return steps


def script_of(page: str) -> tuple[str, list[Step]]:
    """Return a page as a script for bash, which prints a mark and the status behind each command, and its commands."""
    lines, steps = [], []
    for block in blocks(read(page)):
        if block.mark.startswith("not run: "):
            continue
        if block.caption:
            path = shlex.quote(block.caption)
            lines.append(f"cat > {path} <<'{_MARK}'\n{block.text}{_MARK}")
        elif block.language == "console":
            for step in steps_in(block.text):
                lines.append(f"{{\n{step.command}\n}} </dev/null 2>&1\nprintf '\\n%s%s\\n' {shlex.quote(_MARK)} $?")
                steps.append(step)
    return "\n".join(lines) + "\n", steps


def follow(
    page: str, folder: Path, environment: dict[str, str], replaced: dict[str, str], *, timeout_s: float
) -> list[Done]:
    """Follow a page.

    Args:
        page: The page's path in the repository.
        folder: The folder to begin in.
        environment: More environment variables.
        replaced: What stands for something else in the commands, such as an address.
        timeout_s: How long all of it may take.

    Returns:
        What came of each step, as far as it got.
    """
    script, steps = script_of(page)
    for name, value in replaced.items():
        script = script.replace(name, value)
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=folder,
        env={**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    parts = re.split(rf"\n{re.escape(_MARK)}(\d+)\n", done.stdout)
    results = [
        Done(step, int(status), text) for step, text, status in zip(steps, parts[::2], parts[1::2], strict=False)
    ]
    assert len(results) == len(steps), f"the shell ended early: {done.stderr[-2000:]}"
    return results
