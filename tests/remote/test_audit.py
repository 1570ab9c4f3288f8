"""The audit log: whole lines, chained, whatever happens while they are written; and what checking it finds."""

import errno
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dea.remote import audit
from dea.remote.audit import NO_LINE, Audit


@pytest.fixture(autouse=True)
def system_log(tmp_path, monkeypatch):
    """A socket in the place of the system's log."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(10)
        monkeypatch.setattr(audit, "SYSLOG", str(tmp_path / "log"))
        monkeypatch.setattr(audit, "SYSLOG_TIMEOUT_S", 0.01)
        yield listening


@pytest.fixture
def logging_gate(gate, tmp_path):
    """A checkout whose dispatcher writes to that socket."""
    module = gate.checkout / "dea" / "remote" / "audit.py"
    module.write_text(module.read_text().replace('"/dev/log"', repr(str(tmp_path / "log"))))
    return gate


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


def test_a_clock_that_was_set_back_does_not_break_the_chain(gate, monkeypatch):
    times = iter(f"2026-{month}-01T00:00:00.000Z" for month in ("03", "04", "03", "01", "04"))
    monkeypatch.setattr(audit, "timestamp", lambda seconds: next(times))
    for _ in range(5):
        Audit(str(gate.state), "test", "").record(("received", {}))
    assert [path.name[-13:] for path in gate.logs()] == ["2026-03.jsonl", "2026-04.jsonl"]
    assert [line["time"][5:7] for line in gate.audit()] == ["03", "04", "03", "01", "04"]
    assert verify(gate)[1]["problems"] == []


@pytest.mark.parametrize("order", [("01", "02"), ("02", "01")])
def test_a_month_that_ends_while_others_wait_to_write_does_not_break_the_chain(gate, monkeypatch, order):
    """One process has the old file open, and waits for its lock, when another begins the new month's."""
    month = threading.local()
    monkeypatch.setattr(audit, "timestamp", lambda seconds: f"2026-{month.now}-01T00:00:00.000Z")
    opened = threading.Semaphore(0)
    lock = audit._lock
    monkeypatch.setattr(audit, "_lock", lambda descriptor: (opened.release(), lock(descriptor)))

    def record(now):
        month.now = now
        Audit(str(gate.state), "test", "").record(("received", {"said": now}))

    record("01")
    assert opened.acquire(timeout=10)
    with gate.logs()[0].open("rb") as held, ThreadPoolExecutor(2) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = []
        for now in order:
            waiting.append(pool.submit(record, now))
            # Both have opened what they take for the newest file, and neither can go on.
            assert opened.acquire(timeout=10)
        fcntl.flock(held, fcntl.LOCK_UN)
        for one in waiting:
            one.result(timeout=20)
    assert sorted(line["said"] for line in gate.audit()) == ["01", "01", "02"]
    assert verify(gate)[1]["problems"] == []


def test_other_files_in_the_folder_are_no_logs(gate):
    gate("echo_args a")
    for name in ("notes.jsonl", f"{os.uname().nodename}-archive.jsonl", f"{os.uname().nodename}-2026-01.jsonl.gz"):
        (gate.state / "audit" / name).write_text("not a log\n")
    assert gate("echo_args b").returncode == 0
    assert verify(gate)[1]["lines"] == {os.uname().nodename: 6}
    assert verify(gate)[1]["intact"]


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
        (lambda lines: [*lines, b'{"seq": 7, "event": "ended", "prev": null}\n'], "line 7 does not follow"),
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


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"\xff\xfe", b'{"seq": 1e999, "prev": "", "event": ""}', b"[" * 5000]
)
def test_one_damaged_line_is_one_fault_and_not_one_for_each_that_follows(gate, damage):
    gate("echo_args a")
    with gate.logs()[0].open("ab") as file:
        file.write(damage + b"\n")
    for _ in range(3):
        assert gate("echo_args b").returncode == 0
    status, found = verify(gate)
    assert status == 1
    assert len(found["problems"]) <= 2
    assert "line 4" in found["problems"][0]


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


