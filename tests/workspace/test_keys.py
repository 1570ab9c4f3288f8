"""Keys on the operator's machine: made, shown, stored. What needs a login node is in tests/end_to_end/test_home.py."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest

from dea.remote.authorized_keys import entry_of
from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.keys import Values, host_keys, pairs, parameters, store, tasks
from dea.workspace.keys.login_node import LoginNode
from dea.workspace.sandbox import aws
from dea.workspace.sandbox.client import REGION

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu5S4ojCAoJmVRw8Smmmp2qMSbNvGZ9BSpvmLNgBNzp"
PREFIX = "orchestrator.raijin.users.default"
VALUES = Values("dea", "raijin.example.org", "a key", HOST_KEY + "\n")
SHOWN = {"label": "", "checkout": "/home/dea/x/current", "python": "/usr/bin/python3", "state": "", "allow": (),
         "addresses": None, "expires": None}  # fmt: skip


def make(folder: Path, key: str = "", label: str = "", *, anew: bool = False) -> None:
    tasks.make(key, label=label, folder=str(folder), anew=anew, as_json=True)


def test_keys_are_made_for_their_owner_alone_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "keys"
    former = os.umask(0o002)
    try:
        make(folder)
    finally:
        os.umask(former)
    made = json.loads(capsys.readouterr().out)
    assert [(one["key"], one["made"]) for one in made] == [("run", True), ("pull", True)]
    assert sorted(path.name for path in folder.iterdir()) == ["pull", "pull.pub", "run", "run.pub"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]
    for one in made:
        public = subprocess.run(["ssh-keygen", "-y", "-f", one["file"]], capture_output=True, text=True, check=True)
        assert public.stdout.split()[:2] == one["public_key"].split()[:2]
    make(folder)
    again = json.loads(capsys.readouterr().out)
    assert [one["public_key"] for one in again] == [one["public_key"] for one in made]
    assert [one["made"] for one in again] == [False, False]


def test_a_key_that_was_stored_is_not_made_again_by_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its private half is in SSM; another one in its place would be let in by mistake."""
    folder = tmp_path / "keys"
    make(folder, "run")
    made = json.loads(capsys.readouterr().out)
    (folder / "run").unlink()
    make(folder, "run")
    assert json.loads(capsys.readouterr().out)[0]["public_key"] == made[0]["public_key"]
    make(folder, "run", anew=True)
    assert json.loads(capsys.readouterr().out)[0]["public_key"] != made[0]["public_key"]
    assert (folder / "run").exists()


def test_a_public_half_that_is_missing_follows_from_the_private_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "keys"
    make(folder, "run", "cleaner")
    before = (folder / "cleaner.pub").read_text()
    (folder / "cleaner.pub").unlink()
    make(folder, "run", "cleaner")
    assert (folder / "cleaner.pub").read_text() == before


def test_the_private_half_is_shown_nowhere(tmp_path: Path) -> None:
    pair = pairs.make("x")
    values = dataclasses.replace(VALUES, private_key=pair.private)
    assert "PRIVATE" in pair.private
    assert "PRIVATE" not in f"{pair!r} {values!r}"
    pairs.write(pair, tmp_path / "keys", "broken")
    path = tmp_path / "keys" / "broken"
    path.write_text(path.read_text().replace("b3BlbnNz", "b3BlbnNa"))
    with pytest.raises(WorkspaceError, match="is no Ed25519 private key") as raised:
        pairs.read(tmp_path / "keys", "broken")
    assert "b3BlbnNa" not in str(raised.value)


def test_keys_are_not_made_where_they_could_be_seen(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="inside the checkout"):
        make(ROOT / "keys")
    assert not (ROOT / "keys").exists()
    tmp_path.chmod(0o755)
    with pytest.raises(WorkspaceError, match="can be read by others"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"key": "x"}, "'x' is none: choose one of run, pull, read"),
        ({"label": "x"}, "say which with --key"),
        ({"key": "run", "label": "../x"}, "is no key label"),
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, arguments: dict[str, str], said: str) -> None:
    with pytest.raises(WorkspaceError, match=said):
        make(tmp_path / "keys", **arguments)  # type: ignore[arg-type]  # all of them texts
    assert not (tmp_path / "keys").exists()


