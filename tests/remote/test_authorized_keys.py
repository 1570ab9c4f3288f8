"""The lines that tie keys to the dispatcher, and the file that they stand in among strangers' lines."""

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dea.remote import authorized_keys_file
from dea.remote.authorized_keys import authorized_keys_line, ed25519_key, entry_of, forced_command
from dea.remote.authorized_keys_file import edit, with_line, without_label
from dea.remote.contract import Refusal, split

DRIVER = Path(__file__).parent / "releases" / "killed_at.py"
MAIN = "/home/dea/checkout"
# Everything that a file of a person's own can hold: options with quotes, commas and blanks, comments, CRLF, other types of
# keys, rubbish, bytes that are not UTF-8, and no newline at the end.
STRANGERS = (
    b"# managed by hand, do not touch\n"
    b"\n"
    b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAstrangerstrangerstrangerstrangerstr me@home\r\n"
    b'from="*.example.org,!bad.example.org",command="echo \\"a, b\\" # --key run",no-pty ssh-rsa AAAAB3 two words\n'
    b'restrict,command="/usr/bin/python3 -I -S /x/dea/remote/__main__.py.old --key run" ssh-rsa AAAAB4\n'
    b'#restrict,command="/usr/bin/python3 -I -S /x/dea/remote/__main__.py --key run" ssh-rsa AAAAB5\n'
    b'command="unclosed ssh-rsa AAAAB6 --key run\r\n'
    b"  \t ecdsa-sha2-nistp256 AAAAE2 \xff\xfe not UTF-8\n"
    b"ssh-rsa\n"
    b"@cert-authority rubbish\x00\n"
    b"ssh-rsa AAAAB7 no newline at the end"
)


def public_key(number=1, comment="a comment"):
    """Return an Ed25519 public key; which number it has does not matter, as long as nobody logs in with it."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


def line(number=1, label="run", **options):
    return authorized_keys_line(public_key(number), forced_command("/usr/bin/python3", MAIN, label), **options)


def test_the_forced_command_names_everything_by_its_absolute_path():
    command = forced_command(
        "/usr/bin/python3", "/g/data/with space/x", "lambda", {"--home": "/home/a b"}, ("exec_*", "x")
    )
    assert split(command)[0] == [
        "/usr/bin/python3",
        "-I",
        "-S",
        "/g/data/with space/x/dea/remote/__main__.py",
        "--key",
        "lambda",
        "--home",
        "/home/a b",
        "--allow",
        "exec_*",
        "x",
    ]


def test_the_line_restricts_the_key_and_escapes_quotes():
    line = authorized_keys_line("ssh-ed25519 AAAA dea\n", 'x "y"')
    assert line == 'restrict,command="x \\"y\\"" ssh-ed25519 AAAA dea'


@pytest.mark.parametrize(("key", "command"), [("ssh-ed25519 AAAA\nssh-rsa BBBB", "x"), ("ssh-ed25519 AAAA", "x\ny")])
def test_a_second_line_cannot_be_smuggled_in(key, command):
    with pytest.raises(ValueError, match="one line"):
        authorized_keys_line(key, command)


def test_what_is_written_is_read_again():
    command = forced_command("/usr/bin/python3", '/with "quotes", commas and\\backslash', "run", {"--only": "git_pull"})
    entry = entry_of(authorized_keys_line(public_key(), command, addresses="192.0.2.0/24,!*.org", expires="20301231"))
    assert (entry.label, entry.key.comment) == ("run", "a comment")
    assert entry.options == {
        "restrict": "",
        "from": "192.0.2.0/24,!*.org",
        "expiry-time": "20301231",
        "command": command,
    }


def test_the_fingerprint_is_the_one_that_openssh_prints(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(public_key())
    shown = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
    assert shown.split()[1] == ed25519_key(public_key()).fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx", "a private key"),
        ("ssh-rsa AAAA", "no Ed25519 public key"),
        (public_key()[:60], "no whole Ed25519"),
        ("ssh-ed25519 !", "no whole Ed25519"),
        (f"{public_key()}\n{public_key(2)}", "in one line"),
        ('command="x" ' + public_key(), "no Ed25519 public key"),
    ],
)
def test_what_is_no_public_key_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        ed25519_key(text)


@pytest.mark.parametrize("strangers", [STRANGERS, STRANGERS + b"\n", b"", b"\n", b"x", b"\r\n# x"])
def test_strangers_lines_survive_byte_for_byte(strangers):
    content = with_line(strangers, line())
    assert content == line().encode() + b"\n" + strangers
    content = with_line(content, line(2, "pull"))
    content = with_line(content, line(3))  # another key of the first label takes its place
    assert content == (line(2, "pull") + "\n" + line(3) + "\n").encode() + strangers
    assert with_line(content, line(3)) == content
    assert without_label(without_label(content, "run"), "pull") == strangers


def test_a_line_in_the_middle_is_replaced_where_it_stands():
    first, second, last = STRANGERS.partition(b"\n")
    content = first + second + line().encode() + b"\r\n" + last
    replaced = with_line(content, line(2))
    assert replaced == first + second + line(2).encode() + b"\n" + last
    assert without_label(replaced, "run") == STRANGERS


def test_one_label_has_one_line_unless_another_is_to_stand_beside_it():
    both = with_line(with_line(STRANGERS, line()), line(2), beside=True)
    assert both == (line(2) + "\n" + line() + "\n").encode() + STRANGERS
    assert with_line(both, line(2), beside=True) == both
    assert with_line(both, line(3)) == line(3).encode() + b"\n" + STRANGERS
    kept = without_label(both, "run", but=ed25519_key(public_key(2)).fingerprint)
    assert kept == line(2).encode() + b"\n" + STRANGERS


def test_a_label_is_not_left_without_the_key_that_is_to_stay():
    with pytest.raises(Refusal, match="nothing is removed"):
        without_label(with_line(STRANGERS, line()), "run", but=ed25519_key(public_key(2)).fingerprint)


@pytest.mark.parametrize("options", ["", "restrict ", 'command="/bin/sh" '])
def test_a_key_that_may_do_something_else_already_is_refused(options):
    """Sshd takes the first line that fits: a stranger's could give it a shell."""
    content = STRANGERS + f"\n{options}{public_key(comment='mine')}\n".encode()
    with pytest.raises(Refusal, match="in line 12"):
        with_line(content, line())
    with pytest.raises(Refusal, match="the key 'run'"):
        with_line(with_line(b"", line()), line(label="pull"))


