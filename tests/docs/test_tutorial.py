"""The tutorial, followed in an empty folder: each command ends well and prints what the page shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dea.workspace import tracked
from tests.conftest import ROOT
from tests.docs.transcripts import Done, Step, follow, script_of, steps_in

PAGE = "docs/tutorials/first-function.md"


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    """An empty folder, removed at once: what the tutorial makes has tens of thousands of files."""
    with tempfile.TemporaryDirectory(prefix="dea-tutorial-") as folder:
        yield Path(folder)


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this checkout's files as they are now, to be cloned."""
    folder = tmp_path_factory.mktemp("repository")
    for name in tracked.files(ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    who = ("-c", "user.name=you", "-c", "user.email=you@example.org", "-c", "commit.gpgsign=false")
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "--all", "--force"],
        [*who, "commit", "-q", "-m", "as it is"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_tutorial_from_an_empty_folder_to_the_readers_own_function_and_command(
    repository: Path, empty_folder: Path
) -> None:
    """Everything is the reader's but the caches of uv and pip, which only save downloads."""
    path = os.pathsep.join(
        part for part in os.environ["PATH"].split(os.pathsep) if ".nox" not in part and ".venv" not in part
    )
    unset = dict.fromkeys(("VIRTUAL_ENV", "PYTHONPATH"), "")
    done = follow(
        PAGE,
        empty_folder,
        {"PATH": path, **unset},
        {"git clone REPOSITORY": f"git clone -q {repository}"},
        timeout_s=900,
    )
    if problems := [each.problem() for each in done if each.problem()]:
        pytest.fail("\n\n".join(problems))


def test_a_command_and_what_it_prints_are_told_apart() -> None:
    assert steps_in("$ a \\\n    b\nx\n...\n$ c\n") == [Step("a \\\n    b", "x\n...\n"), Step("c", "")]


def test_what_is_not_as_the_page_says_is_noticed() -> None:
    assert Done(Step("true", "x ... z\n"), 0, "x y z\n").problem() == ""
    assert "prints" in Done(Step("true", "x\n"), 0, "y\n").problem()
    assert "status 2" in Done(Step("false", ""), 2, "").problem()


def test_the_tutorial_has_the_reader_do_what_it_promises() -> None:
    script, steps = script_of(PAGE)
    commands = [step.command for step in steps]
    for word in ("git clone", "nox -s demo", "inv new", "inv approve", "inv run-lambda", "inv package", "inv validate"):
        assert any(word in command for command in commands), word
    assert "cat > functions/hello/hello.py" in script
