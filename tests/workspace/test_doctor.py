"""`inv doctor`: with a sandbox everything passes, and each check is seen failing for what it is there for."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.remote.checks import Check
from dea.workspace import doctor, interpreters
from dea.workspace.doctor import gate, machine, tasks
from dea.workspace.doctor.way import Way
from dea.workspace.git_pull import DEFAULT_USER_PATH as UPDATE_USER_PATH
from dea.workspace.sandbox import LoginNodeKind, Sandbox, openssh, sandbox
from tests.conftest import ROOT, require

INV = Path(sys.executable).parent / "inv"
PARTS = ("user", "host", "pkey", "hostkey")
# Not every machine has all of Lambda's versions of Python.
MISSING = set() if machine.pythons().ok else {"pythons"}
OF_MACHINE = len(machine.CHECKS)
TRIES = [try_.__name__ for try_ in gate.TRIES]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox with OpenSSH's sshd, which has everything switched on that a key can be given."""
    require(openssh.unusable())
    with sandbox("openssh") as running:
        yield running


@pytest.fixture
def keys(box: Sandbox) -> Iterator[Callable[[str], None]]:
    """Write the login node's authorized_keys anew, and put them back afterwards; `{key}` stands for the sandbox's own key."""
    path = box.home / ".ssh" / "authorized_keys"
    former = path.read_text()
    key = former[former.index("ssh-ed25519") :].strip()
    yield lambda text: _write(path, text.replace("{key}", key))
    path.write_text(former)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def inv(box: Sandbox, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run inv in a shell that has exported what `inv sandbox` prints."""
    environment = {**os.environ, **box.variables, **variables}
    return subprocess.run(
        [INV, "doctor", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def walked(box: Sandbox, user_path: str = "", only: str = "", ssm: Any = None) -> dict[str, Check]:
    """Go the way; return the checks by name."""
    checks = tasks.walk(Way(user_path or box.user_path, only, ssm=ssm or box.ssm()))
    assert tuple(check.check for check in checks) == doctor.CHECKS[OF_MACHINE:]
    return {check.check: check for check in checks}


def stored(box: Sandbox, prefix: str, *, kind: Any = "SecureString", **changes: str) -> str:
    """Store the sandbox's parameters under another prefix, with changes."""
    ssm = box.ssm()
    for part in PARTS:
        own = ssm.get_parameter(Name=f"{box.user_path}.{part}", WithDecryption=True)["Parameter"]["Value"]
        more: Any = {"KeyId": box.kms_key_id} if kind == "SecureString" else {}
        ssm.put_parameter(Name=f"{prefix}.{part}", Value=changes.get(part, own), Type=kind, Overwrite=True, **more)
    return prefix


def test_everything_passes_on_a_sandbox(box: Sandbox) -> None:
    done = inv(box, "--json")
    found = json.loads(done.stdout)
    assert tuple(one["check"] for one in found) == doctor.CHECKS
    assert {one["check"]: one["detail"] for one in found if not one["ok"] and one["check"] not in MISSING} == {}
    assert done.returncode == len(MISSING)
    assert all(set(one) == {"check", "ok", "detail", "remedy"} for one in found)
    details = {one["check"]: one["detail"] for one in found}
    assert 'sees this machine as 127.0.0.1: from="127.0.0.1"' in details["address"]
    assert "example ran and answered" in details["round_trip"]


def test_a_sandbox_is_made_where_there_is_none() -> None:
    done = subprocess.run([INV, "doctor"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == len(MISSING), done.stdout
    assert [line[11:].split()[0] for line in done.stdout.splitlines()] == [*doctor.CHECKS]
    assert sum(not line.startswith("ok ") for line in done.stdout.splitlines()) == len(MISSING)
    assert "checking the way to the login node ..." in done.stderr


def test_the_other_kind_of_login_node_passes_too() -> None:
    kind: LoginNodeKind = "asyncssh"
    with sandbox(kind) as box:
        assert {check.check: check.detail for check in walked(box).values() if not check.ok} == {}


def test_every_check_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "doctor.md").read_text("utf-8").partition("## On a developer's machine")[2]
    assert tuple(re.findall(r"^\| `([a-z0-9_]+)` \| ", page, re.MULTILINE)) == doctor.CHECKS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "moon"], "--target 'moon' is not known: choose one of sandbox, aws"),
        (["--target", "aws"], "this shell leads to a sandbox, not to AWS"),
    ],
)
def test_a_mistake_is_one_clear_line(box: Sandbox, arguments: list[str], said: str) -> None:
    done = inv(box, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_with_aws_it_asks_first_and_then_goes_the_same_way(box: Sandbox) -> None:
    other = {"AWS_ACCESS_KEY_ID": "mine", "NO_PROXY": "*", "no_proxy": "*"}
    done = inv(box, "--target", "aws", **other)
    assert (done.returncode, done.stdout) == (1, "")
    assert "give --yes if it is meant" in done.stderr
    done = inv(box, "--target", "aws", "--yes", "--json", **other)
    assert done.returncode == len(MISSING), done.stdout
    assert [one["check"] for one in json.loads(done.stdout)] == [*doctor.CHECKS]


# The gate


def test_each_try_notices_a_server_that_lets_it_through(box: Sandbox, keys: Callable[[str], None]) -> None:
    """With a key that may do everything, none of the tries can pass: what they look for is really there."""
    keys("{key}\n")
    checks = walked(box)
    assert {name: checks[name].ok for name in TRIES} == dict.fromkeys(TRIES, False)
    assert all(checks[name].remedy for name in TRIES)
    assert checks["login"].ok
    assert checks["versions"].ok is False
    assert "what answers is no dispatcher" in checks["versions"].detail
    assert checks["round_trip"].ok is False


GIVEN = {
    "pty": "pty",
    "port-forwarding": "local_forwarding",
    "agent-forwarding": "agent_forwarding",
    "x11-forwarding": "x11_forwarding",
}


@pytest.mark.parametrize("option", GIVEN)
def test_each_thing_that_restrict_takes_is_noticed_when_it_is_given_back(
    box: Sandbox, keys: Callable[[str], None], option: str
) -> None:
    command = forced_command(str(interpreters.login_node()), str(box.checkout), "sandbox", {"--home": str(box.home)})
    line = authorized_keys_line("{key}", command)
    keys(line.replace("restrict,", f"restrict,{option},") + "\n")
    checks = walked(box)
    given = {GIVEN[option], *(["remote_forwarding"] if option == "port-forwarding" else [])}
    assert {name for name in TRIES if not checks[name].ok} == given


def test_a_key_that_runs_one_command_is_asked_for_nothing_that_would_run_it(
    box: Sandbox, keys: Callable[[str], None]
) -> None:
    options = {"--home": str(box.home), "--only": "git_pull"}
    command = forced_command(str(interpreters.login_node()), str(box.checkout), "updater", options)
    keys(authorized_keys_line("{key}", command) + "\n")
    prefix = stored(box, UPDATE_USER_PATH)
    before = len(box.audit())
    done = inv(box, "--user-path", prefix, "--json")
    recorded = [line for line in box.audit()[before:] if line["key"] == "updater"]
    assert recorded
    assert {line["event"] for line in recorded} == {"received", "refused"}
    found = {one["check"]: one["ok"] for one in json.loads(done.stdout)}
    untried = {"round_trip", "address", "shell", "sftp", "other_commands", "environment"}
    assert {name for name, ok in found.items() if ok is None} == untried
    assert {name for name, ok in found.items() if ok is False} == MISSING
    assert done.returncode == (1 if MISSING else 2)


# The way


def test_parameters_that_are_missing(box: Sandbox) -> None:
    checks = walked(box, "nothing.here")
    assert checks["parameters"].ok is False
    assert "nothing.here.hostkey, nothing.here.pkey" in ", ".join(
        sorted(checks["parameters"].detail.split(": ")[1].split(", "))
    )
    others = [check for name, check in checks.items() if name != "parameters"]
    assert all(check.ok is None and check.detail == "not reached: parameters did not pass" for check in others)


def test_a_private_key_that_is_not_encrypted(box: Sandbox) -> None:
    check = walked(box, stored(box, "plain", kind="String"))["parameters"]
    assert check.ok is False
    assert "plain.pkey is a String: not encrypted" in check.detail


def test_parameters_that_may_not_be_read(box: Sandbox) -> None:
    policy = {"Statement": [{"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"}]}
    with box.restricted(policy) as role:
        done = inv(box, "--target", "aws", "--yes", "--json", **role, NO_PROXY="*", no_proxy="*")
    checks = {one["check"]: one for one in json.loads(done.stdout)}
    assert (done.returncode, checks["parameters"]["ok"]) == (1, False)
    assert "not authorized to perform: ssm:GetParameters" in checks["parameters"]["detail"]
    assert "allow ssm:GetParameters on orchestrator.raijin.users.default.*" in checks["parameters"]["remedy"]


class Undecrypted:
    """An SSM whose parameters may be read, and not decrypted: moto knows nothing of the permissions of a KMS key."""

    def __init__(self, ssm: Any, code: str, said: str) -> None:
        self._ssm = ssm
        self._error = ssm.exceptions.ClientError({"Error": {"Code": code, "Message": said}}, "GetParameters")

    def get_parameters(self, **asked: Any) -> Any:
        if asked["WithDecryption"]:
            raise self._error
        return self._ssm.get_parameters(**asked)


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (
            "AccessDeniedException",
            "User: x is not authorized to perform: kms:Decrypt",
            "allow kms:Decrypt on their key",
        ),
        ("InvalidKeyId", "The KMS key is disabled", "is the KMS key enabled?"),
        ("ThrottlingException", "Rate exceeded", "try again later"),
    ],
)
def test_parameters_that_cannot_be_decrypted(box: Sandbox, code: str, said: str, remedy: str) -> None:
    checks = walked(box, ssm=Undecrypted(box.ssm(), code, said))
    assert checks["parameters"].ok
    assert checks["decryption"].ok is False
    assert said in checks["decryption"].detail
    assert remedy in checks["decryption"].remedy


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"pkey": "no key"}, "holds no readable private key"), ({"host": "a:b"}, "store a host as name or name:port")],
)
def test_parameters_that_hold_something_else(box: Sandbox, changes: dict[str, str], said: str) -> None:
    checks = walked(box, stored(box, "wrong.values", **changes))
    assert checks["credentials"].ok is False
    assert said in checks["credentials"].detail
    assert checks["login"].ok is None


