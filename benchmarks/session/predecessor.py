"""A minimal re-enactment of the predecessor's session: three SSM requests and a new connection for each call.

It is what is measured against, never what is used. Two things are kinder than it was, so that the same login node can
serve both sides: it reads Ed25519 keys, and it makes one SSM client for the process.
"""

from __future__ import annotations

import functools
import io
import os
from typing import Any

import boto3
import paramiko


@functools.cache
def _ssm() -> Any:
    return boto3.client("ssm")


def _parameter(part: str) -> str:
    name = f"{os.environ['DEA_RAIJIN_USER_PATH']}.{part}"
    value: str = _ssm().get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value


def call(request: str) -> tuple[str, str, int]:
    """Run one command: read the credentials, connect to whatever answers, run, read what there is."""
    user, host, key = _parameter("user"), _parameter("host"), _parameter("pkey")
    name, _, port = host.partition(":")
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # accepts every host key: that is the point
    client.connect(name, int(port or 22), username=user, pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(key)))
    _, stdout, stderr = client.exec_command(request)
    exit_code = stdout.channel.recv_exit_status()
    output, errors = stdout.read().decode("ascii"), stderr.read().decode("ascii")
    client.close()
    return output, errors, exit_code
