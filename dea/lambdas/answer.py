"""Makes of a command's result what a handler can return: JSON below the limit of whoever gets it.

It is pure. What does not fit is left on the login node, and the answer says how to ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from dea.raijin import CommandResult

LAMBDA_MAX_BYTES = 6_000_000
"""What a function may return (AWS Lambda Developer Guide, "Lambda quotas": 6 MB)."""

STEP_FUNCTIONS_MAX_BYTES = 240 * 1024
"""The same where a state machine is next: a state's data ends at 256 KiB (AWS Step Functions Developer Guide, "Step Functions
service quotas"), and 16 KiB are left for what it adds itself."""

MIN_BYTES = 1024
"""The least that an answer can be held to: its fields without any output take less."""

_STEPS = (65536, 1024, 32, 1)


def answer_of(result: CommandResult, max_bytes: int = LAMBDA_MAX_BYTES) -> dict[str, Any]:
    """Return a result as a mapping whose JSON is no longer than a limit.

    Args:
        result: The result of a run.
        max_bytes: The most bytes of JSON, whether or not its writer escapes what is not ASCII; at least `MIN_BYTES`.

    Returns:
        `run_id`, `outcome`, `exit_code`, `duration_s`, `stdout`, `stderr`; `stdout_bytes` and `stderr_bytes`, how much the command
        wrote; `truncated`, whether any of it is missing here; and `rest`, the task that prints all of it, or None. A text
        that does not fit is its head, a line that says so, and its tail; the shorter one of the two is kept whole first.

    Raises:
        ValueError: If `max_bytes` is less than `MIN_BYTES`.
    """
    if max_bytes < MIN_BYTES:
        raise ValueError(f"an answer needs {MIN_BYTES} bytes or more, not {max_bytes}")
    answer: dict[str, Any] = {
        "run_id": result.run_id,
        "outcome": result.outcome,
        "exit_code": result.exit_code,
        "duration_s": round(result.duration_s, 3),
        "stdout": "",
        "stderr": "",
        "stdout_bytes": result.stdout_bytes,
        "stderr_bytes": result.stderr_bytes,
        "truncated": True,
        "rest": f"inv result {result.run_id}" if result.run_id else None,
    }
    room = max_bytes - _json_bytes(answer)
    sizes = {name: _json_bytes(getattr(result, name)) - 2 for name in ("stdout", "stderr")}
    for position, name in enumerate(sorted(sizes, key=sizes.__getitem__)):
        text = cut(getattr(result, name), room // 2 if position == 0 else room, answer["rest"])
        answer[name] = text
        room -= _json_bytes(text) - 2
    answer["truncated"] = result.truncated or any(answer[name] != getattr(result, name) for name in sizes)
    if not answer["truncated"]:
        answer["rest"] = None
    return answer


def answers_in(value: Any, max_bytes: int) -> Any:
    """Return what a command returned, with each result in it, however deep, made an answer; all of it within the limit.

    The results share what the rest of it leaves, each as much as another. A value without a result is returned as it is.

    Args:
        value: The value: a result, or what JSON is made of, with results in its lists, tuples and dicts.
        max_bytes: The most bytes of JSON.

    Raises:
        ValueError: If what is left for each result is not even room for its exit status.
    """
    results = list(_results_in(value))
    if not results:
        return value
    # A digit in each result's place, which is none of the rest.
    rest_bytes = _json_bytes(_replaced(value, lambda _: 0)) - len(results)
    room = (max_bytes - rest_bytes) // len(results)
    if room < MIN_BYTES:
        raise ValueError(
            f"of {max_bytes} bytes the answer has {max(room, 0)} for each of its {len(results)} results, and a result needs "
            f"{MIN_BYTES}: return less beside them, or fewer of them"
        )
    return _replaced(value, lambda result: answer_of(result, room))


def _results_in(value: Any) -> Iterator[CommandResult]:
    if isinstance(value, CommandResult):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _results_in(one)


def _replaced(value: Any, replacement: Callable[[CommandResult], Any]) -> Any:
    """Return a copy of a value in which each result is replaced."""
    if isinstance(value, CommandResult):
        return replacement(value)
    if isinstance(value, dict):
        return {key: _replaced(one, replacement) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(one, replacement) for one in value]
    return value


def cut(text: str, max_bytes: int, rest: str | None) -> str:
    r"""Return a text whose JSON is no longer than a limit: whole, or its head, a line that says what is missing, and its tail.

    Args:
        text: The text.
        max_bytes: The most bytes of its JSON, escaped to ASCII and without its quotes.
        rest: How to ask for all of it; None if nobody can.

    >>> cut("0123456789" * 9, 68, "inv result a-run")
    '01234567\n[... cut here; all of it: inv result a-run ...]\n123456789'
    """
    if _json_bytes(text) - 2 <= max_bytes:
        return text
    mark = f"\n[... cut here; all of it: {rest} ...]\n" if rest else "\n[... cut here ...]\n"
    room = max_bytes - (_json_bytes(mark) - 2)
    if room < 0:
        return ""
    head = text[: _fitting(text, room // 2)]
    room -= _json_bytes(head) - 2
    backwards = text[len(head) :][::-1]
    return head + mark + backwards[: _fitting(backwards, room)][::-1]


def _fitting(text: str, room: int) -> int:
    """Return how many characters from the beginning have a JSON of at most `room` bytes; each character's is its own."""
    fits = 0
    for step in _STEPS:
        while fits < len(text) and (cost := _json_bytes(text[fits : fits + step]) - 2) <= room:
            fits = min(fits + step, len(text))
            room -= cost
    return fits


def _json_bytes(value: Any) -> int:
    # Escaped to ASCII, no character takes fewer bytes than in UTF-8: what fits so fits both ways. Of what JSON does not know,
    # the runtime makes something or nothing; that is its to say.
    return len(json.dumps(value, default=str))
