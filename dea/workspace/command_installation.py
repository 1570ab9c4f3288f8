"""Runs a command's `install.sh` in one's own checkout, as git_pull does it for a release: `inv install-command`."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from dea.remote.approval import Unapproved, load_command
from dea.remote.decision import INSTALL, Site
from dea.remote.gate import STATE_FOLDER
from dea.remote.installed import FAILED
from dea.remote.releases.install import TIMEOUT_S, install
from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, number, progress

_MAX_TIMEOUT_S = 86_400


def run(name: str, *, state: str = "", timeout_s: str = "", root: Path = checkout.ROOT) -> None:
    """Run one command's `install.sh`, even if that was done before for its content.

    Args:
        name: The command's name.
        state: The state folder that its prefix is in; empty for the account's own, which a dispatch by hand uses.
        timeout_s: How long it may take, as text; empty for as long as in an update.
        root: The checkout.

    Raises:
        WorkspaceError: If there is no such command, it is not approved, has no `install.sh`, or that fails; or the timeout is none.
    """
    checkout.command(name, root)
    limit_s = number("--timeout", timeout_s, _MAX_TIMEOUT_S) if timeout_s else TIMEOUT_S
    account = pwd.getpwuid(os.getuid())
    home = os.environ.get("HOME") or account.pw_dir
    site = Site(str(root), account, home, state or str(Path(account.pw_dir, STATE_FOLDER)))
    try:
        if INSTALL not in load_command(site.checkout, name)["files"]:
            raise WorkspaceError(
                f"{name} has no {INSTALL}, or it was added since its approval: there is nothing to run"
            )
        with progress(f"running the install.sh of {name}"):
            outcome, reason = install(site, name, timeout_s=limit_s, anew=True)
    except Unapproved as unapproved:
        raise WorkspaceError(f"{name}: {'; '.join(unapproved.problems)}") from unapproved
    except OSError as error:
        raise WorkspaceError(f"{name} cannot be installed: {error}") from error
    if outcome == FAILED:
        raise WorkspaceError(f"{name}: its install.sh failed: {reason}")
    console.print(f"installed {name}", markup=False)
