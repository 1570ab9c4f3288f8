"""Where a shell leads: to AWS, or to a sandbox that `inv sandbox` keeps up and whose variables have been exported there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from dea.raijin import RaijinSession
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import identity
from dea.workspace.sandbox.client import ACCESS_KEY, REGION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

TARGETS = ("sandbox", "aws")
"""What `--target` can be."""

# A proxy would be asked for the loopback address too; and a sandbox that has ended need not be asked often.
_CONFIG = Config(proxies={}, connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 1})


def leads_to_a_sandbox(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment has the variables of a sandbox."""
    return bool(environment.get("AWS_ENDPOINT_URL")) and environment.get("AWS_ACCESS_KEY_ID") == ACCESS_KEY


def check_target(target: str) -> None:
    """Check that a target is one.

    Raises:
        WorkspaceError: If it is not.
    """
    if target not in TARGETS:
        raise WorkspaceError(f"--target {target!r:.80} is not known: choose one of {', '.join(TARGETS)}")


def check_leads_to(target: str, environment: Mapping[str, str]) -> None:
    """Check that an environment leads to a target.

    Raises:
        WorkspaceError: If there is no such target, or the environment leads to the other one.
    """
    check_target(target)
    if target == "aws":
        check_leads_to_aws(environment)
    elif not leads_to_a_sandbox(environment):
        raise WorkspaceError(
            "this shell leads to no sandbox: run inv sandbox in another one and export here what it prints, or say --target aws"
        )


def check_leads_to_aws(environment: Mapping[str, str]) -> None:
    """Check that an environment leads to no sandbox, where AWS itself is asked for.

    Raises:
        WorkspaceError: If it does.
    """
    if leads_to_a_sandbox(environment):
        raise WorkspaceError(
            "this shell leads to a sandbox, not to AWS: use one without a sandbox's variables, or leave out --target aws"
        )


def exported_ssm() -> SSMClient:
    """Return a client of the SSM of the sandbox that this process's environment leads to."""
    ssm: SSMClient = _client("ssm")
    return ssm


def exported_session() -> RaijinSession:
    """Return a session with the login node of the sandbox that this process's environment leads to."""
    return RaijinSession(ssm=exported_ssm())


def exported_dynamodb() -> DynamoDBClient:
    """Return a client of the DynamoDB of the sandbox that this process's environment leads to."""
    dynamodb: DynamoDBClient = _client("dynamodb")
    return dynamodb


def _client(service: Any) -> Any:
    # Of the environment the endpoint alone: a profile of the user's may be set beside it.
    endpoint_url = os.environ["AWS_ENDPOINT_URL"]
    try:
        return identity.session(REGION).client(service, endpoint_url=endpoint_url, config=_CONFIG)
    except ValueError as error:
        raise WorkspaceError(f"AWS_ENDPOINT_URL: {error}: export what inv sandbox prints") from error
