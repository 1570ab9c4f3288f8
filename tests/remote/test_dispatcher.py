"""The dispatcher as sshd starts it and as a person starts it, with nothing installed."""

import fcntl
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_runs_the_command_with_the_words_of_the_request(gate):
    done = gate("echo_args 'a b' c")
    assert (done.stdout, done.stderr, done.returncode) == ("a b|c|", "", 0)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("", 2),
        (None, 2),
        ("echo_args 'a", 2),
        ("nope", 127),
        ("../echo_args", 127),
        ("echo_args; id", 126),
        ("echo_args a\nb", 126),
    ],
)
def test_what_does_not_run_says_why_on_stderr_alone(gate, request_text, status):
    done = gate(request_text)
    assert (done.stdout, done.returncode) == ("", status)
    assert done.stderr.startswith("dea-remote: ")
    assert "Traceback" not in done.stderr
    assert [line["event"] for line in gate.audit()] == ["received", "refused"]
    assert gate.audit()[1]["status"] == status


def test_the_commands_own_status_is_passed_on_even_127(gate):
    gate.add("x127", "#!/bin/sh\nexit 127\n")
    assert gate("x127").returncode == 127
    assert gate.audit()[-1]["event"] == "ended"


def test_a_killed_command_gives_128_and_the_signal(gate):
    gate.add("dies", "#!/bin/sh\nkill -9 $$\n")
    assert gate("dies").returncode == 137


def test_output_passes_as_it_comes(gate):
    gate.add("slow", '#!/bin/sh\necho first\nread line < "$HOME/fifo"\necho second\n')
    os.mkfifo(gate.home / "fifo")
    with subprocess.Popen(
        [*gate.program, "--key", "test", "--home", str(gate.home)],
        stdout=subprocess.PIPE,
        env={"SSH_ORIGINAL_COMMAND": "slow"},
    ) as running:
        assert running.stdout.readline() == b"first\n"
        assert running.poll() is None
        (gate.home / "fifo").write_text("go\n")
        assert running.stdout.read() == b"second\n"


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda gate: gate.add("bad", "#!/bin/sh\n", mode=0o644), "not executable"),
        (lambda gate: gate.add("bad", "#!/nonexistent/sh\n"), "cannot be started"),
        (lambda gate: gate.add("bad", "#!/bin/sh\r\nexit 0\r\n"), "cannot be started"),
        (lambda gate: (gate.scripts / "bad").symlink_to(gate.scripts / "echo_args"), "symbolic links"),
        (
            lambda gate: [(gate.scripts / "bad").mkdir(), (gate.scripts / "bad" / "run").symlink_to("/bin/true")],
            "symbolic links",
        ),
        (lambda gate: (gate.scripts / "bad" / "run").mkdir(parents=True), "plain file"),
    ],
)
def test_a_command_that_cannot_be_run_as_it_stands_is_refused(gate, prepare, said):
    prepare(gate)
    done = gate("bad")
    assert (done.stdout, done.returncode) == ("", 126)
    assert said in done.stderr


def test_a_folder_without_run_and_a_plain_file_are_no_commands(gate):
    (gate.scripts / "norun").mkdir()
    (gate.scripts / "single").write_text("#!/bin/sh\n")
    assert gate("norun").returncode == 127
    assert gate("single").returncode == 127


def test_the_environment_of_the_client_does_not_reach_the_command(gate):
    gate.add("env", "#!/bin/sh\n/usr/bin/env\n")
    planted = dict.fromkeys(("BASH_ENV", "PYTHONPATH", "LC_ALL", "TMPDIR", "HOME", "DEA_X", "SSH_USER_AUTH"), "/x")
    seen = dict(line.split("=", 1) for line in gate("env", env=planted).stdout.splitlines())
    account = pwd.getpwuid(os.getuid())
    assert {name: value for name, value in seen.items() if name not in ("PWD", "_", "SHLVL", "OLDPWD")} == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(gate.home),
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell,
        "LANG": "C.UTF-8",
        "DEA_COMMAND": "env",
        "DEA_PREFIX": seen["DEA_PREFIX"],
    }
    assert seen["DEA_PREFIX"].startswith(f"{gate.home}/.dea-orchestration/prefix/env-")


