"""Approves commands: `inv approve`. Checks what a person wrote, shows what it allows, and writes `approved.json`.

The dispatcher reads only what is written here (`dea.remote.approval`); nothing of this runs on the login node.
"""

from dea.workspace.approval.record import (
    SITE,
    approvable,
    approve,
    check_all,
    document_for,
    packaged_schemas,
    problems_with_approvals,
    run,
)
from dea.workspace.approval.schema import Problems
from dea.workspace.approval.signature import sign, verify_signature

__all__ = [
    "SITE",
    "Problems",
    "approvable",
    "approve",
    "check_all",
    "document_for",
    "packaged_schemas",
    "problems_with_approvals",
    "run",
    "sign",
    "verify_signature",
]
