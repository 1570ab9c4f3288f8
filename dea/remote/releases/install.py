"""Runs a command's `install.sh`, once for each content of the command, and keeps its outcome and what it printed.

What it installs goes into `$DEA_PREFIX`, which its `run` gets too. It starts in the command's folder, without a shell, with
the same environment as `run`. Where it failed or was cut off, it begins anew with an empty prefix: nothing runs a command
whose install has not succeeded, so nobody uses that one.
"""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import time

from dea.remote.approval import SCRIPTS, load_command, load_site
from dea.remote.audit import timestamp
from dea.remote.decision import INSTALL, Site, environment_of, prefix_of
from dea.remote.installed import BEGUN, FAILED, INSTALLED, Outcome, log_path, outcome_of, outcome_path
from dea.remote.launch import environment_for

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from typing import Any

NONE, KEPT, DUE = "none", "kept", "due"
"""More than the outcomes of `dea.remote.installed`: there is no `install.sh`; it was done before; it would be run."""

TIMEOUT_S = 1200.0
GRACE_S = 5.0
"""How long an `install.sh` has between TERM and KILL; shorter than what the dispatcher gives git_pull itself."""

_POLL_S = 0.1


def install(
    site: Site,
    name: str,
    approved: "dict[str, Any] | None" = None,
    *,
    timeout_s: float = TIMEOUT_S,
    dry_run: bool = False,
    anew: bool = False,
    lifeline: "int | None" = None,
) -> "tuple[str, str]":
    """Run a command's `install.sh`, unless that is done already for this content of the command.

    Args:
        site: Where the dispatcher is.
        name: The command's name.
        approved: The content of its approval; read if None.
        timeout_s: How long it may take.
        dry_run: Only say what would be done.
        anew: Whether to run it even if it is done already.
        lifeline: A descriptor whose end of file means that who asked for this is gone: then it is ended.

    Returns:
        What came of it (`INSTALLED`, `KEPT`, `FAILED`, `NONE`, `DUE`), and a reason for `FAILED`.

    Raises:
        Unapproved: If there is no approval.
        OSError: If the prefix cannot be written.
    """
    approved = approved if approved is not None else load_command(site.checkout, name)
    if INSTALL not in approved["files"]:
        return NONE, ""
    prefix = prefix_of(site.state, name, approved)
    content = str(approved.get("content", ""))
    if not anew and _is_installed(prefix, content):
        return KEPT, ""
    if dry_run:
        return DUE, ""
    os.makedirs(os.path.dirname(prefix), mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(log_path(prefix), flags, 0o600)
    try:
        # install.sh inherits this lock with its stdout: what a killed update left running still has it.
        if not _lock(log, timeout_s):
            return FAILED, f"an earlier {INSTALL} has not ended after {timeout_s:.0f} s"
        if not anew and _is_installed(prefix, content):
            return KEPT, ""
        _write_outcome(site, prefix, BEGUN, content, "")
        os.ftruncate(log, 0)
        if os.path.lexists(prefix):
            shutil.rmtree(prefix)
        os.mkdir(prefix, 0o700)
        reason = _run(site, name, approved, prefix, log, timeout_s, lifeline)
        _write_outcome(site, prefix, FAILED if reason else INSTALLED, content, reason)
        return (FAILED, f"{reason}; what it printed is in {log_path(prefix)}") if reason else (INSTALLED, "")
    finally:
        os.close(log)


def _is_installed(prefix: str, content: str) -> bool:
    outcome = outcome_of(prefix, content)
    return outcome is not None and outcome.kind == INSTALLED


def _run(
    site: Site, name: str, approved: "dict[str, Any]", prefix: str, log: int, timeout_s: float, lifeline: "int | None"
) -> str:
    """Run it and return why it failed, or an empty text."""
    folder = os.path.join(site.checkout, SCRIPTS, name)
    environment = environment_for(name, site.account, site.home, environment_of(load_site(site.checkout)))
    environment.update(approved.get("environment", {}))
    environment["DEA_PREFIX"] = prefix
    try:
        process = subprocess.Popen(
            [os.path.join(folder, INSTALL)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o022,
        )
    except OSError as error:
        return f"it cannot be started ({error.strerror}): check its first line, and chmod +x it"
    try:
        return _wait(process, timeout_s, lifeline)
    finally:
        _end(process)


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float, lifeline: "int | None") -> str:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            return f"it took longer than {timeout_s:.0f} s and was ended"
        if lifeline is None:
            time.sleep(_POLL_S)
        elif select.select([lifeline], [], [], _POLL_S)[0] and not os.read(lifeline, 1):
            return "what asked for it has ended, and so it was ended too"
    status = process.returncode
    if status < 0:
        return f"signal {-status} ended it"
    return f"its exit status was {status}" if status else ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and its children if it has not ended by itself; what it left behind on purpose after its own end stays."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)  # its children too, whatever it did itself
    except ProcessLookupError:
        pass
    process.wait()


def _lock(descriptor: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _write_outcome(site: Site, prefix: str, outcome: str, content: str, reason: str) -> None:
    """Write the outcome in one step, durably: a dispatcher believes it."""
    draft = f"{outcome_path(prefix)}.{os.getpid()}.tmp"
    with open(draft, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(Outcome(outcome, timestamp(time.time()), site.checkout, reason).encode(content))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, outcome_path(prefix))