def test_a_log_that_is_not_there_at_all_is_not_intact(gate):
    status, found = verify(gate)
    assert (status, found["intact"]) == (1, False)
    assert "there is no audit log" in found["problems"][0]


def test_only_commands_without_an_end_are_said_to_have_none(gate):
    gate.add("bad", "#!/nonexistent/sh\n")
    gate.add("kills", "#!/bin/sh\nkill -9 $PPID\n")
    assert gate("bad").returncode == 126
    assert gate("nope").returncode == 127
    assert verify(gate)[1]["remarks"] == []
    assert gate("kills").returncode == -signal.SIGKILL
    for question in ("--list", "--version"):
        assert gate(question).returncode == 0  # has an end, and is no command's
    assert "1 commands have no recorded end" in verify(gate)[1]["remarks"][0]


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


KILLED_AT_A_STEP = """
import os, sys, fcntl
sys.path.append(sys.argv[1])
count = int(sys.argv[2])
def killing(call):
    def wrapped(*args, **kwargs):
        global count
        if count == 0 and call is pwrite:
            # in the middle of a write: half of it is there
            pwrite(args[0], args[1][: len(args[1]) // 2], args[2])
        if count <= 0:
            os.kill(os.getpid(), 9)
        count -= 1
        return call(*args, **kwargs)
    return wrapped
from dea.remote import audit
pwrite = os.pwrite
calls = "open listdir stat fstat mkdir pread ftruncate pwrite close"
for module, name in ((fcntl, "flock"), *((os, name) for name in calls.split())):
    setattr(module, name, killing(getattr(module, name)))
log = audit.Audit(sys.argv[3], "test", "")
log.record(("received", {}), ("started", {}))
log.record(("ended", {}))
"""


@pytest.fixture
def record_until_killed(gate):
    """Record a run, and be killed before a call into the kernel, the one of that number; return whether it got to its end."""

    def record(step):
        command = [sys.executable, "-I", "-S", "-c", KILLED_AT_A_STEP, str(gate.checkout), str(step), str(gate.state)]
        status = subprocess.run(command, check=False).returncode
        assert status in (0, -signal.SIGKILL)
        return status == 0

    return record


@pytest.mark.slow
def test_killed_at_any_step_it_leaves_a_chain_that_verifies(gate, record_until_killed):
    """SIGKILL before every call into the kernel that one dispatch makes while it records, one dispatch for each."""
    gate("echo_args a")
    for step in range(100):
        ended = record_until_killed(step)
        assert verify(gate)[1]["problems"] == []
        if ended:
            break
    else:
        pytest.fail("it never got to its end")
    assert step > 15
    remarks = verify(gate)[1]["remarks"]
    assert any("cut off" in remark for remark in remarks)
    assert any("no recorded end" in remark for remark in remarks)


@pytest.mark.slow
def test_killed_at_any_step_of_the_very_first_record(gate, record_until_killed):
    for step in range(100):
        shutil.rmtree(gate.state, ignore_errors=True)
        if record_until_killed(step):
            break
        assert gate("echo_args a").returncode == 0
        assert verify(gate)[1]["problems"] == []
    else:
        pytest.fail("it never got to its end")