class File:
    """The file of an account, edited as by hand."""

    def __init__(self, folder, gate):
        self.path = folder / ".ssh" / "authorized_keys"
        self.gate = gate

    def __call__(self, *arguments, stdin=""):
        return self.gate.start("--authorize", *arguments, "--authorized-keys", str(self.path), input=stdin)

    def changed(self, *arguments, **settings):
        done = self(*arguments, **settings)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refused(self, said, *arguments, **settings):
        done = self(*arguments, **settings)
        assert (done.stdout, done.returncode) == ("", settings.get("status", done.returncode))
        assert done.returncode in (2, 126)
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def backups(self):
        return sorted(self.path.parent.glob("authorized_keys.dea-*"))

    def mode(self):
        return stat.S_IMODE(self.path.stat().st_mode), stat.S_IMODE(self.path.parent.stat().st_mode)


@pytest.fixture
def file(tmp_path, gate):
    home = tmp_path / "account"
    home.mkdir(mode=0o755)
    return File(home, gate)


def test_a_first_key_makes_the_file(file):
    assert "the key run is let in" in file.changed("run", "--public-key", public_key())
    command = forced_command(sys.executable, str(file.gate.checkout), "run")
    assert file.path.read_text() == authorized_keys_line(public_key(), command) + "\n"
    assert file.mode() == (0o600, 0o700)
    assert file.backups() == []


