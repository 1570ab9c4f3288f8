"""A command that is done once for each record of a batch, so that one bad record does not have the good ones run again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dea.lambdas.commands import RaijinCommand
from dea.lambdas.run_ids import DeliveryRunIds
from dea.raijin import RaijinError

_SQS = "aws:sqs"
_STREAMS = {"aws:kinesis": ("kinesis", "sequenceNumber"), "aws:dynamodb": ("dynamodb", "SequenceNumber")}


class NotABatch(TypeError):
    """The event is no batch of a queue or a stream; the message says what is wrong with it."""


class BatchCommand(RaijinCommand):
    """A command that Lambda calls with a batch of an SQS queue, or of a Kinesis or DynamoDB stream.

    A subclass overrides `command`, which gets one record. Its handler tells Lambda which records are to come again:

        class CleanCommand(BatchCommand):
            COMMAND_NAME = "clean"

            def command(self, record):
                self.raijin.run("clean_trash", trash=record["body"]).check()

        handler = CleanCommand.handler

    A record has failed if `command` raises. Each record is a delivery of its own: when it comes again, alone or in another
    batch, its calls find the runs of its first try.

    - SQS: what failed comes again (AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda"). In a
      FIFO queue what follows in the same message group comes again with it, untried, so that the order stays.
    - Streams: everything from the first failure on comes again ("Configuring partial batch response with Kinesis Data Streams
      and Lambda", and the same with DynamoDB), so nothing behind it is tried.
    - What there is no time left for comes again, untried.

    Note:
        The event source mapping must have `ReportBatchItemFailures` among its `FunctionResponseTypes`. Without it Lambda does
        not read the answer and takes every record for done.
    """

    def run(self, event: Any = None, context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Do the command for each record of an event.

        Args:
            event: The event; None for the one that the class's own `handler` was given.
            context: Lambda's context object, likewise.

        Returns:
            `batchItemFailures`, as Lambda reads it, with the `itemIdentifier` of each record that is to come again.

        Raises:
            NotABatch: If the event is none. No record was tried.
        """
        if event is not None:
            self.event, self.context = event, context
        items = _items(self.event)
        with self._at_work(self.run_ids):
            failed = list(self._failed(items))
        if failed:
            self.logger.error("records are to come again", extra={"failed": len(failed), "records": len(items)})
        return {"batchItemFailures": [{"itemIdentifier": item} for item in failed]}

    def _failed(self, items: list[tuple[str, Any]]) -> Iterator[str]:
        """Do one record after the other; yield those that are to come again."""
        waiting: set[str] = set()  # the FIFO queue's message groups in which one has failed
        for position, (item, record) in enumerate(items):
            in_stream = record["eventSource"] in _STREAMS
            if self._time_is_up():
                self.logger.warning("no time left for the records", extra={"untried": len(items) - position})
                yield from [item] if in_stream else (later for later, _ in items[position:])
                return
            group = _message_group(record)
            if group in waiting or not self._succeeds(item, record):
                yield item
                if in_stream:
                    return  # Lambda begins again at the lowest number that it is told
                if group is not None:
                    waiting.add(group)

    def _succeeds(self, item: str, record: Any) -> bool:
        """Do one record; tell whether the command returned."""
        self.raijin.run_ids = self._run_ids = DeliveryRunIds.of_record(self.COMMAND_NAME, record, self.context)
        try:
            self.command(record)
        except Exception as error:
            # A record whose run goes on will be back, and asks for the same run then.
            if isinstance(error, RaijinError) and error.retryable:
                self.logger.warning("record is not done yet: %s", error, extra={"record": item})
            else:
                self.logger.exception("record failed", extra={"record": item})
            return False
        return True


def _items(event: Any) -> list[tuple[str, Any]]:
    """Return the records of a batch, each with what Lambda calls it by.

    Raises:
        NotABatch: If it is none.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise NotABatch(f"the event has no list of Records: {type(event).__name__} {event!r:.80}")
    return [(_item_identifier(record), record) for record in records]


def _item_identifier(record: Any) -> str:
    source = record.get("eventSource") if isinstance(record, dict) else None
    if source == _SQS:
        item = record.get("messageId")
    elif source in _STREAMS:
        within, name = _STREAMS[source]
        item = record[within].get(name) if isinstance(record.get(within), dict) else None
    else:
        raise NotABatch(
            f"a record is from {source!r:.80}: BatchCommand takes those of aws:sqs, aws:kinesis and aws:dynamodb; for others "
            "Lambda knows no partial failure, use RaijinCommand"
        )
    if not isinstance(item, str) or not item:
        raise NotABatch(f"a record of {source} has no identifier, as Lambda's have")
    return item


def _message_group(record: dict[str, Any]) -> str | None:
    """Return the message group of a FIFO queue's record, or None where nothing has to stay in order."""
    if record["eventSource"] != _SQS or not str(record.get("eventSourceARN", "")).endswith(".fifo"):
        return None
    attributes = record.get("attributes")
    return str(attributes.get("MessageGroupId", "")) if isinstance(attributes, dict) else ""
