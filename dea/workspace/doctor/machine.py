"""The developer's machine: the interpreters and programs that the tasks call, and what of the checkout can be stale."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from uv import find_uv_bin

from dea.remote.checks import Check, listed
from dea.workspace import approval, checkout, interpreters, settings, versions
from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import locking, requirements
from dea.workspace.sandbox import openssh

LEAST_SSH_KEYGEN = (8, 2)
"""The first OpenSSH whose `ssh-keygen` signs and verifies (`-Y`)."""

_TIMEOUT_S = 20.0


def version(root: Path = ROOT) -> Check:
    """The four distributions of this checkout have one version."""
    try:
        return Check("version", True, f"all four distributions are {versions.current(root)}")
    except WorkspaceError as error:
        return Check("version", False, str(error))


def pythons(root: Path = ROOT) -> Check:
    """There is an interpreter of each version that a function has on Lambda, and one for the sandbox's login node."""
    wanted: dict[str, list[str]] = {}
    problems = []
    for function in checkout.functions(root).values():
        try:
            wanted.setdefault(settings.read(function).python, []).append(function.name)
        except WorkspaceError as error:
            problems.append(str(error))
    found = []
    for one, names in sorted(wanted.items()):
        if (answer := interpreters.find(one)) is not None:
            found.append(answer[1])
        else:
            problems.append(
                f"python{one} is not here, which {' and '.join(names)} will run on: {interpreters.how_to_install(one)}"
            )
    try:
        found.append(f"{interpreters.login_node()} for the login node")
    except RuntimeError as error:
        problems.append(str(error))
    if problems:
        return Check("pythons", False, listed(problems))
    return Check("pythons", True, ", ".join(found))


def uv() -> Check:
    """Uv can be started: it installs and locks for the tasks."""
    remedy = "make the environment anew with nox -s dev"
    try:
        said = _said(find_uv_bin(), "--version")
    except (OSError, subprocess.SubprocessError) as error:
        return Check("uv", False, f"it cannot be started: {error}", remedy)
    return Check("uv", True, said)


def git() -> Check:
    """Git can be started: it tells which files belong to a command, and so to its approval."""
    program = shutil.which("git")
    if program is None:
        return Check("git", False, "it is not on PATH", "install git")
    try:
        return Check("git", True, _said(program, "--version"))
    except (OSError, subprocess.SubprocessError) as error:
        return Check("git", False, f"it cannot be started: {error}", "install git anew")


def login_node() -> Check:
    """The sandbox has something to serve as its login node: sshd, or else asyncssh."""
    reason = openssh.unusable()
    if reason is None:
        return Check("login_node", True, f"{openssh.program()} serves as the sandbox's login node")
    if importlib.util.find_spec("asyncssh") is None:
        remedy = "make the environment anew with nox -s dev"
        return Check("login_node", False, f"neither sshd ({reason}) nor asyncssh can serve as the sandbox's", remedy)
    return Check(
        "login_node", True, f"asyncssh serves as the sandbox's login node; sshd would be the real thing: {reason}"
    )


def ssh_keygen() -> Check:
    """ssh-keygen is there and can sign approvals and verify their signatures."""
    programs = shutil.which("ssh-keygen"), shutil.which("ssh")
    if None in programs:
        missing = "ssh-keygen" if programs[0] is None else "ssh"
        return Check("ssh_keygen", False, f"{missing} is not on PATH", "install OpenSSH's client, 8.2 or newer")
    try:
        done = subprocess.run(
            [str(programs[1]), "-V"], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("ssh_keygen", False, f"ssh cannot be started: {error}", "install OpenSSH's client anew")
    said = (done.stderr or done.stdout).strip()
    match = re.search(r"OpenSSH\w*_(\d+)\.(\d+)", said)
    if match is not None and (int(match[1]), int(match[2])) < LEAST_SSH_KEYGEN:
        return Check(
            "ssh_keygen", False, f"{said}: approvals cannot be signed with it", "install OpenSSH's client, 8.2 or newer"
        )
    return Check("ssh_keygen", True, said)


def locks(root: Path = ROOT) -> Check:
    """What each function requires is pinned, and nothing has changed since."""
    problems = []
    functions = checkout.functions(root)
    for function in functions.values():
        try:
            locking.read(function, requirements.read(function, root))
        except WorkspaceError as error:
            problems.append(str(error))
    if problems:
        return Check("locks", False, listed(problems), "inv lock --name all")
    return Check("locks", True, f"those of {len(functions)} functions are up to date")


def approvals(root: Path = ROOT) -> Check:
    """Every command is approved as it stands."""
    try:
        problems = approval.problems_with_approvals(root=root)
    except WorkspaceError as error:
        return Check("approvals", None, str(error))
    if problems:
        return Check("approvals", False, listed(problems), "look at what changed, and approve it with inv approve")
    return Check("approvals", True, f"{len(approval.approvable(root))} are up to date")


CHECKS: tuple[Callable[[], Check], ...] = (
    version,
    pythons,
    uv,
    git,
    login_node,
    ssh_keygen,
    locks,
    approvals,
)
"""All of them, in the order in which they are told."""


def _said(program: str, *arguments: str) -> str:
    """Return the first line that a program prints.

    Raises:
        OSError: If it cannot be started.
        SubprocessError: If it fails, or takes too long.
    """
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout.strip().partition("\n")[0]
