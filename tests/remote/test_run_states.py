"""Each state that a run's folder can be in, and its one meaning: the rows of the table in docs/explanation/exactly-once.md."""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

RUN = "--run-id run-0001 counted a"
COUNTED = """#!/bin/sh
echo x >> "$HOME/starts"
echo "out $*"
exit 3
"""
WAITS = """#!/bin/sh
echo x >> "$HOME/starts"
echo "out $*"
while [ ! -e "$HOME/go" ]; do sleep 0.02; done
exit 3
"""


@pytest.fixture
def counted(gate):
    gate.add("counted", COUNTED)
    return gate


def leave(gate, step):
    """Leave behind what a process leaves that is killed at a step."""
    gate.ask(RUN.replace("counted", "--detach counted"), "--fault", step, "--lost-after", "1")


def age(gate, seconds=3600):
    """Let the heartbeat be that old."""
    then = time.time() - seconds
    os.utime(gate.run_folder("run-0001") / "pulse", (then, then))


def files(gate):
    return {path.name.split("-")[0] for path in gate.run_folder("run-0001").iterdir()}


def asked(gate):
    """Return what is said of the run, without starting anything."""
    receipt = gate.ask("--result run-0001 --detach").receipt
    return receipt.outcome, receipt.status, receipt.started is not None


def test_no_folder_was_never_asked_for(counted):
    assert asked(counted) == ("refused", 127, False)
    assert counted.ask(RUN).receipt.replayed is False


def test_a_prepared_folder_without_a_name_is_nothing(counted):
    leave(counted, "claim-prepared")
    (folder,) = (counted.state / "runs" / "key-test").iterdir()
    assert folder.name.startswith(".new-")
    assert asked(counted) == ("refused", 127, False)
    assert counted.ask(RUN).status == 3
    assert counted.starts() == 1


def test_a_claim_with_a_heartbeat_is_about_to_start(counted):
    leave(counted, "claim-renamed")
    age(counted, 0)
    assert files(counted) == {"claim", "stdout", "stderr", "pulse", "cancel", "outcome", "start"}
    assert asked(counted) == ("running", None, False)


def test_a_claim_without_a_heartbeat_never_started_and_the_next_request_starts_it(counted):
    leave(counted, "claim-renamed")
    age(counted)
    assert asked(counted) == ("lost", None, False)
    waited = counted.ask("--result run-0001")
    assert (waited.status, waited.receipt.outcome, waited.receipt.started) == (125, "lost", None)
    assert counted.starts() == 0
    answer = counted.ask(RUN)
    assert (answer.stdout, answer.status, answer.receipt.replayed) == (b"out a\n", 3, False)
    assert counted.starts() == 1


def test_a_start_that_was_prepared_and_not_linked_is_still_a_claim(counted):
    leave(counted, "start-prepared")
    age(counted)
    assert asked(counted) == ("lost", None, False)
    assert counted.ask(RUN).status == 3


def test_a_start_with_a_heartbeat_is_running(gate, until):
    gate.add("counted", WAITS)
    gate.ask(RUN.replace("counted", "--detach counted"))
    until(lambda: gate.ask("--result run-0001 --detach").stdout)
    assert "started" in files(gate)
    assert asked(gate) == ("running", None, True)
    (gate.home / "go").touch()
    assert gate.ask("--result run-0001").status == 3


