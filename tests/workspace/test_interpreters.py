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


@pytest.mark.parametrize("variable", ["XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR"])
def test_what_uv_has_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    folder = tmp_path / ("uv/python" if variable == "XDG_DATA_HOME" else ".") / "cpython-3.99.0-linux" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3.99").write_text("#!/bin/sh\necho cpython 3.99 3.99.0 /somewhere\n")
    (folder / "python3.99").chmod(0o755)
    monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert interpreters.find("3.99") == (Path("/somewhere"), "3.99.0")
