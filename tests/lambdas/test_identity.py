"""What a delivery is known by, and the run ids that come of it."""

from __future__ import annotations

import copy
import doctest
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dea.lambdas import answer, identity
from dea.lambdas.identity import Identity, InvalidDelivery, identity_of, identity_of_record, run_id_of, unqualified
from dea.remote.contract.request import is_run_id

ARN = "arn:aws:lambda:ap-southeast-2:123456789012:function:clean"
CONTEXT = SimpleNamespace(aws_request_id="7b1a5a9e-request", invoked_function_arn=ARN)

# As Lambda passes them, from the AWS pages that the module cites; shortened.
SQS = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": "Test message.",
    "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
    "messageAttributes": {},
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}
SNS = {
    "EventVersion": "1.0",
    "EventSubscriptionArn": "arn:aws:sns:us-east-1:123456789012:sns-lambda:21be56ed-a058-49f5-8c98-aedd2564c486",
    "EventSource": "aws:sns",
    "Sns": {"MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e", "Message": "Hello from SNS!"},
}
S3 = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-east-2",
    "eventTime": "2019-09-03T19:37:27.192Z",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "bucket": {"name": "DOC-EXAMPLE-BUCKET", "arn": "arn:aws:s3:::DOC-EXAMPLE-BUCKET"},
        "object": {"key": "b21b84d653bb07b05b1e6b33684dc11b", "size": 1305107, "sequencer": "0C0F6F405D6ED209E1"},
    },
}
KINESIS = {
    "kinesis": {"partitionKey": "1", "sequenceNumber": "49590338271490256608559692538361571095921575989136588898"},
    "eventSource": "aws:kinesis",
    "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
    "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
}
DYNAMODB = {
    "eventID": "1",
    "eventName": "INSERT",
    "eventSource": "aws:dynamodb",
    "dynamodb": {"SequenceNumber": "111", "Keys": {"Id": {"N": "101"}}},
    "eventSourceARN": "arn:aws:dynamodb:us-east-2:123456789012:table/my-table/stream/2024-06-10T19:26:16.525",
}
EVENTBRIDGE = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2015-10-08T16:53:06Z",
    "detail": {},
}
STATE = {
    "Execution": {"Id": "arn:aws:states:us-east-1:123456789012:execution:machine:name"},
    "State": {"Name": "Clean", "EnteredTime": "2019-03-26T20:14:13.192Z"},
}
SCHEDULE = {
    "ScheduleArn": "arn:aws:scheduler:us-east-1:123456789012:schedule/default/nightly",
    "ScheduledTime": "2022-03-22T18:59:43Z",
}


@pytest.mark.parametrize("module", [identity, answer])
def test_what_the_docstrings_show_is_so(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (SQS, Identity("sqs", ("059f36b4-87a3-44ab-83d2-661975830a7d",))),
        (SNS, Identity("sns", ("95df01b4-ee98-5cb9-9903-4c221d41eb5e",))),
        (
            S3,
            Identity("s3", ("DOC-EXAMPLE-BUCKET", "b21b84d653bb07b05b1e6b33684dc11b", "", "0C0F6F405D6ED209E1")),
        ),
        (KINESIS, Identity("stream", (KINESIS["eventSourceARN"], KINESIS["eventID"]))),
        (DYNAMODB, Identity("stream", (DYNAMODB["eventSourceARN"], "1"))),
    ],
    ids=["sqs", "sns", "s3", "kinesis", "dynamodb"],
)
def test_a_record_is_known_by_what_its_source_gives_it(record: dict[str, Any], expected: Identity) -> None:
    assert identity_of_record(record) == expected
    assert identity_of({"Records": [record]}, CONTEXT) == expected


def test_a_message_that_comes_again_is_the_same_delivery() -> None:
    again = copy.deepcopy(SQS)
    again["receiptHandle"] = "another"
    again["attributes"] = {"ApproximateReceiveCount": "2"}
    assert identity_of_record(again) == identity_of_record(SQS)


