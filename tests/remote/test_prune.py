"""Pruning: output goes, the claim stays, and what runs is never touched."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from dea.remote.runs import store

DAY_S = 86400


@pytest.fixture
def says(gate):
    gate.add("says", '#!/bin/sh\necho x >> "$HOME/starts"\nhead -c 1000 /dev/zero\n')
    mark = gate.state / "runs" / "pruned"
    mark.parent.mkdir(parents=True, mode=0o700)
    mark.touch()  # it was done just now, so that it is not done again by itself
    return gate


def run(gate, run_id, days_ago=0.0):
    gate.ask(f"--run-id {run_id} says {run_id}")
    supervisor = json.loads((gate.run_folder(run_id) / "started").read_text())["pid"]
    while is_alive(supervisor):  # it has yet to look whether it is time to prune
        os.sched_yield()
    then = time.time() - days_ago * DAY_S
    for path in gate.run_folder(run_id).iterdir():
        os.utime(path, (then, then), follow_symlinks=False)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def prune(gate, *options):
    done = gate.start("--json", "--prune", "--state", str(gate.state), *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kept(gate):
    folder = gate.state / "runs" / "key-test"
    return {path.name: (path / "stdout").exists() for path in folder.iterdir() if not path.name.startswith(".")}


def test_old_output_goes_and_its_claim_stays(says):
    run(says, "run-old1", 20)
    run(says, "run-new1", 1)
    pruned = prune(says)
    assert pruned == {"outputs": 1, "claims": 0, "removed_bytes": 1000, "kept_bytes": 1000}
    assert kept(says) == {"run-old1": False, "run-new1": True}
    again = says.ask("--run-id run-old1 says run-old1")
    assert (again.stdout, again.status, again.receipt.replayed) == (b"", 0, True)
    assert (again.receipt.stdout_bytes, again.receipt.stdout_stored) == (1000, 0)
    assert says.starts() == 2


def test_the_oldest_goes_first_when_it_is_too_much(says):
    for number in (1, 2, 3):
        run(says, f"run-000{number}", number)
    assert prune(says, "--max-bytes", "2000")["outputs"] == 1
    assert kept(says) == {"run-0001": True, "run-0002": True, "run-0003": False}
    assert prune(says, "--max-bytes", "0")["kept_bytes"] == 0


@pytest.mark.parametrize(
    ("days", "older_than", "stays"), [(29, "0", True), (31, "0", False), (50, "60", True), (70, "60", False)]
)
def test_a_claim_stays_for_a_month_at_least(says, days, older_than, stays):
    run(says, "run-0001", days)
    prune(says, "--older-than-days", older_than)
    assert ("run-0001" in kept(says)) == stays
    assert says.ask("--result run-0001").status == (0 if stays else 127)


def test_what_a_killed_process_left_in_a_run_goes_with_it(says, monkeypatch):
    """Killed between the two steps of `fresh`, a process leaves a folder: in the run's, and beside it."""
    run(says, "run-0001", 31)
    folder = says.run_folder("run-0001")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", lambda _: None)
        for place in (folder, folder.parent):
            store.fresh(str(place))
    looks = [*folder.glob(".look-*"), *folder.parent.glob(".look-*")]
    assert len(looks) == 2
    os.utime(looks[1], (0, 0))
    assert says.ask("--result run-0001").status == 0
    assert prune(says, "--older-than-days", "0")["claims"] == 1
    assert list(folder.parent.iterdir()) == []


def test_what_runs_is_never_touched(says, until):
    says.add("waits", '#!/bin/sh\necho said\nwhile [ ! -e "$HOME/go" ]; do sleep 0.02; done\necho more\n')
    says.ask("--run-id run-0001 --detach waits")
    until(lambda: says.ask("--result run-0001 --detach").stdout)
    assert prune(says, "--older-than-days", "0", "--max-bytes", "0")["outputs"] == 0
    (says.home / "go").touch()
    assert says.ask("--result run-0001").stdout == b"said\nmore\n"


def test_what_was_prepared_by_the_dead_goes_too(says):
    says.ask("--run-id run-0001 says", "--fault", "claim-prepared")
    folder = says.state / "runs" / "key-test"
    assert len(list(folder.iterdir())) == 1
    prune(says)
    (left,) = folder.iterdir()  # whoever prepared it may still be there
    os.utime(left, (0, 0))
    prune(says)
    assert list(folder.iterdir()) == []


def test_it_is_done_by_itself_once_an_hour(says, until):
    mark = says.state / "runs" / "pruned"
    run(says, "run-old1", 20)
    says.ask("--run-id run-0002 says")
    assert kept(says)["run-old1"]
    os.utime(mark, (time.time() - 3700, time.time() - 3700))
    says.ask("--run-id run-0003 says")
    until(lambda: not kept(says)["run-old1"])


def test_the_site_says_how_much_is_kept(says, until):
    says.describe_site(stored_bytes=1500, stored_days=100)
    run(says, "run-old1", 50)
    os.utime(says.state / "runs" / "pruned", (0, 0))
    says.ask("--run-id run-0002 says")
    until(lambda: kept(says) == {"run-old1": False, "run-0002": True})


def test_pruning_is_not_for_keys_and_wants_numbers(says):
    assert says("--prune").returncode == 126
    for options in (("--older-than-days", "x"), ("--max-bytes", "-1"), ("--max-bytes",), ("--all",)):
        done = says.start("--prune", "--state", str(says.state), *options)
        assert (done.stdout, done.returncode) == ("", 2)


def test_nobody_waits_for_it(says):
    """Frozen before it prunes, a supervisor keeps nobody from an answer, nor a connection open."""
    answer = says.ask("--run-id run-0001 says", "--fault", "outcome-durable:stop")
    os.kill(json.loads((says.run_folder("run-0001") / "started").read_text())["pid"], signal.SIGKILL)
    assert (answer.stdout, answer.status) == (b"\0" * 1000, 0)
