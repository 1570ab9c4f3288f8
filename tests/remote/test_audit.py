"""The audit log: whole lines, chained, whatever happens while they are written; and what checking it finds."""

import errno
import fcntl
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import syslog
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dea.remote import audit
from dea.remote.audit import NO_LINE, Audit


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """What this process would have told the system's log."""
    lines = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: lines.append(text))
    return lines


def verify(gate, *arguments):
    """Return the status and the findings of --audit-verify."""
    done = gate.start("--json", "--audit-verify", "--state", str(gate.state), *arguments)
    return done.returncode, json.loads(done.stdout)


def test_lines_are_chained_by_the_hash_of_the_line_before(gate):
    gate("echo_args a")
    gate("nope")
    (log,) = gate.logs()
    head = NO_LINE
    for number, line in enumerate(log.read_bytes().splitlines(), 1):
        fields = json.loads(line)
        assert (fields["seq"], fields["prev"]) == (number, head)
        head = hashlib.sha256(line).hexdigest()
    assert [line["event"] for line in gate.audit()] == ["received", "started", "ended", "received", "refused"]
    assert verify(gate) == (
        0,
        {"intact": True, "lines": {os.uname().nodename: 5}, "receipts": 0, "problems": [], "remarks": []},
    )


def test_a_run_leaves_who_what_when_and_how_it_ended(gate):
    gate.add("dies", "#!/bin/sh\nkill -9 $$\n")
    gate("--run-id run-0001 dies 'x y'", env={"SSH_CONNECTION": "192.0.2.7 1 192.0.2.1 22"})
    received, started, ended = gate.audit()
    for line in (received, started, ended):
        assert (line["key"], line["client"], line["run_id"]) == ("test", "192.0.2.7", "run-0001")
        assert line["time"].endswith("Z")
    assert received["request"] == "--run-id run-0001 dies 'x y'"
    assert (started["command"], started["arguments"]) == ("dies", ["x y"])
    assert (ended["outcome"], ended["status"]) == ("signaled", 137)
    assert ended["duration_s"] >= 0


def test_a_new_month_continues_the_chain(gate, monkeypatch):
    months = iter(["2026-01-31T23:59:59.000Z", "2026-02-01T00:00:00.000Z", "2026-02-01T00:00:01.000Z"])
    monkeypatch.setattr(audit, "timestamp", lambda seconds: next(months))
    for _ in range(3):
        Audit(str(gate.state), "test", "").record(("received", {}))
    assert [path.name[-13:] for path in gate.logs()] == ["2026-01.jsonl", "2026-02.jsonl"]
    assert verify(gate)[1]["intact"]
    gate.logs()[0].unlink()
    assert verify(gate)[0] == 1


def test_very_long_lines_are_chained_too(gate):
    gate("echo_args " + "'" + "é" * 30000 + "'")
    gate("echo_args a")
    assert gate.audit()[1]["arguments"] == ["é" * 30000]
    assert verify(gate)[1]["intact"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [lines[0].replace(b'"request": "', b'"request": "x'), *lines[1:]], "line 2 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: lines[:2] + lines[3:], "line 3 does not follow"),
        (lambda lines: lines[:3] + lines[2:], "line 4 does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1 does not follow"),
        (lambda lines: [*lines[:2], b"garbage\n", *lines[3:]], "line 3 is no audit line"),
        (lambda lines: [*lines[:2], b"[]\n", *lines[3:]], "line 3 is no audit line"),
    ],
)
def test_a_changed_log_is_found_out(gate, change, said):
    gate("echo_args a")
    gate("echo_args b")
    (log,) = gate.logs()
    log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))
    status, found = verify(gate)
    assert (status, found["intact"]) == (1, False)
    assert said in " ".join(found["problems"])


def test_receipts_show_what_the_chain_alone_cannot(gate, tmp_path):
    receipts = tmp_path / "receipts"
    receipts.write_text("".join(gate(f"--run-id run-000{number} echo_args").stderr for number in range(3)))
    (log,) = gate.logs()
    assert verify(gate, "--receipts", str(receipts))[1]["receipts"] == 3
    whole = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(whole[:-1]))
    assert verify(gate)[1]["intact"]  # by itself, a log that was cut off is a shorter log
    status, found = verify(gate, "--receipts", str(receipts))
    assert status == 1
    assert "was cut off" in found["problems"][0]
    # Written anew from the start, every hash in order
    log.unlink()
    for _ in range(3):
        gate("echo_args other")
    assert verify(gate)[1]["intact"]
    status, found = verify(gate, "--receipts", str(receipts))
    assert status == 1
    assert len([problem for problem in found["problems"] if "written anew" in problem]) == 3


