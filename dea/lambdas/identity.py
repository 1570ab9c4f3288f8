"""Tells which delivery an event or a record is, so that a delivery that comes again asks for the same runs, not for more.

It is pure: no input, no output, no clock, no chance. What a delivery is known by, the first that fits:

| Delivery | Known by |
|---|---|
| an event with `dea_delivery` | what that says: a state's entry, a schedule's time, or an id (`DELIVERY`) |
| SQS record | `messageId` |
| SNS record | `Sns.MessageId` |
| S3 record | bucket, key, version and sequencer; without a sequencer also the event's name and time |
| Kinesis or DynamoDB stream record | the stream's ARN and `eventID` |
| EventBridge event | `id` |
| several records in one event | all of theirs |
| anything else | nothing but Lambda's request id |
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

DELIVERY = "dea_delivery"
"""The key of an event under which a state machine, a schedule or a caller says which delivery it is.

    {"Execution": {"Id": ...}, "State": {"Name": ..., "EnteredTime": ...}, "Map": {"Item": {"Index": ...}}}
    {"ScheduleArn": ..., "ScheduledTime": ...}
    {"Id": ...}

The first is the form of Step Functions' own context object (AWS Step Functions Developer Guide, "Accessing execution data
from the Context object"): `EnteredTime` stays while the state is retried and is another when it is entered again. `Map` is
there inside a Map state only, and counts whole. The second is filled in by EventBridge Scheduler (EventBridge Scheduler User
Guide, "Adding context attributes"). The third is for whoever calls the function itself, and calls again with the same event.
"""

_DIGEST_CHARACTERS = 40  # 160 bits of SHA-256: nobody who chooses an object's key finds two that meet
_NAME_CHARACTERS = 32
_PLACEHOLDERS = ("$", "<", "{%")  # how a path, a keyword and an expression begin that nobody has replaced


class InvalidDelivery(ValueError):
    """An event's `dea_delivery` does not say which delivery it is; the message says what is wrong and what belongs there."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a delivery is known by: the same whenever it is delivered again, another for each other one.

    Attributes:
        kind: Where it is from: `sqs`, `sns`, `s3`, `stream`, `eventbridge`, `step_functions`, `schedule`, `caller`,
            `records`, `request`, or `random`.
        parts: What tells it from others of its kind.
    """

    kind: str
    parts: tuple[str, ...]


def identity_of(event: Any, context: Any) -> Identity | None:
    """Return what an event is known by, or None if neither it nor Lambda's context says anything.

    Args:
        event: The event, as Lambda passes it.
        context: Lambda's context object, or None.

    Raises:
        InvalidDelivery: If the event has a `dea_delivery` that is not as `DELIVERY` says.

    >>> identity_of({"source": "aws.s3", "detail-type": "Object Created", "id": "17793124-05d4", "detail": {}}, None)
    Identity(kind='eventbridge', parts=('17793124-05d4',))
    """
    if isinstance(event, dict):
        if DELIVERY in event:
            return _stated(event[DELIVERY])
        found = _of_records(event.get("Records"))
        if found is not None:
            return found
        if _texts(event, "id", "source", "detail-type"):
            return Identity("eventbridge", (event["id"],))
    request_id = getattr(context, "aws_request_id", None)
    return Identity("request", (request_id,)) if isinstance(request_id, str) and request_id else None


def identity_of_record(record: Any) -> Identity | None:
    """Return what one record of an event is known by, or None if it is of no kind that is known.

    >>> identity_of_record({"eventSource": "aws:sqs", "messageId": "059f36b4-87a3", "body": "x"})
    Identity(kind='sqs', parts=('059f36b4-87a3',))
    """
    if not isinstance(record, dict):
        return None
    source = record.get("eventSource", record.get("EventSource"))
    if source == "aws:sqs" and _texts(record, "messageId"):
        return Identity("sqs", (record["messageId"],))
    if source == "aws:sns" and _texts(record.get("Sns"), "MessageId"):
        return Identity("sns", (record["Sns"]["MessageId"],))
    if source in ("aws:kinesis", "aws:dynamodb") and _texts(record, "eventID"):
        # A Kinesis event's id is its shard's number and its own: another stream may have the same.
        return Identity("stream", (str(record.get("eventSourceARN", "")), record["eventID"]))
    if source == "aws:s3":
        return _of_object(record)
    return None


def unqualified(function_arn: str) -> str:
    """Return a function's ARN without a version or an alias, which differ between two tries of one delivery.

    >>> unqualified("arn:aws:lambda:ap-southeast-2:123456789012:function:clean:live")
    'arn:aws:lambda:ap-southeast-2:123456789012:function:clean'
    """
    return ":".join(function_arn.split(":")[:7])


def run_id_of(function_arn: str, identity: Identity, command_name: str, call: str | int) -> str:
    """Return the run id of one call within one delivery to one function.

    Args:
        function_arn: The function's ARN; its version or alias does not matter.
        identity: What the delivery is known by.
        command_name: The command class's `COMMAND_NAME`: a function can have several do their work for one event.
        call: The call's key, or its ordinal among that class's calls. The key `"0"` and the ordinal `0` are two calls.

    Returns:
        The end of the function's name, so that a person knows whose run it is, and a digest of all of it: `[A-Za-z0-9_-]{8,128}`.

    >>> run_id_of("arn:aws:lambda:ap-southeast-2:123456789012:function:clean", Identity("sqs", ("059f36b4-87a3",)), "clean", 0)
    'clean-9e525deeb3dd1ee0efa61e2493d209ba4e28e868'
    """
    arn = unqualified(function_arn)
    # As JSON the parts cannot run into each other, and a key that looks like a number is still a text.
    told = json.dumps(["dea run id", 1, arn, identity.kind, identity.parts, command_name, call])
    digest = hashlib.sha256(told.encode("ascii")).hexdigest()[:_DIGEST_CHARACTERS]
    name = "".join(char for char in arn.rpartition(":")[2] if char.isascii() and (char.isalnum() or char in "_-"))
    # A person types it behind a task's name, where what begins with a hyphen is an option.
    return f"{name[-_NAME_CHARACTERS:].lstrip('-') or 'run'}-{digest}"


def _of_records(records: Any) -> Identity | None:
    """Return what an event with records is known by: its one record, or all of them together."""
    if not isinstance(records, list):
        return None
    found = [identity_of_record(record) for record in records]
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return None
    if len(known) == 1:
        return known[0]
    return Identity("records", tuple(json.dumps([each.kind, each.parts]) for each in known))


def _of_object(record: dict[str, Any]) -> Identity | None:
    """Return what an S3 record is known by (Amazon S3 User Guide, "Event message structure")."""
    s3 = record.get("s3")
    stored = s3.get("object") if isinstance(s3, dict) else None
    if not isinstance(s3, dict) or not _texts(s3.get("bucket"), "name") or not _texts(stored, "key"):
        return None
    assert isinstance(stored, dict)  # noqa: S101 - it has texts
    where = (s3["bucket"]["name"], stored["key"], str(stored.get("versionId") or ""))
    if _texts(stored, "sequencer"):
        return Identity("s3", (*where, stored["sequencer"]))
    # Only what creates or deletes an object has a sequencer; a restored or tagged one is known by what happened and when.
    if _texts(record, "eventName", "eventTime"):
        return Identity("s3", (*where, "", record["eventName"], record["eventTime"]))
    return None


def _stated(stated: Any) -> Identity:
    """Return the identity that a state machine or a schedule has put into the event.

    Raises:
        InvalidDelivery: If it has not. A value that nobody replaced would be the same for ever: the first run's result would
            then be every later one's.
    """
    if not isinstance(stated, dict):
        raise InvalidDelivery(_how(f"it is {stated!r:.80}"))
    execution, state = stated.get("Execution"), stated.get("State")
    if execution is not None or state is not None:
        values = [(execution, "Execution", "Id"), (state, "State", "Name"), (state, "State", "EnteredTime")]
        parts = [_filled_in(holder, name, f"{of}.{name}") for holder, of, name in values]
        if stated.get("Map") is not None:
            parts.append(_map_item(stated["Map"]))
        return Identity("step_functions", tuple(parts))
    if "Id" in stated:
        return Identity("caller", (_filled_in(stated, "Id", "Id"),))
    return Identity("schedule", tuple(_filled_in(stated, name, name) for name in ("ScheduleArn", "ScheduledTime")))


def _map_item(stated: Any) -> str:
    """Return which item of a Map state it is, and of which items of the Map states around it.

    Raises:
        InvalidDelivery: If an index is not filled in. What an item holds besides is its own, and may look so.
    """
    item = stated.get("Item") if isinstance(stated, dict) else None
    index = item.get("Index") if isinstance(item, dict) else None
    if isinstance(index, bool) or not isinstance(index, int):
        raise InvalidDelivery(_how(f"Map.Item.Index is {index!r:.80}"))
    for name, outer in stated.items():
        for within in ("Item", "Index"):
            outer = outer[within] if isinstance(outer, dict) and within in outer else outer  # noqa: PLW2901
        if isinstance(outer, str) and outer.startswith(_PLACEHOLDERS):
            raise InvalidDelivery(_how(f"Map.{name} is {outer!r:.80}"))
    return json.dumps(stated, sort_keys=True)


def _filled_in(holder: Any, name: str, path: str) -> str:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, str) or not value or value.startswith(_PLACEHOLDERS):
        raise InvalidDelivery(_how(f"{path} is {value!r:.80}"))
    return value


def _how(what: str) -> str:
    return (
        f"the event's {DELIVERY} does not say which delivery it is: {what}; a state machine fills in Execution.Id, State.Name and "
        "State.EnteredTime of its context object (in JSONPath, names end in .$), a schedule ScheduleArn and ScheduledTime, a caller Id"
    )


def _texts(holder: Any, *names: str) -> bool:
    """Tell whether a mapping has a text that is not empty under each of these names."""
    return isinstance(holder, dict) and all(isinstance(holder.get(name), str) and holder[name] for name in names)
