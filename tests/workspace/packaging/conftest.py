"""A checkout of its own to package from, and an index of its own to install from: a folder, so that no network is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dea.workspace import checkout, interpreters
from dea.workspace.packaging import bytecode
from tests.conftest import ROOT

PYTHONS = [version for version in ("3.11", "3.12", "3.13") if version in interpreters.installed()]
"""The versions of Lambda's Python that this machine can compile for; never empty, because the workspace runs on one."""

MakeFunction = Callable[..., checkout.Function]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the checkout without its functions."""
    target = tmp_path / "checkout"
    ignore = shutil.ignore_patterns("__pycache__", "dist")
    for part in ("dea", "raijin_scripts"):
        shutil.copytree(ROOT / part, target / part, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", target)
    (target / "functions").mkdir()
    return target


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all there is to install from; the package cache is new and empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def make_function(root: Path) -> MakeFunction:
    """Makes a function in the checkout of the test; for the newest Python that this machine can compile for."""

    def make(
        name: str = "tidy",
        requirements: str = "",
        source: str = "def handler(event, context): return event\n",
        **files: str,
    ) -> checkout.Function:
        folder = root / "functions" / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(source, "utf-8")
        (folder / "requirements.txt").write_text(requirements, "utf-8")
        (folder / "function.yaml").write_text(files.pop("settings", f'python: "{PYTHONS[-1]}"\n'), "utf-8")
        return checkout.function(name, root)

    return make


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an interpreter of the target version."""
    bytecode.compiler_for.cache_clear()
    monkeypatch.setattr("dea.workspace.packaging.assembly.compiler_for", lambda _: None)
