"""git_pull through a real sshd: three keys, and a repository behind SSH. Updates while commands run are in `test_home`."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.workspace import interpreters
from dea.workspace.sandbox import aws, openssh
from dea.workspace.sandbox.client import REGION
from tests.conftest import ROOT, require
from tests.end_to_end.updates import Developer

USER_PATH = "orchestrator.raijin.users.git_pull"


class LoginNode(Developer):
    """The account that runs the tests, behind sshd with its three keys; and the developer of what it is updated from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.state, self.home = (folder / name for name in ("root", "state", "home"))
        for path in (self.root, self.home):
            path.mkdir(mode=0o700)
        self.keys = {name: self._key(name) for name in ("run", "pull", "read", "host")}
        self.bare = folder / "origin.git"
        super().__init__(folder / "tree", self.bare)
        self.git("init", "-q", "--bare", self.bare, cwd=folder)
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
    node.signs_with(node.keys["host"])
    new = node.commit()
    done = node.ssh("pull")
    assert (done.returncode, node.serving) == (0, new), done.stderr


def test_the_function_updates_the_login_node(node: LoginNode, aws_endpoint: str) -> None:
    node.first_update()
    values = {
        "user": getpass.getuser(),
        "host": f"{openssh.HOST}:{node.port}",
        "pkey": node.keys["pull"].read_text(),
        "hostkey": node.keys["host"].with_suffix(".pub").read_text(),
    }
    aws.store(aws_endpoint, REGION, {f"{USER_PATH}.{name}": value for name, value in values.items()})
    settings = {
        "AWS_ENDPOINT_URL": aws_endpoint, "AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "NO_PROXY": "*", "no_proxy": "*",
    }  # fmt: skip
    environment = {**os.environ, **settings}
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
