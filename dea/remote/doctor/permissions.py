"""Who could change what the dispatcher runs, what it remembers, and which keys get in: nobody but the account and root may.

The rules are those of sshd's StrictModes, up to the root of the file system. One exception: in a folder with the sticky bit,
as `/tmp` has it, others cannot touch what is ours (unlink(2)).
"""

import os
import stat

from dea.remote.approval import SCRIPTS, unsafe
from dea.remote.checks import Check, listed
from dea.remote.doctor.node import Node


def checkout(node: Node) -> Check:
    """Nobody else can write the dispatcher, the commands, or a folder above them."""
    root = node.site.checkout
    # A command may keep a virtual environment beside it, which is full of links; what is approved is looked at elsewhere.
    commands = [path for path in _walk(os.path.join(root, SCRIPTS)) if not os.path.islink(path)]
    below = _walk(os.path.join(root, "dea", "remote")) + commands
    problems = _problems_above(root) + [problem for path in below for problem in _problem_with(path)]
    if problems:
        return Check("checkout", False, listed(problems), "else others can run what they like as this account")
    return Check("checkout", True, f"{root}: the account alone can change its {len(below)} files and folders")


def state_folder(node: Node) -> Check:
    """Nobody else can write the state folder, what is recorded in it, or a folder above it."""
    state = node.site.state
    if not os.path.lexists(state):
        above = os.path.dirname(state)
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        problems = _problems_above(above)
        if not os.access(above, os.W_OK):
            problems.append(f"{above} cannot be written, so {state} cannot be made")
        found = f"{state} is not there yet: the first request makes it"
    else:
        inside = [entry for entry in ("audit", "runs", "places", "prefix", "git_pull") if _is_in(state, entry)]
        logs = _walk(os.path.join(state, "audit")) if "audit" in inside else []
        paths = [os.path.join(state, entry) for entry in inside] + logs
        problems = _problems_above(state) + [problem for path in paths for problem in _problem_with(path)]
        if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
            problems.append(f"{state} cannot be written by the account")
        found = f"{state}: the account alone can write it"
    if problems:
        return Check("state_folder", False, listed(problems), "what cannot be recorded safely does not run")
    return Check("state_folder", True, found)


def ssh_files(node: Node) -> Check:
    """What sshd reads of keys is the account's own: else sshd passes over it without a word to the client."""
    home = node.site.home
    if not node.key_files:
        return Check(
            "ssh_files",
            False,
            f"there is no {home}/.ssh/authorized_keys",
            "write the keys' lines there, with mode 0600",
        )
    folder = os.path.join(home, ".ssh")
    problems = [problem for path in (home, folder, *node.key_files) for problem in _problem_with(path, follow=True)]
    problems += [f"{path} cannot be read" for path in node.key_files if not os.access(path, os.R_OK)]
    if problems:
        return Check("ssh_files", False, listed(problems), "sshd (StrictModes) lets no key in until that is so")
    return Check("ssh_files", True, f"{home}, .ssh and {len(node.key_files)} file(s) of keys are as sshd wants them")


def _is_in(folder: str, entry: str) -> bool:
    return os.path.lexists(os.path.join(folder, entry))


def _walk(folder: str) -> "list[str]":
    found = [folder]
    for above, folders, files in os.walk(folder):
        found += [os.path.join(above, name) for name in (*folders, *files)]
    return found


def _problem_with(path: str, *, follow: bool = False) -> "list[str]":
    """Return what is wrong with a file or folder; a symbolic link to one of ours is what it leads to, where `follow` says so."""
    try:
        status = os.stat(path) if follow else os.lstat(path)
    except OSError as error:
        return [f"{path} cannot be looked at ({error.strerror})"]
    problem = unsafe(status, (0, os.getuid()), _is_plain)
    return [f"{path} {problem}"] if problem else []


def _problems_above(path: str) -> "list[str]":
    """Return what is wrong with a folder and all above it."""
    problems = []
    above = os.path.realpath(path)
    while True:
        status = os.stat(above)
        problem = unsafe(status, (0, os.getuid()), stat.S_ISDIR)
        if problem and not (status.st_mode & stat.S_ISVTX and status.st_uid in (0, os.getuid())):
            problems.append(f"{above} {problem}")
        if above == os.path.dirname(above):
            return problems
        above = os.path.dirname(above)


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
