"""Sandboxes of both kinds, serving a command that does what a test asks for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from dea.raijin import RaijinSession
from dea.workspace import approval
from dea.workspace.sandbox import LoginNodeKind, Sandbox, openssh, sandbox
from tests.conftest import ROOT, require


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the project's own commands and the tests' `probe`."""
    root = tmp_path_factory.mktemp("served")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dea" / "remote", root / "dea" / "remote", ignore=ignore)
    shutil.copytree(ROOT / "raijin_scripts", root / "raijin_scripts", ignore=ignore)
    shutil.copytree(
        ROOT / "tests" / "end_to_end" / "raijin_scripts", root / "raijin_scripts", ignore=ignore, dirs_exist_ok=True
    )
    approval.approve("all", root=root)
    return root


class Start(Protocol):
    """Starts a sandbox of a kind, once; it is shared by all tests."""

    def __call__(self, kind: LoginNodeKind) -> Sandbox: ...


@pytest.fixture(scope="session")
def start_sandbox(served: Path) -> Iterator[Start]:
    """A function that returns the running sandbox of a kind."""
    running: dict[LoginNodeKind, Sandbox] = {}
    with ExitStack() as stack:

        def start(kind: LoginNodeKind) -> Sandbox:
            if kind not in running:
                running[kind] = stack.enter_context(sandbox(kind, root=served))
            return running[kind]

        yield start


@pytest.fixture(params=["openssh", "asyncssh"])
def box(request: pytest.FixtureRequest, start_sandbox: Start) -> Sandbox:
    """A running sandbox, of each kind in turn."""
    kind: LoginNodeKind = request.param
    if kind == "openssh":
        require(openssh.unusable())
    return start_sandbox(kind)


@pytest.fixture
def session(box: Sandbox) -> Iterator[RaijinSession]:
    """A connected session with the sandbox's login node."""
    with box.session() as connected:
        yield connected
