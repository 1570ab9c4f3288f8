"""The process that is the sandbox: it serves until its standard input closes, then removes every trace of itself.

Run by `dea.workspace.sandbox.client` only. It gets its settings as JSON in its one argument and prints where things are as
one line of JSON once all of it serves.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncssh

from dea.remote.authorize import authorize
from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.workspace import interpreters
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import asyncssh_node, aws, openssh
from dea.workspace.sandbox.client import REGION
from dea.workspace.sandbox.processes import adopt_orphans, end_descendants

KEY_LABEL = "sandbox"


def main(settings: dict[str, Any]) -> None:
    """Serve until standard input closes."""
    adopt_orphans()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit(0))
    # Nothing of the user's: no AWS setting, no proxy for loopback addresses.
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true"
    )
    os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="dea-sandbox-"))
    try:
        asyncio.run(_serve(folder, settings))
    except WorkspaceError as error:
        sys.exit(str(error))
    finally:
        end_descendants()
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(folder: Path, settings: dict[str, Any]) -> None:
    _copy_checkout(Path(settings["root"]), folder / "checkout")
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    key = asyncssh.generate_private_key("ssh-ed25519", "dea-orchestration sandbox")
    host_keys = [
        asyncssh.generate_private_key("ssh-ed25519", f"dea-orchestration sandbox login node {number}")
        for number in range(1, settings["login_nodes"] + 1)
    ]
    ports = []
    for number, host_key in enumerate(host_keys, 1):
        own = folder / f"login-node-{number}"
        own.mkdir(mode=0o700)
        # One home folder, and still a name for each: what a login node knows of its own processes, another does not.
        options = {"--home": str(home), **({"--node": own.name} if number > 1 else {})}
        command = forced_command(str(interpreters.login_node()), str(folder / "checkout"), KEY_LABEL, options)
        authorized_keys = (home / ".ssh" if number == 1 else own) / "authorized_keys"
        authorize(str(authorized_keys), authorized_keys_line(key.export_public_key().decode(), command))
        host_key_file = _write_private(own / "host_key", host_key.export_private_key().decode())
        if settings["login_node"] == "openssh":
            # Before any thread: sshd is started with a step of ours between fork and exec.
            _, port = openssh.start(own, host_key_file, authorized_keys, home)
        else:
            port = await asyncssh_node.start(host_key_file, authorized_keys, home)
        ports.append(port)
    endpoint_url = aws.start()
    prefix = settings["user_path"]
    parameters = {
        f"{prefix}.user": getpass.getuser(),
        f"{prefix}.host": f"{openssh.HOST}:{ports[0]}",
        f"{prefix}.pkey": key.export_private_key().decode(),
        f"{prefix}.hostkey": "".join(host_key.export_public_key().decode() for host_key in host_keys),
    }
    # In a thread: the asyncssh server shares this loop.
    key_id = await asyncio.to_thread(aws.store, endpoint_url, REGION, parameters)
    await asyncio.to_thread(aws.make_jobs_table, endpoint_url, REGION)
    answer = {
        "host": openssh.HOST,
        "ports": ports,
        "user": getpass.getuser(),
        "endpoint_url": endpoint_url,
        "kms_key_id": key_id,
        "folder": str(folder),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    await _until_stdin_closes()


async def _until_stdin_closes() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def _copy_checkout(root: Path, target: Path) -> None:
    """Copy what the login node serves, with modes that no umask has had a say in."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in ("dea/remote", "raijin_scripts"):
        shutil.copytree(root / part, target / part, symlinks=True, ignore=ignore)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _write_private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
    return path


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
