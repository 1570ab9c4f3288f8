"""Random histories of jobs through the tracker: whatever happens to it and around it, no state is lost and none invented."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from dea.raijin import CannotConnect
from dea.remote.contract.job import FINAL, LOST, STATES, UNKNOWN, Standing, moment
from tests.lambdas.jobs.world import GRACE_S, Killed, World, die

IDS = ("1.pbs", "2.pbs")

# What the scheduler may say of a job, in any order: it is not this side's to say what can follow what.
becoming = st.tuples(st.just("becomes"), st.sampled_from(IDS), st.sampled_from(STATES))
polling = st.tuples(
    st.just("poll"), st.sampled_from([None, *((when, at) for when in ("before", "after") for at in range(4))])
)
twice = st.tuples(st.just("twice"), st.sampled_from(["before", "after"]), st.integers(0, 3))
late = st.tuples(st.just("late"), st.integers(0, 5))
waiting = st.tuples(st.just("wait"), st.sampled_from([1, 60, 300, GRACE_S]))
trouble = st.tuples(st.sampled_from(["down", "up", "no events", "events"]))
steps = st.lists(
    st.one_of(becoming, becoming, polling, polling, twice, late, waiting, trouble), min_size=4, max_size=14
)


def do(world: World, old: list[Standing], step: tuple[Any, ...]) -> None:
    """Do one step. An answer that the scheduler gave is kept: a late tracker may come with it."""
    match step:
        case ("becomes", job_id, state):
            if state != LOST:  # the scheduler itself has no such state
                world.becomes(job_id, state, exit_status=0 if state == "succeeded" else None)
        case ("poll", None):
            old.append(world.standing(list(IDS)))
            world.poll()
        case ("poll", (when, at)):
            world.requests.begin(**{when: {at: die}})
            world.poll()
        case ("twice", when, at):
            world.requests.begin(**{when: {at: world.poll}})
            world.poll()
        case ("late", number) if number < len(old):
            world.poll(as_told=old[number])
        case ("wait", seconds):
            world.passes(seconds)
        case ("down",):
            world.down = CannotConnect("down", "gadi", 22)
        case ("up",):
            world.down = None
        case ("no events",):
            world.refuses_events = True
        case ("events",):
            world.refuses_events = False


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_state_is_lost_and_none_invented(steps: list[tuple[Any, ...]]) -> None:
    with mock_aws():
        world = World()
        old: list[Standing] = []
        for job_id in IDS:
            world.submit(job_id)
        for step in steps:
            world.passes(1)
            with contextlib.suppress(Killed, CannotConnect):
                do(world, old, step)
            world.requests.begin()
        truth = dict(world.jobs)
        world.settle()
        for job_id in IDS:
            record = world.record(job_id)
            states = [change.state for change in record.history]
            # One history, each change once, forwards in time, and none after an end.
            assert [change.previous for change in record.history] == [None, *states[:-1]]
            assert [change.number for change in record.history] == list(range(1, len(states) + 1))
            times = [moment(change.as_of) for change in record.history]
            assert times == sorted(set(times))
            assert not FINAL - {LOST} & set(states[:-1])
            # Nothing invented: the scheduler said each of them, then; `lost` comes of not knowing the job, for long enough.
            unknown_since = None
            for change in record.history[1:]:
                said = UNKNOWN if change.state == LOST else change.state
                assert (job_id, change.as_of, said) in world.told
                if change.state == LOST:
                    assert unknown_since is not None
                    assert (moment(change.as_of) - unknown_since).total_seconds() >= GRACE_S
                unknown_since = moment(change.as_of) if change.state == UNKNOWN else unknown_since
            # Nothing lost: what the scheduler says now is known, unless the end was known before or it is given up for lost.
            last = truth[job_id].state if job_id in truth else UNKNOWN
            assert record.ended or record.job.state in (last, LOST)
            if last in FINAL:
                assert record.ended
            assert record.followed != record.ended
            # Each change was told, and each copy said the same.
            events = [event for event in world.sent if event["job"]["id"] == job_id]
            by_number = {event["number"]: event for event in events}
            assert sorted(by_number) == list(range(1, len(states) + 1))
            assert all(event == by_number[event["number"]] for event in events)
            assert [by_number[change.number]["state"] for change in record.history] == states
