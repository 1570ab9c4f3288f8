"""The tracker against DynamoDB and EventBridge (moto): killed anywhere, twice at once, late, with the login node down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dea.lambdas.jobs import AnswerOfNoJob, JobsTable, TableMissing, metrics, tracker
from dea.lambdas.jobs.asking import UNCERTAIN, UNREACHABLE, _portions
from dea.lambdas.jobs.bus import DETAIL_TYPE, SOURCE, EventBus
from dea.lambdas.jobs.record import recorded
from dea.lambdas.jobs.tracker import LEFT_BEHIND_S
from dea.raijin import Call, CannotConnect, CommandFailed
from dea.remote.contract.job import LOST, UNKNOWN, Asked, Job, Submitted, Used, is_job_id, parse_job
from dea.remote.schedulers import errors
from dea.workspace import checkout, settings
from tests.lambdas.jobs.world import GRACE_S, Killed, World, die, stamp

# A poll of three jobs of which two have changed: read, write, tell, settle.
REQUESTS = ["Query", "TransactWriteItems", "PutEvents", "TransactWriteItems"]


def three(world: World) -> None:
    """Have three jobs; a minute later one has failed, one is running, one is where it was."""
    for number in (1, 2, 3):
        world.submit(f"{number}.pbs", f"run-0000000{number}")
    world.passes(LEFT_BEHIND_S)
    world.poll()
    world.passes(60)
    world.becomes("1.pbs", "failed", exit_status=3, started=stamp(world.now - 30))
    world.becomes("2.pbs", "running", started=stamp(world.now - 30))
    world.sent.clear()
    world.requests.begin()


def check(world: World) -> None:
    """Check that what `three` had happen is known and told, each change once or with the same words again."""
    states = {number: [change.state for change in world.record(f"{number}.pbs").history] for number in (1, 2, 3)}
    assert states == {1: ["queued", "failed"], 2: ["queued", "running"], 3: ["queued"]}
    by_id = {event["event_id"]: event for event in world.sent}
    assert set(by_id) == {"1.pbs/run-00000001/2", "2.pbs/run-00000002/2"}
    assert all(event == by_id[event["event_id"]] for event in world.sent)
    followed = {record.job.id: record.outbox for record in world.table.followed()}
    assert followed == {"2.pbs": (), "3.pbs": ()}


def test_a_poll_writes_what_is_new_and_tells_of_it(world: World) -> None:
    three(world)
    report = world.poll()
    assert world.requests.names == REQUESTS
    assert (report.followed, report.asked, report.changed, report.sent, report.unsent) == (3, 3, 2, 2, 0)
    check(world)
    assert len(world.sent) == 2
    world.requests.begin()
    world.passes(60)
    assert world.poll().changed == 0
    assert world.requests.names == ["Query"]  # nothing is new: nothing is written


@pytest.mark.parametrize("number", range(len(REQUESTS)))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_request_the_next_poll_makes_it_whole(world: World, number: int, when: str) -> None:
    three(world)
    world.requests.begin(**{when: {number: die}})
    with pytest.raises(Killed):
        world.poll()
    world.settle()
    check(world)


@pytest.mark.parametrize("number", range(len(REQUESTS)))
@pytest.mark.parametrize("when", ["before", "after"])
def test_two_at_once_tell_of_each_change_once(world: World, number: int, when: str) -> None:
    three(world)
    others: list[Any] = []
    world.requests.begin(**{when: {number: lambda: others.append(world.poll())}})
    mine = world.poll()
    check(world)
    assert len(world.sent) == 2
    assert mine.changed + others[0].changed == 2
    assert mine.raced in (0, 2)
    world.settle()
    check(world)
    assert len(world.sent) == 2


def test_a_late_tracker_does_not_move_a_job_back(world: World) -> None:
    three(world)
    old = world.standing(["1.pbs", "2.pbs", "3.pbs"])
    world.passes(60)
    world.becomes("2.pbs", "succeeded", exit_status=0)
    world.becomes("1.pbs", UNKNOWN)
    world.poll()
    assert world.record("2.pbs").job.state == "succeeded"
    before = {number: world.record(f"{number}.pbs") for number in (1, 2, 3)}
    assert world.poll(as_told=old).changed == 0
    assert {number: world.record(f"{number}.pbs") for number in (1, 2, 3)} == before


def test_a_tracker_that_is_overtaken_between_reading_and_writing_writes_nothing(world: World) -> None:
    three(world)
    old = world.standing(["1.pbs", "2.pbs", "3.pbs"])

    def overtake() -> None:
        world.passes(60)
        world.becomes("1.pbs", "failed", exit_status=3, started=stamp(world.now - 90))
        world.becomes("2.pbs", "succeeded", exit_status=0)
        world.poll()

    world.requests.begin(before={1: overtake})
    report = world.poll(as_told=old)
    assert (report.changed, report.raced) == (0, 2)
    assert [change.state for change in world.record("2.pbs").history] == ["queued", "succeeded"]
    assert len(world.sent) == len({event["event_id"] for event in world.sent}) == 2


def test_where_one_was_overtaken_the_others_are_written(world: World) -> None:
    three(world)

    def overtake() -> None:
        world.tracker.note([(world.record("1.pbs"), world.jobs["1.pbs"], stamp(world.now))])

    world.requests.begin(before={1: overtake})
    report = world.poll()
    assert (report.changed, report.raced) == (1, 1)
    check(world)
    assert len(world.sent) == 2


DOWN = CannotConnect("the login node does not answer", "gadi", 22)


@pytest.mark.parametrize(
    ("down", "error"),
    [
        (DOWN, CannotConnect),
        (("", "qstat: cannot connect to server\n", 1), CommandFailed),
        (("{}", "", 0), AnswerOfNoJob),
        (("", "", 0), AnswerOfNoJob),
        (('{"format":1,"scheduler":"pbs","as_of":"2026-01-01T00:09:00Z","jobs":[]}', "", 0), AnswerOfNoJob),
        (("Welcome to Gadi!\n{}", "", 0), AnswerOfNoJob),
    ],
)
def test_while_nobody_answers_nothing_is_written(world: World, down: Any, error: type[Exception]) -> None:
    three(world)
    before = {number: world.record(f"{number}.pbs") for number in (1, 2, 3)}
    world.down = down
    for _ in range(3):
        world.passes(GRACE_S)
        with pytest.raises(error):
            world.poll()
    assert {number: world.record(f"{number}.pbs") for number in (1, 2, 3)} == before
    world.settle()
    check(world)


def test_while_the_login_node_is_down_what_was_left_behind_is_sent(world: World) -> None:
    world.submit("1.pbs")
    world.passes(LEFT_BEHIND_S)
    world.down = DOWN
    with pytest.raises(CannotConnect):
        world.poll()
    assert [event["state"] for event in world.sent] == ["queued"]
    assert world.record("1.pbs").outbox == ()


def test_what_eventbridge_does_not_take_is_sent_later(world: World) -> None:
    three(world)
    world.refuses_events = True
    report = world.poll()
    assert (report.changed, report.sent, report.unsent) == (2, 0, 2)
    assert {record.job.id for record in world.table.followed()} == {"1.pbs", "2.pbs", "3.pbs"}
    world.settle()
    check(world)


def test_a_tracker_that_dies_of_many_events_gets_on_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "SETTLED_AT_ONCE", 1)
    for number in (1, 2, 3):
        world.submit(f"{number}.pbs")
    world.passes(60)
    world.poll()
    world.sent.clear()  # of the submissions
    for number in (1, 2, 3):
        world.becomes(f"{number}.pbs", "running")
    world.refuses_events = True
    world.passes(60)
    world.poll()
    world.refuses_events = False
    for done in (1, 2, 3):
        world.passes(LEFT_BEHIND_S)
        world.requests.begin(after={2: die})  # read, send one, note it
        with pytest.raises(Killed):
            world.poll()
        assert len(world.sent) == done
    assert len({event["event_id"] for event in world.sent}) == 3


def test_the_scheduler_forgets_for_a_while_and_nothing_is_lost(world: World) -> None:
    three(world)
    jobs, world.jobs = world.jobs, {}
    for _ in range(3):
        world.poll()
        world.passes(GRACE_S / 4)
    assert {world.record(f"{number}.pbs").job.state for number in (1, 2, 3)} == {UNKNOWN}
    world.jobs = jobs
    world.settle()
    states = [world.record(f"{number}.pbs").job.state for number in (1, 2, 3)]
    assert states == ["failed", "running", "queued"]
    assert LOST not in {event["state"] for event in world.sent}


def test_a_job_that_vanishes_is_lost_and_one_that_turns_up_again_is_corrected(world: World) -> None:
    world.submit("1.pbs")
    world.becomes("1.pbs", UNKNOWN)
    for _ in range(3):
        world.passes(GRACE_S)
        world.poll()
    assert world.record("1.pbs").job.state == LOST
    world.becomes("1.pbs", "failed", exit_status=1)
    world.settle()
    assert [event["state"] for event in world.sent] == ["queued", UNKNOWN, LOST, "failed"]
    assert world.table.followed() == []


def test_a_job_whose_id_is_given_away_is_another_job(world: World) -> None:
    """A scheduler that was set up anew counts from 1 again."""
    world.submit("1", "run-old")
    world.becomes("1", "running")
    world.passes(60)
    world.poll()
    world.passes(60)
    world.submit("1", "run-new")
    world.becomes("1", "succeeded", exit_status=0)
    for _ in range(4):
        world.passes(GRACE_S / 2)
        world.poll()
    old, new = world.table.find("1")
    assert [change.state for change in old.history] == ["queued", "running", LOST]
    assert [change.state for change in new.history] == ["queued", "succeeded"]
    assert {old.followed, new.followed} == {False}
    told = [(event["run_id"], event["state"]) for event in world.sent]
    assert sorted(told) == sorted((one.run_id, change.state) for one in (old, new) for change in one.history)
    world.submit("1", "run-new")  # once more: it is the same, and the old one stays as it is
    assert world.table.find("1") == [old, new]


def test_a_retry_of_the_old_job_s_event_does_not_give_the_new_one_away(world: World) -> None:
    world.submit("1", "run-old")
    old = Submitted("pbs", "1", "run-old", "tidy", stamp(world.now))
    world.passes(60)
    world.submit("1", "run-new")
    world.passes(60)
    again = recorded(old, run_id="run-old", command="submit_job", now=stamp(world.now))
    assert world.table.record(again).job.state == LOST
    world.becomes("1", "running")
    world.settle()
    assert [one.job.state for one in world.table.find("1")] == [LOST, "running"]


def test_an_old_job_that_is_recorded_last_is_no_job_to_ask_for(world: World) -> None:
    """Its function had died before it recorded it, and the event came again after the scheduler was set up anew."""
    old = Submitted("pbs", "1", "run-old", "tidy", stamp(world.now))
    world.passes(60)
    world.submit("1", "run-new")
    record = world.table.record(recorded(old, run_id="run-old", command="submit_job", now=stamp(world.now)))
    assert (record.run_id, record.job.state, record.asked) == ("run-old", LOST, False)
    world.becomes("1", "running")
    world.settle()
    assert [one.run_id for one in world.table.followed()] == ["run-new"]


def test_an_id_is_given_away_also_where_a_tracker_was_there_first(world: World) -> None:
    read = world.submit("1", "run-old")
    world.passes(60)
    world.becomes("1", "running")
    sighting = read, world.jobs["1"], stamp(world.now)
    world.passes(1)
    # After the first two requests for the new one, by which it is stored and the old one found.
    world.requests.begin(before={2: lambda: world.tracker.note([sighting])})
    world.submit("1", "run-new")
    old, new = world.table.find("1")
    assert ([change.state for change in old.history], old.asked) == (["queued", "running", LOST], False)
    assert (new.run_id, new.asked) == ("run-new", True)


def test_recorded_twice_is_recorded_once(world: World) -> None:
    world.submit("1.pbs")
    world.becomes("1.pbs", "running")
    world.passes(60)
    world.poll()
    again = recorded(
        Submitted("pbs", "1.pbs", "run-00000001", "tidy", stamp(world.now)),
        run_id="run-00000001",
        command="submit_job",
        now=stamp(world.now),
    )
    assert world.table.record(again).job.state == "running"
    assert world.record("1.pbs").job.state == "running"


def test_many_changes_take_a_handful_of_requests(world: World) -> None:
    count = 120
    for number in range(count):
        world.submit(f"{number}.pbs")
    world.passes(LEFT_BEHIND_S)
    for number in range(count):
        world.becomes(f"{number}.pbs", "running")
    session = world.session()
    world.requests.begin()
    report = world.tracker.poll(session)
    assert (report.asked, report.changed, report.sent) == (count, count, 2 * count)
    assert session.requests == [session.requests[0]]
    dynamodb = [name for name in world.requests.names if name != "PutEvents"]
    assert dynamodb == ["Query", *["TransactWriteItems"] * 4]  # a hundred and the rest, twice


def test_no_request_has_more_than_a_transaction_takes(world: World) -> None:
    """DynamoDB takes 4 MB at once, which jobs with long histories exceed before there are a hundred."""
    sizes: list[int] = []

    def measure(params: dict[str, Any], **_: Any) -> None:
        puts = [one["Put"]["Item"] for one in params["TransactItems"]]
        sizes.append(sum(len(name) + len(str(*value.values())) for item in puts for name, value in item.items()))

    world.table._client.meta.events.register("provide-client-params.dynamodb.TransactWriteItems", measure)
    records = [world.submit(f"{number}.pbs") for number in range(12)]
    grown = [replace(one, version=2, outbox=({"reason": "x" * 360_000},)) for one in records]
    assert len(world.table.write(grown)) == len(grown)
    assert sum(sizes) > 4_000_000 > max(sizes)
    assert len(sizes) == 2


def test_ids_are_asked_for_in_as_few_requests_as_their_size_allows() -> None:
    assert [len(some) for some in _portions(f"{number}.gadi-pbs" for number in range(4500))] == [2000, 2000, 500]
    long = [f"{number}.{'x' * 120}" for number in range(1000)]
    portions = list(_portions(long))
    assert [one for some in portions for one in some] == long
    assert all(sum(len(one) + 3 for one in some) <= 60_000 for some in portions)


@pytest.mark.parametrize("start", ["1" * 12, f"{'1' * 12}[{'1' * 9}]", f"{'1' * 12}[]"])
def test_whatever_id_can_be_recorded_can_be_asked_for_and_cancelled(start: str) -> None:
    """One that `job_status` refuses would keep all the others from being asked for."""
    for job_id in (start, f"{start}.{'x' * 128}"):
        assert is_job_id(job_id)
        for call in (
            Call.of("job_status", "1.pbs", job_id),
            Call.of("cancel_job", job_id),
            Call.of("submit_job", "example", after=f"afterok:{job_id}"),
        ):
            assert job_id in call.request
    assert not is_job_id(f"{start}.{'x' * 129}")


def test_no_job_no_question(world: World) -> None:
    session = world.session()
    assert world.tracker.poll(session).asked == 0
    assert session.requests == []


def test_the_metrics_say_how_jobs_stand_and_what_has_ended(world: World) -> None:
    three(world)
    used = {"asked": Asked(ncpus=2), "used": Used(cpu_s=90.0, walltime_s=60)}
    world.becomes("1.pbs", "succeeded", exit_status=0, started=stamp(world.now - 100), **used)
    world.metrics.clear()
    world.poll()
    told: dict[str, Any] = {}
    for line in world.metrics:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("DEA/Jobs", [["Table"]])
        assert line["Table"] == "dea-jobs"
        assert line["_aws"]["Timestamp"] == int(world.now * 1000)
        told |= {one["Name"]: (one["Unit"], line[one["Name"]]) for one in directive["Metrics"]}
    assert told == {
        "Queued": ("Count", 1),
        "Held": ("Count", 0),
        "Running": ("Count", 1),
        "Exiting": ("Count", 0),
        "Unknown": ("Count", 0),
        "Succeeded": ("Count", 1),
        "Failed": ("Count", 0),
        "Cancelled": ("Count", 0),
        "Lost": ("Count", 0),
        "QueueWait": ("Seconds", [140.0, 210.0]),
        "CpuEfficiency": ("Percent", 75.0),
    }


def test_many_values_of_a_metric_take_several_lines() -> None:
    told = {"QueueWait": ("Seconds", list(range(230))), "Lost": ("Count", [0]), "CpuEfficiency": ("Percent", [])}
    lines = [json.loads(line) for line in metrics.lines(told, table="dea-jobs", timestamp_ms=1)]
    assert [line.get("QueueWait") for line in lines] == [list(range(100)), list(range(100, 200)), list(range(200, 230))]
    assert [line.get("Lost") for line in lines] == [0, None, None]
    assert all("CpuEfficiency" not in line for line in lines)
    for line in lines:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert {one["Name"] for one in directive["Metrics"]} == set(line) - {"_aws", "Table"}


def test_an_event_has_what_a_rule_looks_for(world: World) -> None:
    import boto3

    taken: list[dict[str, Any]] = []
    client = boto3.client("events", region_name="ap-southeast-2")
    client.meta.events.register(
        "provide-client-params.events.PutEvents", lambda params, **_: taken.extend(params["Entries"])
    )
    record = world.submit("1.pbs")
    assert EventBus("default", client).send([record]) == [record]
    [entry] = taken
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (SOURCE, DETAIL_TYPE, "default")
    detail = json.loads(entry["Detail"])
    assert (detail["job"]["id"], detail["state"], detail["command"]) == ("1.pbs", "queued", "submit_job")


def sized(world: World) -> tuple[EventBus, list[tuple[int, list[str]]]]:
    """Return a bus, and what is sent by it: of each request its size, as EventBridge counts it, and its events' ids."""
    sent: list[tuple[int, list[str]]] = []

    def measure(params: dict[str, Any], **_: Any) -> None:
        entries = params["Entries"]
        size = sum(len(entry[name].encode()) for entry in entries for name in ("Source", "DetailType", "Detail"))
        sent.append((size, [json.loads(entry["Detail"])["event_id"] for entry in entries]))

    world.events.meta.events.register("provide-client-params.events.PutEvents", measure)
    return EventBus("default", world.events), sent