def test_a_second_call_changes_nothing(file):
    file.changed("run", "--public-key", public_key())
    before = file.path.stat()
    assert "nothing to change" in file.changed("run", "--public-key", "-", stdin=public_key() + "\n")
    assert (file.path.stat().st_ino, file.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert file.backups() == []


def test_the_file_as_it_was_is_kept_and_so_are_strangers(file):
    file.path.parent.mkdir(mode=0o700)
    file.path.write_bytes(STRANGERS)
    file.path.chmod(0o600)
    file.changed("run", "--public-key", public_key())
    (backup,) = file.backups()
    assert backup.read_bytes() == STRANGERS
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert file.path.read_bytes().endswith(b"\n" + STRANGERS)
    file.changed("--remove", "run")
    assert file.path.read_bytes() == STRANGERS
    assert "no line of the key 'run' is to be removed" in file.changed("--remove", "run")
    for number in range(2, 20):
        file.changed("run", "--public-key", public_key(number))
    assert len(file.backups()) == authorized_keys_file.BACKUPS


def test_what_is_let_in_is_listed(file):
    file.path.parent.mkdir(mode=0o700)
    file.path.write_bytes(STRANGERS)
    file.changed("run", "--public-key", public_key(), "--allow", "exec_*", "--allow", "quota", "--from", "192.0.2.0/24")
    file.changed("pull", "--public-key", public_key(2), "--only", "git_pull", "--expires", "2099-12-31")
    listed = file.gate.start("--json", "--authorize", "--authorized-keys", str(file.path))
    found = json.loads(listed.stdout)
    assert [(one["label"], one["only"], one["allow"]) for one in found["keys"]] == [
        ("pull", "git_pull", []),
        ("run", None, ["exec_*", "quota"]),
    ]
    assert [one["expires"] for one in found["keys"]] == ["20991231", ""]
    assert [one["from"] for one in found["keys"]] == ["", "192.0.2.0/24"]
    assert found["strangers"] == 5
    assert f"run: {ed25519_key(public_key()).fingerprint}, may run exec_* quota, from 192.0.2.0/24\n" in file.changed()


def test_another_key_beside_may_do_what_the_first_may(file):
    file.changed(
        "run", "--public-key", public_key(), "--allow", "exec_*", "--from", "192.0.2.1", "--expires", "2099-12-31"
    )
    file.changed("run", "--public-key", public_key(2), "--beside")
    new, old = file.path.read_text().splitlines()
    assert new == old.replace(public_key(), public_key(2))
    file.changed("run", "--public-key", public_key(3), "--beside", "--expires", "2098-12-31")
    assert file.path.read_text().splitlines()[0] == new.replace(public_key(2), public_key(3)).replace("2099", "2098")
    file.changed("--remove", "run", "--except", ed25519_key(public_key(2)).fingerprint)
    assert file.path.read_text() == new + "\n"
    file.refused("there is no line of the key 'pull'", "pull", "--public-key", public_key(4), "--beside")


def test_the_line_alone_can_be_printed(file):
    printed = file.changed("run", "--public-key", public_key(), "--print")
    assert entry_of(printed).label == "run"
    assert not file.path.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "--public-key is missing"),
        (["run", "--publickey", "x"], "unrecognized arguments: --publickey x: python3 dea/remote --authorize --help"),
        (["run", "--public-key", "/no/such/file"], "/no/such/file cannot be read"),
        (["run", "--public-key", "ssh-rsa AAAA"], "no Ed25519 public key"),
        (["a b", "--public-key", public_key()], "'a b' is no key label"),
        (["../x", "--public-key", public_key()], "is no key label"),
        (["run", "--public-key", public_key(), "--only", "../x"], "is no name of a command"),
        (["run", "--public-key", public_key(), "--allow", 'x" y'], "is no pattern of commands"),
        (["run", "--public-key", public_key(), "--allow", "x", "--only", "x"], "exclude each other"),
        (["run", "--public-key", public_key(), "--from", 'x",command="/bin/sh'], "is no list of addresses"),
        (["run", "--public-key", public_key(), "--from", ""], "--from '' is no list of addresses"),
        (["run", "--public-key", public_key(), "--expires", "tomorrow"], "is no date"),
        (["run", "--public-key", public_key(), "--expires", ""], "--expires '' is no date"),
        (["run", "--public-key", public_key(), "--expires", "2001-01-01"], "is over"),
        (["run", "--public-key", public_key(), "--checkout", "here"], "is no absolute path"),
        (["run", "--public-key", public_key(), "--checkout", "/no/such"], "/no/such cannot be looked at"),
        (["run", "--public-key", public_key(), "--python", "/no/python"], "/no/python cannot be executed"),
        (["run", "--public-key", public_key(), "--beside", "--allow", "x"], "leave out --allow"),
        (
            ["--public-key", public_key()],
            "without a LABEL, keys are listed and nothing is done: leave out --public-key",
        ),
        (["run", "--public-key", public_key(), "--except", "SHA256:x"], "--except is for --remove"),
    ],
)
def test_what_would_let_in_something_else_is_refused(file, arguments, said):
    if "cannot be looked at" in said:
        done = file(*arguments)
        assert done.returncode == 126
        assert said in done.stderr
    else:
        file.refused(said, *arguments)
    assert not file.path.exists() or file.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("arguments", "passed_over"),
    [
        (["run", "--public-key", public_key(2), "--beside", "--print"], "--print"),
        (["run", "--public-key", public_key(2), "--beside", "--state", "/elsewhere"], "--state"),
        (["--remove", "run", "--print"], "--print"),
        (["run", "--remove", "run"], "LABEL"),
    ],
)
def test_what_would_be_passed_over_is_refused(file, arguments, passed_over):
    """Who gives `--print` expects that nothing is changed."""
    file.changed("run", "--public-key", public_key())
    before = file.path.read_bytes()
    file.refused(f"leave out {passed_over}", *arguments)
    assert file.path.read_bytes() == before


