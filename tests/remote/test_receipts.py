"""The receipt that ends a run with a run id: what it says of each way to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dea.remote.contract import take_receipt


def receipt_of(gate, request, **settings):
    done = gate(f"--run-id run-0001 {request}", text=False, **settings)
    rest, receipt = take_receipt(done.stderr, "run-0001")
    assert receipt is not None
    assert receipt.status == done.returncode
    return rest.decode(), receipt


@pytest.mark.parametrize(
    ("script", "document", "outcome", "status"),
    [
        ("exit 0", {}, "exited", 0),
        ("exit 127", {}, "exited", 127),
        ("exit 126", {}, "exited", 126),
        ("exit 137", {}, "exited", 137),
        ("kill -9 $$", {}, "signaled", 137),
        ("exec sleep 600", {"timeout": 1}, "timed_out", 124),
    ],
)
def test_a_run_that_ended(gate, script, document, outcome, status):
    gate.add("ends", f"#!/bin/sh\necho said >&2\n{script}\n", **document)
    rest, receipt = receipt_of(gate, "ends")
    assert rest.splitlines()[0] == "said"
    assert (receipt.outcome, receipt.status) == (outcome, status)
    assert receipt.received <= receipt.started <= receipt.ended
    assert receipt.children == 0
    assert (receipt.stdout_bytes, receipt.stdout_stored) == (0, 0)
    assert receipt.stderr_bytes == receipt.stderr_stored == len(rest)
    assert (receipt.attempt, receipt.attempts, receipt.replayed, receipt.retry_after_s) == (1, 1, False, None)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("nope", 127),
        ("echo_args; id", 126),
        ("echo_args a\tb", 126),
        ("echo_args 'a", 2),
        ("echo_args \udcff", 126),
        ("echo_args " + "a" * 70000, 126),
        ("aged", 2),
        ("''", 2),
        ("X", 127),
        ("", 2),
        ("--list", 2),
    ],
)
def test_a_request_that_did_not_run(gate, request_text, status):
    gate.add("aged", "#!/bin/sh\n", arguments=[{"name": "age", "type": "integer", "required": True}])
    rest, receipt = receipt_of(gate, request_text)
    assert rest.startswith("dea-remote: ")
    assert (receipt.outcome, receipt.status, receipt.started, receipt.ended) == ("refused", status, None, None)


def test_a_request_that_can_neither_be_read_nor_recorded_has_its_receipt(gate):
    gate.state.write_text("in the state folder's place\n")
    rest, receipt = receipt_of(gate, "echo_args 'a")
    assert "a single quote is not closed" in rest
    assert "the audit log cannot be written" in rest
    assert (receipt.outcome, receipt.status) == ("refused", 126)


def test_a_status_is_known_whatever_signals_the_dispatcher_was_started_without(gate):
    """A parent that ignores SIGCHLD would have the kernel throw the status away."""
    gate.add("seven", "#!/bin/sh\nexit 7\n")
    _, receipt = receipt_of(gate, "seven", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert (receipt.outcome, receipt.status) == ("exited", 7)


def test_a_command_whose_end_was_not_seen_is_lost_and_not_refused(gate):
    launch = gate.checkout / "dea" / "remote" / "launch.py"
    broken = launch.read_text().replace("os.waitid(", "raise OSError(5, 'Input/output error')\n    os.waitid(")
    assert broken != launch.read_text()
    launch.write_text(broken)
    done = gate("echo_args a")
    assert done.returncode == 125
    assert "the dispatcher itself failed: OSError" in done.stderr
    ended = gate.audit()[-1]
    assert (ended["event"], ended["outcome"], ended["status"]) == ("ended", "lost", None)


def test_a_command_that_leaves_stderr_non_blocking_does_not_cost_what_is_said_last(gate, until):
    gate.add(
        "fills",
        f"#!{sys.executable}"
        """ -I
import os, time
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 4096)
except BlockingIOError:
    print(os.getpid(), flush=True)
time.sleep(600)
""",
        timeout=1,
    )
    with gate.popen("fills", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        command = Path(f"/proc/{int(running.stdout.readline())}")
        until(lambda: not command.exists())  # the pipe of stderr is still full
        assert running.stderr.read().endswith(b"dea-remote: fills was ended: it ran longer than 1 s\n")


def test_a_client_whose_end_is_non_blocking_gets_all_output_and_the_receipt(gate, until):
    gate.add("loud", "#!/bin/sh\nhead -c 1000000 /dev/zero >&2\n")
    read, write = os.pipe()
    os.set_blocking(write, False)
    with gate.popen("--run-id run-0001 loud", stderr=write):
        os.close(write)
        until(lambda: len(gate.audit()) == 3)  # the run is over, and the pipe is full
        with open(read, "rb") as stderr:  # noqa: PTH123 - a descriptor
            rest, receipt = take_receipt(stderr.read(), "run-0001")
    assert (len(rest), receipt.outcome) == (1_000_000, "exited")


def test_a_command_that_cannot_be_started_was_refused(gate):
    gate.add("bad", "#!/nonexistent/sh\n")
    assert receipt_of(gate, "bad")[1].outcome == "refused"
    assert [line["event"] for line in gate.audit()] == ["received", "started", "refused"]


def test_a_receipt_carries_the_head_of_the_audit_chain(gate):
    import hashlib

    _, receipt = receipt_of(gate, "echo_args a")
    (log,) = gate.logs()
    last = log.read_bytes().splitlines()[-1]
    assert receipt.audit == f"{log.stem}:3:{hashlib.sha256(last).hexdigest()}"
    assert log.stem.startswith(os.uname().nodename)


def test_the_run_id_reaches_the_command(gate):
    gate.add("show", '#!/bin/sh\necho "${DEA_RUN_ID-none}"\n')
    assert gate("--run-id run-0001 show").stdout == "run-0001\n"
    assert gate("show").stdout == "none\n"


def test_without_a_run_id_there_is_no_receipt(gate):
    assert gate("echo_args a").stderr == ""


@pytest.mark.parametrize("run_id", ["short", "x" * 129, "../../../x", "a b c d e", "", "é" * 8])
def test_what_is_no_run_id_is_refused(gate, run_id):
    done = gate(f"--run-id '{run_id}' echo_args a")
    assert (done.stdout, done.returncode) == ("", 2)
    assert "is no run id" in done.stderr


def test_a_run_id_can_begin_with_a_hyphen(gate):
    assert gate("--run-id --------a echo_args a").stdout == "a|"
    assert gate("--run-id=--------a echo_args a").stdout == "a|"


@pytest.mark.parametrize("options", ["", "--run-id run-0001 "])
def test_a_client_that_is_gone_does_not_keep_the_end_from_being_recorded(gate, until, options):
    gate.add("loud", "#!/bin/sh\ncat /dev/zero | head -c 1000000; exit 3\n")
    read, write = os.pipe()
    os.close(read)
    process = gate.popen(f"{options}loud", stdout=write, stderr=write)
    os.close(write)
    process.wait(20)
    until(lambda: len(gate.audit()) == 3)
    assert gate.audit()[-1]["status"] == 3
    assert [line["event"] for line in gate.audit()] == ["received", "started", "ended"]
