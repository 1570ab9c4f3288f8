"""Submitted once: what becomes of an order when the way to the scheduler, or this process, breaks anywhere."""

import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dea.remote.contract.job import Job
from dea.remote.schedulers import pbs, slurm
from dea.remote.schedulers.calls import Answer, perform
from dea.remote.schedulers.errors import Refused, Uncertain, Unreachable
from dea.remote.schedulers.once import NOT_SUBMITTED, SENDINGS, SENT, SUBMITTED, Submission
from dea.remote.schedulers.order import Order, mark_of
from dea.remote.schedulers.records import Records
from tests.remote.schedulers import fake_pbs

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python


@pytest.fixture
def server(tmp_path, monkeypatch):
    programs = fake_pbs.install(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return fake_pbs.Server(tmp_path / "server")


@pytest.fixture
def records(tmp_path):
    return Records(str(tmp_path / "state"))


def submission(records, run_id="run-0001", first=None, perform=perform, **settings):
    order = Order(b"#!/bin/sh\n", "tidy", mark_of(run_id or "none"), run_id)
    said = settings.pop("said", [])
    return Submission(
        pbs,
        order,
        records,
        first,
        perform,
        said.append,
        **{"settle_s": 0.02, "patience_s": 5, "under_way_s": 0, **settings},
    )


class Broken:
    """Calls programs, but breaks at some of the calls: before they reach the server, or before their answer is back."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.calls = []

    def __call__(self, call):
        self.calls.append(call.argv[0])
        fault = self.faults.pop(0) if self.faults else None
        if fault == "lost before":
            raise Killed
        answer = perform(call)
        if fault == "lost after":
            raise Killed
        return answer


class Killed(BaseException):
    """This process is ended."""


def stage_of(records, run_id="run-0001", first="run-0001"):
    return records.submissions(first)[run_id]["stage"]


def test_a_job_is_submitted_and_on_record(server, records):
    answer = submission(records).submit()
    assert (answer.job_id, answer.run_id, answer.scheduler) == ("0.gadi-pbs", "run-0001", "pbs")
    assert stage_of(records) == SUBMITTED
    assert records.own("0.gadi-pbs")["run_id"] == "run-0001"


def test_the_same_run_gets_the_same_job(server, records):
    first = submission(records).submit()
    assert submission(records).submit() == first
    assert len(server.jobs()) == 1


def test_a_run_that_submits_two_different_jobs_is_told_so_and_gets_no_others_job(server, records):
    submission(records).submit()
    other = Order(b"#!/bin/sh\nexit 3\n", "tidy", mark_of("run-0001"), "run-0001")
    with pytest.raises(Refused, match="one run submits one job"):
        Submission(pbs, other, records, None, perform, print).submit()
    assert len(server.jobs()) == 1


def test_an_id_that_comes_again_is_another_job(server, records):
    """A server that was installed anew counts from 0: what ended long ago under that id says nothing of the new job."""
    records.see(Job("0.gadi-pbs", "succeeded", exit_status=0, submitted="2026-01-01T00:00:00Z"))
    assert submission(records).submit().job_id == "0.gadi-pbs"
    assert records.see(Job("0.gadi-pbs", "queued", submitted="2026-11-24T00:00:00Z")).state == "queued"


class Sbatch:
    """A Slurm that knows some jobs, and takes any."""

    def __init__(self, **states):
        self.states = states
        self.calls = []

    def __call__(self, call):
        self.calls.append(call.argv[0])
        if call.argv[0] == "sbatch":
            return Answer(0, "99\n")
        if call.argv[0] == "sacct":
            return Answer(1, "", "Slurm accounting storage is disabled\n")
        end = re.search(r"ArrayJobID:([^,]+),", " ".join(call.argv))[1]
        rows = [
            (number[1:], "N/A", state, "0", "None", "normal", "v10", "1", "0", "1:00", *["2026-11-24T22:24:14"] * 3, "node1", "x")
            for number, state in self.states.items()
        ]  # fmt: skip
        return Answer(0, "".join(f"{end.join(row)}{end}\n" for row in rows))


@pytest.mark.parametrize(
    ("relation", "state", "problem"),
    [
        ("afterok", None, "nobody knows the job 12 any more"),
        ("afterany", None, "nobody knows the job 12 any more"),
        ("afterok", "FAILED", "12 is over .failed., so afterok can never be met"),
        ("afterok", "CANCELLED", "12 is over .cancelled., so afterok can never be met"),
        ("afternotok", "COMPLETED", "12 is over .succeeded., so afternotok can never be met"),
        ("afterok", "RUNNING", None),
        ("afterok", "COMPLETED", None),
        ("afterany", "FAILED", None),
    ],
)
def test_what_slurm_would_take_for_met_is_not_submitted(records, relation, state, problem):
    slurm_there = Sbatch(**({"j12": state} if state else {}))
    order = Order(b"#!/bin/sh\n", "tidy", mark_of("run-0001"), "run-0001", after=((relation, "12"),))
    one = Submission(slurm, order, records, None, slurm_there, print)
    if problem is None:
        assert one.submit().job_id == "99"
        return
    with pytest.raises(Refused, match=problem):
        one.submit()
    assert "sbatch" not in slurm_there.calls


def test_an_answer_that_is_none_is_sent_again_after_the_scheduler_knows_of_no_job(server, records):
    (server.folder / "fault").write_text('{"qsub": "early"}')
    said = []
    with pytest.raises(Unreachable, match=f"so {SENDINGS} times, and there is no job"):
        submission(records, said=said).submit()
    assert stage_of(records) == NOT_SUBMITTED
    words = [words[0] for _, words in server.calls()]
    # Asked at least twice before each further sending.
    assert words.count("qsub") == SENDINGS
    asked_between = " ".join(words).split("qsub")[1:]
    assert all(part.count("qselect") >= 2 for part in asked_between)
    (server.folder / "fault").unlink()
    assert submission(records, "run-0002", "run-0001").submit().job_id == "0.gadi-pbs"


def test_the_answer_is_lost_a_hundred_times_and_there_are_a_hundred_jobs(server, records):
    """Here qsub is killed once the server has the job; every fifth run is tried again."""
    (server.folder / "fault").write_text('{"qsub": "cut"}')

    def once(number):
        first = f"run-{number:04}"
        answers = [submission(records, first).submit()]
        if number % 5 == 0:
            answers.append(submission(records, first).submit())
        assert len(set(answers)) == 1
        return answers[0].job_id

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(once, range(100)))
    assert len(set(ids)) == 100
    assert len(server.jobs()) == 100
    assert len(server.calls("qsub")) == 100
    for number, job_id in enumerate(ids):
        assert server.jobs()[int(job_id.partition(".")[0])]["variables"] == f"DEA_RUN_ID=run-{number:04}"


def test_a_scheduler_that_comes_back_is_asked_before_anything_is_sent_again(server, records):
    (server.folder / "fault").write_text('{"qsub": "cut", "qselect": "down"}')
    looks = []

    def perform_then_recover(call):
        if call.argv[0] == "qselect":
            looks.append(call)
            if len(looks) == 3:
                (server.folder / "fault").unlink()
        return perform(call)

    assert submission(records, perform=perform_then_recover).submit().job_id == "0.gadi-pbs"
    assert len(looks) == 3
    assert len(server.jobs()) == 1


def test_a_scheduler_that_stays_away_leaves_it_open(server, records):
    (server.folder / "fault").write_text('{"qsub": "cut", "qselect": "down"}')
    with pytest.raises(Uncertain, match="another attempt of this run"):
        submission(records, patience_s=0.2).submit()
    assert stage_of(records) == SENT
    with pytest.raises(Uncertain, match="nothing was submitted now"):
        submission(records, "run-0002", "run-0001").submit()
    (server.folder / "fault").unlink()
    said = []
    assert submission(records, "run-0002", "run-0001", said=said).submit().job_id == "0.gadi-pbs"
    assert "nobody had heard of it" in said[0]
    assert len(server.jobs()) == 1
    assert (stage_of(records), stage_of(records, "run-0002")) == (SUBMITTED, SUBMITTED)


def test_what_was_sent_a_moment_ago_may_still_arrive(server, records):
    """The first attempt was killed with its qsub on the way: nobody knows it yet, and then it is there."""
    with pytest.raises(Killed):
        submission(records, perform=Broken("lost before")).submit()
    with pytest.raises(Uncertain, match=r"try again in [0-9]+ seconds"):
        submission(records, "run-0002", "run-0001", under_way_s=60).submit()
    assert server.calls("qsub") == []
    assert submission(records, "run-0003", "run-0001").submit().job_id == "0.gadi-pbs"


def test_an_attempt_that_was_taken_for_dead_sends_nothing_more(server, records):
    """It was frozen while it looked for its job; another attempt found none, and submitted."""
    looks = []

    def perform_or_freeze(call):
        if call.argv[0] == "qsub":
            return Answer(0, "")
        looks.append(call)
        if len(looks) == 2:
            assert submission(records, "run-0002", "run-0001").submit().job_id == "0.gadi-pbs"
        return perform(call)

    with pytest.raises(Unreachable, match="another attempt of this run has begun"):
        submission(records, perform=perform_or_freeze).submit()
    assert len(server.jobs()) == 1


def test_without_a_history_none_is_no_proof(server, records):
    (server.folder / "no_history").touch()
    (server.folder / "fault").write_text('{"qsub": "early"}')
    with pytest.raises(Uncertain, match="no history"):
        submission(records).submit()
    assert len(server.calls("qsub")) == 1


def test_the_process_is_killed_anywhere_and_the_next_attempts_make_one_job(server, records):
    """At each call, before it or after it, and again in the attempt after that, by chance: one job in the end."""
    chance = random.Random(7)
    for number in range(25):
        first = f"run-{number:04}"
        for attempt in range(20):
            faults = [chance.choice(["lost before", "lost after", None, None]) for _ in range(4 if attempt < 19 else 0)]
            try:
                answer = submission(
                    records, first if attempt == 0 else f"{first}-a{attempt}", first, Broken(*faults)
                ).submit()
                break
            except Killed:
                continue
        assert answer.job_id == f"{number}.gadi-pbs"
    assert len(server.jobs()) == 25


def test_several_jobs_of_one_mark_are_said_and_the_first_counts(server, records):
    (server.folder / "fault").write_text('{"qsub": "cut"}')
    name = f"tidy-{mark_of('run-0001')}"
    for number in (10, 9):
        server.put(number, {"name": name, "array": None, "stage": 0, "plan": "finished_ok", "depend": None})
    (server.folder / "next").write_text("11")
    said = []
    assert submission(records, said=said).submit().job_id == "9.gadi-pbs"
    assert any("several jobs" in line for line in said)


def test_what_cannot_be_written_down_is_not_sent(server, tmp_path):
    (tmp_path / "state").write_text("a file, where the state folder should be")
    with pytest.raises(Refused, match="so nothing was; tell the operator"):
        submission(Records(str(tmp_path / "state"))).submit()
    assert server.jobs() == {}


def test_a_record_that_cannot_be_read_stops_everything(server, records):
    submission(records).submit()
    (Path(records.folder) / "submissions" / "run-0001" / "run-0001").write_text("{")
    with pytest.raises(Refused, match="cannot be told"):
        submission(records, "run-0002", "run-0001").submit()
    assert len(server.jobs()) == 1


def test_a_submission_without_a_run_id_is_settled_within_itself(server, records):
    (server.folder / "fault").write_text('{"qsub": "cut"}')
    assert submission(records, None).submit().job_id == "0.gadi-pbs"
    assert records.own("0.gadi-pbs")["run_id"] is None


def test_a_call_that_takes_too_long_is_ended_and_its_outcome_unclear(tmp_path, monkeypatch):
    program = tmp_path / "qsub"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    beats = []
    began = time.monotonic()
    order = Order(b"#!/bin/sh\n", "tidy", mark_of("run-0001"), "run-0001")
    answer = perform(pbs.submit_call(order), timeout_s=0.3, beat=lambda: beats.append(1), beat_s=0.05)
    assert answer.status is None
    assert time.monotonic() - began < 30
    assert len(beats) >= 3
    with pytest.raises(Uncertain, match="took too long"):
        pbs.submitted(answer)


def test_programs_are_called_in_utc_and_without_defaults_of_the_accounts_own(tmp_path, monkeypatch):
    program = tmp_path / "qstat"
    program.write_text("#!/bin/sh\nenv\ncat\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("SBATCH_ACCOUNT", "SLURM_JOB_ID", "PBS_DPREFIX", "LC_ALL", "TZ"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    from dea.remote.schedulers.calls import Call

    said = perform(Call(("qstat",), stdin=b"given")).stdout
    lines = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert (lines["TZ"], lines["LC_ALL"], lines["SLURM_CONF"]) == ("UTC", "C", "/etc/slurm.conf")
    assert not {"SBATCH_ACCOUNT", "SLURM_JOB_ID", "PBS_DPREFIX"} & set(lines)
    assert said.endswith("given")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "-x"},
        {"queue": "a;b"},
        {"project": ""},
        {"storage": ("a,b",)},
        {"resources": (("ncpus", "1,mem=4gb"),)},
        {"after": (("afterok", "1;id"),)},
        {"after": (("before", "1"),)},
        {"array": "0"},
        {"array": "0-2,7"},
        {"variables": (("A", "x,LD_PRELOAD=/x"),)},
        {"variables": (("A", 'x"'),)},
        {"variables": (("A", "x\\"),)},
        {"variables": (("A", "caf\u00e9"),)},
        {"variables": (("A", "a b"),)},
        {"variables": (("A", "a\nb"),)},
        {"variables": (("A", "x" * 600),)},
        {"variables": (("PATH", "/x"),)},
        {"variables": (("LD_PRELOAD", "/x"),)},
        {"variables": (("DEA_RUN_ID", "another"),)},
        {"variables": (("a-b", "x"),)},
        {"walltime_s": 0},
        {"ncpus": -1},
        {"script": b"no interpreter"},
        {"script": b"#!/bin/sh\n\0"},
    ],
    ids=str,
)
def test_what_a_scheduler_would_read_otherwise_is_refused(change):
    with pytest.raises(Refused):
        Order(**{"script": b"#!/bin/sh\n", "name": "tidy", "mark": mark_of("x"), **change})