def test_host_keys_that_are_not_pinned(box: Sandbox) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    checks = walked(box, stored(box, "other.pin", hostkey=other))
    assert checks["host_keys"].ok is False
    assert re.search(r"127\.0\.0\.1 shows ssh-ed25519 SHA256:\S+, which is not pinned", checks["host_keys"].detail)
    assert "ask the site" in checks["host_keys"].remedy
    assert checks["login"].ok is False
    assert checks["versions"].ok is None


def test_pins_that_nobody_shows_and_types_that_nobody_has(box: Sandbox) -> None:
    own = box.ssm().get_parameter(Name=f"{box.user_path}.hostkey", WithDecryption=True)["Parameter"]["Value"]
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    check = walked(box, stored(box, "two.pins", hostkey=own + other))["host_keys"]
    assert check.ok
    assert "pinned, and shown by none of them: SHA256:" in check.detail
    rsa = asyncssh.generate_private_key("ssh-rsa").export_public_key().decode()
    check = walked(box, stored(box, "rsa.pin", hostkey=rsa))["host_keys"]
    assert check.ok is False
    assert "has no host key of a pinned type (ssh-rsa)" in check.detail


def test_every_address_of_a_name_is_looked_at(box: Sandbox) -> None:
    addresses = {str(answer[4][0]) for answer in socket.getaddrinfo("localhost", box.port, type=socket.SOCK_STREAM)}
    check = walked(box, stored(box, "a.name", host=f"localhost:{box.port}"))["host_keys"]
    assert check.ok
    assert "1 address(es) of localhost show what is pinned" in check.detail
    assert check.detail.count("refused") == len(addresses) - 1  # sshd listens on one of them alone


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1:1", "nobody answers: 127.0.0.1"), ("raijin.invalid", "raijin.invalid does not resolve")],
)
def test_a_host_that_nobody_answers_at(box: Sandbox, host: str, said: str) -> None:
    checks = walked(box, stored(box, "no.host", host=host))
    assert checks["host_keys"].ok is False
    assert said in checks["host_keys"].detail
    assert checks["login"].ok is False


