"""The login node as OpenSSH's sshd, on a loopback port, for the account that runs this process (sshd_config(5))."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox.processes import die_with_parent

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
_TRIES = 5

# StrictModes is off for the sandbox because it refuses any file below the world-writable /tmp; the folder itself is 0700.
# Forwarding and subsystems are on: what refuses them has to be the key's `restrict`. For X11 that takes an xauth, or what
# stands for one.
_CONFIG = """\
ListenAddress {host}:{port}
HostKey {host_key}
PidFile none
AuthorizedKeysFile {authorized_keys}
AllowUsers {user}
PermitRootLogin prohibit-password
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes {strict}
AcceptEnv LANG LC_*
SetEnv HOME={home}
Subsystem sftp internal-sftp
X11Forwarding yes
XAuthLocation /bin/true
MaxStartups 100:30:200
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
"""


def program() -> str | None:
    """Return the path of sshd, or None. It is in `sbin`, which not every user's PATH has."""
    return shutil.which(
        "sshd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"))
    )


def unusable() -> str | None:
    """Return why sshd cannot be used on this machine, with what to do about it; None if it can."""
    if program() is None:
        return "it is not installed (Debian: apt-get install openssh-server)"
    user = getpass.getuser()
    try:
        shadow = Path("/etc/shadow").read_text("utf-8").splitlines()
    except OSError:
        return None  # sshd, started by the same user, cannot see it either
    if any(line.startswith(f"{user}:!") for line in shadow):
        return f"it does not let a locked account log in (usermod -p '*' {user})"
    return None


def start(
    folder: Path, host_key: Path, authorized_keys: Path, home: Path, *, account: str = ""
) -> tuple[subprocess.Popen[bytes], int]:
    """Start sshd and return it with its port, once it listens.

    Args:
        folder: Where its configuration and log go.
        host_key: Its private host key.
        authorized_keys: The account's `authorized_keys`.
        home: The account's home folder, also where it is not the one of the user database.
        account: The account that it lets in, a real one with a home folder of its own, for which StrictModes holds (it takes
            root); empty for the one that runs this process.

    Raises:
        WorkspaceError: If it does not come up; the message has its own last words.
    """
    sshd = program()
    assert sshd is not None  # noqa: S101 - unusable() has been asked
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled into Debian's sshd, made by its service
    log = folder / "sshd.log"
    for _ in range(_TRIES):  # between finding a free port and listening on it, somebody may take it
        port = _free_port()
        config = folder / "sshd_config"
        config.write_text(
            _CONFIG.format(
                host=HOST,
                port=port,
                host_key=host_key,
                authorized_keys=authorized_keys,
                user=account or getpass.getuser(),
                strict="yes" if account else "no",
                home=home,
            ),
            "utf-8",
        )
        process = subprocess.Popen(
            [sshd, "-D", "-f", config, "-E", log],
            stdin=subprocess.DEVNULL,
            cwd="/",
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the keeper has no other thread yet
        )
        if _listens(process, port):
            return process, port
    said = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    raise WorkspaceError(f"sshd did not start: {said[-1] if said else f'status {process.returncode}'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return True
        time.sleep(0.01)
    process.kill()
    process.wait()
    return False
