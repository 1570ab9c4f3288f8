"""What a command is started in: the interpreter, what the login shell does before, and the limits of the site."""

import os
import resource
import socket
import stat
import subprocess

from dea.remote.approval import Unapproved, commands_in, load_command, load_site, unsafe
from dea.remote.checks import Check, listed
from dea.remote.contract import is_name
from dea.remote.decision import MAX_OUTPUT_BYTES
from dea.remote.doctor.node import Node

TIME_LIMIT_S = 20.0
"""How long an interpreter or a login shell has to answer."""

LEAST_PROCESSES = 32
"""For how many more processes there must be room: a dispatch is two, and a command is rarely one."""

LEAST_FILES = 64

_MARK = b"dea-doctor-4f1c"
_ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.name)"


def python(node: Node) -> Check:
    """Each interpreter that dispatches is Python 3.9 or newer, by its own path, and nobody else can write it."""
    problems = []
    found = []
    for path in node.interpreters:
        if not os.path.isabs(path):
            problems.append(f"{path} is no absolute path")
            continue
        answer, problem = _version_of(path)
        if problem:
            problems.append(f"{path} {problem}")
        else:
            found.append(f"{path} is {answer}")
    if problems:
        return Check(
            "python", False, listed(problems), "name a Python 3.9 or newer in the forced command, by its own path"
        )
    return Check("python", True, listed(found))


def _version_of(path: str) -> "tuple[str, str]":
    """Return an interpreter's version and an empty text, or what is wrong with it."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            begin = file.read(2)
        status = os.stat(real)
        # A site has accounts of its own for what it installs: whose it is does not matter, who can write it does.
        problem = unsafe(status, (status.st_uid, 0), stat.S_ISREG)
        done = subprocess.run(
            [path, "-I", "-S", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"cannot be started ({error})"
    words = done.stdout.decode("utf-8", "replace").split()
    if done.returncode != 0 or len(words) != 2:
        return "", f"does not answer as Python (status {done.returncode})"
    version = words[0]
    if tuple(int(part) for part in version.split(".")) < (3, 9):
        return "", f"is {version}: 3.9 is the oldest"
    if problem:
        return "", problem
    if begin == b"#!":
        return "", f"is a script that starts one ({version}), as pyenv's shims are: each request would pay for that"
    return f"{words[1]} {version}", ""


def shell_startup(node: Node) -> Check:
    """The login shell, started as sshd starts it, writes nothing to stdout before the command: it would be part of its output."""
    account, home = node.site.account, node.site.home
    shell = account.pw_shell or "/bin/sh"
    # As sshd sets it, SHLVL missing, and a socket for stdin: by these bash tells that it was started for a remote command,
    # and reads .bashrc (bash(1), INVOCATION).
    environment = {
        "HOME": home, "USER": account.pw_name, "LOGNAME": account.pw_name, "SHELL": shell, "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SSH_CLIENT": "192.0.2.1 1024 22", "SSH_CONNECTION": "192.0.2.1 1024 192.0.2.2 22",
    }  # fmt: skip
    ours, its = socket.socketpair()
    try:
        ours.shutdown(socket.SHUT_WR)
        done = subprocess.run(
            [shell, "-c", f"printf {_MARK.decode()}"],
            env=environment,
            cwd=home,
            stdin=its.fileno(),
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(
            "shell_startup",
            False,
            f"{shell} does not run a command: {error}",
            "chsh to a shell that does; mend its start-up files",
        )
    finally:
        ours.close()
        its.close()
    noise, mark, after = done.stdout.partition(_MARK)
    remedy = "in ~/.bashrc (or what your shell reads), return at once where the shell is not interactive: case $- in *i*) ;; *) return ;; esac"
    if not mark:
        return Check(
            "shell_startup", False, f"{shell} ended with status {done.returncode} before it ran the command", remedy
        )
    if noise or after:
        return Check(
            "shell_startup", False, f"{shell} writes to stdout by itself: {ascii((noise + after)[:80])[1:]}", remedy
        )
    said = f", and to stderr: {ascii(done.stderr[:80])[1:]}" if done.stderr else ""
    return Check("shell_startup", True, f"{shell} runs a command and writes nothing to stdout by itself{said}")


def site_limits(node: Node) -> Check:
    """The limits of this login node leave commands as much as the approvals allow them."""
    problems = []
    try:
        site = load_site(node.site.checkout)
    except Unapproved as unapproved:
        return Check(
            "site_limits", None, f"the site's timeout is not known: {unapproved.problems[0]}", "approve it first"
        )
    timeout_s = site.get("timeout")
    cpu_s, processes, files, file_bytes = (
        _soft(which)
        for which in (resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
    )
    longest_s = _longest_timeout(node, timeout_s)
    if cpu_s is not None and (longest_s is None or longest_s > cpu_s):
        longest = "any time" if longest_s is None else f"{longest_s} s"
        problems.append(f"a process may use {cpu_s} s of CPU time, and commands may run for {longest}")
    if processes is not None and os.getuid() != 0 and processes - _own_processes() < LEAST_PROCESSES:
        problems.append(f"of {processes} processes that the account may have, it has {_own_processes()}")
    if files is not None and files < LEAST_FILES:
        problems.append(f"a process may have {files} files open")
    most_bytes = site.get("max_output_bytes", MAX_OUTPUT_BYTES)
    if file_bytes is not None and file_bytes < most_bytes:
        problems.append(f"a file may have {file_bytes} bytes, and {most_bytes} of output are to be kept")
    if problems:
        return Check(
            "site_limits", False, listed(problems), "lower the limits in site.yaml, or ask the site to raise its own"
        )
    timeout = "site.yaml sets no timeout" if timeout_s is None else f"commands are ended after {timeout_s} s"
    limits = {"CPU s": cpu_s, "processes": processes, "open files": files, "bytes of a file": file_bytes}
    said = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
    return Check("site_limits", True, f"{timeout}; the node's own limits: {said or 'none'}")


def _soft(which: int) -> "int | None":
    limit = resource.getrlimit(which)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _longest_timeout(node: Node, site_s: "int | None") -> "int | None":
    """Return the longest time that a command may take, or None if one may take any."""
    if site_s is not None:
        return site_s  # each command's own is lower
    longest = 0
    for name in filter(is_name, commands_in(node.site.checkout)):
        try:
            own = load_command(node.site.checkout, name).get("timeout")
        except Unapproved:
            continue  # it does not run
        if own is None:
            return None
        longest = max(longest, own)
    return longest


def _own_processes() -> int:
    """Count the account's processes on this node; threads count against the limit too, and are not seen here."""
    count = 0
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            count += entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == os.getuid()
        except OSError:
            continue  # it has ended
    return count