def test_a_key_that_is_not_let_in(box: Sandbox) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    check = walked(box, stored(box, "other.key", pkey=other))["login"]
    assert check.ok is False
    assert "did not accept user" in check.detail


@pytest.fixture
def served(box: Sandbox) -> Iterator[Callable[[str, str, str], None]]:
    """Change a file of the checkout that the login node serves, and put it back afterwards."""
    changed: dict[Path, str] = {}

    def change(name: str, old: str, new: str) -> None:
        path = box.checkout / name
        changed.setdefault(path, path.read_text())
        assert old in changed[path]
        path.write_text(changed[path].replace(old, new))

    yield change
    for path, text in changed.items():
        path.write_text(text)


def test_ends_of_different_versions(box: Sandbox, served: Callable[[str, str, str], None]) -> None:
    served("dea/remote/__init__.py", '__version__ = "', '__version__ = "9.')
    check = walked(box)["versions"]
    assert check.ok is False
    assert "the dispatcher is 9." in check.detail


def test_ends_with_other_formats_and_a_dispatcher_that_tells_no_address(
    box: Sandbox, served: Callable[[str, str, str], None]
) -> None:
    served("dea/remote/answers.py", '"approval_format": approval.FORMAT', '"approval_format": 99')
    check = walked(box)["versions"]
    assert check.ok is False
    assert "(99, 1) there" in check.detail
    served("dea/remote/answers.py", '"client": client}', '"nothing": None}')
    assert walked(box)["address"].ok is None


