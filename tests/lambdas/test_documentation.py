"""What the pages about handlers show works as it is shown."""

from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dea.lambdas import STEP_FUNCTIONS_MAX_BYTES, RaijinCommand
from dea.raijin import Call, RaijinSession
from dea.raijin.testing import FakeSession
from tests.conftest import ROOT

CONTEXT = SimpleNamespace(aws_request_id="7b1a5a9e", invoked_function_arn="arn:aws:lambda:x:1:function:clean")


def blocks(page: str) -> list[str]:
    """Return the Python code of a page, block by block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / page).read_text("utf-8"), re.DOTALL)


def executed(code: str, **names: Any) -> dict[str, Any]:
    exec(code, names)
    return names


def test_the_batch_command_and_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    command, its_test = blocks("handle-batches.md")
    module = ModuleType("clean")
    exec(command, module.__dict__)
    monkeypatch.setitem(sys.modules, "clean", module)
    [test] = [value for name, value in executed(its_test).items() if name.startswith("test_")]
    test(monkeypatch)


def test_starting_and_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [block for block in blocks("run-once.md") if "class StartCommand" in block]
    code = code.replace('"execute_clean", scene=', '"echo_args", ')
    names = executed(code, RaijinCommand=RaijinCommand, Call=Call, STEP_FUNCTIONS_MAX_BYTES=STEP_FUNCTIONS_MAX_BYTES)
    session = FakeSession({"echo_args": ("[x]\n", "", 0)})
    for name in ("StartCommand", "ResultCommand"):
        monkeypatch.setattr(names[name], "raijin", session)
    started = names["StartCommand"].handler({"scene": "x"}, CONTEXT)
    assert names["ResultCommand"].handler(started, CONTEXT)["stdout"] == "[x]\n"


def test_naming_calls() -> None:
    [code] = [block for block in blocks("run-once.md") if "for scene in scenes" in block]
    session = FakeSession({"echo_args": ("", "", 0)})
    executed(
        code.replace('"execute_clean", scene=', '"echo_args", '),
        self=SimpleNamespace(raijin=session),
        scenes=["x", "y"],
    )
    assert session.requests == ["echo_args x", "echo_args y"]


def test_a_session_of_ones_own_takes_the_run_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [block for block in blocks("run-once.md") if "run_ids=self.run_ids" in block]
    asked: list[Any] = []

    class Session(RaijinSession):
        def connect(self) -> None:
            pass

        def exec_command(self, command: Any, **_: Any) -> Any:
            asked.append(self.run_ids(None))

    executed(code, RaijinSession=Session, self=SimpleNamespace(logger=None, run_ids=lambda key: f"id-{key}"))
    assert asked == ["id-None"]
