"""The sandbox that a shell leads to: `inv sandbox` keeps it up, and its variables have been exported there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from dea.raijin import RaijinSession
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox.client import ACCESS_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

# A proxy would be asked for the loopback address too; and a sandbox that has ended need not be asked often.
_CONFIG = Config(proxies={}, connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 1})


def leads_to_a_sandbox(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment has the variables of a sandbox."""
    return bool(environment.get("AWS_ENDPOINT_URL")) and environment.get("AWS_ACCESS_KEY_ID") == ACCESS_KEY


def check_leads_to_aws(environment: Mapping[str, str]) -> None:
    """Check that an environment leads to no sandbox, where AWS itself is asked for.

    Raises:
        WorkspaceError: If it does.
    """
    if leads_to_a_sandbox(environment):
        raise WorkspaceError(
            "this shell leads to a sandbox, not to AWS: unset AWS_ENDPOINT_URL, or leave out --target aws"
        )


def exported_ssm() -> SSMClient:
    """Return a client of the SSM of the sandbox that this process's environment leads to."""
    return boto3.client("ssm", config=_CONFIG)


def exported_session() -> RaijinSession:
    """Return a session with the login node of the sandbox that this process's environment leads to."""
    return RaijinSession(ssm=exported_ssm())


def exported_dynamodb() -> DynamoDBClient:
    """Return a client of the DynamoDB of the sandbox that this process's environment leads to."""
    return boto3.client("dynamodb", config=_CONFIG)
