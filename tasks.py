"""The Invoke tasks, `inv --list`: what each is for and one call into `dea.workspace`, which does the work."""

from __future__ import annotations

from typing import Any

from dea.workspace.interface import task


@task(help={"json": "Print JSON instead of a table."})
def list(context: Any, json: bool = False) -> None:  # noqa: A001 - the task's name
    """Lists the functions and the commands, with their summaries."""
    from dea.workspace import listing

    listing.show(as_json=json)


@task(
    help={
        "name": "The command, `site` for raijin_scripts/site.yaml, or `all`.",
        "sign": "Sign the approval with this private SSH key.",
        "check": "Write nothing: fail if any approval is missing or stale.",
        "allowed-signers": "With --check: fail too if an approval is not signed by one of these (ssh-keygen, ALLOWED SIGNERS).",
    }
)
def approve(context: Any, name: str = "", sign: str = "", check: bool = False, allowed_signers: str = "") -> None:
    """Approves a command as it stands: shows what it allows and writes approved.json."""
    from dea.workspace import approval

    approval.run(name=name, sign=sign, check=check, allowed_signers=allowed_signers)
