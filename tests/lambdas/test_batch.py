"""A batch: each record is done for itself, and Lambda is told which are to come again."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dea.lambdas import BatchCommand, NotABatch
from dea.lambdas.identity import Identity, run_id_of
from dea.raijin import StillRunning
from dea.raijin.testing import FakeSession

ARN = "arn:aws:lambda:ap-southeast-2:123456789012:function:clean"
QUEUE = "arn:aws:sqs:ap-southeast-2:123456789012:scenes"


class Context:
    """Lambda's context object, with the milliseconds left as the test has them."""

    aws_request_id = "7b1a5a9e"
    invoked_function_arn = ARN

    def __init__(self, *remaining_ms: int) -> None:
        self._remaining_ms = list(remaining_ms or [900_000])

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms.pop(0) if len(self._remaining_ms) > 1 else self._remaining_ms[0]


def message(name: str, group: str | None = None) -> dict[str, Any]:
    record = {"eventSource": "aws:sqs", "messageId": name, "body": name, "eventSourceARN": QUEUE}
    if group is not None:
        record |= {"eventSourceARN": f"{QUEUE}.fifo", "attributes": {"MessageGroupId": group}}
    return record


def change(source: str, number: str) -> dict[str, Any]:
    within = {"aws:kinesis": ("kinesis", "sequenceNumber"), "aws:dynamodb": ("dynamodb", "SequenceNumber")}[source]
    return {"eventSource": source, "eventID": f"shard:{number}", "eventSourceARN": "s", within[0]: {within[1]: number}}


class Tries(BatchCommand):
    """Remembers which records it was given; some of them fail."""

    COMMAND_NAME = "tries"

    tried: list[str]
    ids: list[str | None]
    bad: set[str]

    def command(self, record: Any) -> None:  # type: ignore[override]
        name = record["messageId"] if "messageId" in record else record["eventID"].removeprefix("shard:")
        self.tried.append(name)
        self.ids.append(self.raijin.exec_command(f"echo_args {name}").run_id)
        if name in self.bad:
            raise RuntimeError("poisoned")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> type[Tries]:
    return prepared(monkeypatch)


def prepared(monkeypatch: pytest.MonkeyPatch, *bad: str) -> type[Tries]:
    monkeypatch.setattr(Tries, "tried", [], raising=False)
    monkeypatch.setattr(Tries, "ids", [], raising=False)
    monkeypatch.setattr(Tries, "bad", set(bad), raising=False)
    monkeypatch.setattr(Tries, "raijin", FakeSession({"echo_args": ("", "", 0)}))
    return Tries


def failures(answer: Any) -> list[str]:
    assert list(answer) == ["batchItemFailures"]
    assert all(list(one) == ["itemIdentifier"] for one in answer["batchItemFailures"])
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


def test_one_poisoned_message_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = prepared(monkeypatch, "b")
    with caplog.at_level(logging.ERROR, "orchestrator.tries"):
        answer = tries.handler({"Records": [message(name) for name in "abc"]}, Context())
    assert failures(answer) == ["b"]
    assert tries.tried == ["a", "b", "c"]
    assert [(record.getMessage(), record.record) for record in caplog.records if record.exc_info] == [
        ("record failed", "b")
    ]


def test_if_all_fail_all_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = prepared(monkeypatch, "a", "b")
    assert failures(tries.handler({"Records": [message("a"), message("b")]}, Context())) == ["a", "b"]


def test_if_none_fails_none_comes_again(tries: type[Tries]) -> None:
    assert failures(tries.handler({"Records": [message("a"), message("b")]}, Context())) == []
    assert failures(tries.handler({"Records": []}, Context())) == []


def test_each_record_has_run_ids_of_its_own_wherever_it_stands(tries: type[Tries]) -> None:
    tries.handler({"Records": [message("a"), message("b")]}, Context())
    tries.handler({"Records": [message("c"), message("b")]}, Context())
    assert tries.ids == [run_id_of(ARN, Identity("sqs", (name,)), "tries", 0) for name in "abcb"]