def test_a_start_without_a_heartbeat_is_lost_and_a_late_outcome_wins(gate, until):
    gate.add("counted", WAITS)
    gate.ask(RUN.replace("counted", "--detach counted"))
    until(lambda: gate.ask("--result run-0001 --detach").stdout)
    supervisor = json.loads((gate.run_folder("run-0001") / "started").read_text())["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    age(gate)
    assert asked(gate) == ("lost", None, True)
    lost = gate.ask(RUN)
    assert (lost.stdout, lost.status, lost.receipt.outcome, lost.receipt.stdout_bytes) == (
        b"out a\n",
        125,
        "lost",
        None,
    )
    # That it was called lost is written nowhere.
    assert "outcome" not in {path.name for path in gate.run_folder("run-0001").iterdir()}
    (gate.home / "go").touch()
    os.kill(supervisor, signal.SIGCONT)
    until(lambda: asked(gate) == ("exited", 3, True))
    assert gate.starts() == 1


@pytest.mark.parametrize(
    "step", ["start-linked", "start-recorded", "command-spawned", "command-ended", "outcome-prepared"]
)
def test_a_start_whose_process_is_dead_is_lost_for_good(counted, step):
    leave(counted, step)
    age(counted)
    for _ in range(2):
        assert counted.ask(RUN).receipt.outcome == "lost"
    assert counted.ask("--cancel run-0001").receipt.outcome == "lost"
    assert counted.starts() <= 1


def test_a_start_that_is_an_outcome_too_was_cancelled_before_it(counted):
    leave(counted, "claim-renamed")
    age(counted)
    assert counted.ask("--cancel run-0001").receipt.outcome == "cancelled"
    assert "started" in files(counted)
    assert asked(counted) == ("cancelled", 143, False)
    assert counted.ask(RUN).status == 143
    assert counted.starts() == 0


def test_a_wish_to_cancel_is_heard_by_whoever_starts_it_later(counted):
    leave(counted, "claim-renamed")
    age(counted)
    (counted.run_folder("run-0001") / "cancel").write_text("1")
    answer = counted.ask(RUN)
    assert (answer.status, answer.receipt.outcome, answer.receipt.started) == (143, "cancelled", None)
    assert counted.starts() == 0


def test_an_outcome_is_the_end_whatever_else_is_there(counted):
    counted.ask(RUN)
    age(counted)
    (counted.run_folder("run-0001") / "cancel").write_text("1")
    assert asked(counted) == ("exited", 3, True)
    assert counted.ask(RUN).stdout == b"out a\n"


def test_an_outcome_without_output_was_pruned(counted):
    counted.ask(RUN)
    for name in ("stdout", "stderr"):
        (counted.run_folder("run-0001") / name).unlink()
    answer = counted.ask(RUN)
    assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 3, "exited")
    assert (answer.receipt.stdout_bytes, answer.receipt.stdout_stored) == (6, 0)
    assert counted.starts() == 1


