"""Tells EventBridge of each change of a job's state: at least once, each time with the same id, so that a copy is known as one.

Exactly once is not to be had: whoever dies between sending and noting that it was sent leaves both possible.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, Protocol, cast

from botocore.session import Session

from dea.lambdas.jobs.portions import portions
from dea.lambdas.jobs.record import JobRecord
from dea.lambdas.jobs.table import CONFIG

SOURCE = "dea.jobs"
DETAIL_TYPE = "Batch Job State Changed"

_AT_ONCE = 10  # Amazon EventBridge API Reference, "PutEvents"
_AT_ONCE_BYTES = 250_000  # Amazon EventBridge User Guide, "Calculating PutEvents event entry size": less than 256 KB

_logger = logging.getLogger(__name__)


class EventsClient(Protocol):
    """What is used of a client of EventBridge, boto3's or botocore's."""

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """Send up to ten events."""


class EventBus:
    """An event bus.

    Args:
        name: Its name.
        client: The client of boto3 or botocore; None for one with this process's AWS settings.
    """

    def __init__(self, name: str, client: EventsClient | None = None) -> None:
        self.name = name
        self._client = client or cast("EventsClient", Session().create_client("events", config=CONFIG))

    def send(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        """Send the events in some records' outboxes, in order; return those records of which all were taken.

        Raises:
            ClientError: If EventBridge refuses the request itself.
        """
        records = list(records)
        events = [(record.key, event, self._entry(event)) for record in records for event in record.outbox]
        failed: set[tuple[str, str]] = set()
        for some in portions(events, lambda one: _size_of(one[2]), most=_AT_ONCE, most_bytes=_AT_ONCE_BYTES):
            answer = self._client.put_events(Entries=[entry for _, _, entry in some])
            for (key, event, _), taken in zip(some, answer["Entries"], strict=True):
                if "EventId" not in taken:
                    failed.add(key)
                    _logger.error(
                        "an event was not taken: it is sent again at the next poll",
                        extra={"event_id": event["event_id"], "code": taken.get("ErrorCode")},
                    )
        return [record for record in records if record.key not in failed]

    def _entry(self, event: dict[str, Any]) -> dict[str, Any]:
        # In UTF-8 the longest event that `dea.remote.contract.job` lets through is less than one request takes, and a request
        # that is refused for its size would hold up all others' events. Escaped to ASCII, a character can take 12 bytes.
        detail = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")  # no half of a pair
        return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "EventBusName": self.name, "Detail": detail}


def _size_of(entry: dict[str, Any]) -> int:
    return sum(len(entry[name].encode("utf-8")) for name in ("Source", "DetailType", "Detail"))
