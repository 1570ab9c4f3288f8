"""Tells EventBridge of each change of a job's state: at least once, each time with the same id, so that a copy is known as one.

Exactly once is not to be had: whoever dies between sending and noting that it was sent leaves both possible.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, Protocol, cast

from botocore.session import Session

from dea.lambdas.jobs.record import JobRecord
from dea.lambdas.jobs.table import CONFIG

SOURCE = "dea.jobs"
DETAIL_TYPE = "Batch Job State Changed"

_AT_ONCE = 10  # Amazon EventBridge API Reference, "PutEvents"

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
        entries = [(record.key, event) for record in records for event in record.outbox]
        failed: set[tuple[str, str]] = set()
        for start in range(0, len(entries), _AT_ONCE):
            some = entries[start : start + _AT_ONCE]
            answer = self._client.put_events(Entries=[self._entry(event) for _, event in some])
            for (key, event), taken in zip(some, answer["Entries"], strict=True):
                if "EventId" not in taken:
                    failed.add(key)
                    _logger.error(
                        "an event was not taken: it is sent again at the next poll",
                        extra={"event_id": event["event_id"], "code": taken.get("ErrorCode")},
                    )
        return [record for record in records if record.key not in failed]

    def _entry(self, event: dict[str, Any]) -> dict[str, Any]:
        return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "EventBusName": self.name, "Detail": json.dumps(event)}
