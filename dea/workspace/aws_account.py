"""The caller's own AWS account, for what is told to use it: `--target aws`, `inv git-pull`, keys."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import can_ask, is_agreed

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

# What of the shell's settings leads to the same place as the credentials do.
_PASSED_ON = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_ENDPOINTS = "AWS_ENDPOINT_URL"


@dataclass(frozen=True)
class Account:
    """Whose credentials are used, and where.

    Attributes:
        account_id: The account's number.
        identity: The ARN of the user or role.
        region: The region.
        variables: The environment variables that hand credentials, region and the way there on, as Lambda does: no profile and
            no file of the caller's.
        ssm: A client of its SSM.
    """

    account_id: str
    identity: str
    region: str
    variables: dict[str, str] = field(repr=False)
    ssm: SSMClient = field(repr=False)


def session() -> boto3.Session:
    """Return an AWS session with the caller's settings, which have credentials and a region.

    Raises:
        WorkspaceError: If they have not.
    """
    try:
        # The command line tools and Lambda itself have this name for it, boto3 an older one.
        made = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        missing = "AWS credentials" if made.get_credentials() is None else "" if made.region_name else "AWS region"
    except BotoCoreError as error:
        raise WorkspaceError(f"your AWS credentials cannot be used: {error}") from error
    if missing:
        raise WorkspaceError(
            f"your settings have no {missing}: run aws configure, or set AWS_PROFILE, or the variables that AWS documents"
        )
    return made


def account() -> Account:
    """Return the account that the caller's settings lead to.

    Raises:
        WorkspaceError: If they lead to none, or AWS does not answer.
    """
    own = session()
    region = own.region_name
    credentials = own.get_credentials()
    assert credentials is not None  # noqa: S101 - `session` has looked
    try:
        frozen = credentials.get_frozen_credentials()
        identity = own.client("sts").get_caller_identity()
        ssm = own.client("ssm")
    except (BotoCoreError, ClientError, ValueError) as error:  # the last for an endpoint that is no URL
        raise WorkspaceError(f"your AWS credentials cannot be used: {error}") from error
    variables = {
        "AWS_ACCESS_KEY_ID": frozen.access_key or "",
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key or "",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if frozen.token:
        variables["AWS_SESSION_TOKEN"] = frozen.token
    for name, value in os.environ.items():
        if name.upper() in _PASSED_ON or name.startswith(_ENDPOINTS):
            variables[name] = value
    return Account(identity["Account"], identity["Arn"], region, variables, ssm)


def confirm(what: str, account: Account) -> None:
    """Have the caller confirm, on the terminal, that this is meant.

    Args:
        what: What will be done, in the infinitive.
        account: The account.

    Raises:
        WorkspaceError: If it is not confirmed.
    """
    if not is_agreed(f"{what} as {account.identity} in {account.region}?"):
        raise WorkspaceError("not confirmed: nothing was run")


def check_can_confirm(what: str = "--target aws", *, confirmed: bool) -> None:
    """Check that there is a confirmation, or a terminal to ask for one.

    Args:
        what: What needs it.
        confirmed: Whether there is one.

    Raises:
        WorkspaceError: If there is neither.
    """
    if not confirmed and not can_ask():
        raise WorkspaceError(
            f"{what} uses your own AWS credentials and the real login node, and there is no terminal to confirm that on: "
            "give --yes if it is meant"
        )
