"""The Invoke tasks, `inv --list`: what each is for and one call into `dea.workspace`, which does the work."""

from __future__ import annotations

from typing import Any

from dea.workspace.interface import task


@task(help={"json": "Print JSON instead of a table."})
def list(context: Any, json: bool = False) -> None:
    """Lists the functions and the commands, with their summaries."""
    from dea.workspace import listing

    listing.show(as_json=json)