def test_nothing_of_how_the_dispatcher_was_started_reaches_the_command(gate):
    gate.add("show", "#!/bin/sh\nls /proc/self/fd\numask\ngrep -E '^Sig(Ign|Blk)' /proc/self/status\n")
    read, write = os.pipe()

    def spoil():
        os.umask(0)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])

    done = gate("show", pass_fds=(read, write), preexec_fn=spoil)
    os.close(read)
    os.close(write)
    *descriptors, umask, blocked, ignored = done.stdout.split("\n")[:-1]
    assert descriptors == ["0", "1", "2", "3"]  # 3 is the listing itself
    assert umask == "0027"
    # Two real-time signals belong to the C library, which does not let go of them.
    assert [int(mask.partition("\t")[2], 16) & 0x7FFFFFFF for mask in (blocked, ignored)] == [0, 0]


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_missing_descriptor_is_none_that_the_log_gets(gate, descriptor):
    command = ["/bin/sh", "-c", f'exec "$@" {descriptor}>&-', "sh", *gate.program, *gate.options]
    done = subprocess.run(command, env=gate.environment("nope"), capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 127)
    assert done.stderr.startswith("dea-remote: ") is (descriptor != 2)
    assert [line["event"] for line in gate.audit()] == ["received", "refused"]


def test_stdin_is_empty(gate):
    gate.add("in", "#!/bin/sh\nread x && exit 99; exit 0\n")
    assert gate("in", input="secret\n").returncode == 0


@pytest.mark.parametrize(
    "options", [("--key",), ("--key", ""), ("--home", "/x"), ("--key", "a", "--allow-all"), ("--state", "/x")]
)
def test_a_forced_command_that_is_wrong_lets_nothing_through(gate, options):
    done = gate("echo_args a", *options)
    assert (done.stdout, done.returncode) == ("", 126)
    assert "authorized_keys" in done.stderr


def test_without_a_key_the_clients_request_is_not_looked_at(gate):
    done = gate.start("echo_args", "by hand", env={"SSH_ORIGINAL_COMMAND": "echo_args sent"})
    assert (done.stdout, done.returncode) == ("by hand|", 0)


def test_gate_options_in_the_request_are_no_options(gate):
    assert gate("--key other echo_args").returncode == 2
    assert gate("echo_args --key other").stdout == "--key|other|"


def test_what_cannot_be_recorded_does_not_run(gate):
    (gate.home / ".dea-orchestration").write_text("in the way")
    done = gate("echo_args a")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "audit" in done.stderr


def test_the_state_folder_can_be_elsewhere(gate, tmp_path):
    assert (
        gate("echo_args a", "--key", "test", "--home", str(gate.home), "--state", str(tmp_path / "state")).returncode
        == 0
    )
    assert list((tmp_path / "state" / "audit").glob("*.jsonl"))
    assert not (gate.home / ".dea-orchestration").exists()


def test_audit_lines_are_for_the_account_alone_and_escape_what_steers_a_terminal(gate):
    gate("echo_args \x1b]0;x\x07")
    (log,) = (gate.home / ".dea-orchestration" / "audit").glob("*.jsonl")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "\x1b" not in log.read_text()
    assert gate.audit()[0]["request"] == "echo_args \x1b]0;x\x07"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_dispatcher_reaches_the_command(gate, signum):
    gate.add("waits", "#!/bin/sh\necho ready\nexec sleep 60\n")
    settings = {"stdout": subprocess.PIPE, "preexec_fn": lambda: signal.signal(signum, signal.SIG_DFL)}
    with subprocess.Popen([*gate.program, "waits"], **settings) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signum)
        assert running.wait(20) == 128 + signum


