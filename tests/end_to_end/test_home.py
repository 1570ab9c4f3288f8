"""From a bare account to one that serves and is updated: as its operator does it, on a real sshd, in an account of its own.

The account has nothing at first but an `authorized_keys` with strangers' lines, one of which is the operator's own way in.
What is pushed to its repository comes over SSH, and so does what git_pull fetches from there, with the third key.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from dea.raijin import AuthenticationFailed, RaijinSession
from dea.workspace import interpreters
from dea.workspace.errors import WorkspaceError
from dea.workspace.keys import LoginNode, parameters, rotate
from dea.workspace.sandbox import aws, openssh
from dea.workspace.sandbox.client import REGION
from tests.conftest import ROOT, require
from tests.end_to_end.updates import BAD, Developer, Traffic

RUN_PATH, PULL_PATH = "orchestrator.raijin.users.default", "orchestrator.raijin.users.git_pull"
KMS_KEY = "alias/dea-orchestration"
INV = Path(sys.executable).parent / "inv"
PYTHON = str(interpreters.login_node())

# The operator's own line, with CRLF and a comment that quotes, between others; the last one without a newline.
STRANGERS = (
    b"# by hand, do not touch\r\n"
    b'restrict,command="echo \\"a, b\\" --key run" ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ a "comment"\n'
    b'from="127.0.0.1,::1,*.example.org",no-x11-forwarding %s operator\'s "own"\r\n'
    b"\n"
    b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgR no newline at the end"
)


class Home:
    """An unprivileged account behind sshd, what its operator and its developer hold, and an AWS endpoint."""

    def __init__(self, folder: Path, name: str, endpoint: str) -> None:
        self.folder = folder
        self.name = name
        self.path = Path(pwd.getpwnam(name).pw_dir)
        self.root = self.path / "dea-orchestration"
        self.authorized_keys = self.path / ".ssh" / "authorized_keys"
        self.keys = folder / "keys"
        self.operator, self.releaser, self.host_key = (self._key(one) for one in ("operator", "releaser", "host"))
        self.strangers = STRANGERS % " ".join(self.operator.with_suffix(".pub").read_text().split()[:2]).encode()
        self.write(self.authorized_keys, self.strangers)
        self.sshd, self.port = openssh.start(folder, self.host_key, self.authorized_keys, self.path, account=name)
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[{openssh.HOST}]:{self.port} {self.host_key.with_suffix('.pub').read_text()}")
        words = ["ssh", "-F", os.devnull, "-p", str(self.port), "-i", str(self.operator)]
        self.ssh = [
            *words,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            f"UserKnownHostsFile={self.known_hosts}",
            "-o",
            "BatchMode=yes",
        ]
        self.at = f"{name}@{openssh.HOST}"
        self.endpoint = endpoint
        aws.store(endpoint, REGION, {})  # the KMS key alone
        self.aws = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "NO_PROXY": "*", "no_proxy": "*",
        }  # fmt: skip

    def _key(self, name: str) -> Path:
        key = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
        return key

    def write(self, path: Path, content: bytes) -> None:
        """Write a file as the account, whose home folder a test that is root must not leave files of its own in."""
        command = f"umask 077; mkdir -p {path.parent}; cat > {path}"
        subprocess.run(["/bin/sh", "-c", command], input=content, check=True, user=self.name, group=self.name, cwd="/")

    def by_hand(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something in the account, over the operator's own way in."""
        done = subprocess.run(
            [*self.ssh, self.at, command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def inv(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a task on the operator's machine."""
        done = subprocess.run(
            [INV, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.aws},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        assert done.returncode == 0 or not check, done.stderr
        return done

    def login(self, *more: str) -> list[str]:
        """Return the options of a task that goes over the operator's own way in."""
        return ["--login", self.at, "--ssh", shlex.join(self.ssh), "--python", PYTHON, *more]

    @property
    def ssm(self) -> Any:
        return boto3.client(
            "ssm",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )

    def session(self, prefix: str) -> RaijinSession:
        return RaijinSession(prefix, ssm=self.ssm)

    @property
    def serving(self) -> str:
        return (self.root / "current").readlink().name

    def dispatched(self) -> subprocess.CompletedProcess[str]:
        """Have the dispatcher run `greet` as sshd does, without the time that a connection takes."""
        main = str(self.root / "current" / "dea" / "remote" / "__main__.py")
        environment = {"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": "greet"}
        return subprocess.run(
            [PYTHON, "-I", "-S", main, "--key", "run"],
            env=environment, user=self.name, group=self.name, cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip

    def labels(self) -> dict[str, list[str]]:
        """Return the fingerprints that are let in, by label."""
        command = f"{PYTHON} {self.root}/current/dea/remote --json --authorize"
        found: dict[str, list[str]] = {}
        for one in json.loads(self.by_hand(command).stdout)["keys"]:
            found.setdefault(one["label"], []).append(one["fingerprint"])
        return found


def not_root() -> str | None:
    return None if os.geteuid() == 0 else "these tests make an account of their own, which takes root: run them as root"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str) -> Iterator[Home]:
    """The account as its operator gets it."""
    require(openssh.unusable() or not_root())
    name = f"dea-{secrets.token_hex(4)}"
    former = os.umask(0o022)
    # '*' is no password, and does not lock the account as '!' would.
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", name], check=True)
    sshd = None
    try:
        home = Home(tmp_path_factory.mktemp("home"), name, aws_endpoint)
        sshd = home.sshd
        yield home
    finally:
        if sshd is not None:
            sshd.terminate()
            sshd.wait(10)
        subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)
        os.umask(former)


@pytest.fixture(scope="module")
def developer(bare: Home) -> Developer:
    """Who pushes over SSH to the account's bare repository, signed commits only."""
    bare.by_hand("git init -q --bare origin.git")
    remote = f"ssh://{bare.at}:{bare.port}{bare.path}/origin.git"
    developer = Developer(bare.folder / "tree", remote, GIT_SSH_COMMAND=shlex.join(bare.ssh))
    developer.signs_with(bare.releaser)
    developer.commit()
    return developer


@pytest.fixture(scope="module")
def home(bare: Home, developer: Developer) -> Home:
    """The account after what docs/how-to/install-on-raijin.md says has been done, each step twice."""
    made = json.loads(bare.inv("keys.make", "--folder", str(bare.keys), "--json").stdout)
    assert [one["made"] for one in made] == [True, True]
    again = json.loads(bare.inv("keys.make", "--folder", str(bare.keys), "--json").stdout)
    assert [(one["made"], one["public_key"]) for one in again] == [(False, one["public_key"]) for one in made]

    bare.by_hand("git clone -q -b production origin.git clone")
    bare.write(bare.path / "checked" / "known_hosts", bare.known_hosts.read_bytes())
    public = bare.releaser.with_suffix(".pub").read_text()
    bare.write(bare.path / "checked" / "signers", f"releaser@example.org {public}".encode())
    words = [PYTHON, "clone/dea/remote", "--json", "--bootstrap", "--run-key", made[0]["public_key"]]
    more = ["--known-hosts", "checked/known_hosts", "--commit-signers", "checked/signers"]
    first = bare.by_hand(shlex.join([*words, "--repository", str(developer.remote), *more]), check=False)
    assert first.returncode == 1, first.stderr
    third = json.loads(first.stdout)["public_key"]
    assert "Permission denied" in first.stderr  # the repository's server does not know the third key yet
    assert f"must let this key read: {third}" in json.loads(first.stdout)["problem"]
    serve = f"restrict,command=\"git-upload-pack '{bare.path}/origin.git'\" {third}"
    bare.strangers += b"\n" + serve.encode()
    bare.write(bare.authorized_keys, bare.strangers)
    second = json.loads(bare.by_hand(shlex.join(words)).stdout)
    assert second["serving"] == developer.git("rev-parse", "HEAD")
    assert second == json.loads(bare.by_hand(shlex.join(words)).stdout)
    bare.by_hand("rm -r clone checked")

    install = ["keys.install", "--key", "pull", "--folder", str(bare.keys), *bare.login("--json")]
    assert json.loads(bare.inv(*install).stdout)["changed"] is True
    assert json.loads(bare.inv(*install).stdout)["changed"] is False

    store = ["--user", bare.name, "--host", f"{openssh.HOST}:{bare.port}", "--kms-key-id", KMS_KEY, "--yes"]
    store += ["--host-keys", str(bare.known_hosts), "--folder", str(bare.keys), "--json"]
    for key in ("run", "pull"):
        stored = json.loads(bare.inv("keys.store", "--key", key, *store, "--keep").stdout)
        assert (len(stored["written"]), stored["checked"]) == (4, True)
        assert json.loads(bare.inv("keys.store", "--key", key, *store).stdout)["written"] == []
    return bare


def test_strangers_lines_are_as_they_were(home: Home) -> None:
    content = home.authorized_keys.read_bytes()
    assert content.endswith(b"\n" + home.strangers)
    ours = content.removesuffix(home.strangers).decode().splitlines()
    main = f"{PYTHON} -I -S {home.root}/current/dea/remote/__main__.py"
    assert [line.partition(" ssh-ed25519 ")[0] for line in ours] == [
        f'restrict,command="{main} --key pull --only git_pull"',
        f'restrict,command="{main} --key run"',
    ]
    modes = [path.stat().st_mode & 0o777 for path in (home.authorized_keys, home.authorized_keys.parent)]
    assert modes == [0o600, 0o700]
    assert home.authorized_keys.owner() == home.name
    first, *_ = sorted(home.authorized_keys.parent.glob("authorized_keys.dea-*"))
    assert first.read_bytes() == home.strangers


def test_private_keys_are_in_ssm_alone(home: Home) -> None:
    assert sorted(path.name for path in home.keys.iterdir()) == ["pull.pub", "run.pub"]
    found = home.ssm.describe_parameters()["Parameters"]
    assert {one["Name"] for one in found} == {
        f"{prefix}.{part}" for prefix in (RUN_PATH, PULL_PATH) for part in ("user", "host", "pkey", "hostkey")
    }
    assert {(one["Type"], one["KeyId"]) for one in found} == {("SecureString", KMS_KEY)}


def test_functions_run_commands_and_bring_a_new_commit(home: Home, developer: Developer) -> None:
    example = home.inv("run-lambda", "--name", "example", "--target", "aws", "--yes")
    assert {"example", "git_pull", "greet"} <= set(json.loads(example.stdout)["commands"])
    developer.command("greet", "#!/bin/sh\necho goodbye\n")
    commit = developer.commit()
    report = json.loads(home.inv("run-lambda", "--name", "git_pull", "--target", "aws", "--yes").stdout)
    assert report["new"] == home.serving == commit
    assert report["commands"]["greet"]["change"] == "changed"
    with home.session(RUN_PATH) as session:
        assert session.exec_command("greet").stdout == "goodbye\n"


def test_a_key_that_is_stored_already_is_not_overwritten_by_the_way(home: Home) -> None:
    home.inv("keys.make", "--key", "run", "--label", "other", "--folder", str(home.keys))
    store = ["keys.store", "--key", "run", "--label", "other", "--folder", str(home.keys), "--yes"]
    store += ["--user", home.name, "--host", f"{openssh.HOST}:{home.port}", "--host-keys", str(home.known_hosts)]
    refused = home.inv(*store, "--kms-key-id", KMS_KEY, check=False)
    assert "the key does not log in" in refused.stderr  # it was not let in
    refused = home.inv(*store, "--kms-key-id", KMS_KEY, "--no-check", check=False)
    assert f"SSM has {RUN_PATH}.pkey already, with another value" in refused.stderr
    assert (home.keys / "other").exists()
    with home.session(RUN_PATH):
        pass
    for path in home.keys.glob("other*"):
        path.unlink()


def test_a_rotated_key_logs_in_and_the_old_one_does_not(home: Home) -> None:
    with home.session(RUN_PATH) as old:
        before = home.labels()["run"]
        values = parameters.read(home.ssm, RUN_PATH)
        done = json.loads(home.inv("keys.rotate", "--key", "run", *home.login("--yes", "--json")).stdout)
        assert [done["old"]] == before
        assert home.labels()["run"] == [done["new"]]
        assert old.exec_command("example").ok  # a connection that is open goes on
    with home.session(RUN_PATH) as session:
        assert session.exec_command("example").ok
    with pytest.raises(WorkspaceError, match="did not accept user"):
        parameters.check_values(values)
    assert home.authorized_keys.read_bytes().endswith(b"\n" + home.strangers)
    stored = home.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [f"{RUN_PATH}.pkey"]}]
    )["Parameters"]
    assert [(one["Type"], one["KeyId"]) for one in stored] == [("SecureString", KMS_KEY)]


