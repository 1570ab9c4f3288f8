"""The Nox sessions find the functions by themselves and give each nothing but what it requires."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from dea.workspace import scaffold
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with two new functions, one of which forgot a requirement."""
    root = tmp_path_factory.mktemp("copy")
    for part in ("dea", "functions", "raijin_scripts"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "noxfile.py", "requirements-dev.lock"):
        shutil.copy(ROOT / name, root)
    for name in ("complete", "forgetful"):
        scaffold.make(name, "raijin", root)
    requirements = root / "functions" / "forgetful" / "requirements.txt"
    requirements.write_text(requirements.read_text().replace("./dea/lambdas\n", ""))
    return root


def nox(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NOX_ENVDIR": ".nox"},
    )


def test_functions_are_discovered(copy: Path) -> None:
    listed = nox(copy, "--list").stdout
    assert "tests(complete)" in listed
    assert "tests(example)" in listed


def test_a_function_runs_with_nothing_but_its_requirements(copy: Path) -> None:
    done = nox(copy, "-s", "tests(complete)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_forgotten_requirement_fails(copy: Path) -> None:
    done = nox(copy, "-s", "tests(forgetful)")
    assert done.returncode != 0
    assert "No module named 'dea.lambdas'" in done.stdout


def test_a_function_is_tested_with_the_internal_packages_as_they_stand(tmp_path: Path) -> None:
    """By default uv takes a folder for unchanged while its pyproject.toml is, and installs what it built before."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "dea", root / "dea", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    module = root / "dea" / "remote" / "contract" / "words.py"
    requirements = root / "requirements.txt"
    requirements.write_text("./dea/remote\n", "utf-8")

    def installed(number: int) -> str:
        target = tmp_path / str(number)
        command = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--python", sys.executable]
        subprocess.run(
            [uv.find_uv_bin(), *command, "--target", target, "--requirements", requirements],
            cwd=root,
            env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")},
            check=True,
        )
        return (target / "dea" / "remote" / "contract" / "words.py").read_text("utf-8")

    before = installed(1)
    module.write_text(f"{before}# changed\n", "utf-8")
    assert installed(2) == f"{before}# changed\n"
