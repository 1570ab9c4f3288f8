"""The sandbox leaves nothing behind and touches nothing of the user's, however it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dea.raijin import RaijinSession
from dea.workspace import approval
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import LoginNodeKind, openssh, sandbox
from tests.conftest import ROOT, require

HOLD = """
import sys, time
from dea.workspace.sandbox import sandbox
with sandbox({kind!r}) as box, box.session() as session:
    print(box.folder, session.exec_command("example").exit_code, flush=True)
    time.sleep(120)
"""


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds, for 20 seconds at most; tell whether it does."""
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_of(folder: str) -> list[psutil.Process]:
    """Return the processes that name a folder in their arguments or live in it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.fixture(params=["openssh", "asyncssh"])
def kind(request: pytest.FixtureRequest) -> LoginNodeKind:
    if request.param == "openssh":
        require(openssh.unusable())
    chosen: LoginNodeKind = request.param
    return chosen


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_process_that_holds_it_dies(kind: LoginNodeKind, signum: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(kind=kind)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        assert holder.stdout is not None
        folder, status = holder.stdout.readline().split()
        assert status == "0"
        assert processes_of(folder) or kind == "asyncssh"
        holder.send_signal(signum)
    assert eventually(lambda: not Path(folder).exists())
    assert eventually(lambda: not processes_of(folder))


def test_nothing_is_left_when_the_keeper_itself_is_killed(kind: LoginNodeKind) -> None:
    with sandbox(kind) as box:
        mine = (one for one in psutil.process_iter(["cmdline", "ppid"]) if one.info["ppid"] == os.getpid())
        keeper = next(one for one in mine if "dea.workspace.sandbox.keeper" in (one.info["cmdline"] or ()))
        children = keeper.children(recursive=True)
        keeper.kill()
    assert not box.folder.exists()
    assert eventually(
        lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    )


def test_a_child_that_a_command_left_behind_ends_with_the_sandbox(kind: LoginNodeKind, tmp_path: Path) -> None:
    command = tmp_path / "raijin_scripts" / "lingers"
    command.mkdir(parents=True)
    (tmp_path / "dea").mkdir()
    (tmp_path / "dea" / "remote").symlink_to(ROOT / "dea" / "remote")
    (command / "run").write_text("#!/bin/sh\nsleep 120 >/dev/null 2>&1 &\necho $!\n")
    (command / "run").chmod(0o755)
    (command / "command.yaml").write_text("summary: Leaves a child behind.\n")
    approval.approve("lingers", root=tmp_path)
    with sandbox(kind, root=tmp_path) as box, box.session() as session:
        child = psutil.Process(int(session.exec_command("lingers").stdout))
        assert child.is_running()
    assert eventually(lambda: not child.is_running())


def test_nothing_of_the_users_is_read_or_written(kind: LoginNodeKind, tmp_path: Path) -> None:
    """A home folder whose files break whatever reads them, and AWS settings that lead elsewhere."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".aws").mkdir()
    for name in (
        ".ssh/config",
        ".ssh/known_hosts",
        ".ssh/id_ed25519",
        ".ssh/authorized_keys",
        ".aws/config",
        ".aws/credentials",
    ):
        os.mkfifo(tmp_path / name)  # who opens one to read it waits for ever
    before = sorted(path.name for path in tmp_path.rglob("*"))
    script = f"""
import os
from dea.workspace.sandbox import sandbox
from dea.raijin import RaijinSession
with sandbox({kind!r}) as box:
    os.environ.update(box.environment())
    for name in [name for name in os.environ if name not in box.environment()]:
        del os.environ[name]
    with RaijinSession() as session:
        print(session.exec_command("example").exit_code)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"HOME": str(tmp_path), "AWS_PROFILE": "mine", "AWS_ENDPOINT_URL_SSM": "http://192.0.2.1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("umask", ["000", "077"])
def test_modes_are_sane_whatever_the_umask(umask: str) -> None:
    script = f"""
import json, os, stat
from dea.workspace.sandbox import sandbox
os.umask(0o{umask})
with sandbox() as box:
    modes = {{str(path.relative_to(box.folder)): stat.S_IMODE(path.lstat().st_mode) for path in box.folder.rglob("*")}}
    print(json.dumps(modes | {{".": stat.S_IMODE(box.folder.stat().st_mode)}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modes = json.loads(done.stdout)
    assert modes["."] == modes["home"] == modes["home/.ssh"] == 0o700
    assert modes["home/.ssh/authorized_keys"] == modes["login-node-1/host_key"] == 0o600
    assert modes["checkout/raijin_scripts/example/run"] == 0o755
    assert modes["checkout/dea/remote/dispatcher.py"] == 0o644
    assert not [name for name, mode in modes.items() if mode & (stat.S_IWGRP | stat.S_IWOTH)]


def test_the_key_in_the_parameter_store_is_encrypted_and_works(kind: LoginNodeKind) -> None:
    with sandbox(kind, user_path="my.own.prefix") as box:
        described = box.ssm().describe_parameters()["Parameters"]
        assert {one["Name"] for one in described} == {
            f"my.own.prefix.{part}" for part in ("user", "host", "pkey", "hostkey")
        }
        assert {one["Type"] for one in described} == {"SecureString"}
        undecrypted = box.ssm().get_parameter(Name="my.own.prefix.pkey", WithDecryption=False)["Parameter"]["Value"]
        assert undecrypted.startswith("kms:")  # moto's mark of an encrypted value
        line = (box.home / ".ssh" / "authorized_keys").read_text()
        assert line.startswith('restrict,command="')
        assert "--key sandbox" in line
        with RaijinSession("my.own.prefix", ssm=box.ssm()) as session:
            assert session.exec_command("example").ok
        for value in ("first", "second"):
            box.store({"more": value})
            more = box.ssm().get_parameter(Name="more", WithDecryption=True)["Parameter"]
            assert (more["Type"], more["Value"]) == ("SecureString", value)


def test_without_sshd_it_takes_asyncssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "program", lambda: None)
    with sandbox() as box, box.session() as session:
        assert box.login_node == "asyncssh"
        assert session.exec_command("example").ok
    with pytest.raises(WorkspaceError, match="apt-get install openssh-server"), sandbox("openssh"):
        pass


def test_inv_sandbox_prints_what_to_export_and_ends_on_ctrl_c() -> None:
    inv = Path(sys.executable).parent / "inv"
    with subprocess.Popen(
        [inv, "sandbox"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        exported = dict(os.environ)
        while "DEA_RAIJIN_USER_PATH" not in exported:
            words = shlex.split(running.stdout.readline())
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                exported[name] = value
        script = "from dea.raijin import RaijinSession\nwith RaijinSession() as s: print(s.exec_command('example').exit_code)"
        done = subprocess.run([sys.executable, "-c", script], env=exported, capture_output=True, text=True, check=False)
        assert done.stdout == "0\n", done.stderr
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        assert "the sandbox is gone" in running.stderr.read()


def test_a_profile_of_the_users_that_does_not_exist_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with sandbox() as box:
        assert len(box.ssm().describe_parameters()["Parameters"]) == 4
