"""A bare account becomes one that serves, by one call that can be made again at any time."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dea.remote import bootstrap_settings
from dea.remote.authorized_keys import ed25519_key
from dea.remote.contract import Refusal
from dea.remote.repository_server import pin, server_of

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

DRIVER = Path(__file__).with_name("killed_at.py")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu5S4ojCAoJmVRw8Smmmp2qMSbNvGZ9BSpvmLNgBNzp"


class Account:
    """An account with a clone, its authorized_keys in a home folder of the test's."""

    def __init__(self, folder, origin):
        self.clone = folder / "clone"
        self.root = folder / "root"
        self.keys = folder / "account" / ".ssh" / "authorized_keys"
        self.keys.parent.parent.mkdir()
        self.state = folder / "state"
        self.origin = origin
        origin.git("clone", "-q", "--branch", "production", origin.bare, self.clone, cwd=folder)

    def program(self, *arguments):
        words = [sys.executable, str(self.clone / "dea" / "remote"), "--json", "--bootstrap", *map(str, arguments)]
        return [*words, "--root", str(self.root), "--state", str(self.state), "--authorized-keys", str(self.keys)]

    def __call__(self, *arguments):
        program = self.program(*arguments)
        return subprocess.run(
            program, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )

    def done(self, *arguments):
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, said, *arguments):
        done = self(*arguments)
        assert done.returncode in (2, 126), done.stderr
        assert said in done.stderr
        assert done.stdout == ""

    def files(self):
        """Return what is there, with what tells whether it was written anew."""
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in sorted(self.root.iterdir())}


@pytest.fixture
def account(tmp_path, origin):
    origin.commit()
    return Account(tmp_path, origin)


@pytest.fixture
def public(signer):
    return {name: signer(name).with_suffix(".pub") for name in ("run", "pull", "other")}