def test_the_line_of_a_key_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    for key in ("run", "pull", "read"):
        make(folder, key)
    capsys.readouterr()
    limits = {**SHOWN, "allow": ("exec_*",), "addresses": "192.0.2.0/24", "expires": "2099-12-31"}
    tasks.show("run", folder=str(folder), **limits)  # type: ignore[arg-type]
    public = (folder / "run.pub").read_text().strip()
    main = "/usr/bin/python3 -I -S /home/dea/x/current/dea/remote/__main__.py"
    assert capsys.readouterr().out == (
        f'restrict,from="192.0.2.0/24",expiry-time="20991231",command="{main} --key run --allow \'exec_*\'" {public}\n'
    )
    tasks.show("pull", folder=str(folder), **SHOWN)  # type: ignore[arg-type]
    entry = entry_of(capsys.readouterr().out)
    assert entry is not None
    assert entry.options["command"] == f"{main} --key pull --only git_pull"
    tasks.show("read", folder=str(folder), **SHOWN)  # type: ignore[arg-type]
    assert capsys.readouterr().out == (folder / "read.pub").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checkout": ""}, "--checkout is missing"),
        ({"checkout": "x"}, "is no absolute path"),
        ({"allow": ("a b",)}, "is no pattern"),
        ({"addresses": "a b"}, "is no list of addresses"),
        ({"addresses": ""}, "--from '' is no list of addresses"),
        ({"expires": ""}, "--expires '' is no date"),
        ({"expires": "2001-01-01"}, "is over"),
        ({"label": "other"}, "there is no public key"),
    ],
)
def test_a_line_that_would_mean_something_else_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    make(tmp_path / "keys", "run")
    with pytest.raises(WorkspaceError, match=said):
        tasks.show("run", folder=str(tmp_path / "keys"), **{**SHOWN, **changes})


@pytest.mark.parametrize("login", ["", "-oProxyCommand=id"])
def test_a_login_that_ssh_would_take_for_an_option_is_refused(login: str) -> None:
    with pytest.raises(WorkspaceError, match="is no account"):
        LoginNode(login).install("run", pairs.make("x").public)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "#!/bin/sh\necho 'Permission denied (publickey).' >&2; exit 255\n",
            r"Permission denied \(publickey\). \(status 255\)",
        ),
        ("#!/bin/sh\necho 'Welcome'\n", "has no --authorize"),
        ("#!/bin/sh\necho 'dea-remote: another key' >&2; exit 126\n", "dea@x: another key"),
    ],
)
def test_what_the_login_node_says_is_passed_on(tmp_path: Path, program: str, said: str) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(program)
    ssh.chmod(0o755)
    with pytest.raises(WorkspaceError, match=said):
        LoginNode("dea@x", (str(ssh),)).install("run", pairs.make("x").public)


def test_host_keys_in_a_file_lose_their_names(tmp_path: Path) -> None:
    path = tmp_path / "hostkeys"
    path.write_text(f"# checked\n[raijin.example.org]:2222 {HOST_KEY}\n{HOST_KEY} a comment\n")
    assert host_keys.from_file(path, "raijin.example.org", 22) == f"{HOST_KEY}\n" * 2
    for text in ("", "raijin ssh-ed25519 !\n", "<html>\n"):
        path.write_text(text)
        with pytest.raises(WorkspaceError, match="holds something else than public host keys"):
            host_keys.from_file(path, "raijin", 22)
    with pytest.raises(WorkspaceError, match="cannot be read"):
        host_keys.from_file(tmp_path / "no", "raijin", 22)


@pytest.mark.parametrize("hashed", [False, True])
def test_of_a_known_hosts_file_only_the_login_nodes_own_keys_are_pinned(tmp_path: Path, hashed: bool) -> None:
    """Any other host in it could stand in for the login node."""
    other, revoked, pattern = (f"ssh-ed25519 {pairs.make('x').public.data}" for _ in range(3))
    path = tmp_path / "known_hosts"
    path.write_text(
        f"github.com,192.0.2.7 {other}\nraijin.example.org {HOST_KEY}\n[raijin.example.org]:2222 {other}\n"
        f"raijin.example.org {revoked}\n@revoked raijin.example.org {revoked}\n@cert-authority *.example.org {other}\n"
        + ("" if hashed else f"*.example.org {pattern}\n")
    )
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
        assert "github" not in path.read_text()
    wanted = [HOST_KEY] if hashed else [HOST_KEY, pattern]
    assert host_keys.from_file(path, "Raijin.example.org", 22).splitlines() == wanted
    assert host_keys.from_file(path, "raijin.example.org", 2222).splitlines()[0] == other
    with pytest.raises(WorkspaceError, match=r"several hosts, and none is raijin\.example\.com"):
        host_keys.from_file(path, "raijin.example.com", 22)


