"""Approves commands: `inv approve`. Checks what a person wrote, shows what it allows, and writes `approved.json`.

The dispatcher reads only what is written here (`dea.remote.approval`); nothing of this runs on the login node.
"""

from dea.workspace.approval.record import (
    approvable,
    approve,
    check_all,
    document_for,
    packaged_schemas,
    problems_with_approvals,
    run,
)

__all__ = [
    "approvable",
    "approve",
    "check_all",
    "document_for",
    "packaged_schemas",
    "problems_with_approvals",
    "run",
]
