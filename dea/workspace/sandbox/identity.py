"""An AWS identity that may do what one IAM policy says, on the sandbox's AWS: what a function runs as.

It talks to the running server from outside; moto itself is not imported.
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

import boto3
from botocore.config import Config
from botocore.session import Session as BotocoreSession

ACCOUNT = "123456789012"
"""The account that moto makes everything in."""

_ROLE = "function"


def session(region: str) -> boto3.Session:
    """Return an AWS session with the sandbox's credentials, whatever this process's own settings are.

    Of the caller's files and profile nothing is looked up: a profile that does not exist would be an error.
    """
    alone = BotocoreSession(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return boto3.Session(
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106
        region_name=region,
        botocore_session=alone,
    )


def restrict(endpoint_url: str, region: str, policy: dict[str, Any]) -> dict[str, str]:
    """Have each request authorised from now on; return the variables that make an AWS SDK act as a role with this policy.

    moto knows a policy's actions. Resources it knows for few services, and a condition it takes for unmet
    (`moto.iam.access_control`): both are widened here, or nothing would be allowed. A transaction of DynamoDB's needs what
    its parts need (IAM has no action of that name), and moto asks for the name of the request.
    """
    iam, sts = _client("iam", endpoint_url, region), _client("sts", endpoint_url, region)
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=_document([trust]))["Role"]
    allowed = [
        {"Effect": one["Effect"], "Action": _asked(one["Action"]), "Resource": "*"} for one in policy["Statement"]
    ]
    iam.put_role_policy(RoleName=_ROLE, PolicyName="least", PolicyDocument=_document(allowed))
    made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName=_ROLE)["Credentials"]
    _authorise_after(endpoint_url, "0")
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


def release(endpoint_url: str, region: str) -> None:
    """Undo `restrict`: no request is authorised any more, and the role is gone."""
    _authorise_after(endpoint_url, "inf")
    iam = _client("iam", endpoint_url, region)
    iam.delete_role_policy(RoleName=_ROLE, PolicyName="least")
    iam.delete_role(RoleName=_ROLE)


def _authorise_after(endpoint_url: str, requests: str) -> None:
    """Tell moto after how many requests it begins to check signatures and permissions (its page "IAM-like Access Control")."""
    url = f"{endpoint_url}/moto-api/reset-auth"
    request = urllib.request.Request(url, requests.encode(), {"Content-Type": "text/plain"})  # noqa: S310 - loopback
    # A proxy would be asked for loopback addresses too.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


def _asked(actions: list[str]) -> list[str]:
    """Return what moto asks for where a policy has these actions."""
    return [*actions, *(["dynamodb:TransactWriteItems"] if "dynamodb:PutItem" in actions else [])]


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _client(service: Any, endpoint_url: str, region: str) -> Any:
    return session(region).client(service, endpoint_url=endpoint_url, config=Config(proxies={}))
