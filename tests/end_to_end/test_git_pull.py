"""git_pull through a real sshd: three keys, a repository behind SSH, updates while commands run, and none that fails."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from dea.raijin.credentials import USER_PATH_VARIABLE
from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.workspace import approval, interpreters
from dea.workspace.sandbox import openssh
from tests.conftest import ROOT, require
from tests.end_to_end.conftest import Start

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org")
USER_PATH = "orchestrator.raijin.users.git_pull"
GREET = "#!/bin/sh\necho hello\n"


class LoginNode:
    """An account behind sshd with its three keys, and the repository that it is updated from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.state, self.home = (folder / name for name in ("root", "state", "home"))
        for path in (self.root, self.home):
            path.mkdir(mode=0o700)
        self.keys = {name: self._key(name) for name in ("run", "pull", "read", "host")}
        self.bare, self.tree = folder / "origin.git", folder / "tree"
        self.git("init", "-q", "--bare", self.bare, cwd=folder)
        self.git("init", "-q", self.tree, cwd=folder)
        ignore = shutil.ignore_patterns("__pycache__")
        for part in ("dea/remote", "raijin_scripts"):
            shutil.copytree(ROOT / part, self.tree / part, ignore=ignore)
        shutil.copy(ROOT / ".gitignore", self.tree)
        self.command("greet", GREET)
        authorized_keys = self.home / "authorized_keys"
        authorized_keys.write_text("".join(f"{line}\n" for line in self._lines()))
        authorized_keys.chmod(0o600)
        self.sshd, self.port = openssh.start(folder, self.keys["host"], authorized_keys, self.home)
        self.known_hosts = self.root / "known_hosts"
        public = self.keys["host"].with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[{openssh.HOST}]:{self.port} {public}")
        self.known_hosts.chmod(0o644)
        self.configure()

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def serving(self) -> str:
        return self.current.readlink().name

    def configure(self, **changes: Any) -> None:
        settings = {
            "format": 1,
            "repository": f"ssh://{getpass.getuser()}@{openssh.HOST}:{self.port}{self.bare}",
            "key": str(self.keys["read"]),
            "known_hosts": str(self.known_hosts),
            "python": str(interpreters.login_node()),
            **changes,
        }
        (self.root / "settings.json").write_text(json.dumps(settings))
        (self.root / "settings.json").chmod(0o600)

    def _lines(self) -> list[str]:
        python, options = str(interpreters.login_node()), {"--home": str(self.home), "--state": str(self.state)}
        commands = {
            "run": forced_command(python, str(self.current), "run", options),
            "pull": forced_command(python, str(self.current), "pull", {**options, "--only": "git_pull"}),
            "read": f"git-upload-pack '{self.bare}'",
        }
        return [
            authorized_keys_line(self.keys[name].with_suffix(".pub").read_text(), commands[name]) for name in commands
        ]

    def _key(self, name: str) -> Path:
        key = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
        return key

    def git(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = [*GIT, *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd or self.tree, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def command(self, name: str, run: str, install: str | None = None) -> None:
        """Write a command and approve it."""
        folder = self.tree / "raijin_scripts" / name
        folder.mkdir(exist_ok=True)
        for file, text in (("run", run), ("install.sh", install)):
            if text is not None:
                (folder / file).write_text(text)
                (folder / file).chmod(0o755)
        (folder / "command.yaml").write_text("summary: For a test.\n")
        approval.approve(name, root=self.tree)

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "For a test")
        self.git("push", "-q", self.bare, "HEAD:refs/heads/production")
        return self.git("rev-parse", "HEAD")

    def first_update(self) -> str:
        """What bootstrap does: the first release is built by a plain checkout."""
        commit = self.commit()
        program = [interpreters.login_node(), "-I", "-S", self.tree / "dea" / "remote" / "releases" / "__main__.py"]
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DEA_PREFIX": str(self.state / "prefix" / "git_pull-x"),
        }  # fmt: skip
        done = subprocess.run(
            [*program, "--root", self.root], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return commit

    def ssh(self, key: str, request: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        """Ask by OpenSSH's own client."""
        words = ["ssh", "-F", os.devnull, "-T", "-p", str(self.port), "-i", str(self.keys[key]), "-o", "BatchMode=yes"]
        words += ["-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.known_hosts}", *options]
        words += [f"{getpass.getuser()}@{openssh.HOST}", *([request] if request else [])]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LoginNode]:
    require(openssh.unusable())
    former = os.umask(0o022)
    node = LoginNode(tmp_path)
    yield node
    node.sshd.terminate()
    node.sshd.wait(10)
    os.umask(former)


def test_a_commit_arrives_over_ssh_and_serves(node: LoginNode) -> None:
    old = node.first_update()
    assert node.ssh("run", "greet").stdout == "hello\n"
    node.command("greet", "#!/bin/sh\necho goodbye\n")
    new = node.commit()
    done = node.ssh("pull", "#cmd is ignored")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["old"], report["new"], report["switched"]) == (old, new, True)
    assert report["commands"]["greet"]["change"] == "changed"
    assert node.serving == new
    assert node.ssh("run", "greet").stdout == "goodbye\n"


