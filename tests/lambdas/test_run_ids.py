"""How the calls of one delivery get their run ids, and what is said where a retry would not find them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dea.lambdas import run_ids
from dea.lambdas.identity import Identity, run_id_of
from dea.lambdas.run_ids import DeliveryRunIds
from dea.remote.contract.request import is_run_id

ARN = "arn:aws:lambda:ap-southeast-2:123456789012:function:clean"
CONTEXT = SimpleNamespace(aws_request_id="7b1a5a9e", invoked_function_arn=f"{ARN}:live")
KNOWN = Identity("sqs", ("059f36b4",))


@pytest.fixture(autouse=True)
def _nothing_said_yet(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not warned of anything yet."""
    monkeypatch.setattr(run_ids, "_said", set())
    with caplog.at_level(logging.WARNING, "dea.lambdas"):
        yield


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.known_by for record in caplog.records if record.levelno == logging.WARNING]


def test_calls_without_a_key_are_counted_and_those_with_one_are_not() -> None:
    ids = DeliveryRunIds("c", CONTEXT, KNOWN)
    assert [ids(), ids("tidy"), ids(), ids("tidy")] == [
        run_id_of(ARN, KNOWN, "c", call) for call in (0, "tidy", 1, "tidy")
    ]


def test_a_retry_gets_the_same_ids_and_another_record_gets_others() -> None:
    first, again = DeliveryRunIds("c", CONTEXT, KNOWN), DeliveryRunIds("c", CONTEXT, KNOWN)
    other = DeliveryRunIds("c", CONTEXT, Identity("sqs", ("another",)))
    assert [first(), first()] == [again(), again()]
    assert first.repeatable
    assert {first("k"), first()}.isdisjoint({other("k"), other(), other(), other()})


def test_threads_never_share_an_ordinal() -> None:
    ids = DeliveryRunIds("c", CONTEXT, KNOWN)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: ids(), range(400)))
    assert sorted(given) == sorted(run_id_of(ARN, KNOWN, "c", ordinal) for ordinal in range(400))


@pytest.mark.parametrize(
    ("context", "known"), [(None, None), (None, KNOWN), (CONTEXT, None), (SimpleNamespace(), KNOWN)]
)
def test_what_nothing_is_known_of_gets_random_ids(
    context: object, known: Identity | None, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [DeliveryRunIds("c", context, known) for _ in range(2)]
    given = [call for each in ids for call in (each(), each(), each("k"))]
    assert len(set(given)) == 6
    assert not any(each.repeatable for each in ids)
    assert all(is_run_id(one) and one.startswith("run-") for one in given)
    assert warned(caplog) == ["random"]


def test_the_request_id_as_the_only_identity_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for request_id in ("first", "second"):
        ids = DeliveryRunIds.of_event("c", {}, SimpleNamespace(aws_request_id=request_id, invoked_function_arn=ARN))
        assert ids() == run_id_of(ARN, Identity("request", (request_id,)), "c", 0)
    assert warned(caplog) == ["request"]
    assert "dea_delivery" in caplog.text


def test_nothing_is_said_of_a_delivery_that_runs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    DeliveryRunIds.of_event("c", {}, CONTEXT)
    DeliveryRunIds("c", None, None)
    assert warned(caplog) == []


def test_several_records_as_one_delivery_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    records = [{"eventSource": "aws:sqs", "messageId": name} for name in ("a", "b")]
    assert (
        DeliveryRunIds.of_event("c", {"Records": records}, CONTEXT)()
        == DeliveryRunIds.of_event("c", {"Records": records}, CONTEXT)()
    )
    assert warned(caplog) == ["records"]
    assert "BatchCommand" in caplog.text
