"""What `inv new` makes is complete: it runs, its own test passes, and it never writes over anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dea.workspace import checkout, environment, scaffold
from dea.workspace.errors import WorkspaceError
from tests.conftest import ROOT


def passes(root: Path, test: Path, **variables: str) -> None:
    """Run one test file as `nox -s tests` would."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            "-c",
            os.devnull,
            "--rootdir",
            root,
            test,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", ["raijin", "base", "batch"])
def test_a_new_function_is_complete_and_its_test_passes(tmp_path: Path, kind: str) -> None:
    made = scaffold.make("tidy_up", kind, tmp_path)
    function = checkout.function("tidy_up", tmp_path)
    assert "class TidyUpCommand(" in function.source.read_text()
    assert function.summary.endswith("say here in one line what the function is for.")
    environment.read(function.folder / "env_vars.yaml").resolve(None, {}, {})
    assert (function.folder / "requirements.txt").read_text() == (
        ROOT / "functions" / "example" / "requirements.txt"
    ).read_text()
    (test,) = [path for path in made if path.name.startswith("test_")]
    passes(tmp_path, test, PYTHONPATH=str(function.folder))


def test_a_new_command_is_complete_and_its_test_passes(tmp_path: Path) -> None:
    (tmp_path / "dea").mkdir()
    shutil.copytree(ROOT / "dea" / "remote", tmp_path / "dea" / "remote")
    made = scaffold.make("greet", "command", tmp_path)
    assert checkout.command("greet", tmp_path).summary.startswith("Greets")
    (test,) = [path for path in made if path.name.startswith("test_")]
    passes(tmp_path, test)


def test_what_is_made_is_as_clean_as_what_is_here(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in ("raijin", "base", "batch"):
        scaffold.make(f"new_{kind}", kind, tmp_path)
    scaffold.make("greet", "command", tmp_path)
    ruff = Path(sys.executable).parent / "ruff"
    for action in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *action, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["", "Tidy", "tidy-up", "9a", "import", "all", "json", "boto3", "../x", "a" * 65])
def test_a_name_that_cannot_be_makes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkspaceError, match="cannot be a name"):
        scaffold.make(name, "raijin", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_is_not_known_is_told_the_choices(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="raijin, base, batch, command"):
        scaffold.make("x", "lambda", tmp_path)


@pytest.mark.parametrize("kind", ["raijin", "command"])
def test_what_is_there_is_never_written_over(tmp_path: Path, kind: str) -> None:
    made = scaffold.make("mine", kind, tmp_path)
    made[0].write_text("precious")
    for path in made[1:]:
        path.unlink()
    with pytest.raises(WorkspaceError, match="is there already"):
        scaffold.make("mine", kind, tmp_path)
    assert made[0].read_text() == "precious"
    assert not made[1].exists()