def test_a_log_that_is_not_there_does_not_satisfy_a_receipt(gate, tmp_path):
    receipts = tmp_path / "receipts"
    receipts.write_text(gate("--run-id run-0001 echo_args").stderr)
    gate.logs()[0].unlink()
    assert verify(gate, "--receipts", str(receipts))[0] == 1


def test_what_cannot_be_verified_is_a_usage_error(gate):
    for arguments in (["--receipts"], ["--receipts", "/nonexistent"], ["--what", "x"]):
        assert gate.start("--audit-verify", *arguments).returncode == 2


def test_a_line_that_was_cut_off_is_recovered_from_and_said(gate):
    gate("echo_args a")
    (log,) = gate.logs()
    with log.open("ab") as file:
        file.write(b'{"seq": 4, "time": "2026')
    status, found = verify(gate)
    assert (status, found["intact"]) == (0, True)
    assert "the last line was cut off while it was written (24 bytes are lost)" in found["remarks"][0]
    assert gate("echo_args b").returncode == 0
    recovered = gate.audit()[3]
    assert (recovered["event"], recovered["lost"]) == ("recovered", '{"seq": 4, "time": "2026')
    status, found = verify(gate)
    assert (status, found["intact"]) == (0, True)
    assert "line 4: the line that was being written here was cut off" in found["remarks"][0]


def test_a_log_that_is_one_fragment_is_recovered_from(gate):
    gate("echo_args a")
    (log,) = gate.logs()
    log.write_bytes(b'{"seq"')
    assert gate("echo_args b").returncode == 0
    assert [line["event"] for line in gate.audit()] == ["recovered", "received", "started", "ended"]
    assert verify(gate)[1]["intact"]


def test_killed_at_any_step_it_leaves_a_chain_that_verifies(gate):
    """SIGKILL after every call into the kernel that one dispatch makes while it records, one dispatch for each."""
    script = """
import os, sys, fcntl
sys.path.append(sys.argv[1])
count = int(sys.argv[2])
def killing(call):
    def wrapped(*args, **kwargs):
        global count
        if count == 0 and call is write:
            # in the middle of a write: half of it is there
            write(args[0], args[1][: len(args[1]) // 2])
        if count <= 0:
            os.kill(os.getpid(), 9)
        count -= 1
        return call(*args, **kwargs)
    return wrapped
from dea.remote import audit
write = os.write
for module, name in ((os, "open"), (fcntl, "flock"), (os, "pread"), (os, "ftruncate"), (os, "write"), (os, "close")):
    setattr(module, name, killing(getattr(module, name)))
log = audit.Audit(sys.argv[3], "test", "")
log.record(("received", {}), ("started", {}))
log.record(("ended", {}))
"""
    for step in range(40):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, str(gate.checkout), str(step), str(gate.state)], check=False
        )
        if step == 0:
            gate.state.mkdir(exist_ok=True)
            (gate.state / "audit").mkdir(exist_ok=True)
        assert verify(gate)[1]["problems"] == []
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    else:
        pytest.fail("it never got to its end")
    assert step > 8
    assert any("cut off" in remark for remark in verify(gate)[1]["remarks"])
    assert any("no recorded end" in remark for remark in verify(gate)[1]["remarks"])


def test_a_full_disk_refuses_the_run_and_leaves_no_half_line(gate):
    gate("echo_args a")
    (log,) = gate.logs()
    size = log.stat().st_size
    # RLIMIT_FSIZE stands for the full disk: the kernel writes what fits, then fails (setrlimit(2)).
    done = gate(
        "echo_args b",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY)),
    )
    assert (done.stdout, done.returncode) == ("", 126)
    assert "the audit log cannot be written" in done.stderr
    assert log.stat().st_size == size
    assert verify(gate)[1]["intact"]


def test_a_log_that_others_stand_in_for_is_not_written_through(gate, tmp_path):
    gate("echo_args a")
    (log,) = gate.logs()
    log.unlink()
    log.symlink_to(tmp_path / "elsewhere")
    done = gate("echo_args b")
    assert (done.stdout, done.returncode) == ("", 126)
    assert not (tmp_path / "elsewhere").exists()


def test_a_refusal_says_so_too_when_it_cannot_be_recorded(gate):
    gate.state.write_text("in the way")
    done = gate("--run-id run-0001 nope")
    assert done.returncode == 126
    assert "there is no command nope" in done.stderr
    assert '"outcome": "refused"' in done.stderr


def test_an_end_that_cannot_be_recorded_does_not_hide_the_commands_status(gate):
    gate.add("breaks", f"#!/bin/sh\nrm -r {gate.state}/audit && touch {gate.state}/audit\nexit 7\n")
    done = gate("breaks")
    assert done.returncode == 7
    assert "the audit log cannot be written" in done.stderr