@pytest.mark.slow
def test_killed_at_any_step_of_a_recovery_the_loss_is_still_said(gate, record_until_killed):
    gate("echo_args a")
    (log,) = gate.logs()
    whole = log.read_bytes()
    for step in range(100):
        # Once a fragment that is shorter than what is written over it, once one that is longer.
        for fragment in (b'{"seq": 4, "time": "2026', b'{"seq": 4, ' + b"x" * 5000):
            log.write_bytes(whole + fragment)
            ended = record_until_killed(step)
            assert gate("echo_args b").returncode == 0
            assert verify(gate)[1]["problems"] == []
            assert any("cut off" in remark for remark in verify(gate)[1]["remarks"])
        if ended:
            break
    else:
        pytest.fail("it never got to its end")


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


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
def test_a_really_full_disk_refuses_the_run_and_leaves_no_half_line(gate):
    gate.state.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", gate.state], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert gate("echo_args a").returncode == 0
        with (gate.state / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(b"x" * 4096)
        (log,) = gate.logs()
        # What is left of the log's last block takes some more lines.
        ends = [gate(f"echo_args {'b' * 500}") for _ in range(10)]
        assert {(done.stdout[:1], done.returncode) for done in ends} == {("b", 0), ("", 126)}
        assert (ends[-1].stdout, ends[-1].returncode) == ("", 126)
        assert "No space left on device" in ends[-1].stderr or "no room for a whole line" in ends[-1].stderr
        assert log.read_bytes().endswith(b"\n")
        assert verify(gate)[1]["problems"] == []
        (gate.state / "filler").unlink()
        assert gate("echo_args c").returncode == 0
        assert verify(gate)[1]["problems"] == []
    finally:
        subprocess.run(["umount", gate.state], check=True)


def test_a_full_disk_keeps_a_fragment_as_it_was(gate):
    gate("echo_args a")
    (log,) = gate.logs()
    with log.open("ab") as file:
        file.write(b'{"seq": 4, "time": "2026')
    before = log.read_bytes()
    limit = (len(before) + 100, resource.RLIM_INFINITY)
    done = gate("echo_args b", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert (done.stdout, done.returncode) == ("", 126)
    assert log.read_bytes() == before


@pytest.mark.parametrize("path", ["", "audit", "log"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_log_that_others_could_write_is_not_trusted(gate, path, mode):
    gate("echo_args a")
    (log,) = gate.logs()
    victim = log if path == "log" else gate.state / path
    victim.chmod(victim.stat().st_mode | mode)
    done = gate("echo_args b")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "can be written by others (mode " in done.stderr


def test_a_pipe_in_the_logs_place_does_not_hang(gate):
    gate("echo_args a")
    (log,) = gate.logs()
    log.unlink()
    os.mkfifo(log)
    done = gate("echo_args b")
    assert (done.stdout, done.returncode) == ("", 126)


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
        assert time.monotonic() - begin < 30


@pytest.mark.slow
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


def test_the_systems_log_gets_every_line_and_the_head(gate, system_log):
    log = Audit(str(gate.state), "test", "")
    log.record(("received", {"request": "x" * 5000}), ("refused", {"status": 2}))
    said = [system_log.recv(65536).decode().partition("]: ") for _ in range(3)]
    assert all(
        re.fullmatch(r"<86>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d dea-remote\[\d+", begin) for begin, _, _ in said
    )
    texts = [text for _, _, text in said]
    assert texts[0].startswith('{"seq": 1, ')
    assert len(texts[0]) < 1100
    assert json.loads(texts[1])["status"] == 2
    assert texts[2] == f"audit head {log.head}"


def test_the_systems_log_is_told_before_the_command_starts(logging_gate, system_log):
    logging_gate.add("kills", "#!/bin/sh\nkill -9 $PPID\n")
    logging_gate("kills")
    said = [system_log.recv(65536) for _ in range(3)]
    assert b'"event": "received"' in said[0]
    assert b'"event": "started"' in said[1]
    assert b"audit head" in said[2]


def test_a_systems_log_that_is_stuck_keeps_nothing_waiting(logging_gate):
    """Nobody reads what is sent there: after some datagrams (net.unix.max_dgram_qlen), sending blocks."""
    begin = time.monotonic()
    for _ in range(4):
        assert logging_gate("echo_args a").stdout == "a|"
    assert time.monotonic() - begin < 20
    assert verify(logging_gate)[1]["intact"]


@pytest.mark.parametrize("document", [{}, {"max_parallel": 1}])
def test_the_log_and_its_folders_are_for_the_account_alone(gate, document):
    gate.approve("echo_args", **document)
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
        "deploy --tokens3cret",
        "deploy --token:s3cret",
        "depoly --token s3cret",
        "--explain depoly --token s3cret",
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
