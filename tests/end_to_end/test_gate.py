"""What the keys cannot do, tried by OpenSSH's own client at OpenSSH's sshd: one key for commands, one for updates.

The server has everything switched on; what refuses is `restrict` and the forced command. What one key can do and the other
cannot is tried in test_git_pull.py, on a login node that updates itself.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.workspace import interpreters
from dea.workspace.doctor import gate
from dea.workspace.sandbox import Sandbox, openssh
from tests.conftest import require

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Start

TIMEOUT_S = 60
MARK = "open-42"
REFUSALS = {"commands": {2, 126, 127}, "updates": {1}}
"""With which statuses a request for anything else ends: with the other key it is git_pull's own, in a checkout that is no release."""


@dataclass(frozen=True)
class Client:
    """OpenSSH's client with one of the keys."""

    box: Sandbox
    name: str
    key: Path
    options: tuple[str, ...]

    def run(self, program: str, *words: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        """Run `ssh`, `sftp` or `scp` with this key."""
        return subprocess.run(
            [program, *self.options, *words], input=sent, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )

    def ssh(self, *words: str, command: str = "", sent: str = "") -> subprocess.CompletedProcess[str]:
        """Log in, and send a command, if there is one."""
        where = ["-p", str(self.box.port), f"{self.box.user}@{self.box.host}"]
        return self.run("ssh", *words, *where, *(["--", command] if command else []), sent=sent)

    def transport(self) -> paramiko.Transport:
        """Return a connection by paramiko, for what OpenSSH's client asks for without waiting for the answer."""
        transport = paramiko.Transport((self.box.host, self.box.port))
        transport.connect(username=self.box.user, pkey=paramiko.Ed25519Key.from_private_key_file(str(self.key)))
        return transport

    def started(self) -> set[str]:
        """Return what this key has started so far."""
        label = "sandbox" if self.name == "commands" else self.name
        return {line["command"] for line in self.box.audit() if line["key"] == label and line["event"] == "started"}


@pytest.fixture(scope="module")
def clients(start_sandbox: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """A client with each key."""
    require(openssh.unusable())
    box = start_sandbox("openssh")
    folder = tmp_path_factory.mktemp("keys")
    stored = box.ssm().get_parameter(Name=f"{box.user_path}.pkey", WithDecryption=True)["Parameter"]["Value"]
    (folder / "commands").touch(mode=0o600)
    (folder / "commands").write_text(stored)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "updates"], check=True)
    hosts = box.ssm().get_parameter(Name=f"{box.user_path}.hostkey", WithDecryption=True)["Parameter"]["Value"]
    (folder / "known_hosts").write_text(f"[{box.host}]:{box.port} {hosts}")
    authorized_keys = box.home / ".ssh" / "authorized_keys"
    former = authorized_keys.read_text()
    options = {"--home": str(box.home), "--only": "git_pull"}
    command = forced_command(str(interpreters.login_node()), str(box.checkout), "updates", options)
    line = authorized_keys_line((folder / "updates.pub").read_text(), command)
    authorized_keys.write_text(f"{former}{line}\n")
    common = {"BatchMode": "yes", "IdentitiesOnly": "yes", "UserKnownHostsFile": str(folder / "known_hosts")}
    words = tuple(word for name, value in common.items() for word in ("-o", f"{name}={value}"))
    yield {
        name: Client(box, name, folder / name, ("-F", os.devnull, *words, "-o", f"IdentityFile={folder / name}"))
        for name in ("commands", "updates")
    }
    authorized_keys.write_text(former)


@pytest.fixture(params=["commands", "updates"])
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    """The client with one key, then with the other."""
    return clients[request.param]


def test_each_key_does_what_it_is_for(clients: dict[str, Client]) -> None:
    """Else all that follows would prove nothing."""
    assert "example" in clients["commands"].ssh(command="example").stdout
    done = clients["updates"].ssh(command="example")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no release, but a checkout that serves in place" in done.stderr


def test_no_key_gets_a_shell(client: Client) -> None:
    done = client.ssh("-T", sent="echo open-$((40+2))\nexit\n")
    assert MARK not in done.stdout
    assert done.returncode in REFUSALS[client.name]


def test_no_key_gets_a_terminal(client: Client) -> None:
    done = client.ssh("-tt", command="example")
    assert "PTY allocation request failed" in done.stderr


def test_no_key_reaches_anything_through_the_login_node(client: Client) -> None:
    done = client.ssh("-W", f"{client.box.host}:{client.box.port}")
    assert (done.returncode, done.stdout) == (255, "")
    assert "administratively prohibited" in done.stderr


@pytest.mark.parametrize("where", ["port", "socket"])
def test_no_key_has_the_login_node_listen(client: Client, tmp_path: Path, where: str) -> None:
    listening = "127.0.0.1:0" if where == "port" else str(tmp_path / "listening")
    done = client.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{listening}:127.0.0.1:1")
    assert done.returncode == 255
    assert "forwarding failed" in done.stderr
    assert not (tmp_path / "listening").exists()


@pytest.mark.parametrize("try_", [gate.agent_forwarding, gate.x11_forwarding, gate.local_forwarding])
def test_no_key_has_an_agent_a_display_or_a_connection(
    client: Client, try_: Callable[[paramiko.Transport], str]
) -> None:
    transport = client.transport()
    try:
        check = gate.attempt(try_, transport, "")
    finally:
        transport.close()
    assert (check.ok, check.detail) == (True, "refused")


def test_no_key_moves_a_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("content")
    port = ("-P", str(client.box.port))
    done = client.run(
        "sftp", *port, "-b", "-", f"{client.box.user}@{client.box.host}", sent=f"put {tmp_path}/here {tmp_path}/there\n"
    )
    assert done.returncode != 0
    for protocol in ((), ("-O",)):  # -O: the old one, which runs a command `scp`
        done = client.run(
            "scp", *port, *protocol, str(tmp_path / "here"), f"{client.box.user}@{client.box.host}:{tmp_path}/there"
        )
        assert done.returncode != 0
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    "command",
    [
        "touch {mark}",
        "/usr/bin/touch {mark}",
        "example; touch {mark}",
        "example && touch {mark}",
        "sh -c 'touch {mark}'",
        "$(touch {mark})",
        "`touch {mark}`",
        "../../../usr/bin/touch {mark}",
        "git-upload-pack {mark}",
        "internal-sftp",
    ],
)
def test_no_key_runs_another_command(client: Client, tmp_path: Path, command: str) -> None:
    done = client.ssh(command=command.format(mark=tmp_path / "mark"))
    assert done.returncode in REFUSALS[client.name]
    assert not (tmp_path / "mark").exists()
    if client.name == "commands":
        assert done.stdout == ""
    else:
        assert client.started() == {"git_pull"}


def test_no_key_sets_a_variable(clients: dict[str, Client]) -> None:
    """LC_ALL reaches the dispatcher, as many a server accepts it, and no command."""
    client = clients["commands"]
    asked = client.ssh("-o", "SetEnv=LC_ALL=C LC_DEA=open-42 DEA_X=open-42", command="--json --explain example")
    assert asked.returncode == 0
    assert MARK not in asked.stdout
    assert "LC_" not in asked.stdout


def test_the_other_key_gives_its_command_no_variable_and_no_argument(clients: dict[str, Client]) -> None:
    done = clients["updates"].ssh("-o", "SetEnv=LC_ALL=C LC_DEA=open-42", command="git_pull --force --root /tmp")
    assert done.returncode == 1
    assert "is no release, but a checkout that serves in place" in done.stderr
