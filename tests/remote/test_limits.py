"""Time, stdin and how many at once: what a command's approval limits."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import dea.remote.launch

IGNORES_TERM = """#!/bin/sh
trap '' TERM
echo ready
while :; do sleep 0.05; done
"""


def gone(pid):
    """Wait until a process has ended; a zombie has."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_command_that_takes_too_long_is_ended_with_its_process_group(gate):
    gate.add("slow", "#!/bin/sh\nsleep 600 & echo $!\nwait\n", timeout=1)
    begin = time.monotonic()
    done = gate("slow")
    assert done.returncode == 124
    assert 1 <= time.monotonic() - begin < 60
    assert "slow was ended: it ran longer than 1 s" in done.stderr
    assert gone(int(done.stdout))
    ended = gate.audit()[-1]
    assert (ended["outcome"], ended["status"]) == ("timed_out", 124)


def test_a_command_that_ignores_term_is_killed_after_the_grace(gate):
    launch = gate.checkout / "dea" / "remote" / "launch.py"
    launch.write_text(launch.read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.5"))
    gate.add("stubborn", IGNORES_TERM, timeout=1)
    begin = time.monotonic()
    assert gate("stubborn").returncode == 124
    assert time.monotonic() - begin < 9  # with the real grace it would be 11 at least


def test_a_child_that_ignores_term_is_killed_too(gate):
    launch = gate.checkout / "dea" / "remote" / "launch.py"
    launch.write_text(launch.read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.5"))
    gate.add("parent", "#!/bin/sh\n(trap '' TERM; sleep 600) & echo $!\nwait\n", timeout=1)
    done = gate("parent")
    assert done.returncode == 124
    assert gone(int(done.stdout))


def test_a_stopped_command_is_ended_too(gate):
    gate.add("stopped", "#!/bin/sh\nkill -STOP $$\n", timeout=1)
    assert gate("stopped").returncode == 124


def test_a_timeout_holds_whatever_signals_the_dispatcher_was_started_without(gate):
    gate.add("slow", "#!/bin/sh\nexec sleep 600\n", timeout=1)
    blocked = set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP}
    assert gate("slow", preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked)).returncode == 124


def test_the_grace_is_time_enough_to_clean_up():
    assert dea.remote.launch.GRACE_S >= 5


def test_a_command_within_its_time_is_left_alone(gate):
    gate.add("quick", "#!/bin/sh\nexit 3\n", timeout=60)
    assert gate("quick").returncode == 3


def test_the_sites_limit_holds_whatever_the_command_says(gate):
    gate.describe_site(timeout=1)
    gate.add("slow", "#!/bin/sh\nexec sleep 600\n", timeout=500)
    assert gate("slow").returncode == 124
    gate.add("unlimited", "#!/bin/sh\nexec sleep 600\n")
    assert gate("unlimited").returncode == 124


@pytest.mark.parametrize(("stdin", "output"), [(True, "sent\n"), (False, "")])
def test_stdin_is_the_clients_only_if_that_was_approved(gate, stdin, output):
    gate.add("reads", "#!/bin/sh\nexec cat\n", stdin=stdin)
    assert gate("reads", input="sent\n").stdout == output


@pytest.mark.parametrize("nodes", [("a", "a"), ("a", "b")])
def test_no_more_run_at_once_than_allowed_and_a_place_is_free_again_after_a_kill(gate, until, nodes):
    gate.add("waits", "#!/bin/sh\necho $$\nexec sleep 600\n", max_parallel=2)
    gate.options += ("--lost-after", "1")
    running = [gate.popen("waits", "--node", node, stdout=subprocess.PIPE) for node in nodes]
    commands = []

    def start_another():
        process = gate.popen("waits", "--node", nodes[0], stdout=subprocess.PIPE)
        running.append(process)
        commands.extend(int(line) for line in [process.stdout.readline()] if line)
        return len(commands) == 3

    try:
        commands += [int(process.stdout.readline()) for process in running]
        busy = gate("waits")
        assert (busy.stdout, busy.returncode) == ("", 75)
        assert "try again later" in busy.stderr
        running[0].kill()
        running[0].wait()
        until(start_another)
    finally:
        for pid in commands:
            os.kill(pid, signal.SIGKILL)
        for process in running:
            process.stdout.close()
            process.wait(20)


def test_children_left_behind_on_purpose_live_on_and_are_counted(gate):
    gate.add("leaves", "#!/bin/sh\nnohup sleep 600 >/dev/null 2>&1 &\necho $!\n", timeout=60)
    done = gate("leaves")
    pid = int(done.stdout)
    try:
        assert done.returncode == 0
        assert gate.audit()[-1]["children"] == 1
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
