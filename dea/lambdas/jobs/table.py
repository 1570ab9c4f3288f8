"""The DynamoDB table of batch jobs: one item for each, and a sparse index of those that are still followed.

A record is written whole, on the condition that the one it was made from is still there. What a record may become is not
decided here (`dea.lambdas.jobs.record`), nor who is told (`dea.lambdas.jobs.bus`).
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from dea.lambdas.jobs.portions import portions
from dea.lambdas.jobs.record import Change, JobRecord
from dea.lambdas.jobs.settings import TABLE_VARIABLE
from dea.remote.contract.job import parse_job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

INDEX = "followed"
"""The index of the jobs that are still followed: an item is in it as long as it has the attribute of that name."""

CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
"""For all clients of this package: a function waits a few seconds for AWS, not the minute that is the default."""

_FOLLOWED = "yes"
_AT_ONCE = 100  # Amazon DynamoDB API Reference, "TransactWriteItems"
_AT_ONCE_BYTES = 3_500_000  # likewise: 4 MB, and something for the conditions
_TRIES = 5
_LOST_THE_RACE = "ConditionalCheckFailed"
_AGAIN = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})

_logger = logging.getLogger(__name__)


class TableMissing(RuntimeError):
    """There is no such table in this account and region; the message says how to make it."""


class JobsTable:
    """The table.

    Args:
        name: Its name.
        client: The client of boto3 or botocore; None for one with this process's AWS settings.
        pause: Waits that many seconds, where others write to the same items.
    """

    def __init__(
        self, name: str, client: DynamoDBClient | None = None, *, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self.name = name
        self._client = client or cast("DynamoDBClient", Session().create_client("dynamodb", config=CONFIG))
        self._pause = pause

    def record(self, record: JobRecord) -> JobRecord:
        """Store the first record of a job, unless there is one; return the one that is there.

        Of several jobs of one id, the newest is the scheduler's that was set up anew: no other is to be asked for any more.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        with self._named(), suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.put_item(
                TableName=self.name, Item=item_of(record), ConditionExpression="attribute_not_exists(job_id)"
            )
        for _ in range(_TRIES):
            found = self.find(record.job.id)
            # Not whichever came first: a retry of the old job's event may be the later one.
            outdated = [one.given_away(now=record.written) for one in found[:-1] if one.asked]
            written = self.write(outdated)
            if len(written) == len(outdated):
                break  # else a tracker was there first
        return next(one for one in (*written, *found) if one.run_id == record.run_id)

    def followed(self) -> list[JobRecord]:
        """Return the jobs that are still followed; the index may be some seconds behind.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name,
            IndexName=INDEX,
            KeyConditionExpression="#followed = :yes",
            ExpressionAttributeNames={"#followed": INDEX},
            ExpressionAttributeValues={":yes": {"S": _FOLLOWED}},
        )
        # By key: an item that is written while the pages are read can be on two of them.
        return list({record.key: record for record in self._records(pages)}.values())

    def find(self, job_id: str) -> list[JobRecord]:
        """Return the jobs that had this id, the newest last: one, unless the scheduler was set up anew.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name,
            ConsistentRead=True,
            KeyConditionExpression="job_id = :id",
            ExpressionAttributeValues={":id": {"S": job_id}},
        )
        return sorted(self._records(pages), key=lambda one: one.submitted)

    def since(self, earliest: str) -> Iterator[JobRecord]:
        """Yield the jobs that were submitted since then, in no order. It reads the whole table.

        Args:
            earliest: The time (UTC, ISO 8601); empty for all jobs.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        yield from self._records(
            self._client.get_paginator("scan").paginate(
                TableName=self.name,
                FilterExpression="submitted >= :earliest",
                ExpressionAttributeValues={":earliest": {"S": earliest or "0"}},
            )
        )

    def write(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        """Write records in the place of those that they were made from; return those that were written.

        Where another tracker was there first, nothing is written: it knew more, or the next one will.

        Args:
            records: The records, each with a version that is one more than that of the one it was made from.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        return self._put(records, lambda record: record.version - 1)

    def settle(self, records: Iterable[JobRecord]) -> None:
        """Write records whose events have been sent, where they are still the newest.

        Raises:
            TableMissing: If there is no such table.
            ClientError: If DynamoDB refuses.
        """
        self._put(records, lambda record: record.version)

    def _put(self, records: Iterable[JobRecord], before: Callable[[JobRecord], int]) -> list[JobRecord]:
        return [
            one
            for some in portions(records, _size_of, most=_AT_ONCE, most_bytes=_AT_ONCE_BYTES)
            for one in self._put_some(some, before)
        ]

    def _put_some(self, records: list[JobRecord], before: Callable[[JobRecord], int]) -> list[JobRecord]:
        """Write up to a hundred records in one request; again without those whose condition does not hold."""
        for number in range(_TRIES):
            if not records:
                break
            if number:
                self._pause(random.uniform(0, 0.05 * 2**number))  # noqa: S311 - no secret
            try:
                with self._named():
                    self._client.transact_write_items(TransactItems=[self._write(one, before(one)) for one in records])
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if len(reasons) != len(records):
                    raise
                refused = {str(code) for code in reasons if code not in ("None", None, _LOST_THE_RACE, *_AGAIN)}
                if refused:
                    _logger.error(  # noqa: TRY400 - where it comes from says nothing
                        "DynamoDB refuses records of jobs: %s", error, extra={"codes": sorted(refused)}
                    )
                records = [
                    one for one, code in zip(records, reasons, strict=True) if code in ("None", None) or code in _AGAIN
                ]
            else:
                return records
        if records:
            _logger.warning("others write the same jobs: they are left to the next poll", extra={"jobs": len(records)})
        return []

    def _write(self, record: JobRecord, version: int) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self.name,
                "Item": item_of(record),
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": {"N": str(version)}},
            }
        }

    def _records(self, pages: Iterable[Any]) -> Iterator[JobRecord]:
        with self._named():
            for page in pages:
                for item in page["Items"]:
                    yield record_of(item)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of a table that is not there how to make it.

        Raises:
            TableMissing: If it is not.
        """
        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                raise
            raise TableMissing(
                f"there is no table {self.name!r} with an index {INDEX!r} in this account and region: make it of "
                f"dea/workspace/cloudformation/jobs.yaml, or name another one in {TABLE_VARIABLE}"
            ) from error


def _size_of(record: JobRecord) -> int:
    # JSON is longer than what DynamoDB counts, which are the names and values.
    return len(_json(item_of(record)))


def item_of(record: JobRecord) -> dict[str, Any]:
    """Return a record as an item. What nothing is looked up by is JSON text, which keeps numbers as they are."""
    item: dict[str, Any] = {
        "job_id": {"S": record.job.id},
        "run_id": {"S": record.run_id},
        "state": {"S": record.job.state},
        "submitted": {"S": record.submitted},
        "as_of": {"S": record.as_of},
        "written": {"S": record.written},
        "version": {"N": str(record.version)},
        "scheduler": {"S": record.scheduler},
        "command": {"S": record.command},
        "job": {"S": _json(record.job.encode())},
        "asked": {"BOOL": record.asked},
        "history": {"S": _json([asdict(change) for change in record.history])},
    }
    if record.outbox:
        item["outbox"] = {"S": _json(record.outbox)}
    if record.unknown_since is not None:
        item["unknown_since"] = {"S": record.unknown_since}
    if record.followed:
        item[INDEX] = {"S": _FOLLOWED}
    return item


def record_of(item: dict[str, Any]) -> JobRecord:
    """Return an item as a record; the inverse of `item_of`.

    Raises:
        InvalidAnswer: If somebody else has changed its job.
        KeyError: If somebody else has taken something from it.
    """
    return JobRecord(
        job=parse_job(json.loads(item["job"]["S"])),
        run_id=item["run_id"]["S"],
        scheduler=item["scheduler"]["S"],
        command=item["command"]["S"],
        submitted=item["submitted"]["S"],
        as_of=item["as_of"]["S"],
        version=int(item["version"]["N"]),
        history=tuple(Change(**change) for change in json.loads(item["history"]["S"])),
        outbox=tuple(json.loads(item["outbox"]["S"])) if "outbox" in item else (),
        unknown_since=item["unknown_since"]["S"] if "unknown_since" in item else None,
        written=item["written"]["S"],
        asked=item["asked"]["BOOL"],
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
