"""The sandbox's AWS: moto's server on a loopback port, and the SecureStrings that a session reads there.

The server belongs into the sandbox's keeper alone: moto's state is one for each process, so two servers in one process would
be one account.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_ssm import SSMClient

HOST = "127.0.0.1"


def start() -> str:
    """Start moto's server in this process, in a thread, and return its URL."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - a second, which whoever only stores is spared

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def make_key(kms: KMSClient) -> str:
    """Make the KMS key that the parameters are encrypted with; return its id."""
    key_id = kms.create_key(Description="dea-orchestration sandbox")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/dea-orchestration", TargetKeyId=key_id)
    return key_id


def store(ssm: SSMClient, key_id: str, parameters: Mapping[str, str]) -> None:
    """Store parameters as SecureStrings under a KMS key, in the place of what had their names."""
    for name, value in parameters.items():
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", KeyId=key_id, Overwrite=True)