def test_a_label_that_nobody_has_is_said_not_to_be_there(file):
    """Who shuts a key out must not be told that all is well because of a slip of the pen."""
    file.changed("run", "--public-key", public_key())
    assert "no line of the key 'rum' is to be removed" in file.changed("--remove", "rum")


def test_a_checkout_that_others_can_write_is_not_served(file):
    (file.gate.checkout / "dea" / "remote" / "__main__.py").chmod(0o664)
    file.refused("__main__.py can be written by others", "run", "--public-key", public_key())


def test_a_key_never_lets_keys_in(gate):
    """Whoever holds a key could let another one in, with a shell."""
    for word in ("--authorize", "--authorize run --public-key -", "--bootstrap --repository /x"):
        done = gate(word)
        assert (done.stdout, done.returncode) == ("", 126)
        assert "not to a key" in done.stderr


def test_a_symbolic_link_is_not_followed(file, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(STRANGERS)
    file.path.parent.mkdir(mode=0o700)
    file.path.symlink_to(elsewhere)
    file.refused("is a symbolic link", "run", "--public-key", public_key())
    file.path.unlink()
    file.path.parent.rmdir()
    (tmp_path / "folder").mkdir()
    file.path.parent.symlink_to(tmp_path / "folder")
    file.refused("is no plain folder", "run", "--public-key", public_key())
    assert elsewhere.read_bytes() == STRANGERS
    assert list((tmp_path / "folder").iterdir()) == []


def test_what_is_no_file_of_keys_is_refused(file):
    file.path.mkdir(parents=True)
    file.path.parent.chmod(0o700)
    file.refused("cannot be opened", "run", "--public-key", public_key())
    file.path.rmdir()
    os.mkfifo(file.path)
    file.refused("is no plain file", "run", "--public-key", public_key())
    file.path.unlink()
    file.path.write_bytes(b"x" * (1024 * 1024 + 1))
    file.path.chmod(0o600)
    file.refused("that is no file of keys", "run", "--public-key", public_key())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(file):
    file.changed("run", "--public-key", public_key())
    before = file.path.read_bytes()
    os.chown(file.path, 12345, -1)
    file.refused("no plain file of this account's own", "run", "--public-key", public_key(2))
    assert file.path.read_bytes() == before
    os.chown(file.path, 0, -1)
    os.chown(file.path.parent, 12345, -1)
    file.refused("no plain folder of this account's own", "run", "--public-key", public_key(2))


def test_modes_are_put_right_and_that_is_said(file):
    file.changed("run", "--public-key", public_key())
    file.path.chmod(0o664)
    file.path.parent.chmod(0o755)
    said = file.changed("run", "--public-key", public_key())
    assert file.mode() == (0o600, 0o700)
    assert "had mode 0664, now 0600. Others could write it until now: look through its lines." in said
    file.path.parent.parent.chmod(0o775)
    file.refused("can be written by others", "run", "--public-key", public_key())


def test_a_folder_that_holds_more_than_keys_stays_readable(file):
    """The home folder, say, where the site has sshd look for the file there."""
    file.path = file.path.parent.parent / "keys"
    file.changed("run", "--public-key", public_key())
    assert file.mode() == (0o600, 0o755)
    file.path.parent.chmod(0o775)
    assert "had mode 0775, now 0755" in file.changed("run", "--public-key", public_key())
    assert file.mode() == (0o600, 0o755)


def test_edits_take_turns(file):
    """Each of many at once finds what the one before it has left."""
    path = str(file.path)
    workers = [
        threading.Thread(target=edit, args=(path, lambda content, n=n: with_line(content, line(n, f"key{n}"))))
        for n in range(1, 21)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    labels = {entry_of(one).label for one in file.path.read_text().splitlines()}
    assert labels == {f"key{n}" for n in range(1, 21)}


def test_an_edit_that_does_not_end_is_not_waited_for_forever(file, monkeypatch):
    file.changed("run", "--public-key", public_key())
    monkeypatch.setattr(authorized_keys_file, "LOCK_TIMEOUT_S", 0.1)
    with file.path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="locked by another edit"):
            edit(str(file.path), lambda content: content + b"\n")


def test_what_somebody_else_appends_meanwhile_is_not_lost(file):
    """Programs that know nothing of our lock, ssh-copy-id for one."""
    file.changed("run", "--public-key", public_key())
    appended = b"ssh-rsa AAAAB8 meanwhile\n"
    calls = []

    def change(content):
        if not calls:
            with file.path.open("ab") as other:
                other.write(appended)
        calls.append(content)
        return with_line(content, line(2, "pull"))

    assert edit(str(file.path), change).changed
    assert len(calls) == 2
    assert file.path.read_bytes() == line(2, "pull").encode() + b"\n" + calls[0] + appended


def test_an_edit_that_is_killed_anywhere_leaves_the_old_file_or_the_new_one(file):
    """Right before each thing that it changes, as a power cut would; the next edit finishes and cleans up."""
    step = file.path.parent.parent / "step"
    file.changed("run", "--public-key", public_key())
    ours = file.path.read_bytes()
    arguments = ("--authorize", "run", "--public-key", public_key(2), "--authorized-keys", str(file.path))
    kills = 0
    while True:
        file.path.write_bytes(ours + STRANGERS)
        step.write_text(f"{kills + 1}\n")
        python, *program = file.gate.program
        killed = subprocess.run(
            [python, str(DRIVER), str(step), *program, *arguments], capture_output=True, check=False
        )
        done = ours.replace(public_key().encode(), public_key(2).encode()) + STRANGERS
        assert file.path.read_bytes() in (ours + STRANGERS, done)
        for draft in file.path.parent.glob("authorized_keys.new-*"):
            os.utime(draft, (0, 0))
        file.changed("pull", "--public-key", public_key(3), "--only", "git_pull")
        assert not list(file.path.parent.glob("authorized_keys.new-*"))
        file.changed("--remove", "pull")
        file.changed("run", "--public-key", public_key(2))
        assert file.path.read_bytes() == done
        if killed.returncode == 0:
            break
        assert killed.returncode == -9, killed.stderr
        kills += 1
    assert kills >= 5


@pytest.mark.parametrize("call", ["rename", "fsync", "write"])
def test_a_write_that_fails_leaves_the_file_as_it_was(file, monkeypatch, call):
    file.changed("run", "--public-key", public_key())
    before = file.path.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr(authorized_keys_file, "write_durably", fail)
    else:
        monkeypatch.setattr(authorized_keys_file.os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        edit(str(file.path), lambda content: with_line(content, line(2, "pull")))
    assert file.path.read_bytes() == before
    assert not list(file.path.parent.glob("*.new-*"))