def test_no_request_has_more_than_eventbridge_takes(world: World) -> None:
    """It takes ten events at once, and 256 KB, which ten jobs that have much to say exceed."""
    bus, sent = sized(world)
    changes = [{"event_id": f"1.pbs/run/{number}", "job": {"reason": "é" * 20_000}} for number in range(12)]
    records = [replace(world.submit(f"{number}.pbs"), outbox=(changes[number],)) for number in range(12)]
    assert bus.send(records) == records
    assert [one for _, ids in sent for one in ids] == [one["event_id"] for one in changes]
    assert max(size for size, _ in sent) < 256_000
    assert [len(ids) for _, ids in sent] == [6, 6]


@pytest.mark.parametrize("character", ["\x01", "\U0001f600", "\ud800"])
def test_the_longest_event_that_there_can_be_is_taken(world: World, character: str) -> None:
    """One that EventBridge refuses for its size would never be sent, and hold up those behind it."""
    bus, sent = sized(world)
    text, amount = character * 4096, 10**4299  # no JSON number that Python reads is longer
    job = Job(
        f"{'1' * 12}[{'1' * 9}].{'x' * 128}",
        "cancelled",
        **dict.fromkeys(("name", "reason", "queue", "project", "host", "raw_state"), text),
        **dict.fromkeys(("submitted", "started", "ended"), stamp(world.now)),
        exit_status=255,
        signal=127,
        asked=Asked(amount, amount, amount),
        used=Used(amount, amount, amount),
    )
    assert parse_job(json.loads(json.dumps(job.encode()))) == job
    submission = Submitted("slurm", job.id, text, text, stamp(world.now))
    first = recorded(submission, run_id=text, command="c" * 64, now=stamp(world.now))
    record = first.seen(job, stamp(world.now + 1), now=stamp(world.now + 1), lost_after_s=GRACE_S)
    assert record is not None
    assert bus.send([record]) == [record]
    assert len(record.outbox) == 2
    assert max(size for size, _ in sent) < 256_000


