"""Signs approvals with an approver's SSH key (ssh-keygen(1), `-Y sign`); `dea.remote.signature` checks what is signed here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dea.remote.signature import NAMESPACE, SUFFIX, SignatureError, problem_with_signature
from dea.workspace.errors import WorkspaceError

_TIMEOUT_S = 300  # a key in hardware waits for a touch, one with a passphrase for its owner


def sign(path: Path, key: Path) -> None:
    """Sign an approval: write `PATH.sig`.

    Args:
        path: The approval.
        key: The approver's private key, or the public one of a key in an agent.

    Raises:
        WorkspaceError: If it cannot be signed.
    """
    path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
    program = shutil.which("ssh-keygen")
    if program is None:
        raise WorkspaceError("ssh-keygen is not there: install OpenSSH's client (8.2 or newer)")
    # stdin is left to ssh-keygen, which may have to ask for the passphrase.
    command = [program, "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(path)]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"ssh-keygen did not answer within {_TIMEOUT_S} s") from error
    if answer.returncode != 0:
        raise WorkspaceError(f"{path} cannot be signed with {key}: {answer.stderr.decode('utf-8', 'replace').strip()}")


def verify_signature(path: Path, allowed_signers: Path) -> str | None:
    """Return what is wrong with an approval's signature, or None if one of the allowed signers made it.

    Args:
        path: The approval.
        allowed_signers: Who may approve (ssh-keygen(1), ALLOWED SIGNERS); kept outside the checkout.

    Raises:
        WorkspaceError: If signatures cannot be checked at all.
    """
    try:
        return problem_with_signature(str(path), str(allowed_signers))
    except SignatureError as error:
        raise WorkspaceError(str(error)) from error