def test_a_lock_that_is_never_let_go_refuses_the_run_instead_of_hanging(gate, monkeypatch):
    monkeypatch.setattr(audit, "LOCK_TIMEOUT_S", 0.1)
    log = Audit(str(gate.state), "test", "")
    log.record(("received", {}))
    with gate.logs()[0].open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begin = time.monotonic()
        with pytest.raises(OSError, match="lock"):
            log.record(("received", {}))
        assert time.monotonic() - begin < 5


def test_two_hundred_at_once_leave_whole_lines_and_an_intact_chain(gate):
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda number: gate(f"--run-id run-{number:04d} echo_args {number}"), range(200)))
    assert [result.stdout for result in results] == [f"{number}|" for number in range(200)]
    lines = gate.audit()
    assert len(lines) == 600
    assert {line["run_id"] for line in lines} == {f"run-{number:04d}" for number in range(200)}
    receipts = gate.folder / "receipts"
    receipts.write_text("".join(result.stderr for result in results))
    status, found = verify(gate, "--receipts", str(receipts))
    assert (status, found["intact"], found["receipts"]) == (0, True, 200)


def test_the_systems_log_gets_every_line_and_the_head(gate, said):
    log = Audit(str(gate.state), "test", "")
    log.record(("received", {"request": "x" * 5000}), ("refused", {"status": 2}))
    assert len(said) == 3
    assert said[0].startswith('{"seq": 1, ')
    assert len(said[0]) < 1100
    assert json.loads(said[1])["status"] == 2
    assert said[2] == f"audit head {log.head}"


@pytest.mark.skipif(
    Path("/dev/log").exists() or os.getuid() != 0, reason="there is a system's log, or no right to be one"
)
def test_the_systems_log_really_gets_them(gate):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("/dev/log")
        try:
            listening.settimeout(10)
            gate("echo_args a")
            first = listening.recv(65536).decode()
        finally:
            Path("/dev/log").unlink()
    assert "dea-remote[" in first
    assert '"event": "received"' in first


def test_the_log_and_its_folders_are_for_the_account_alone(gate):
    gate("echo_args a", umask=0)
    assert [oct(path.stat().st_mode & 0o777) for path in (gate.state, gate.state / "audit", gate.logs()[0])] == [
        "0o700",
        "0o700",
        "0o600",
    ]


SECRET_RULES = [
    {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
    {"name": "text", "type": "string"},
]


@pytest.mark.parametrize(
    "request_text",
    [
        "deploy --token s3cret",
        "deploy --token=s3cret --text a",
        "deploy --token 's3cret x'",
        "deploy --tokne s3cret",
        "deploy s3cret",
        "deploy --text s3cret x",
        "deploy --token s3cret 'unbalanced",
        "'deploy' --token s3cret; id",
        'dep"loy" --token s3cret | x',
        "--explain deploy --token s3cret",
        "--run-id run-0001 deploy --token s3cret",
        "--run-id=run-0001 deploy --token s3cret \x1b",
        "--runid deploy --token s3cret",
        "--token=s3cret deploy",
    ],
)
def test_a_secret_is_recorded_nowhere(gate, request_text):
    gate.add("deploy", '#!/bin/sh\n[ -n "$TOKEN" ]\n', arguments=SECRET_RULES)
    done = gate(request_text)
    log = gate.logs()[0].read_text()
    assert "s3cret" not in log
    assert "s3cret" not in done.stderr
    assert "s3cret" not in done.stdout
    assert '"event": "received"' in log


def test_a_secret_is_not_in_the_commands_argv(gate):
    gate.add("deploy", '#!/bin/sh\ntr "\\0" " " < /proc/$$/cmdline\necho\necho "$TOKEN"\n', arguments=SECRET_RULES)
    argv, token = gate("deploy --token s3cret --text a").stdout.splitlines()
    assert token == "s3cret"
    assert "s3cret" not in argv


def test_a_command_that_may_have_a_secret_is_recorded_without_its_arguments(gate):
    gate.add("deploy", "#!/bin/sh\n", approve=False)
    gate("deploy --token s3cret")
    assert "s3cret" not in gate.logs()[0].read_text()


def test_concurrent_recorders_in_one_process_agree(gate):
    def record():
        for _ in range(20):
            Audit(str(gate.state), "test", "").record(("received", {}), ("ended", {}))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(gate)[1]["lines"] == {os.uname().nodename: 160}
    assert verify(gate)[1]["intact"]


def test_an_error_of_the_kernel_keeps_its_reason(gate):
    gate.state.mkdir()
    (gate.state / "audit").write_text("")
    with pytest.raises(OSError) as raised:
        Audit(str(gate.state), "test", "").record(("received", {}))
    assert raised.value.errno == errno.ENOTDIR
