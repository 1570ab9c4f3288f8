"""Running a handler in a process of its own: what it gets, and what becomes of its result or its failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dea.workspace import checkout
from dea.workspace.invocation import invoke


@pytest.fixture
def run(tmp_path: Path):
    """Write a handler and run it."""

    def write_and_run(body: str, event: object = None, **environment: str) -> dict:
        folder = tmp_path / "functions" / "made"
        folder.mkdir(parents=True)
        (folder / "made.py").write_text(body)
        return invoke(checkout.function("made", tmp_path), event, {**os.environ, **environment}, 60)

    return write_and_run


def test_the_handler_gets_event_context_and_environment(run) -> None:
    body = """
import os
def handler(event, context):
    print("on stdout")
    return [event, context.function_name, context.get_remaining_time_in_millis() > 50_000, os.environ["GIVEN"]]
"""
    assert run(body, {"a": 1}, GIVEN="x") == {"result": [{"a": 1}, "made", True, "x"]}


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("def handler(event, context):\n    raise KeyError('gone')", "KeyError", "'gone'"),
        ("def handler(event, context):\n    return object()", "TypeError", "not JSON serializable"),
        ("import no_such_module", "ModuleNotFoundError", "no_such_module"),
        ("def handler(event, context):\n    raise SystemExit(3)", "SystemExit", "3"),
        ("def handler(event, context):\n    import os; os._exit(3)", "Runtime.ExitError", "status 3"),
        ("x = 1", "AttributeError", "handler"),
        ("def handler(:", "SyntaxError", "invalid syntax"),
    ],
)
def test_a_failure_has_a_type_and_a_message(run, body: str, kind: str, said: str) -> None:
    answer = run(body)
    assert "result" not in answer
    assert answer["errorType"] == kind
    assert said in answer["errorMessage"]