def test_a_table_that_is_not_there_is_said_so_with_what_to_do(world: World) -> None:
    table = JobsTable("no-such-table", world.table._client)
    acts: list[Callable[[], object]] = [
        table.followed,
        lambda: table.find("1"),
        lambda: list(table.since("")),
        lambda: table.record(world.submit("1.pbs")),
        lambda: table.write([world.record("1.pbs")]),
    ]
    for act in acts:
        with pytest.raises(
            TableMissing, match=r"there is no table 'no-such-table'.*jobs\.yaml, or name another one in DEA_JOBS_TABLE"
        ):
            act()


def test_an_item_that_dynamodb_refuses_keeps_no_other_from_being_written(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    three(world)
    client = world.table._client
    cancelled = {
        "Error": {"Code": "TransactionCanceledException", "Message": "Transaction cancelled [ValidationError, None]"},
        "CancellationReasons": [{"Code": "ValidationError"}, {"Code": "None"}],
    }

    def refuse() -> None:
        raise client.exceptions.TransactionCanceledException(cancelled, "TransactWriteItems")

    world.requests.begin(before={1: refuse})
    report = world.poll()
    assert (report.changed, report.raced) == (1, 1)
    assert "DynamoDB refuses records of jobs" in caplog.text
    world.settle()
    check(world)


def test_a_conflict_is_tried_again_and_then_left_to_the_next_poll(world: World) -> None:
    three(world)
    client = world.table._client
    conflict = {
        "Error": {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"},
        "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
    }

    def refuse() -> None:
        raise client.exceptions.TransactionCanceledException(conflict, "TransactWriteItems")

    world.requests.begin(before={1: refuse})
    assert world.poll().changed == 2
    world.passes(60)
    world.becomes("3.pbs", "running")
    world.becomes("2.pbs", "held")
    world.requests.begin(before=dict.fromkeys(range(1, 6), refuse))
    assert world.poll().changed == 0
    world.settle()
    assert world.record("3.pbs").job.state == "running"


def test_another_failure_of_dynamodb_is_raised(world: World) -> None:
    three(world)

    def refuse() -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "TransactWriteItems")

    world.requests.begin(before={1: refuse})
    with pytest.raises(ClientError, match="AccessDenied"):
        world.poll()
    world.settle()
    check(world)


def test_the_statuses_that_are_tried_again_are_those_of_the_login_node() -> None:
    assert errors.Unreachable.status == UNREACHABLE
    assert errors.Uncertain.status == UNCERTAIN


@pytest.mark.parametrize("name", ["track_jobs", "cancel_job"])
def test_whoever_sends_is_gone_before_another_sends_what_it_left(name: str) -> None:
    assert settings.read(checkout.function(name)).timeout_s < LEFT_BEHIND_S