def test_an_objects_versions_and_its_later_contents_are_other_deliveries() -> None:
    versioned, later = copy.deepcopy(S3), copy.deepcopy(S3)
    versioned["s3"]["object"]["versionId"] = "096fKKXTRTtl3on89fVO.nfljtsv6qko"  # type: ignore[index]
    later["s3"]["object"]["sequencer"] = "0C0F6F405D6ED209E2"  # type: ignore[index]
    assert len({identity_of_record(record) for record in (S3, versioned, later)}) == 3


def test_an_s3_event_without_a_sequencer_is_known_by_what_happened_and_when() -> None:
    restored, again = copy.deepcopy(S3), copy.deepcopy(S3)
    for record, time in ((restored, "2019-09-03T19:37:27.192Z"), (again, "2019-10-03T19:37:27.192Z")):
        del record["s3"]["object"]["sequencer"]  # type: ignore[attr-defined]
        record |= {"eventName": "ObjectRestore:Completed", "eventTime": time}
    assert None is not identity_of_record(restored) != identity_of_record(again)


def test_an_eventbridge_event_is_known_by_its_id() -> None:
    assert identity_of(EVENTBRIDGE, CONTEXT) == Identity("eventbridge", (EVENTBRIDGE["id"],))


def test_several_records_are_known_by_all_of_theirs() -> None:
    second = {**SQS, "messageId": "2e1424d4-f796-459a-8184-9c92662be6da"}
    both = identity_of({"Records": [SQS, second]}, CONTEXT)
    assert both is not None
    assert both.kind == "records"
    assert both != identity_of({"Records": [second]}, CONTEXT)
    assert both == identity_of({"Records": [dict(SQS), dict(second)]}, None)


def test_a_state_is_known_by_its_entry_not_by_its_retry() -> None:
    def known(**changes: Any) -> Identity | None:
        return identity_of({"scene": "x", "dea_delivery": {**copy.deepcopy(STATE), **changes}}, CONTEXT)

    first = known()
    assert first is not None
    assert first.kind == "step_functions"
    # the whole context object does as well
    assert first == known(
        State={**STATE["State"], "RetryCount": 2}, Execution={**STATE["Execution"], "Input": {"scene": "x"}}
    )
    others = [
        known(State={"Name": "Clean", "EnteredTime": "2019-03-26T20:14:14.192Z"}),
        known(State={"Name": "Other", "EnteredTime": STATE["State"]["EnteredTime"]}),
        known(Execution={"Id": "another"}),
        known(Map={"Item": {"Index": 0}}),
        known(Map={"Item": {"Index": 1}}),
        known(Map={"Item": {"Index": 1}, "Outer": 7}),
        known(Map={"Item": {"Index": 1, "Value": "$5"}}),  # what an item holds may look like a path
    ]
    assert len({first, *others}) == 8


def test_a_schedule_is_known_by_its_time() -> None:
    later = {**SCHEDULE, "ScheduledTime": "2022-03-23T18:59:43Z"}
    first, second = (identity_of({"dea_delivery": stated}, CONTEXT) for stated in (SCHEDULE, later))
    assert first == Identity("schedule", tuple(SCHEDULE.values()))
    assert first != second


def test_a_caller_can_give_an_id_of_its_own() -> None:
    assert identity_of({"dea_delivery": {"Id": "order-7"}}, CONTEXT) == Identity("caller", ("order-7",))


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {"Id": ""},
        {"Id": 7},
        "$$",
        [],
        {},
        {"Execution": STATE["Execution"]},
        {**STATE, "State": {"Name": "Clean", "EnteredTime": "$$.State.EnteredTime"}},
        {**STATE, "State": {"Name": "Clean", "EnteredTime": ""}},
        {**STATE, "Execution": {"Id": "{% $states.context.Execution.Id %}"}},
        {**STATE, "Map": {"Item": {"Index": "$$.Map.Item.Index"}}},
        {**STATE, "Map": {"Item": {"Index": True}}},
        {**STATE, "Map": "x"},
        {**STATE, "Map": {"Item": "x"}},
        {**STATE, "Map": {"Item": {"Index": 1}, "Outer": "$.outer"}},
        {**STATE, "Map": {"Item": {"Index": 1}, "Outer": {"Item": {"Index": "$$.Map.Item.Index"}}}},
        {**STATE, "Map": {"Item": {"Index": 1}, "Outer": "{% $outer %}"}},
        {"ScheduleArn": "<aws.scheduler.schedule-arn>", "ScheduledTime": "<aws.scheduler.scheduled-time>"},
        {**SCHEDULE, "ScheduledTime": 1},
        {"ScheduleArn": SCHEDULE["ScheduleArn"]},
    ],
)
def test_what_nobody_filled_in_is_an_error_not_an_identity_for_ever(stated: Any) -> None:
    with pytest.raises(InvalidDelivery, match="dea_delivery does not say which delivery it is"):
        identity_of({**EVENTBRIDGE, "dea_delivery": stated}, CONTEXT)