def test_a_command_that_is_refused_or_fails(box: Sandbox, served: Callable[[str, str, str], None]) -> None:
    served("raijin_scripts/example/run", "#!/bin/sh", "#!/bin/sh\nexit 3")
    checks = walked(box)
    assert checks["round_trip"].ok is False
    assert "example was refused" in checks["round_trip"].detail
    assert checks["environment"].ok is None


# The machine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of its own."""
    ignore = shutil.ignore_patterns("__pycache__", ".venv", "*.egg-info")
    for part in ("dea", "functions", "raijin_scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignore)
    for name in ("pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def test_a_checkout_as_it_should_be(root: Path) -> None:
    for check in (machine.version(root), machine.pythons(root), machine.locks(root), machine.approvals(root)):
        assert check.ok, check


def test_versions_that_are_not_one(root: Path) -> None:
    project = root / "dea" / "raijin" / "pyproject.toml"
    project.write_text(re.sub(r'^version = ".*"$', 'version = "9.9.9"', project.read_text(), flags=re.MULTILINE))
    check = machine.version(root)
    assert check.ok is False
    assert "9.9.9" in check.detail


def test_a_lock_that_is_stale(root: Path) -> None:
    with (root / "functions" / "example" / "requirements.txt").open("a") as file:
        file.write("rich\n")
    check = machine.locks(root)
    assert (check.ok, check.remedy) == (False, "inv lock --name all")
    assert "example" in check.detail


def test_an_approval_that_is_stale(root: Path) -> None:
    with (root / "raijin_scripts" / "example" / "run").open("a") as file:
        file.write("# changed\n")
    check = machine.approvals(root)
    assert check.ok is False
    assert "example has changed since its approval" in check.detail


def test_an_interpreter_that_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "find", lambda _version: None)
    check = machine.pythons(root)
    assert check.ok is False
    assert re.search(r"python3\.\d+ is not here, which .*\bexample\b", check.detail)


def test_programs_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (machine.git().ok, machine.git().detail) == (False, "it is not on PATH")
    assert (machine.ssh_keygen().ok, machine.ssh_keygen().detail) == (False, "ssh-keygen is not on PATH")
    for name, script in {"git": "exit 3", "ssh-keygen": "", "ssh": "echo 'OpenSSH_7.4p1, OpenSSL 1.0' >&2"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    assert machine.git().ok is False
    assert machine.ssh_keygen().ok is False
    assert "OpenSSH_7.4p1" in machine.ssh_keygen().detail


def test_uv_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_uv_bin", lambda: "/nowhere/uv")
    assert machine.uv().ok is False


def test_nothing_that_could_serve_as_the_login_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "unusable", lambda: "it is not installed")
    check = machine.login_node()
    assert check.ok
    assert "asyncssh serves" in check.detail
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert machine.login_node().ok is False
