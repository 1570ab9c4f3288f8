"""How the table of batch jobs is made: for the sandbox and for tests. On AWS a CloudFormation template says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dea.lambdas.jobs.settings import DEFAULT_TABLE
from dea.lambdas.jobs.table import INDEX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFINITION: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "job_id", "AttributeType": "S"},
        {"AttributeName": "run_id", "AttributeType": "S"},
        {"AttributeName": INDEX, "AttributeType": "S"},
        {"AttributeName": "submitted", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "job_id", "KeyType": "HASH"},
        {"AttributeName": "run_id", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": INDEX,
            "KeySchema": [
                {"AttributeName": INDEX, "KeyType": "HASH"},
                {"AttributeName": "submitted", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
"""What *CreateTable* and `AWS::DynamoDB::Table` take, but for the name."""


def create_table(client: DynamoDBClient, name: str = DEFAULT_TABLE) -> None:
    """Make the table."""
    client.create_table(TableName=name, **DEFINITION)
