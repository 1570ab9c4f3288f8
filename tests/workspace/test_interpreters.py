"""Finding interpreters: what only has the name of one is passed over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dea.workspace import interpreters

HERE = f"3.{sys.version_info[1]}"


@pytest.mark.parametrize(
    "script", ["exit 0", "echo words", "printf '\\377\\376'", "exit 1", f"echo pypy {HERE} {HERE}.1 /x"]
)
def test_what_does_not_answer_as_an_interpreter_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = tmp_path / f"python{HERE}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}")
    found = interpreters.find(HERE)
    assert found is not None
    assert found[0].parent != tmp_path