def test_no_key_can_do_what_another_can(node: LoginNode) -> None:
    commit = node.first_update()
    assert json.loads(node.ssh("pull", "greet").stdout)["new"] == commit  # its own command, whatever it asks for
    assert "hello" not in node.ssh("pull", "greet").stdout
    refused = node.ssh("run", "git_pull")
    assert (refused.stdout, refused.returncode) == ("", 126)
    assert "the key 'run' is not allowed to run git_pull" in refused.stderr
    for key in ("run", "pull"):
        assert "git-upload-pack" not in node.ssh(key, f"git-upload-pack '{node.bare}'").stdout
    reading = node.ssh("read", "greet")
    assert "hello" not in reading.stdout
    assert "refs/heads/production" in reading.stdout


def test_a_server_with_another_host_key_is_refused(node: LoginNode) -> None:
    old = node.first_update()
    node.commit()
    other = node.keys["run"].with_suffix(".pub").read_text()
    node.known_hosts.write_text(f"[{openssh.HOST}]:{node.port} {other}")
    program = [*(str(interpreters.login_node()), "-I", "-S"), str(node.current / "dea/remote/releases/__main__.py")]
    done = subprocess.run(program, env={"PATH": os.environ["PATH"], "DEA_PREFIX": str(node.state / "prefix" / "x")},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "cannot be fetched" in done.stderr
    assert "Host key verification failed" in done.stderr
    assert node.serving == old


def test_the_accounts_own_keys_and_configuration_are_not_used(node: LoginNode) -> None:
    """With a key that may not read, nothing is read: no other key of the account's is tried."""
    node.first_update()
    node.commit()
    node.configure(key=str(node.keys["host"]))
    done = node.ssh("pull")
    assert done.returncode == 1
    assert "Permission denied (publickey)" in done.stderr


def test_a_commit_that_is_not_signed_does_not_serve(node: LoginNode) -> None:
    old = node.first_update()
    signers = node.root / "commit_signers"
    signers.write_text(f"releaser@example.org {node.keys['host'].with_suffix('.pub').read_text()}")
    signers.chmod(0o644)
    node.configure(commit_signers=str(signers))
    node.commit()
    done = node.ssh("pull")
    assert (done.returncode, node.serving) == (1, old)
    assert "is not signed by one of the allowed signers" in done.stderr
    for name, value in (("gpg.format", "ssh"), ("user.signingkey", node.keys["host"]), ("commit.gpgsign", "true")):
        node.git("config", name, str(value))
    new = node.commit()
    done = node.ssh("pull")
    assert (done.returncode, node.serving) == (0, new), done.stderr


def test_the_function_updates_the_login_node(node: LoginNode, start_sandbox: Start) -> None:
    node.first_update()
    account = start_sandbox("openssh")
    values = {
        "user": getpass.getuser(),
        "host": f"{openssh.HOST}:{node.port}",
        "pkey": node.keys["pull"].read_text(),
        "hostkey": node.keys["host"].with_suffix(".pub").read_text(),
    }
    account.store({f"{USER_PATH}.{name}": value for name, value in values.items()})
    environment = account.environment()
    del environment[USER_PATH_VARIABLE]
    inv = Path(sys.executable).parent / "inv"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [inv, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    unconfirmed = run("git-pull")
    assert (unconfirmed.returncode, unconfirmed.stdout) == (1, "")
    assert "give --yes if it is meant" in unconfirmed.stderr
    commit = node.commit()
    done = run("run-lambda", "--name", "git_pull", "--target", "aws", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"] == node.serving == commit
    node.command("greet", "#!/bin/sh\necho goodbye\n")
    commit = node.commit()
    done = run("git-pull", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"new   {commit}" in done.stdout
    assert "greet: changed" in done.stdout
    assert json.loads(run("git-pull", "--yes", "--json").stdout)["switched"] is False
    (node.tree / "raijin_scripts" / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    node.commit()
    failed = run("git-pull", "--yes")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "has changed since it was approved" in failed.stderr
    assert run("run-lambda", "--name", "git_pull", "--target", "aws", "--yes").returncode == 1
    assert node.serving == commit


def _stale(node: LoginNode) -> None:
    (node.tree / "raijin_scripts" / "greet" / "run").write_text("#!/bin/sh\necho evil\n")


def _failing(node: LoginNode) -> None:
    node.command("needy", GREET, install="#!/bin/sh\nexit 3\n")


def _broken(node: LoginNode) -> None:
    (node.tree / "dea" / "remote" / "dispatcher.py").write_text("import nothing_of_that_name\n")


BAD: list[tuple[Callable[[LoginNode], None], str]] = [
    (_stale, "has changed since it was approved"),
    (_failing, "needy: its install.sh failed"),
    (_broken, "its dispatcher does not start"),
]


class Traffic:
    """Commands that are dispatched all the while, directly and through sshd, and what went wrong with them."""

    def __init__(self, node: LoginNode, program: list[str]) -> None:
        self._node = node
        self._gate = [*program, "--key", "run", "--home", str(node.home), "--state", str(node.state)]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=target) for target in (self._direct, self._direct, self._by_ssh)]
        self.wrong: list[str] = []
        self.direct = self.by_ssh = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(300)

    def _direct(self) -> None:
        environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": "greet"}
        while not self._over.is_set() or self.direct < 500:
            self._check(subprocess.run(self._gate, env=environment, capture_output=True, text=True, check=False))
            self.direct += 1

    def _by_ssh(self) -> None:
        while not self._over.is_set():
            self._check(self._node.ssh("run", "greet"))
            self.by_ssh += 1

    def _check(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode != 0 or done.stdout not in ("hello\n", "good 0\n", "good 1\n", "good 2\n"):
            self.wrong.append(f"{done.returncode} {done.stdout!r} {done.stderr!r}")


def test_five_hundred_commands_run_during_updates_and_none_fails(node: LoginNode) -> None:
    """Good updates, bad ones that must not go live, and going back."""
    node.first_update()
    program = [str(interpreters.login_node()), "-I", "-S", str(node.current / "dea" / "remote" / "__main__.py")]
    with Traffic(node, program) as traffic:
        for number, (spoil, said) in enumerate(BAD):
            node.command("greet", f"#!/bin/sh\necho good {number}\n")
            good = node.commit()
            done = node.ssh("pull")
            assert (done.returncode, node.serving) == (0, good), done.stderr
            spoil(node)
            node.commit()
            done = node.ssh("pull")
            assert (done.returncode, node.serving) == (1, good)
            assert said in done.stderr
            node.git("rm", "-rqf", ".")
            node.git("checkout", "-q", good, "--", ".")
        rollback = [*program[:3], str(node.current / "dea/remote/releases/__main__.py"), "--rollback"]
        environment = {"PATH": os.environ["PATH"], "DEA_PREFIX": str(node.state / "prefix" / "x")}
        done = subprocess.run(rollback, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert node.serving != good
    assert traffic.wrong == []
    assert traffic.direct >= 500
    assert traffic.by_ssh >= 5