def test_one_call_makes_an_account_serve(account, public):
    found = account.done("--repository", account.origin.bare, "--run-key", public["run"], "--pull-key", public["pull"])
    assert found["serving"] == account.origin.git("rev-parse", "HEAD")
    assert found["authorized"] == {name: ed25519_key(public[name].read_text()).fingerprint for name in ("run", "pull")}
    lines = account.keys.read_text().splitlines()
    main = f"{sys.executable} -I -S {account.root}/current/dea/remote/__main__.py"
    assert f'restrict,command="{main} --key run --state {account.state}" ssh-ed25519 ' in lines[1]
    assert f'command="{main} --key pull --only git_pull --state {account.state}" ssh-ed25519 ' in lines[0]
    shutil.rmtree(account.clone)  # it is needed no more
    program = [sys.executable, "-I", "-S", str(account.root / "current/dea/remote/__main__.py"), "--key", "run"]
    environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": "greet"}
    done = subprocess.run(
        [*program, "--state", account.state], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "hello\n"


def test_a_second_call_changes_nothing(account, public):
    account.done("--repository", account.origin.bare, "--run-key", public["run"])
    before, keys = account.files(), account.keys.stat()
    account.origin.commit()  # to take that is an update's business
    first = account.done("--repository", account.origin.bare, "--run-key", public["run"])
    assert first == account.done()
    assert account.files() == before
    assert (account.keys.stat().st_ino, account.keys.stat().st_mtime_ns) == (keys.st_ino, keys.st_mtime_ns)


def test_what_failed_is_finished_by_the_next_call(account, public):
    (account.origin.scripts / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    account.origin.commit()
    failed = account("--repository", account.origin.bare, "--run-key", public["run"])
    assert failed.returncode == 1
    assert "has changed since it was approved" in failed.stderr
    assert json.loads(failed.stdout)["serving"] is None
    assert not account.keys.exists()  # a key is let in to what serves, not before
    account.origin.approve("greet")
    commit = account.origin.commit()
    assert account.done("--run-key", public["run"])["serving"] == commit


@pytest.mark.parametrize("cut_off_at", ["mkdir", "settings", "release", "link"])
def test_what_was_cut_off_is_finished_by_the_next_call(account, public, cut_off_at):
    """The folder as it is at several moments, half-written files included."""
    if cut_off_at != "mkdir":
        account.done("--repository", account.origin.bare)
    if cut_off_at == "link":
        (account.root / "current").unlink()
    elif cut_off_at == "release":
        (account.root / "current").unlink()
        shutil.rmtree(account.root / "releases")
        shutil.rmtree(account.root / "repository.git" / "objects")
    elif cut_off_at == "settings":
        shutil.rmtree(account.root)
    account.root.mkdir(exist_ok=True)
    (account.root / "settings.json.new").write_text('{"half')
    found = account.done("--repository", account.origin.bare, "--run-key", public["run"])
    assert found["serving"] == account.origin.git("rev-parse", "HEAD")
    assert not list(account.root.glob("*.new*"))


def test_what_is_killed_anywhere_is_finished_by_the_next_call(account, public, tmp_path):
    """Right before each thing that it changes or starts; each version of Python tries a fifth, as in test_kills."""
    step = tmp_path / "step"
    arguments = ("--repository", account.origin.bare, "--run-key", public["run"], "--pull-key", public["pull"])
    python, folder, *words = account.program(*arguments)
    whole = account.done(*arguments)
    number, killed = sys.version_info[1] % 5 + 1, -9
    while killed == -9:
        shutil.rmtree(account.root)
        shutil.rmtree(account.keys.parent)
        step.write_text(f"{number}\n")
        program = [python, str(DRIVER), str(step), f"{folder}/__main__.py", *words]
        killed = subprocess.run(
            program, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        ).returncode
        assert account.done(*arguments) == whole, number
        assert not list(account.root.glob("*.new*")), number
        assert len(account.keys.read_text().splitlines()) == 2, number
        number += 5
    assert (killed, number > 10) == (0, True)


def test_what_is_there_is_never_changed(account, public):
    account.done("--repository", account.origin.bare, "--run-key", public["run"])
    before = account.keys.read_bytes()
    account.refused("branch is not set there", "--branch", "main")
    account.refused("says otherwise", "--repository", "/another")
    account.refused("replace it on purpose", "--run-key", public["other"])
    assert account.keys.read_bytes() == before
    # The same key, tied to something else: a checkout that served in place, say.
    account.keys.write_bytes(before.replace(b"/current/", b"/elsewhere/"))
    account.refused("replace it on purpose", "--run-key", public["run"])


def test_a_line_that_is_wider_than_what_is_asked_for_is_not_taken_for_it(account, public):
    """Else it would be said that a key is let in from there, or for that alone, and sshd would know nothing of it."""
    keys = ("--run-key", public["run"], "--pull-key", public["pull"])
    account.done("--repository", account.origin.bare, *keys)
    before = account.keys.read_bytes()
    account.refused("and from=''", *keys, "--from", "192.0.2.0/24")
    assert account.keys.read_bytes() == before
    for wide in (before.replace(b" --only git_pull", b""), before.replace(b"restrict,", b"")):
        account.keys.write_bytes(wide)
        account.refused("replace it on purpose", *keys)
    account.keys.write_bytes(before.replace(b"restrict,", b'restrict,from="192.0.2.0/24",'))
    account.done(*keys)
    account.done(*keys, "--from", "192.0.2.0/24")


def test_a_key_may_not_run_commands_and_trigger_updates(account, public):
    account.refused("may do two things", "--repository", account.origin.bare, "--run-key", public["run"],
                    "--pull-key", public["run"])  # fmt: skip


def test_the_lists_of_signers_are_copied(account, signer):
    """The clone must not be able to vouch for what comes out of it."""
    key = signer("releaser", listed_in="commit_signers")
    account.origin.commit("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true")
    listed = signer.folder / "commit_signers"
    account.done("--repository", account.origin.bare, "--commit-signers", listed)
    settings = json.loads((account.root / "settings.json").read_text())
    assert settings["commit_signers"] == str(account.root / "commit_signers")
    with listed.open("a") as file:
        file.write("stranger@example.org ssh-ed25519 AAAA\n")
    account.refused("has another content", "--commit-signers", listed)


def test_a_commit_that_is_not_signed_does_not_serve_at_first_either(account, signer):
    signer("releaser", listed_in="commit_signers")
    failed = account("--repository", account.origin.bare, "--commit-signers", signer.folder / "commit_signers")
    assert failed.returncode == 1
    assert "is not signed by one of the allowed signers" in failed.stderr
    assert not (account.root / "current").exists()


def test_the_third_key_is_made_once_and_its_private_half_stays(account, tmp_path):
    (tmp_path / "known").write_text(f"# as it was checked\nelsewhere {HOST_KEY}\n")
    arguments = ("--repository", "ssh://git@127.0.0.1:1/x.git", "--known-hosts", tmp_path / "known")
    failed = account(*arguments)
    assert failed.returncode == 1
    assert "cannot be fetched" in failed.stderr
    key = account.root / "repository_key"
    assert key.stat().st_mode & 0o777 == 0o600
    public = json.loads(failed.stdout)["public_key"]
    assert public.split()[:2] == key.with_suffix(".pub").read_text().split()[:2]
    assert public in failed.stderr  # for the repository's server
    assert "PRIVATE" not in failed.stderr + failed.stdout
    assert (account.root / "known_hosts").read_text() == f"[127.0.0.1]:1 {HOST_KEY}\n"
    before = key.read_bytes()
    assert json.loads(account().stdout)["public_key"] == public
    assert key.read_bytes() == before
    (tmp_path / "known").write_text(HOST_KEY.replace("Ju5", "Ju6"))
    account.refused("has another content", "--known-hosts", tmp_path / "known")


def test_before_there_are_settings_a_mistake_decides_nothing(account, tmp_path):
    (tmp_path / "known").write_text(HOST_KEY.replace("Ju5", "Ju6"))
    arguments = ("--repository", "ssh://git@127.0.0.1:1/x.git", "--known-hosts", tmp_path / "known")
    account.refused("is no plain name of a branch", *arguments, "--branch", "a..b")
    (tmp_path / "known").write_text(HOST_KEY)
    assert account(*arguments).returncode == 1
    assert (account.root / "known_hosts").read_text() == f"[127.0.0.1]:1 {HOST_KEY}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--repository is missing"),
        (["--repository", "https://example.org/x.git"], "is neither git@HOST:PATH"),
        (["--repository", "git@-oProxyCommand=id:x"], "is neither git@HOST:PATH"),
        (["--repository", "/x", "--run-key", "/no/such.pub"], "/no/such.pub cannot be read"),
        (["--repository", "/x", "--branch", "a..b"], "is no plain name of a branch"),
        (["--repository", "/x", "--from", '"'], "is no list of addresses"),
        (["--repository", "/x", "--from", ""], "is no list of addresses"),
        (["--repository", "/x", "--from", "192.0.2.1"], "give --run-key or --pull-key with it"),
        (["--repository", "git@example.org:x", "--known-hosts", "/no/such"], "/no/such cannot be read"),
        (["--repository", "git@example.org:x", "--known-hosts", os.devnull], "holds no host key"),
    ],
)
def test_a_mistake_is_said_and_can_be_put_right(account, arguments, said):
    account.refused(said, *arguments)
    assert account.done("--repository", account.origin.bare)["serving"]


