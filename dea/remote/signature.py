"""Checks that an approval was signed by somebody who may approve (ssh-keygen(1), `-Y verify`); signing is not done here.

A checkout cannot vouch for itself: whoever can change a command can approve it anew. A signature by a key that the account
on the login node does not have is what stands against that; it is checked against a list outside the checkout.
"""

import os
import shutil
import subprocess

from dea.remote.approval import APPROVED, SCRIPTS, SITE, SITE_APPROVED, commands_in

NAMESPACE = "dea-approval"
"""What the signature is for, so that one made for anything else does not count."""

SUFFIX = ".sig"
"""What a signature's file is called: the approval's name and this."""

_TIMEOUT_S = 60


class SignatureError(Exception):
    """Signatures cannot be checked at all; the message says why and what to do."""


def problem_with_signature(path: str, allowed_signers: str) -> "str | None":
    """Return what is wrong with an approval's signature, or None if one of the allowed signers made it.

    Args:
        path: The approval.
        allowed_signers: Who may approve (ssh-keygen(1), ALLOWED SIGNERS); kept outside the checkout.

    Raises:
        SignatureError: If the list or ssh-keygen is missing.
    """
    signature = path + SUFFIX
    if not os.path.isfile(signature):
        return "its approval is not signed: run inv approve with --sign KEY"
    if not os.path.isfile(allowed_signers):
        raise SignatureError(f"there is no file of allowed signers {allowed_signers}")
    found = _ssh_keygen(["-Y", "find-principals", "-s", signature, "-f", allowed_signers], b"")
    principals = found.stdout.decode("utf-8", "replace").strip().splitlines()
    if found.returncode != 0 or not principals:
        return "its approval is signed by nobody who may approve"
    with open(path, "rb") as file:
        content = file.read()
    options = ["-Y", "verify", "-f", allowed_signers, "-I", principals[0], "-n", NAMESPACE, "-s", signature]
    if _ssh_keygen(options, content).returncode != 0:
        return "its approval has changed since it was signed, or the signature is for something else"
    return None


def problems_with_signatures(checkout: str, allowed_signers: str) -> "list[str]":
    """Return what is wrong with the signatures of all approvals: those of the commands, and the site's.

    Args:
        checkout: The checkout.
        allowed_signers: As for `problem_with_signature`.

    Raises:
        SignatureError: As `problem_with_signature`.
        OSError: If an approval cannot be read.
    """
    scripts = os.path.join(checkout, SCRIPTS)
    paths = [os.path.join(scripts, name, APPROVED) for name in commands_in(checkout)]
    if os.path.lexists(os.path.join(scripts, SITE)):
        paths.append(os.path.join(scripts, SITE_APPROVED))
    found = [(path, problem_with_signature(path, allowed_signers)) for path in paths]
    return [f"{os.path.relpath(path, scripts)}: {problem}" for path, problem in found if problem]


def _ssh_keygen(arguments: "list[str]", content: bytes) -> "subprocess.CompletedProcess[bytes]":
    program = shutil.which("ssh-keygen")
    if program is None:
        raise SignatureError("ssh-keygen is not there: install OpenSSH's client (8.2 or newer)")
    try:
        return subprocess.run(
            [program, *arguments], input=content, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SignatureError(f"ssh-keygen did not answer within {_TIMEOUT_S} s") from error
