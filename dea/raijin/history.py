"""What the login node remembers of its runs, as `--history --json` tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dea.raijin.errors import InvalidAnswer


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run that the login node remembers.

    Attributes:
        run_id: Its id.
        attempt: Which attempt of its request it is, from 1 on.
        attempt_of: The run that it is an attempt of; None for a first one.
        key: The label of the key that asked for it.
        command: The command's name.
        arguments: Its arguments, without the values of secrets.
        outcome: How it ended, or `running`.
        status: Its exit status; None while there is none.
        received: When it was asked for (UTC, ISO 8601).
        started: When the command was started; None if it was not.
        ended: When it ended; None if it has not.
        duration_s: How long it took; None if it has not ended.
        stdout_bytes: How much it wrote, if that is known.
        stderr_bytes: Likewise.
    """

    run_id: str
    attempt: int
    attempt_of: str | None
    key: str | None
    command: str
    arguments: tuple[str, ...]
    outcome: str
    status: int | None
    received: str
    started: str | None
    ended: str | None
    duration_s: float | None
    stdout_bytes: int | None
    stderr_bytes: int | None


def parse_history(text: str, question: str) -> list[RunRecord]:
    """Read the answer to `--history --json`, newest run first.

    Args:
        text: The answer.
        question: What was asked, for the error.

    Raises:
        InvalidAnswer: If it is anything else.
    """
    try:
        return [_record(fields) for fields in json.loads(text)["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidAnswer(
            f"the login node's answer to {question} is no history: {type(error).__name__}: {error}", command=question
        ) from error


def _record(fields: dict[str, Any]) -> RunRecord:
    known = {name: fields[name] for name in RunRecord.__slots__ if name != "arguments"}
    return RunRecord(**known, arguments=tuple(str(word) for word in fields["arguments"] or ()))