def test_a_key_that_is_revoked_is_not_pinned(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"@revoked raijin.example.org {HOST_KEY}\n")
    with pytest.raises(WorkspaceError, match=r"none is raijin\.example\.org"):
        host_keys.from_file(path, "raijin.example.org", 22)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program in ssh-keyscan's place, which finds one key."""
    program = tmp_path / "ssh-keyscan"
    program.write_text(f"#!/bin/sh\necho 'raijin.example.org {HOST_KEY}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("scanned")
def test_a_host_key_that_nobody_has_confirmed_is_not_stored() -> None:
    with pytest.raises(
        WorkspaceError, match=r"its host key is SHA256:\S+, and there is no terminal to confirm that on"
    ):
        host_keys.confirmed("raijin.example.org", 22)


@pytest.mark.usefixtures("scanned")
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_person_confirms_the_host_key(monkeypatch: pytest.MonkeyPatch, confirmed: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr(host_keys, "can_ask", lambda: True)
    monkeypatch.setattr(host_keys, "is_agreed", lambda question: asked.append(question) or confirmed)
    if confirmed:
        assert host_keys.confirmed("raijin.example.org", 22) == f"{HOST_KEY}\n"
    else:
        with pytest.raises(WorkspaceError, match="not confirmed"):
            host_keys.confirmed("raijin.example.org", 22)
    assert "raijin.example.org:22 says that its host key is SHA256:" in asked[0]


@pytest.fixture(scope="module")
def ssm(aws_endpoint: str) -> Any:
    aws.store(aws_endpoint, REGION, {})
    return boto3.client(
        "ssm", endpoint_url=aws_endpoint, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )


def test_all_four_are_stored_encrypted_and_only_what_is_missing(ssm: Any) -> None:
    assert store(ssm, PREFIX, VALUES, "alias/dea-orchestration", overwrite=False) == [
        f"{PREFIX}.{part}" for part in ("user", "host", "hostkey", "pkey")
    ]
    assert parameters.read(ssm, PREFIX) == VALUES
    found = ssm.describe_parameters()["Parameters"]
    assert {(one["Type"], one["KeyId"]) for one in found} == {("SecureString", "alias/dea-orchestration")}
    assert parameters.kms_key_of(ssm, f"{PREFIX}.pkey") == "alias/dea-orchestration"
    assert store(ssm, PREFIX, VALUES, "alias/dea-orchestration", overwrite=False) == []
    other = dataclasses.replace(VALUES, private_key="another", host="elsewhere")
    with pytest.raises(WorkspaceError, match=rf"SSM has {PREFIX}.host, {PREFIX}.pkey already, with another value"):
        store(ssm, PREFIX, other, "alias/dea-orchestration", overwrite=False)
    assert parameters.read(ssm, PREFIX) == VALUES
    assert store(ssm, PREFIX, other, "alias/dea-orchestration", overwrite=True) == [f"{PREFIX}.host", f"{PREFIX}.pkey"]


def test_what_ssm_does_not_take_is_said_before_anything_is_stored(ssm: Any) -> None:
    large = dataclasses.replace(VALUES, host_keys=f"{HOST_KEY}\n" * 60)
    with pytest.raises(WorkspaceError, match=r"more.hostkey would have more than 4096 bytes"):
        store(ssm, "more", large, "alias/dea-orchestration", overwrite=False)
    with pytest.raises(WorkspaceError, match=r"SSM has no more.user, more.host, more.pkey, more.hostkey"):
        parameters.read(ssm, "more")


def test_what_ssm_refuses_is_said_without_the_value(ssm: Any) -> None:
    with pytest.raises(WorkspaceError, match=r"aws:x.pkey cannot be stored") as raised:
        parameters.put(ssm, "aws:x.pkey", "hush hush", "alias/dea-orchestration")
    assert "hush" not in str(raised.value)
    with pytest.raises(WorkspaceError, match=r"give --kms-key-id"):
        parameters.kms_key_of(ssm, "no.such.parameter")


def test_a_key_that_does_not_log_in_is_said_not_to() -> None:
    pair = pairs.make("x")
    values = Values("dea", "127.0.0.1:1", pair.private, HOST_KEY)
    with pytest.raises(WorkspaceError, match=r"the key does not log in: 127.0.0.1:1 refused the connection"):
        parameters.check_values(values)