def test_a_claim_on_its_way_out_is_nothing(counted):
    counted.ask(RUN)
    folder = counted.run_folder("run-0001")
    folder.rename(folder.with_name(".gone-run-0001"))
    assert asked(counted) == ("refused", 127, False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', "\0" * 100])
def test_a_folder_that_is_no_claim_runs_nothing(counted, content):
    """A disk that lost a claim's content must not lead to a second run."""
    counted.ask(RUN)
    (counted.run_folder("run-0001") / "claim").write_text(content)
    answer = counted.ask(RUN)
    assert (answer.stdout, answer.status) == (b"", 126)
    assert b"the state folder cannot be written" in answer.stderr
    assert asked(counted) == ("refused", 127, False)
    assert counted.starts() == 1


def test_a_claim_whose_files_are_gone_runs_nothing(counted):
    counted.ask(RUN)
    folder = counted.run_folder("run-0001")
    for name in ("stdout", "stderr", "pulse", "cancel"):
        (folder / name).unlink()
    assert counted.ask(RUN).status == 3
    (folder / "outcome").unlink()
    assert counted.ask(RUN).receipt.outcome == "lost"
    assert counted.starts() == 1


def test_the_whole_state_can_be_moved(counted):
    counted.ask(RUN)
    shutil.move(counted.state, counted.home / "elsewhere")
    answer = counted.ask(RUN, "--state", str(counted.home / "elsewhere"))
    assert (answer.stdout, answer.receipt.replayed) == (b"out a\n", True)


def ended(pid):
    """Tell whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("error", ["OSError(5, 'Input/output error')", "ValueError('x')"])
def test_a_command_whose_end_was_not_seen_is_lost_and_not_refused(counted, until, error):
    capture = counted.checkout / "dea" / "remote" / "runs" / "capture.py"
    broken = capture.read_text().replace('fault.step("command-spawned")', f"raise {error}")
    assert broken != capture.read_text()
    capture.write_text(broken)
    counted.ask(RUN.replace("counted", "--detach counted"))
    until(lambda: counted.audit()[-1]["event"] == "ended")
    line = counted.audit()[-1]
    assert (line["outcome"], line["status"], line["run_id"]) == ("lost", None, "run-0001")
    assert error.partition("(")[0] in line["problems"][0]
    age(counted)
    for _ in range(2):
        answer = counted.ask(RUN)
        assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (125, "lost", None)
    until(lambda: counted.starts() == 1)


def test_a_supervisor_that_fails_tells_the_systems_log_and_does_not_wait_for_it(counted, until, tmp_path):
    """Nobody reads what is sent there, as by a daemon that is stuck: the supervisor ends all the same."""
    audit, capture = (counted.checkout / "dea" / "remote" / name for name in ("audit.py", "runs/capture.py"))
    audit.write_text(audit.read_text().replace('"/dev/log"', repr(str(tmp_path / "log"))))
    capture.write_text(capture.read_text().replace('fault.step("command-spawned")', "raise OSError(5, 'x')"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system_log:
        system_log.bind(str(tmp_path / "log"))
        counted.ask(RUN.replace("counted", "--detach counted"))
        said = []
        until(lambda: said.append(system_log.recv(65536)) or b"is lost" in said[-1])
        assert said[-1].startswith(b"<83>")
        assert b"run run-0001: the dispatcher itself failed: RuntimeError: 'counted is lost" in said[-1]
        system_log.setblocking(False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
            filling.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    filling.sendto(b"full", str(tmp_path / "log"))
        counted.ask("--run-id run-0002 --detach counted a")
        path = counted.run_folder("run-0002") / "started"
        supervisor = json.loads(path.read_text())["pid"]
        until(lambda: ended(supervisor))


def test_a_failure_after_the_claim_is_never_called_refused(counted, until):
    """The command runs; only the process that tells of it has failed."""
    counted.ask("--run-id run-0000 echo_args a")
    counted.add("waits", WAITS)
    clock = counted.state / "runs" / "clock"
    clock.unlink(missing_ok=True)
    clock.symlink_to("clock")
    started = counted.ask("--run-id run-0001 --detach waits a")
    assert (started.status, started.receipt.outcome) == (0, "running")
    answer = counted.ask("--run-id run-0001 waits a")
    assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (125, "running", None)
    assert answer.stderr == b"" or b"run-0001 is there, and cannot be told of now" in answer.stderr
    answer = counted.ask("--result run-0001 --detach")
    assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (125, "running", None)
    assert b"run-0001 is there, and cannot be told of now" in answer.stderr
    clock.unlink()
    (counted.home / "go").touch()
    assert counted.ask("--run-id run-0001 waits a").status == 3
    assert counted.starts() == 1


def test_a_run_that_is_over_is_not_refused_because_the_question_cannot_be_recorded(counted):
    counted.ask(RUN)
    audit = counted.state / "audit"
    audit.rename(counted.state / "audit.away")
    audit.write_text("")
    for request in (RUN, "--result run-0001"):
        answer = counted.ask(request)
        assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (125, "running", None)
        assert answer.stdout == b""
        assert b"run-0001 is there, and cannot be told of now: the audit log cannot be written" in answer.stderr
    unknown = counted.ask("--result run-0002 --detach")
    assert (unknown.status, unknown.receipt.outcome) == (127, "refused")
    audit.unlink()
    (counted.state / "audit.away").rename(audit)
    assert counted.ask(RUN).status == 3
    assert counted.starts() == 1