def test_a_hangup_that_was_to_be_ignored_is_not_handed_on(gate):
    """As nohup(1) starts it, by hand."""
    gate.add("waits", '#!/bin/sh\necho ready\nread line < "$HOME/fifo"\n')
    os.mkfifo(gate.home / "fifo")
    command = [*gate.program, "--key", "test", "--home", str(gate.home)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=gate.environment("waits"),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 - this process has one thread
    ) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGHUP)
        (gate.home / "fifo").write_text("go\n")
        assert running.wait(20) == 0


def test_the_file_and_the_folder_both_start_it_and_shadow_nothing(tmp_path):
    """Modules with the names of the standard library's, planted in the current folder and on PYTHONPATH, are not imported."""
    for name in ("os", "stat", "pwd", "time", "sitecustomize", "dea"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    folder = ROOT / "dea" / "remote"
    (tmp_path / "link").symlink_to(folder)
    for how in (str(folder / "__main__.py"), str(folder), f"{folder}/", "link", os.path.relpath(folder, tmp_path)):
        done = subprocess.run(
            [sys.executable, "-I", "-S", how, "nope"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
        )
        assert (done.returncode, done.stdout) == (127, "")
        assert done.stderr == "dea-remote: there is no command nope: --list names those that there are\n"


def test_the_locale_that_a_client_chose_does_not_change_a_word(gate):
    """Where sshd has `AcceptEnv LC_*`, as Debian's has, a client decides what Python takes for the file system's encoding."""
    gate.add("hex", '#!/bin/sh\nprintf %s "$1" | od -An -tx1\n')
    gate.program = (*gate.program[:3], "-X", "utf8=0", gate.program[3])  # what keeps LC_ALL=C from meaning UTF-8
    done = gate("hex é数", env={"LC_ALL": "C"})
    assert (done.stdout, done.stderr) == (" c3 a9 e6 95 b0\n", "")
    by_hand = gate.start("hex", b"\xe9", env={"LC_ALL": "C"})
    assert by_hand.stdout == " e9\n"


def test_a_symbolic_link_is_found_whatever_the_locale(gate):
    data = gate.folder / "data"
    data.mkdir()
    (data / "é").symlink_to("/etc")
    anything = [[1, ["\0\U0010ffff", 0]]]
    rules = [{"name": "data", "type": "path", "under": [str(data)], "pattern": ".*", "automaton": anything}]
    gate.add("show", "#!/bin/sh\n", arguments=rules)
    gate.program = (*gate.program[:3], "-X", "utf8=0", gate.program[3])
    done = gate(f"show --data {data}/é/passwd", env={"LC_ALL": "C"})
    assert done.returncode == 126
    assert "leads out of" in done.stderr


def test_an_interpreter_that_is_too_old_is_told_so(gate):
    old = (
        "import runpy, sys; sys.version_info = (3, 6, 8, 'final', 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", old, gate.program[3]], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 125)
    assert done.stderr.startswith("dea-remote: this needs Python 3.9 or newer")


def test_ctrl_c_before_the_command_has_started_leaves_no_traceback(gate):
    gate("echo_args a")
    with gate.logs()[0].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        settings = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        }
        with gate.popen("echo_args b", **settings) as waiting:
            log = os.fstat(held.fileno())
            deadline = time.monotonic() + 20
            while not opened_by(waiting.pid, log) and time.monotonic() < deadline:
                time.sleep(0.01)
            waiting.send_signal(signal.SIGINT)
            assert (waiting.stdout.read(), waiting.stderr.read()) == (b"", b"")
            assert waiting.wait(20) == -signal.SIGINT


def opened_by(pid, status):
    """Tell whether a process has a file open."""
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if os.path.samestat(entry.stat(), status):
                return True
        except OSError:
            continue  # closed meanwhile
    return False


def test_by_hand_it_runs_the_checkouts_own_commands():
    done = subprocess.run(
        [sys.executable, ROOT / "dea" / "remote", "example"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "example" in done.stdout.splitlines()
