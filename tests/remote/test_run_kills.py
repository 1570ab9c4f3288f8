"""Killed or frozen at any step: never a second run, never an endless wait; then the result, or `lost`, said so."""

import collections
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from dea.remote import fault

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

RUN = "--run-id run-0001 counted a"
COUNTED = """#!/bin/sh
echo x >> "$HOME/starts"
echo "out $*"
exit 3
"""
RESULT, LOST = "the result", "lost"
AFTER = {
    "place-taken": RESULT,
    "claim-prepared": RESULT,
    "received-recorded": RESULT,
    "claim-renamed": RESULT,
    "supervisor-forked": RESULT,
    "output-begun": RESULT,
    "output-sent": RESULT,
    "supervisor-began": RESULT,
    "start-prepared": RESULT,
    "start-linked": LOST,
    "start-durable": LOST,
    "start-recorded": LOST,
    "command-spawned": LOST,
    "output-stored": LOST,
    "command-ended": LOST,
    "end-recorded": LOST,
    "outcome-prepared": LOST,
    "outcome-linked": RESULT,
    "outcome-durable": RESULT,
}
"""What a retry gets after a kill at each step; the documentation has the same table."""


@pytest.fixture
def counted(gate):
    gate.options += ("--lost-after", "1")
    gate.add("counted", COUNTED)
    return gate


def retry(gate, until, *options):
    """Ask again as a client does: later, while the login node is busy."""

    def answer():
        answer = gate.ask(RUN, *options)
        return answer if answer.status != 75 else None

    return until(answer)


def meaning(answer):
    """Return what an answer says; nothing else is an answer."""
    receipt = answer.receipt
    if receipt.outcome == "lost":
        assert (answer.status, receipt.status, receipt.ended) == (125, None, None)
        return LOST
    assert (answer.stdout, answer.status, receipt.outcome, receipt.status) == (b"out a\n", 3, "exited", 3)
    assert receipt.stdout_bytes == receipt.stdout_stored == 6
    return RESULT


def frozen(gate):
    """Return the dispatcher's processes that are frozen."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_its = os.fsencode(gate.home) in (process / "cmdline").read_bytes()
            if is_its and (process / "stat").read_text().rpartition(")")[2].split()[0] == "T":
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return found


def test_every_step_is_tested_and_passed():
    assert tuple(AFTER) == fault.STEPS
    source = "".join(path.read_text() for path in Path(fault.__file__).parent.rglob("*.py"))
    assert {step: source.count(f'fault.step("{step}")') for step in fault.STEPS} == dict.fromkeys(fault.STEPS, 1)


def take_a_place(gate, step):
    """Limit how many may run at once where that matters: whoever is killed leaves the place taken for a while."""
    if step == "place-taken":
        gate.approve("counted", max_parallel=1)


@pytest.mark.parametrize("step", fault.STEPS)
def test_after_a_kill_at_any_step_a_retry_gets_what_is_known(counted, until, step):
    take_a_place(counted, step)
    killed = counted.ask(RUN, "--fault", step)
    if step in fault.FRONT_STEPS:
        assert killed.status == -signal.SIGKILL
    else:
        # Its own client is told too, and soon. Where each supervisor dies before the start, that is `lost` in the end.
        assert meaning(killed) == (LOST if step in ("supervisor-began", "start-prepared") else AFTER[step])
    answer = retry(counted, until)
    assert meaning(answer) == AFTER[step]
    assert counted.starts() <= 1
    if AFTER[step] == RESULT:
        assert counted.starts() == 1
        again = counted.ask(RUN)
        assert (meaning(again), again.receipt.ended) == (RESULT, answer.receipt.ended)
    # From another login node it is the same.
    assert meaning(counted.ask("--result run-0001", "--node", "other")) == AFTER[step]


@pytest.mark.parametrize(
    "step", ["place-taken", "claim-prepared", "claim-renamed", "supervisor-forked", "output-begun"]
)
def test_a_frozen_front_process_that_wakes_up_late_runs_nothing_again(counted, until, step):
    take_a_place(counted, step)
    front = counted.popen(RUN, "--fault", f"{step}:stop", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: frozen(counted) == [front.pid])
    assert meaning(retry(counted, until)) == RESULT
    front.send_signal(signal.SIGCONT)
    stdout, _ = front.communicate(timeout=20)
    assert (stdout, front.returncode) == (b"out a\n", 3)
    assert counted.starts() == 1


@pytest.mark.parametrize(
    "step",
    ["supervisor-began", "start-prepared", "start-linked", "command-spawned", "outcome-prepared", "outcome-linked"],
)
def test_a_frozen_supervisor_that_wakes_up_late_runs_nothing_again_and_its_outcome_wins(counted, until, step):
    with counted.popen(RUN, "--fault", f"{step}:stop", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as front:
        (supervisor,) = until(lambda: frozen(counted))
        front.kill()
        front.communicate()
    assert meaning(retry(counted, until)) == AFTER[step]
    os.kill(supervisor, signal.SIGCONT)
    late = until(lambda: next((a for a in [counted.ask("--result run-0001")] if a.receipt.outcome != "lost"), None))
    assert meaning(late) == RESULT
    assert counted.starts() == 1
    assert meaning(counted.ask(RUN)) == RESULT


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_killed_whenever_nothing_runs_twice_and_no_answer_contradicts_another(counted, until, seed):
    chance = random.Random(seed)
    known = []
    for _ in range(6):
        options = ["--node", chance.choice("ab")]
        if chance.random() < 0.8:
            options += ["--fault", f"{chance.choice(fault.STEPS)}:kill"]
        request_text = chance.choice(
            [RUN, RUN, RUN, f"{RUN.replace('counted', '--detach counted')}", "--result run-0001"]
        )
        answer = counted.ask(request_text, *options)
        if answer.receipt is not None and answer.receipt.outcome == "exited":
            known.append(answer.receipt)
        assert counted.starts() <= 1
    last = retry(counted, until)
    said = meaning(last)
    assert len({(receipt.status, receipt.started, receipt.ended, receipt.stdout_bytes) for receipt in known}) <= 1
    if known:
        assert (said, last.receipt.ended) == (RESULT, known[0].ended)
    if said == RESULT:
        assert counted.starts() == 1


def test_fifty_requests_on_two_login_nodes_run_it_once_and_get_the_same(counted):
    counted.options = counted.options[:-2]  # a loaded machine is no dead one
    processes = [
        counted.popen(RUN, "--node", f"node-{number % 2}", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(50)
    ]
    answers = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 3, stderr
        answers.append(stdout)
    assert answers == [b"out a\n"] * 50
    assert counted.starts() == 1
    events = collections.Counter(line["event"] for line in counted.audit())
    assert (events["received"], events["started"], events["ended"], events["replayed"]) == (50, 1, 1, 49)
    assert len(counted.logs()) == 2
    # Nothing of the 49 is left but their lines in the log.
    assert [path.name for path in counted.run_folder("run-0001").parent.iterdir()] == ["run-0001"]
