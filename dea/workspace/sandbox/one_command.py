"""A sandbox whose login nodes have one command, made for the occasion: what the fault kit and a benchmark run."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dea.workspace import approval, checkout
from dea.workspace.sandbox.client import Sandbox, sandbox


@contextlib.contextmanager
def sandbox_with(name: str, run: str, described: str, *, login_nodes: int = 1) -> Iterator[Sandbox]:
    """Run a sandbox of OpenSSH's kind whose login nodes have one approved command, while the context is open.

    Args:
        name: The command's name.
        run: The content of its `run`.
        described: The content of its `command.yaml`.
        login_nodes: As for `sandbox`.

    Raises:
        WorkspaceError: If the command cannot be approved, or the sandbox does not start.
    """
    with tempfile.TemporaryDirectory(prefix="dea-command-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(checkout.ROOT / "dea" / "remote", root / "dea" / "remote", ignore=ignore)
        folder = root / "raijin_scripts" / name
        folder.mkdir(parents=True)
        (folder / "run").write_text(run, "utf-8")
        (folder / "run").chmod(0o755)
        (folder / "command.yaml").write_text(described, "utf-8")
        approved = folder / "approved.json"
        approved.write_text(json.dumps(approval.document_for(name, root)), "utf-8")
        approved.chmod(0o644)
        with sandbox("openssh", root=root, login_nodes=login_nodes) as box:
            yield box