def test_the_key_that_triggers_updates_is_rotated_without_triggering_one(home: Home, developer: Developer) -> None:
    before = home.serving
    developer.commit()
    home.inv("keys.rotate", "--key", "pull", *home.login("--yes"))
    assert home.serving == before
    main = f"{PYTHON} -I -S {home.root}/current/dea/remote/__main__.py"
    assert f'command="{main} --key pull --only git_pull" ssh-ed25519 ' in home.authorized_keys.read_text("latin-1")
    with home.session(PULL_PATH) as session:
        assert json.loads(session.exec_command("git_pull").stdout)["new"] == home.serving != before


class CutOff(Exception):
    """The operator's machine is switched off."""


def test_a_rotation_that_is_cut_off_leaves_a_key_that_works_and_can_be_repeated(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its steps; what each of them leaves is gone after one that is not cut off."""
    node = LoginNode(home.at, tuple(home.ssh), PYTHON)
    for step in ("install", "check_values", "put", "check_login"):
        owner: Any = LoginNode if hasattr(LoginNode, step) else parameters
        real: Callable[..., Any] = getattr(owner, step)

        def cut_off(*arguments: Any, real: Callable[..., Any] = real, **options: Any) -> None:
            real(*arguments, **options)
            if arguments[0] != "not.stored":  # check_values asks check_login too
                raise CutOff

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, cut_off)
            with pytest.raises(CutOff):
                rotate(home.ssm, RUN_PATH, node, "run", said=lambda _: None)
        with home.session(RUN_PATH) as session:  # what SSM names works, wherever it was
            assert session.exec_command("example").ok
    assert len(home.labels()["run"]) == 5
    done = rotate(home.ssm, RUN_PATH, node, "run", said=lambda _: None)
    assert home.labels()["run"] == [done.new]
    with home.session(RUN_PATH) as session:
        assert session.exec_command("example").ok


@pytest.mark.parametrize("failing", ["check_values", "check_login"])
def test_a_new_key_that_does_not_log_in_is_shut_out_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """What is let in and nothing knows would be a door that nobody watches."""
    before, stored = home.labels(), parameters.read(home.ssm, RUN_PATH)
    real = parameters.check_login

    def fail(*arguments: Any) -> None:
        if arguments[0] == "not.stored":  # check_values asks check_login too
            return real(*arguments)
        raise WorkspaceError("the key does not log in")

    monkeypatch.setattr(parameters, failing, fail)
    with pytest.raises(WorkspaceError, match="does not log in"):
        rotate(home.ssm, RUN_PATH, LoginNode(home.at, tuple(home.ssh), PYTHON), "run", said=lambda _: None)
    assert (home.labels(), parameters.read(home.ssm, RUN_PATH)) == (before, stored)


def test_a_key_that_somebody_else_replaces_meanwhile_is_not_shut_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = LoginNode(home.at, tuple(home.ssh), PYTHON)
    real = parameters.check_login
    others: list[Any] = []

    def another_first(*arguments: Any) -> None:
        real(*arguments)
        if arguments[0] != "not.stored" and not others:
            others.append(None)
            monkeypatch.setattr(LoginNode, "remove_others", lambda *_: None)  # it has not come to that yet
            others[0] = rotate(home.ssm, RUN_PATH, node, "run", said=lambda _: None)
            monkeypatch.undo()

    monkeypatch.setattr(parameters, "check_login", another_first)
    with pytest.raises(WorkspaceError, match="does somebody else replace it too"):
        rotate(home.ssm, RUN_PATH, node, "run", said=lambda _: None)
    with home.session(RUN_PATH) as session:
        assert session.exec_command("example").ok
    node.remove_others("run", others[0].new)
    assert home.labels()["run"] == [others[0].new]


@pytest.mark.parametrize("checked", [True, False])
def test_of_two_rotations_at_once_one_gives_up_and_the_others_key_works(
    home: Home, monkeypatch: pytest.MonkeyPatch, checked: bool
) -> None:
    """Storing over the other's key, or putting the old one back, would leave SSM with a key that is shut out by now."""
    node = LoginNode(home.at, tuple(home.ssh), PYTHON)
    # The last step before the key is stored.
    owner, step = (parameters, "check_values") if checked else (LoginNode, "install")
    real: Callable[..., Any] = getattr(owner, step)

    def another_then(*arguments: Any) -> None:
        real(*arguments)
        monkeypatch.undo()
        rotate(home.ssm, RUN_PATH, node, "run", said=lambda _: None)

    monkeypatch.setattr(owner, step, another_then)
    with pytest.raises(WorkspaceError, match="does somebody else replace it too"):
        rotate(home.ssm, RUN_PATH, node, "run", checked=checked, said=lambda _: None)
    with home.session(RUN_PATH) as session:
        assert session.exec_command("example").ok
    assert len(home.labels()["run"]) == 1


def test_where_the_new_key_cannot_be_tried_the_old_one_stays(home: Home) -> None:
    (before,) = home.labels()["run"]
    done = home.inv("keys.rotate", "--key", "run", *home.login("--yes", "--no-check"))
    assert home.labels()["run"][1:] == [before]
    by_hand = next(line for line in done.stderr.splitlines() if "the old key stays" in line).partition("new one: ")[2]
    subprocess.run(shlex.split(by_hand), check=True, capture_output=True)
    assert before not in home.labels()["run"]
    with home.session(RUN_PATH) as session:
        assert session.exec_command("example").ok


def test_a_key_that_is_removed_is_shut_out(home: Home) -> None:
    """What docs/how-to/install-on-raijin.md says of undoing it; and it is let in again."""
    command = f"{PYTHON} {home.root}/current/dea/remote --authorize"
    (home.folder / "pull.pub").write_text(next(line for line in _ours(home) if "--key pull" in line).partition('" ')[2])
    home.by_hand(f"{command} --remove pull")
    with pytest.raises(AuthenticationFailed), home.session(PULL_PATH):
        pass
    assert home.authorized_keys.read_bytes().endswith(b"\n" + home.strangers)
    key = shlex.quote((home.folder / "pull.pub").read_text())
    home.by_hand(f"{command} pull --public-key {key} --only git_pull")
    with home.session(PULL_PATH):
        pass


def _ours(home: Home) -> list[str]:
    return home.authorized_keys.read_bytes().removesuffix(home.strangers).decode().splitlines()


def test_five_hundred_commands_run_during_updates_and_none_fails(home: Home, developer: Developer) -> None:
    """Good updates, bad ones that must not go live, and going back."""
    with home.session(RUN_PATH) as session, home.session(PULL_PATH) as pull:
        developer.command("greet", "#!/bin/sh\necho hello\n")
        developer.commit()
        assert pull.exec_command("git_pull").ok
        good = {"hello\n", *(f"good {number}\n" for number in range(len(BAD)))}

        def by_ssh() -> Any:
            result = session.exec_command("greet")
            return subprocess.CompletedProcess("greet", result.exit_code, result.stdout, result.stderr)

        with Traffic([home.dispatched, home.dispatched, by_ssh], good, at_least=500) as traffic:
            for number, (push_bad, said) in enumerate(BAD):
                developer.command("greet", f"#!/bin/sh\necho good {number}\n")
                commit = developer.commit()
                done = pull.exec_command("git_pull")
                assert (done.exit_code, home.serving) == (0, commit), done.stderr
                push_bad(developer)
                done = pull.exec_command("git_pull")
                assert (done.exit_code, home.serving) == (1, commit)
                assert said in done.stderr
                assert home.dispatched().stdout == f"good {number}\n"
                developer.back_to(commit)
            home.by_hand(f"{PYTHON} {home.root}/current/dea/remote git_pull --rollback")
            assert home.serving != commit
    assert traffic.wrong == []
    assert sum(traffic.counts) >= 500
    assert min(traffic.counts) >= 5


def test_a_checkout_serves_in_place_for_trying(home: Home) -> None:
    """With a key that may run one command, from here, until some day; sshd itself holds the latter two."""
    home.by_hand("git clone -q -b production origin.git trying && chmod -R go-w trying")
    key = home.folder / "trying"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = shlex.quote(key.with_suffix(".pub").read_text())
    words = [str(key) if word == str(home.operator) else word for word in home.ssh]

    def status(request: str, addresses: str) -> int:
        limits = f"--allow greet --expires 2099-12-31 --from {shlex.quote(addresses)}"
        home.by_hand(f"cd trying && {PYTHON} dea/remote --authorize trying --public-key {public} {limits}")
        done = subprocess.run([*words, home.at, request], capture_output=True, text=True, check=False, timeout=60)
        return done.returncode

    here = "192.0.2.0/24,127.0.0.*"
    asked = [
        ("greet", here),
        ("example", here),
        ("git_pull", here),
        ("greet", "192.0.2.0/24"),
        ("greet", "!127.0.0.1,127.0.0.*"),
    ]
    assert [status(*one) for one in asked] == [0, 126, 126, 255, 255]
    home.by_hand(f"{PYTHON} trying/dea/remote --authorize --remove trying && rm -r trying")
    assert home.authorized_keys.read_bytes().endswith(b"\n" + home.strangers)
