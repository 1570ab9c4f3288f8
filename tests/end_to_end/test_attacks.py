"""Hostile requests, each called directly and sent through a real sshd: nothing planted ever runs, nothing is expanded.

`attacks/requests.jsonl` has one case a line: `input` (with `repeat`: `unit` appended `n` times; lone surrogates are raw
bytes), `env` of the dispatcher, `setup` in bash with ROOT = the tree's `raijin_scripts`, and what is expected: `expect` or
one of `also_ok`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.workspace import approval, interpreters
from dea.workspace.sandbox import openssh
from tests.conftest import ROOT, require

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "attacks" / "requests.jsonl").read_text("utf-8").splitlines()
]
DIRECT = [case for case in CASES if case.get("layer") != "sshd"]
TIMEOUT_S = 30

RECORDER = """#!/usr/bin/python3 -IS
import json, os, sys
with open("../../../record.json", "w") as file:
    json.dump({"argv": sys.argv[1:], "env": sorted(os.environ)}, file)
"""
PROGRAMS = ("sh", "env", "dirname", "basename", "readlink", "python3", "bash", "id", "example")
MODULES = ("os", "re", "shlex", "subprocess", "json", "sitecustomize", "usercustomize", "stat", "pwd", "time", "dea")


@dataclass(frozen=True)
class Tree:
    """A checkout of its own for one case, among what an attacker has planted."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def mark(self) -> Path:
        """What anything that was planted leaves behind."""
        return self.folder / "MARK"

    @property
    def fixtures(self) -> Path:
        return self.folder / "fixtures"

    @property
    def record(self) -> dict[str, Any] | None:
        """What `echo_args` was started with, or None."""
        path = self.folder / "record.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def filled_in(self, text: str) -> str:
        return text.replace("{MARK}", str(self.mark)).replace("{FIXTURES}", str(self.fixtures))

    def request(self, case: dict[str, Any]) -> bytes:
        text = case["input"] + case.get("repeat", {}).get("unit", "") * case.get("repeat", {}).get("n", 0)
        return self.filled_in(text).encode("utf-8", "surrogateescape")

    def environment(self, case: dict[str, Any]) -> dict[str, str]:
        return {name: self.filled_in(value) for name, value in case.get("env", {}).items()}

    def prepare(self, case: dict[str, Any]) -> None:
        """Run a case's setup; approve the command if it is expected to run."""
        if "setup" not in case:
            return
        scripts = self.checkout / "raijin_scripts"
        setup = self.filled_in(case["setup"])
        subprocess.run(["/bin/bash", "-ec", setup], env={"ROOT": str(scripts), "PATH": "/usr/bin:/bin"}, check=True)
        if case["expect"] == "run-literal":
            (scripts / case["script"] / "command.yaml").write_text("summary: For a test.\narguments: any\n", "utf-8")
            approval.approve(case["script"], root=self.checkout)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree as it is before any case: the approved commands `echo_args` and `example`, and the planted files."""
    former = os.umask(0o022)
    tree = Tree(tmp_path_factory.mktemp("pristine"))
    shutil.copytree(
        ROOT / "dea" / "remote", tree.checkout / "dea" / "remote", ignore=shutil.ignore_patterns("__pycache__")
    )
    scripts = tree.checkout / "raijin_scripts"
    # To the cases, execute_clean is a name that no command has.
    shutil.copytree(ROOT / "raijin_scripts", scripts, ignore=shutil.ignore_patterns("execute_clean"))
    (scripts / "echo_args" / "run").write_text(RECORDER, "utf-8")
    _write(scripts / "single", "#!/bin/sh\ntouch ../../MARK\n", 0o755)
    _write(scripts / "README.md", "# Commands\n", 0o644)
    for path in (tree.checkout, *tree.checkout.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    approval.approve("all", root=tree.checkout)
    # Compiled once, as an installation is; else every case would compile them anew.
    subprocess.run([interpreters.login_node(), "-m", "compileall", "-q", tree.checkout / "dea"], check=True)
    _write(tree.checkout / "evil" / "run", "#!/bin/sh\ntouch ../../MARK\n", 0o755)
    os.umask(former)
    return tree.folder


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Tree:
    """A tree for one case."""
    made = Tree(tmp_path / "tree")
    shutil.copytree(pristine, made.folder, symlinks=True)
    plant = f"touch {made.mark}\n"
    _write(made.fixtures / "evil" / "run", f"#!/bin/sh\n{plant}", 0o755)
    for name in ("evil.sh", "evil.cfg", "evilhome/.bashrc", "evilhome/.profile", "evilcd/run"):
        _write(made.fixtures / name, plant, 0o755)
    for name in PROGRAMS:
        _write(made.fixtures / "evilbin" / name, f"#!/bin/sh\n/usr/bin/{plant}", 0o755)
    for name in MODULES:
        for folder in ("evilpy", "evilcd"):
            _write(made.fixtures / folder / f"{name}.py", f"open({str(made.mark)!r}, 'w')\n", 0o644)
    return made


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)


@pytest.mark.parametrize("case", DIRECT, ids=lambda case: case["id"])
def test_called_directly(tree: Tree, case: dict[str, Any]) -> None:
    tree.prepare(case)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tree.fixtures / "evilhome"), **tree.environment(case)}
    program = [str(interpreters.login_node()), "-I", "-S", str(tree.checkout / "dea" / "remote" / "__main__.py")]
    done = subprocess.run(
        [*program, "--key", "test", "--home", str(tree.folder / "home")],
        env={
            **{key.encode(): value.encode() for key, value in environment.items()},
            b"SSH_ORIGINAL_COMMAND": tree.request(case),
        },
        cwd=tree.fixtures / "evilcd",
        input=b"secret\n",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    check(tree, case, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[paramiko.Transport, Path]]:
    """A connection to a real sshd, and the link that its forced command goes by."""
    require(openssh.unusable())
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    home = folder / "home"
    home.mkdir(mode=0o700)
    current = folder / "current"
    keys = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("host", "user")}
    for name, key in keys.items():
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
    command = forced_command(str(interpreters.login_node()), str(current), "test", {"--home": str(home)})
    line = authorized_keys_line(keys["user"].export_public_key().decode(), command)
    (folder / "authorized_keys").write_text(line + "\n", "utf-8")
    process, port = openssh.start(folder, folder / "host", folder / "authorized_keys", home)
    transport = paramiko.Transport((openssh.HOST, port))
    try:
        user_key = paramiko.Ed25519Key.from_private_key_file(str(folder / "user"))
        transport.connect(username=_account(), pkey=user_key)
        yield transport, current
    finally:
        transport.close()
        process.terminate()
        process.wait()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_sent_through_sshd(tree: Tree, sshd: tuple[paramiko.Transport, Path], case: dict[str, Any]) -> None:
    transport, current = sshd
    tree.prepare(case)
    current.unlink(missing_ok=True)
    current.symlink_to(tree.checkout)
    channel = transport.open_session(timeout=TIMEOUT_S)
    channel.settimeout(TIMEOUT_S)
    channel.update_environment(tree.environment(case))
    channel.exec_command(tree.request(case))  # type: ignore[arg-type]  # bytes are sent as they are
    with contextlib.suppress(OSError):  # a refusal can be quicker than what is sent to stdin
        channel.sendall(b"secret\n")
        channel.shutdown_write()
    stdout, stderr = (_all_of(receive) for receive in (channel.recv, channel.recv_stderr))
    status = channel.recv_exit_status()
    channel.close()
    check(tree, case, status, stdout, stderr)


def _account() -> str:
    import getpass

    return getpass.getuser()


def _all_of(receive: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: receive(65536), b""))


def check(tree: Tree, case: dict[str, Any], status: int, stdout: bytes, stderr: bytes) -> None:
    """Check that a case ended in one of the ways that it may."""
    assert not tree.mark.exists()
    assert b"Traceback" not in stderr
    assert any(_ended(way, tree, case, status) for way in (case["expect"], *case.get("also_ok", ()))), (status, stderr)
    if status == 0 or "rc" in case:
        record = tree.record
        assert record is None or not set(case.get("child_env_absent", ())) & set(record["env"])
    else:
        assert (stdout, tree.record) == (b"", None)


def _ended(way: str, tree: Tree, case: dict[str, Any], status: int) -> bool:
    if way == "not-found-127":
        return status == 127
    if way == "usage-2":
        return status == 2
    if way == "refuse":
        return status not in (0, 2, 127)
    if "rc" in case:
        return status == case["rc"]
    argv = [
        [tree.filled_in(word) for word in words]
        for words in (case.get("argv"), *case.get("argv_also", ()))
        if words is not None
    ]
    record = tree.record
    if case["script"] != "echo_args" or record is None:
        return status == 0 and record is None and case["script"] != "echo_args"
    return status == 0 and (not argv or record["argv"] in argv)
