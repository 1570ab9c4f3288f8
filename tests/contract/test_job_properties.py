"""Whatever is seen of a job, in whatever order: a true end, once known, stays known."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dea.remote.contract.job import FINAL, LOST, STATES, UNKNOWN, Asked, Job, Used, after, moment, parse_job

times = st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
amounts = st.none() | st.integers(min_value=0, max_value=2**60)
texts = st.none() | st.text(max_size=100)
jobs = st.builds(
    Job,
    id=st.sampled_from(["12.gadi-pbs", "12[].gadi-pbs", "12_3"]),
    state=st.sampled_from(STATES),
    name=texts,
    exit_status=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(0, 127),
    reason=texts,
    queue=texts,
    project=texts,
    asked=st.builds(Asked, amounts, amounts, amounts),
    used=st.builds(Used, st.none() | st.floats(min_value=0, allow_infinity=False), amounts, amounts),
    submitted=st.none() | times,
    started=st.none() | times,
    ended=st.none() | times,
    host=texts,
    raw_state=texts,
)


@given(jobs)
def test_a_job_is_read_back_as_it_was_written(job: Job) -> None:
    assert parse_job(json.loads(json.dumps(job.encode()))) == job


@given(st.lists(jobs, min_size=1))
def test_the_first_true_end_stays_whatever_is_seen_later(history: list[Job]) -> None:
    known: Job | None = None
    end: Job | None = None
    for seen in history:
        known = after(known, seen)
        if end is None and seen.final and seen.state != LOST:
            end = seen
        assert end is None or known == end
        assert known.state in {one.state for one in history}
    assert known is not None
    assert known.final == any(seen.state in FINAL for seen in history)


@given(jobs, st.lists(st.sampled_from([UNKNOWN, LOST])))
def test_seeing_nothing_forgets_nothing(job: Job, states: list[str]) -> None:
    known = job
    for state in states:
        known = after(known, Job(job.id, state))
    assert (known.name, known.submitted, known.started, known.used) == (
        job.name,
        job.submitted,
        job.started,
        job.used,
    )


@given(times)
def test_a_time_is_the_moment_that_it_says(time: str) -> None:
    assert moment(time).isoformat() == time.replace("Z", "+00:00")
