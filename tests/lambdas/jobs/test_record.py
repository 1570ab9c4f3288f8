"""What another sight of a job changes: an end stays, an old answer tells nothing, a missing job is lost after its grace."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dea.lambdas.jobs import JobRecord, metrics, recorded, settings
from dea.lambdas.jobs.record import LOST_FOLLOWED, MAX_CHANGES
from dea.lambdas.jobs.table import item_of, record_of
from dea.remote.contract.job import FINAL, LOST, STATES, UNKNOWN, Job, Submitted, Used
from tests.lambdas.jobs.world import BEGIN, GRACE_S, stamp

SUBMITTED = Submitted("pbs", "12.gadi-pbs", "run-00000001", "tidy", stamp(BEGIN))


def first() -> JobRecord:
    return recorded(SUBMITTED, run_id="run-00000001", command="execute_clean", now=stamp(BEGIN))


def job(state: str, **fields: object) -> Job:
    return Job("12.gadi-pbs", state, name="tidy", **fields)  # type: ignore[arg-type]


def seen(known: JobRecord, sight: Job, after_s: float) -> JobRecord:
    """Return what is known after a sight so many seconds after the beginning."""
    when = stamp(BEGIN + after_s)
    return known.seen(sight, when, now=when, lost_after_s=GRACE_S) or known


@pytest.mark.parametrize("module", [metrics, settings])
def test_what_the_docstrings_show_is_so(module: object) -> None:
    done = doctest.testmod(module)  # type: ignore[arg-type]
    assert done.attempted > 0
    assert done.failed == 0


def test_the_first_record_is_a_queued_job_with_an_event_to_send() -> None:
    known = first()
    assert (known.job.state, known.version, known.followed) == ("queued", 1, True)
    [event] = known.outbox
    assert (event["event_id"], event["previous_state"], event["state"]) == (
        "12.gadi-pbs/run-00000001/1",
        None,
        "queued",
    )


def test_a_change_is_history_and_an_event_that_says_all_of_it() -> None:
    running = seen(first(), job("running", started=stamp(BEGIN + 30)), 60)
    failed = seen(running, job("failed", exit_status=3, reason="it said no"), 120)
    assert [change.state for change in failed.history] == ["queued", "running", "failed"]
    assert [event["number"] for event in failed.outbox] == [1, 2, 3]
    last = failed.outbox[-1]
    assert (last["previous_state"], last["state"], last["as_of"]) == ("running", "failed", stamp(BEGIN + 120))
    assert last["job"]["exit_status"] == 3
    assert failed.told().outbox == ()
    assert not failed.told().followed
    assert running.told().followed


@pytest.mark.parametrize("state", sorted(FINAL - {LOST}))
@pytest.mark.parametrize("later", STATES)
def test_an_end_never_changes(state: str, later: str) -> None:
    ended = seen(first(), job(state), 60)
    assert seen(ended, job(later), 10**6) is ended


@pytest.mark.parametrize("after_s", [-60, 0])
def test_an_answer_that_is_not_newer_tells_nothing(after_s: float) -> None:
    running = seen(first(), job("running"), 60)
    assert seen(running, job("failed"), 60 + after_s) is running


def test_what_only_grows_with_time_is_not_written() -> None:
    running = seen(first(), job("running"), 60)
    assert seen(running, job("running", used=Used(cpu_s=5.0, walltime_s=5)), 120) is running
    waiting = seen(first(), job("queued", reason="DependencyNeverSatisfied"), 60)
    assert (waiting.version, waiting.job.reason, len(waiting.history)) == (2, "DependencyNeverSatisfied", 1)


def test_a_missing_job_is_unknown_and_after_the_grace_lost() -> None:
    unknown = seen(first(), job(UNKNOWN), 60)
    assert (unknown.job.state, unknown.job.name, unknown.unknown_since) == (UNKNOWN, "tidy", stamp(BEGIN + 60))
    assert seen(unknown, job(UNKNOWN), 60 + GRACE_S - 1) is unknown
    lost = seen(unknown, job(UNKNOWN), 60 + GRACE_S)
    assert (lost.job.state, lost.job.exit_status, lost.followed) == (LOST, None, True)
    assert lost.job.reason == f"the scheduler has not known it since {stamp(BEGIN + 60)}"
    assert lost.told().followed  # somebody may still find out


def test_a_job_that_comes_back_in_time_begins_its_grace_anew() -> None:
    unknown = seen(first(), job(UNKNOWN), 60)
    back = seen(unknown, job("running"), GRACE_S)
    assert (back.job.state, back.unknown_since) == ("running", None)
    again = seen(back, job(UNKNOWN), GRACE_S + 60)
    assert seen(again, job(UNKNOWN), 2 * GRACE_S) is again


def test_lost_yields_to_an_end_that_is_found_out_and_to_nothing_else() -> None:
    lost = seen(seen(first(), job(UNKNOWN), 60), job(UNKNOWN), 2 * GRACE_S)
    assert seen(lost, job("running"), 3 * GRACE_S) is lost
    found = seen(lost, job("succeeded", exit_status=0), 4 * GRACE_S)
    assert (found.job.state, found.unknown_since) == ("succeeded", None)
    assert [change.state for change in found.history] == ["queued", UNKNOWN, LOST, "succeeded"]
    assert not found.told().followed


def test_a_lost_job_is_given_up_after_a_week_once_its_events_are_sent() -> None:
    lost = seen(seen(first(), job(UNKNOWN), 60), job(UNKNOWN), 2 * GRACE_S)
    late = 2 * GRACE_S + LOST_FOLLOWED.total_seconds()
    assert seen(lost, job(UNKNOWN), late) is lost  # it has something to tell
    told = lost.told()
    assert seen(told, job(UNKNOWN), late - 1) is told
    given_up = seen(told, job(UNKNOWN), late)
    assert (given_up.asked, given_up.followed, given_up.job.state) == (False, False, LOST)
    assert seen(told, job("running"), late) is told  # it lives: its end will be known


def test_the_history_is_bounded_and_its_numbers_go_on() -> None:
    known = first()
    for number in range(1, 2 * MAX_CHANGES):
        known = seen(known, job("held" if number % 2 else "queued", reason="x" * 4096), 60 * number).told()
    assert len(known.history) == MAX_CHANGES
    assert known.history[-1].number == 2 * MAX_CHANGES
    assert len(item_of(known)["history"]["S"]) < 60_000


texts = st.none() | st.text(max_size=20)
jobs = st.builds(
    Job,
    st.just("12.gadi-pbs"),
    st.sampled_from(STATES),
    name=texts,
    exit_status=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(0, 127),
    reason=texts,
    used=st.builds(Used, cpu_s=st.none() | st.floats(0, 1e9), mem_bytes=st.none() | st.integers(0, 10**15)),
)
sights = st.lists(st.tuples(jobs, st.integers(-3600, 10**6)), max_size=12)


@given(sights)
def test_whatever_is_seen_the_history_stays_one(sights: list[tuple[Job, int]]) -> None:
    known = first()
    for sight, after_s in sights:
        before, known = known, seen(known, sight, after_s)
        assert known.as_of >= before.as_of
        if before.ended:
            assert known is before
        if known is not before:
            assert known.version == before.version + 1
        assert record_of(item_of(known)) == known
    states = [change.state for change in known.history]
    assert [change.previous for change in known.history] == [None, *states[:-1]]
    assert [change.number for change in known.history] == list(range(1, len(states) + 1))
    assert states[-1] == known.job.state
    assert len(known.outbox) == len(states)
    told = {(stamp(BEGIN + after_s), sight.state) for sight, after_s in sights}
    for change in known.history[1:]:
        # Every state is one that was seen then; lost may come of having seen nothing.
        expected = {change.state, UNKNOWN} if change.state == LOST else {change.state}
        assert {(change.as_of, state) for state in expected} & told


def test_a_record_without_anything_to_send_has_no_outbox_in_the_table() -> None:
    item = item_of(replace(first(), outbox=()))
    assert "outbox" not in item
    assert "unknown_since" not in item
    assert "followed" in item
    assert "followed" in item_of(replace(first(), asked=False))
    assert "followed" not in item_of(replace(first(), outbox=(), asked=False))


def test_a_clock_that_is_ahead_does_not_make_later_answers_old() -> None:
    ahead, now = stamp(BEGIN + 86400), stamp(BEGIN + 60)
    running = first().seen(job("running"), ahead, now=now, lost_after_s=GRACE_S)
    assert running is not None
    assert (running.as_of, running.history[-1].as_of) == (now, now)
    assert seen(running, job("succeeded"), 120).job.state == "succeeded"
    submitted = replace(SUBMITTED, submitted=ahead)
    known = recorded(submitted, run_id="run-00000001", command="execute_clean", now=now)
    assert (known.as_of, known.submitted) == (now, now)
