"""Installs what a function requires into the current virtual environment, as its lock pins it: `inv install`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.installer import run_uv
from dea.workspace.interface import console, progress
from dea.workspace.packaging import locking, requirements


def install(name: str) -> None:
    """Install the pins of one function or of all, and the packages of this checkout that they need as editable.

    Args:
        name: The function's name, or `all`.

    Raises:
        WorkspaceError: If there is no such function, no virtual environment, no lock that is up to date, or if uv cannot
            install what it pins.
    """
    if sys.prefix == sys.base_prefix:
        raise WorkspaceError(
            "this is no virtual environment, and nothing outside one is touched: run nox -s dev and activate .venv"
        )
    for function in checkout.selected(name):
        needed = requirements.read(function)
        lock = locking.read(function, needed)
        with progress(f"installing the requirements of {function.name}"), tempfile.TemporaryDirectory() as folder:
            pins = Path(folder) / locking.FILE_NAME
            pins.write_text(lock.body, "utf-8")
            if lock.versions:
                _install(function.name, "--require-hashes", "--requirements", str(pins))
            # Not resolved with the rest: they follow the checkout, and a change in it is there without installing again.
            if needed.internal:
                editable = (option for package in needed.internal for option in ("--editable", package.path))
                _install(function.name, "--no-deps", *editable)
        console.print(f"installed the requirements of {function.name}", markup=False)


def _install(name: str, *arguments: str) -> None:
    run_uv(f"installing the requirements of {name}", "pip", "install", "--python", sys.executable, *arguments)
