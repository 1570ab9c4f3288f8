"""Signs approvals with an approver's SSH key, and checks such signatures (ssh-keygen(1), `-Y sign` and `-Y verify`).

A checkout cannot vouch for itself: whoever can change a command can approve it anew. A signature by a key that the account
on the login node does not have is what stands against that; it is checked against a list outside the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dea.workspace.errors import WorkspaceError

NAMESPACE = "dea-approval"
"""What the signature is for, so that one made for anything else does not count."""

_TIMEOUT_S = 300  # a key in hardware waits for a touch, one with a passphrase for its owner


def sign(path: Path, key: Path) -> None:
    """Sign an approval: write `PATH.sig`.

    Args:
        path: The approval.
        key: The approver's private key, or the public one of a key in an agent.

    Raises:
        WorkspaceError: If it cannot be signed.
    """
    path.with_name(path.name + ".sig").unlink(missing_ok=True)
    # stdin is left to ssh-keygen, which may have to ask for the passphrase.
    answer = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(path)], content=None)
    if answer.returncode != 0:
        raise WorkspaceError(f"{path} cannot be signed with {key}: {answer.stderr.decode('utf-8', 'replace').strip()}")


def verify_signature(path: Path, allowed_signers: Path) -> str | None:
    """Return what is wrong with an approval's signature, or None if one of the allowed signers made it.

    Args:
        path: The approval.
        allowed_signers: Who may approve (ssh-keygen(1), ALLOWED SIGNERS); kept outside the checkout.

    Raises:
        WorkspaceError: If the list cannot be read.
    """
    signature = path.with_name(path.name + ".sig")
    if not signature.is_file():
        return "its approval is not signed: run inv approve with --sign KEY"
    if not allowed_signers.is_file():
        raise WorkspaceError(f"there is no file of allowed signers {allowed_signers}")
    found = _ssh_keygen(["-Y", "find-principals", "-s", str(signature), "-f", str(allowed_signers)], content=None)
    principal = found.stdout.decode("utf-8", "replace").strip().splitlines()[:1]
    if found.returncode != 0 or not principal:
        return "its approval is signed by nobody who may approve"
    options = ["-Y", "verify", "-f", str(allowed_signers), "-I", principal[0], "-n", NAMESPACE, "-s", str(signature)]
    verified = _ssh_keygen(options, content=path.read_bytes())
    return (
        None
        if verified.returncode == 0
        else "its approval has changed since it was signed, or the signature is for something else"
    )


def _ssh_keygen(arguments: list[str], content: bytes | None) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise WorkspaceError("ssh-keygen is not there: install OpenSSH's client (8.2 or newer)")
    try:
        return subprocess.run(
            [program, *arguments], input=content, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"ssh-keygen did not answer within {_TIMEOUT_S} s") from error