def test_a_folder_that_others_can_write_is_refused(account):
    account.root.mkdir()
    account.root.chmod(0o775)
    account.refused("can be written by others", "--repository", account.origin.bare)


@pytest.mark.parametrize(
    ("repository", "known_as"),
    [
        ("git@github.com:a/b.git", "github.com"),
        ("ssh://git@example.org/a", "example.org"),
        ("ssh://git@example.org:22/a", "example.org"),
        ("ssh://git@example.org:2222/a", "[example.org]:2222"),
    ],
)
def test_the_server_is_known_as_ssh_looks_it_up(repository, known_as):
    assert (
        pin(server_of(repository), f"{HOST_KEY} x\nssh-gw.example.org {HOST_KEY}\n") == f"{known_as} {HOST_KEY}\n" * 2
    )


def test_of_a_file_with_many_hosts_no_other_one_is_believed():
    """Somebody's own known_hosts: each host in it could pass for the repository's server."""
    other = HOST_KEY.replace("Ju5", "Ju6")
    many = f"build.example.org {other}\ngithub.com,192.0.2.1 {HOST_KEY}\n|1|c2FsdA==|aGFzaA== {other}\n@revoked x {other}\n"
    assert pin(server_of("git@github.com:a/b.git"), many) == f"github.com {HOST_KEY}\n"
    with pytest.raises(Refusal, match="names several servers, and none is example"):
        pin(server_of("git@example.org:a/b.git"), many)


@pytest.mark.parametrize("repository", ["", "x", "git@", "git@:x", "ssh://git@h:0/x", "ssh://git@h:x/x", "@h:x"])
def test_what_is_no_server_is_refused(repository):
    with pytest.raises(Refusal, match="is neither"):
        server_of(repository)


def scanner(folder, keys):
    """Put a program in ssh-keyscan's place that prints these keys; return the environment that finds it."""
    folder.mkdir(exist_ok=True)
    program = folder / "ssh-keyscan"
    program.write_text(f"#!/bin/sh\necho '{keys}'\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_third_key_that_was_made_meanwhile_is_kept(tmp_path, monkeypatch):
    """Of two calls at once: the other one may have shown it already, and somebody let it in at the repository's server."""
    key = tmp_path / "repository_key"
    real = bootstrap_settings._ssh_keygen
    made = []

    def another_first(command):
        monkeypatch.undo()
        bootstrap_settings._make_key(str(key))
        made.append(key.read_bytes())
        return real(command)

    monkeypatch.setattr(bootstrap_settings, "_ssh_keygen", another_first)
    bootstrap_settings._make_key(str(key))
    assert key.read_bytes() == made[0]
    assert key.with_suffix(".pub").read_text().strip() == bootstrap_settings.public_half(str(key))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository_key", "repository_key.pub"]
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_host_key_that_nobody_has_confirmed_is_not_pinned(account, tmp_path):
    """Ssh-keyscan believes whoever answers."""
    environment = scanner(tmp_path / "bin", f"127.0.0.1 {HOST_KEY}")
    program = account.program("--repository", "git@127.0.0.1:x")
    done = subprocess.run(
        program, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 126
    assert f"its host key is {ed25519_key(HOST_KEY).fingerprint}, and there is no terminal" in done.stderr
    assert not (account.root / "known_hosts").exists()
    assert not (account.root / "settings.json").exists()


@pytest.mark.parametrize(("typed", "confirmed"), [(b"y\n\x04", True), (b"\n", False), (b"no\n", False)])
def test_a_person_confirms_the_host_key(account, tmp_path, typed, confirmed):
    environment = scanner(tmp_path / "bin", f"127.0.0.1 {HOST_KEY}")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        account.program("--repository", "ssh://git@127.0.0.1:1/x"),
        env=environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed)  # what is typed ahead waits in the terminal
    process.communicate(timeout=60)
    os.close(ours)
    assert (account.root / "known_hosts").exists() is confirmed
    assert process.returncode == (1 if confirmed else 126)
