"""One version for the four distributions, and the one command that sets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dea.workspace import versions
from dea.workspace.errors import WorkspaceError
from tests.conftest import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the files that state the version."""
    for part in versions.PARTS:
        (tmp_path / "dea" / part).mkdir(parents=True)
        shutil.copy(ROOT / "dea" / part / "pyproject.toml", tmp_path / "dea" / part)
    shutil.copy(ROOT / "dea" / "remote" / "__init__.py", tmp_path / "dea" / "remote")
    return tmp_path


def test_every_place_states_the_same_version() -> None:
    found = versions.written()
    assert set(found.values()) == {versions.current()}
    # four projects, the dispatcher's own, and each sibling that is named
    assert len(found) == 4 + 1 + 1 + 2 + 3


def test_one_command_sets_it_everywhere(copy: Path) -> None:
    assert len(versions.bump("7.8.9", copy)) == 5
    assert set(versions.written(copy).values()) == {"7.8.9"}
    assert versions.bump("7.8.9", copy) == []


def test_drift_is_told(copy: Path) -> None:
    versions.bump("7.8.9", copy)
    init = copy / "dea" / "remote" / "__init__.py"
    init.write_text(init.read_text().replace("7.8.9", "7.8.8"))
    with pytest.raises(WorkspaceError, match=r"7\.8\.8 in dea/remote/__init__\.py"):
        versions.current(copy)


def test_a_file_that_cannot_be_changed_leaves_all_as_they_were(copy: Path) -> None:
    before = versions.written(copy)
    init = copy / "dea" / "remote" / "__init__.py"
    init.write_text("")
    with pytest.raises(WorkspaceError, match="states its version 0 times"):
        versions.bump("7.8.9", copy)
    assert versions.written(copy) == {**before, "dea/remote/__init__.py": ""}


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3\n", "01.2.3", "1.2.3 "])
def test_what_is_no_version_changes_nothing(copy: Path, version: str) -> None:
    before = versions.written(copy)
    with pytest.raises(WorkspaceError, match="is no version"):
        versions.bump(version, copy)
    assert versions.written(copy) == before