def test_a_message_that_is_twice_in_one_batch_asks_for_one_run(tries: type[Tries]) -> None:
    tries.handler({"Records": [message("a"), message("a")]}, Context())
    assert tries.tried == ["a", "a"]
    assert len(set(tries.ids)) == 1


def test_the_documented_form_of_a_handler_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = prepared(monkeypatch, "a")
    assert failures(tries().run({"Records": [message("a"), message("b")]}, Context())) == ["a"]


def test_a_fifo_queues_group_waits_for_its_first_failure_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = prepared(monkeypatch, "x2")
    order = ["x1", "y1", "x2", "y2", "x3", "z1", "x4"]
    answer = tries.handler({"Records": [message(name, group=name[0]) for name in order]}, Context())
    assert failures(answer) == ["x2", "x3", "x4"]
    assert tries.tried == ["x1", "y1", "x2", "y2", "z1"]


@pytest.mark.parametrize("source", ["aws:kinesis", "aws:dynamodb"])
def test_a_stream_stops_at_the_first_failure(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = prepared(monkeypatch, "2", "3")
    answer = tries.handler({"Records": [change(source, number) for number in "1234"]}, Context())
    assert failures(answer) == ["2"]
    assert tries.tried == ["1", "2"]


def test_what_there_is_no_time_for_comes_again_untried(tries: type[Tries]) -> None:
    context = Context(100_000, 60_000, 9_000)  # at the beginning, at the first record, from then on
    assert failures(tries.handler({"Records": [message(name) for name in "abc"]}, context)) == ["b", "c"]
    assert tries.tried == ["a"]


def test_a_stream_without_time_names_where_to_begin_again(tries: type[Tries]) -> None:
    records = [change("aws:kinesis", number) for number in "123"]
    assert failures(tries.handler({"Records": records}, Context(100_000, 60_000, 9_000))) == ["2"]


def test_a_record_whose_run_goes_on_comes_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = prepared(monkeypatch)
    going_on = StillRunning("it runs on", command="echo_args a", run_id="clean-0123", retryable=True)
    monkeypatch.setattr(tries, "raijin", FakeSession({"echo_args a": going_on, "echo_args": ("", "", 0)}))
    with caplog.at_level(logging.WARNING, "orchestrator.tries"):
        assert failures(tries.handler({"Records": [message("a"), message("b")]}, Context())) == ["a"]
    assert "record is not done yet: it runs on" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]  # nothing is wrong


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "no list of Records"),
        ({"detail": {}}, "no list of Records"),
        ({"Records": {}}, "no list of Records"),
        ({"Records": [message("a"), {"eventSource": "aws:s3"}]}, "a record is from 'aws:s3'"),
        ({"Records": ["x"]}, "a record is from None"),
        ({"Records": [{"eventSource": "aws:sqs"}]}, "has no identifier"),
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": "x"}]}, "has no identifier"),
    ],
)
def test_what_is_no_batch_is_told_so_before_anything_is_tried(event: Any, said: str, tries: type[Tries]) -> None:
    with pytest.raises(NotABatch, match=said):
        tries.handler(event, Context())
    assert tries.tried == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=12))
def test_of_a_fifo_queue_nothing_is_done_out_of_order_and_nothing_is_lost(plan: list[tuple[str, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        names = [f"{group}{position}" for position, (group, _) in enumerate(plan)]
        tries = prepared(patch, *(name for name, (_, fails) in zip(names, plan, strict=True) if fails))
        again = failures(tries.handler({"Records": [message(name, group=name[0]) for name in names]}, Context()))
        done = [name for name in tries.tried if name not in tries.bad]
    assert sorted([*done, *again]) == sorted(names)
    for group in "xyz":
        of_group = [name for name in names if name[0] == group]
        assert [name for name in of_group if name in done] == of_group[: sum(name in done for name in of_group)]


def test_lambda_without_a_clock_has_no_deadline(tries: type[Tries]) -> None:
    context = SimpleNamespace(aws_request_id="x", invoked_function_arn=ARN)
    assert failures(tries.handler({"Records": [message("a")]}, context)) == []
