"""What the commands say of batch jobs: read back as it was written, or refused."""

import json

import pytest

from dea.remote.contract.job import (
    FINAL,
    LOST,
    STATES,
    UNKNOWN,
    Asked,
    InvalidAnswer,
    Job,
    Standing,
    Submitted,
    Used,
    after,
    is_job_id,
    parse_cancelled,
    parse_job,
    parse_standing,
    parse_submitted,
)

JOB = Job(
    "12.gadi-pbs",
    "failed",
    name="tidy",
    exit_status=3,
    reason="exit 3",
    queue="normal",
    project="ab12",
    asked=Asked(4, 1 << 30, 3600),
    used=Used(1.5, 1 << 20, 60),
    submitted="2026-01-01T00:00:00Z",
    started="2026-01-01T00:01:00Z",
    ended="2026-01-01T00:02:00Z",
    host="node-1",
    raw_state="F",
)


def test_answers_are_read_back_as_they_were_written():
    standing = Standing("pbs", "2026-01-01T00:00:00Z", (JOB, Job("13", UNKNOWN)))
    assert parse_standing(json.dumps(standing.encode())) == standing
    submitted = Submitted("slurm", "12", None, "tidy", "2026-01-01T00:00:00Z")
    assert parse_submitted(json.dumps(submitted.encode()).encode()) == submitted
    assert parse_cancelled(json.dumps({"format": 1, "scheduler": "pbs", "job": JOB.encode()})) == JOB


@pytest.mark.parametrize(
    "change",
    [
        {"state": "done"},
        {"state": None},
        {"id": "12; rm"},
        {"id": 12},
        {"exit_status": "0"},
        {"exit_status": False},
        {"exit_status": -29},
        {"signal": 256},
        {"submitted": "yesterday"},
        {"ended": "2026-02-31T00:00:00Z"},
        {"ended": "2026-02-01T00:00:00"},
        {"started": 1},
        {"asked": None},
        {"asked": {"ncpus": 1}},
        {"used": {"cpu_s": float("nan"), "mem_bytes": None, "walltime_s": None}},
        {"used": {"cpu_s": True, "mem_bytes": None, "walltime_s": None}},
        {"used": {"cpu_s": None, "mem_bytes": 1.5, "walltime_s": None}},
        {"reason": "x" * 5000},
        {"color": "red"},
    ],
)
def test_a_job_that_breaks_the_contract_is_refused(change):
    with pytest.raises(InvalidAnswer):
        parse_job({**JOB.encode(), **change})


@pytest.mark.parametrize("name", sorted(JOB.encode()))
def test_a_job_without_one_of_its_fields_is_refused(name):
    entry = JOB.encode()
    del entry[name]
    with pytest.raises(InvalidAnswer, match=name):
        parse_job(entry)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nothing",
        "[]",
        '{"format": 1}',
        '{"format": 2, "scheduler": "pbs", "as_of": "2026-01-01T00:00:00Z", "jobs": []}',
        '{"format": true, "scheduler": "pbs", "as_of": "2026-01-01T00:00:00Z", "jobs": []}',
        '{"format": 1, "scheduler": "lsf", "as_of": "2026-01-01T00:00:00Z", "jobs": []}',
        '{"format": 1, "scheduler": "pbs", "as_of": null, "jobs": []}',
        '{"format": 1, "scheduler": "pbs", "as_of": "2026-01-01T00:00:00Z", "jobs": {}}',
        "[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_answer_is_refused(content):
    with pytest.raises(InvalidAnswer):
        parse_standing(content)


@pytest.mark.parametrize("text", ["12", "12.gadi-pbs", "12[].gadi-pbs", "12[3].gadi-pbs", "12_3", "12[3]"])
def test_ids_of_both_schedulers_are_ids(text):
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", "all", "-x", "12 13", "12\n", "12.-x", "12[a]", "12_", "12.a/b", "٣"])
def test_what_is_no_id_is_none(text):
    assert not is_job_id(text)


@pytest.mark.parametrize("known", STATES)
@pytest.mark.parametrize("seen", STATES)
def test_an_end_stays_but_lost_yields_to_a_true_one(known, seen):
    then = after(Job("1", known, name="tidy"), Job("1", seen, name="tidy")).state
    if known == LOST:
        assert then == (seen if seen in FINAL else LOST)
    else:
        assert then == (known if known in FINAL else seen)


def test_sight_of_nothing_keeps_what_was_known():
    running = Job("1", "running", name="tidy", started="2026-01-01T00:00:00Z", raw_state="R")
    seen = after(running, Job("1", UNKNOWN, reason="the scheduler does not know it"))
    assert (seen.state, seen.name, seen.started, seen.raw_state) == (UNKNOWN, "tidy", running.started, None)
    assert after(None, seen) == seen
