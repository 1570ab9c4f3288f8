"""Installs what a function requires into the current virtual environment: `inv install`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import uv

from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, progress


def install(name: str) -> None:
    """Install the requirements of one function or of all, those of this workspace as editable.

    Args:
        name: The function's name, or `all`.

    Raises:
        WorkspaceError: If there is no such function, no virtual environment, or if uv cannot install them.
    """
    if sys.prefix == sys.base_prefix:
        raise WorkspaceError(
            "this is no virtual environment, and nothing outside one is touched: run nox -s dev and activate .venv"
        )
    for function in checkout.selected(name):
        path, internal = _requirements(function)
        with progress(f"installing the requirements of {function.name}"):
            _uv("--requirements", str(path))
            # Once more on top, so that a change in the checkout is there without installing again.
            _uv("--no-deps", *(argument for each in internal for argument in ("--editable", each)))
        console.print(f"installed the requirements of {function.name}", markup=False)


def _requirements(function: checkout.Function) -> tuple[Path, list[str]]:
    """Return a function's requirements file and the paths of the internal packages that it names."""
    path = function.folder / "requirements.txt"
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise WorkspaceError(f"{path} is missing: it names what the function needs, one requirement a line") from None
    return path, [line.strip() for line in lines if line.startswith("./dea/")]


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "install", "--python", sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=checkout.ROOT,
        check=False,
    )
    if done.returncode:
        raise WorkspaceError(f"uv pip install failed: {done.stderr.strip()}")
