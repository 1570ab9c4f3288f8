"""System calls that fail in the dispatcher's own processes: a quota that is used up, a disk that fails after the end."""

import json
import os
import signal
from pathlib import Path

import pytest

FAILING = """
import errno, fcntl, os, runpy, sys

def path_of(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")

def fail():
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

write, close, link, fsync = os.write, os.close, os.link, os.fsync
%s
sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
NO_WRITE = """
def os_write(descriptor, data):
    if path_of(descriptor).endswith("%s"):
        fail()
    return write(descriptor, data)
os.write = os_write
"""
NO_CLOSE = """
def os_close(descriptor):
    writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    late = writes and path_of(descriptor).endswith("%s")
    if late and os.fstat(descriptor).st_size:
        os.truncate(path_of(descriptor), 2)
        close(descriptor)
        fail()
    close(descriptor)
os.close = os_close
"""
NO_LINK = """
def os_link(old, new):
    fail()
os.link = os_link
"""
NO_FSYNC = """
def os_fsync(descriptor):
    if path_of(descriptor).endswith("/stdout"):
        fail()
    fsync(descriptor)
os.fsync = os_fsync
"""
QUOTA = b"Disk quota exceeded"


@pytest.fixture
def failing(gate):
    """Return a gate whose dispatcher has a system call that fails."""
    gate.add("talks", '#!/bin/sh\necho x >> "$HOME/starts"; echo out; echo err >&2; exit 3\n')
    gate.ask("--run-id run-0000 echo_args a")
    own = gate.program

    def fail(call):
        gate.program = (*own[:3], "-c", FAILING % call, own[3])
        return gate

    yield fail
    gate.program = own


@pytest.mark.parametrize("call", [NO_WRITE % "/claim", NO_WRITE % "/cancel"])
def test_without_quota_nothing_is_claimed_and_it_is_said_why(failing, call):
    gate = failing(call)
    answer = gate.ask("--run-id run-0001 talks")
    assert (answer.status, answer.receipt.outcome, gate.starts()) == (126, "refused", 0)
    assert QUOTA in answer.stderr
    assert not gate.run_folder("run-0001").exists()


def test_without_quota_for_the_start_nothing_runs(failing):
    gate = failing(NO_LINK)
    gate.options += ("--lost-after", "1")
    answer = gate.ask("--run-id run-0001 talks")
    assert (answer.receipt.outcome, answer.receipt.status, gate.starts()) == ("lost", None, 0)
    failing("")
    assert gate.ask("--run-id run-0001 talks").status == 3


def test_a_quota_used_up_in_mid_run_keeps_the_fate(failing):
    gate = failing(NO_WRITE % "/stdout")
    answer = gate.ask("--run-id run-0001 talks")
    assert (answer.status, answer.receipt.outcome, answer.stdout) == (3, "exited", b"")
    assert (answer.receipt.stdout_bytes, answer.receipt.stdout_stored) == (4, 0)
    assert any(QUOTA.decode() in str(line.get("problems")) for line in gate.audit())


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_quota_that_is_noticed_when_the_output_is_closed_keeps_the_fate(failing, name):
    gate = failing(NO_CLOSE % f"/{name}")
    answer = gate.ask("--run-id run-0001 talks")
    assert (answer.status, answer.receipt.outcome) == (3, "exited")
    assert (getattr(answer.receipt, f"{name}_bytes"), getattr(answer.receipt, f"{name}_stored")) == (4, 2)
    assert any(QUOTA.decode() in str(line.get("problems")) for line in gate.audit())
    again = gate.ask("--result run-0001")
    assert (again.status, len(getattr(again, name))) == (3, 2)


def test_a_disk_that_fails_after_the_end_changes_no_outcome(failing, until):
    gate = failing(NO_FSYNC)
    gate.add(
        "leaves",
        '#!/bin/sh\n(while [ ! -e "$HOME/go" ]; do sleep 0.02; done; echo late; touch "$HOME/lived") &\nexit 3\n',
    )
    answer = gate.ask("--run-id run-0001 leaves")
    assert (answer.status, answer.receipt.outcome, answer.receipt.children > 0) == (3, "exited", True)
    (gate.home / "go").touch()
    until((gate.home / "lived").exists)  # somebody still reads its pipe
    assert gate.ask("--result run-0001").receipt.outcome == "exited"


def test_a_cancellation_before_the_start_stays_one_if_the_disk_fails_after_it(failing, until):
    gate = failing(NO_FSYNC)
    (gate.home / "starts").touch()
    stopped = gate.popen("--run-id run-0001 talks", "--fault", "start-recorded:stop", "--lost-after", "3600")
    supervisor = until(lambda: frozen_supervisor(gate))
    (gate.run_folder("run-0001") / "cancel").write_bytes(b"1")
    os.kill(supervisor, signal.SIGCONT)
    assert stopped.wait(20) == 143
    assert gate.ask("--result run-0001").receipt.outcome == "cancelled"
    assert gate.starts() == 0


def frozen_supervisor(gate):
    """Return the number of the process that says that it has started the run, once it is frozen."""
    started = gate.run_folder("run-0001") / "started"
    if not started.exists():
        return None
    pid = json.loads(started.read_text())["pid"]
    return pid if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T" else None
