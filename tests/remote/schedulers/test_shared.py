"""One question for all who ask: however many there are, whenever they come, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dea.remote.contract.job import Job
from dea.remote.schedulers import pbs
from dea.remote.schedulers.errors import Unreachable
from dea.remote.schedulers.records import Records
from dea.remote.schedulers.shared import Shared
from tests.remote.schedulers import fake_pbs

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

ROOT = Path(__file__).parents[3]


@pytest.fixture
def server(tmp_path, monkeypatch):
    programs = fake_pbs.install(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    server = fake_pbs.Server(tmp_path / "server")
    for number in range(40):
        server.put(
            number, {"name": "x", "array": None, "stage": 0, "plan": "deleted_running", "depend": None, "variables": ""}
        )
    return server


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return str(folder)


def shared(state, **settings):
    return Shared(pbs, state, **{"interval_s": 0.0, "window_s": 0.0, **settings})


def test_callers_within_the_interval_share_one_answer(server, state):
    ids = [f"{number}.gadi-pbs" for number in range(5)]
    first = shared(state, interval_s=600).standing(ids)
    again = [shared(state, interval_s=600).standing(ids[2:4]) for _ in range(5)]
    assert len(server.calls("qstat")) == 1
    assert {one.as_of for one in again} == {first.as_of}
    assert [job.id for job in again[0].jobs] == ids[2:4]


def test_many_callers_at_once_are_one_question_for_all_their_jobs(server, state):
    """Forty callers, each for a job of its own: those who come while a question is out share the next one."""
    together = threading.Barrier(40)

    def ask(number):
        together.wait(30)
        return shared(state, interval_s=1.0, window_s=0.5).standing([f"{number}.gadi-pbs"]).jobs[0]

    with ThreadPoolExecutor(40) as pool:
        jobs = list(pool.map(ask, range(40)))
    assert [job.id for job in jobs] == [f"{number}.gadi-pbs" for number in range(40)]
    assert {job.state for job in jobs} <= {"queued", "running"}
    calls = server.calls("qstat")
    assert len(calls) <= 4
    assert all(calls[at][0] - calls[at - 1][0] >= 0.9 for at in range(1, len(calls)))


def test_an_id_that_is_not_in_the_answer_waits_for_the_next_question(server, state):
    shared(state, interval_s=1.0).standing(["1.gadi-pbs"])
    standing = shared(state, interval_s=1.0).standing(["1.gadi-pbs", "2.gadi-pbs"])
    assert [job.id for job in standing.jobs] == ["1.gadi-pbs", "2.gadi-pbs"]
    (first, _), (second, _) = server.calls("qstat")
    assert second - first >= 0.9


def test_a_fresh_answer_can_be_asked_for(server, state):
    shared(state).standing(["1.gadi-pbs"])
    shared(state, interval_s=0.3).standing(["1.gadi-pbs"], from_now=True)
    assert len(server.calls("qstat")) == 2


def test_that_the_scheduler_is_down_is_shared_too(server, state):
    (server.folder / "fault").write_text('{"qstat": "down"}')
    for _ in range(5):
        with pytest.raises(Unreachable, match="cannot connect"):
            shared(state, interval_s=600).standing(["1.gadi-pbs"])
    assert len(server.calls("qstat")) == 1


def test_an_asker_that_is_killed_delays_the_others_and_no_more(server, state, tmp_path, until):
    """It holds the turn, and its question is out: the next one waits until the turn counts as given up."""
    slow = tmp_path / "slow"
    slow.mkdir()
    program = slow / "qstat"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/asking\nexec sleep 600\n")
    program.chmod(0o755)
    code = (
        "import sys; from dea.remote.schedulers import pbs; from dea.remote.schedulers.shared import Shared;"
        " Shared(pbs, sys.argv[1], interval_s=0.1, lost_after_s=1).standing(['1.gadi-pbs'])"
    )
    environment = {**os.environ, "PATH": f"{slow}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    asker = subprocess.Popen([sys.executable, "-c", code, state], env=environment, start_new_session=True)
    until((tmp_path / "asking").exists)
    os.killpg(asker.pid, signal.SIGKILL)
    asker.wait()
    standing = shared(state, interval_s=0.1, lost_after_s=1).standing(["2.gadi-pbs"])
    assert standing.jobs[0].state == "queued"
    # What the dead one wanted is asked for as well: nobody knows that it is dead.
    assert "1" in server.calls("qstat")[-1][1]
    (left,) = (Path(state) / "jobs" / "status" / "wanted").iterdir()
    old = time.time() - 7200
    os.utime(left, (old, old))
    shared(state).standing(["2.gadi-pbs"])
    assert not left.exists()


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"jobs": {"1.gadi-pbs": {"id": "1.gadi-pbs", "state": "running"}}}, None],
    ids=["another format", "other fields", "no JSON"],
)
def test_an_answer_that_this_release_does_not_read_is_asked_for_anew(server, state, change):
    shared(state, interval_s=0.2).standing(["1.gadi-pbs"])
    path = Path(state) / "jobs" / "status" / "answer"
    path.write_text("{" if change is None else json.dumps({**json.loads(path.read_text()), **change}))
    assert shared(state, interval_s=0.2).standing(["1.gadi-pbs"]).jobs[0].state == "running"
    assert len(server.calls("qstat")) == 2


def test_two_thousand_jobs_are_as_few_questions_as_the_argument_limit_asks(server, state):
    ids = [f"{100000 + number}.gadi-pbs" for number in range(2000)]
    standing = shared(state).standing(ids)
    assert [job.id for job in standing.jobs] == ids
    assert {job.state for job in standing.jobs} == {"unknown"}
    assert len(server.calls("qstat")) == 1


def test_what_is_long_forgotten_is_removed(state):
    records = Records(state)
    records.see(Job("1.gadi-pbs", "running", submitted="2026-01-01T00:00:00Z"))
    records.note_own("1.gadi-pbs", "run-0001", "x", "2026-01-01T00:00:00Z")
    records.write_submission("run-0001", "run-0001", {"stage": "submitted"})
    records.prune(time.time())
    assert records.own("1.gadi-pbs") is not None
    old = time.time() - 100 * 86400
    for folder, _, files in os.walk(records.folder):
        for name in files:
            os.utime(Path(folder) / name, (old, old))
    records.prune(time.time())
    assert records.own("1.gadi-pbs") is None
    assert records.submissions("run-0001") == {}
    left = [name for _, _, files in os.walk(records.folder) for name in files]
    assert left == ["pruned"]