@pytest.mark.parametrize(
    "event",
    [
        {},
        None,
        [],
        "text",
        {"Records": []},
        {"Records": "x"},
        {"Records": [None]},
        {"Records": [SQS, {"eventSource": "aws:ses"}]},
        {"Records": [{**SQS, "messageId": ""}]},
        {"Records": [{**SQS, "messageId": 7}]},
        {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}}]},
        {"Records": [{"EventSource": "aws:sns", "Sns": None}]},
        {"id": "x", "source": "y"},
    ],
)
def test_whatever_else_is_known_by_the_request_id_if_there_is_one(event: Any) -> None:
    assert identity_of(event, CONTEXT) == Identity("request", ("7b1a5a9e-request",))
    assert identity_of(event, None) is None
    assert identity_of(event, SimpleNamespace(aws_request_id="")) is None


texts = st.text(max_size=20)
identities = st.builds(Identity, texts, st.lists(texts, max_size=4).map(tuple))
calls = st.one_of(texts, st.integers(0, 1000))
arns = st.text(st.characters(codec="utf-8"), max_size=40).map(
    lambda name: f"arn:aws:lambda:ap-southeast-2:123456789012:function:{name.replace(':', '-')}"
)


@settings(deadline=None)
@given(arns, identities, texts, calls)
def test_a_run_id_can_be_sent_and_is_the_same_again(arn: str, known: Identity, name: str, call: str | int) -> None:
    run_id = run_id_of(arn, known, name, call)
    assert is_run_id(run_id)
    assert not run_id.startswith("-")  # inv result would take it for an option
    assert run_id == run_id_of(arn, copy.deepcopy(known), name, call)


@settings(deadline=None)
@given(st.tuples(arns, identities, texts, calls), st.tuples(arns, identities, texts, calls))
def test_other_calls_have_other_run_ids(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assume(one != other)
    assert run_id_of(*one) != run_id_of(*other)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 3), texts)
def test_parts_do_not_run_into_each_other(parts: list[str], at: int, inserted: str) -> None:
    joined = "".join(parts)
    split_elsewhere = (joined[:at], joined[at:])
    assume(tuple(parts) != split_elsewhere)
    assert run_id_of(ARN, Identity("sqs", tuple(parts)), "c", 0) != run_id_of(
        ARN, Identity("sqs", split_elsewhere), "c", 0
    )
    quoted = json.dumps([*parts, inserted])
    assert run_id_of(ARN, Identity("sqs", (*parts, inserted)), "c", 0) != run_id_of(
        ARN, Identity("sqs", (quoted,)), "c", 0
    )


@settings(deadline=None)
@given(identities, calls, st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_a_version_or_an_alias_does_not_matter(known: Identity, call: str | int, qualifier: str) -> None:
    assert run_id_of(f"{ARN}:{qualifier}", known, "c", call) == run_id_of(ARN, known, "c", call)
    assert unqualified(f"{ARN}:{qualifier}") == ARN


def test_a_key_that_looks_like_an_ordinal_is_none() -> None:
    known = Identity("sqs", ("x",))
    assert run_id_of(ARN, known, "c", "0") != run_id_of(ARN, known, "c", 0)


def test_two_functions_that_get_one_message_have_runs_of_their_own() -> None:
    known = Identity("sqs", ("x",))
    assert run_id_of(ARN, known, "c", 0) != run_id_of(f"{ARN}er", known, "c", 0)
