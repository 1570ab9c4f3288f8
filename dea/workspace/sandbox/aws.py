"""The sandbox's AWS: moto's server on a loopback port, with the SSM parameters that a session reads and the table of jobs."""

from __future__ import annotations

import logging

from moto.server import ThreadedMotoServer

from dea.lambdas.jobs.definition import create_table
from dea.workspace.sandbox import identity

HOST = "127.0.0.1"


def start() -> str:
    """Start moto's server in this process, in a thread, and return its URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def store(endpoint_url: str, region: str, parameters: dict[str, str]) -> str:
    """Store parameters as SecureStrings under a KMS key made for it; return the key's id."""
    session = identity.session(region)
    kms = session.client("kms", endpoint_url=endpoint_url)
    key_id = kms.create_key(Description="dea-orchestration sandbox")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/dea-orchestration", TargetKeyId=key_id)
    ssm = session.client("ssm", endpoint_url=endpoint_url)
    for name, value in parameters.items():
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", KeyId=key_id)
    return key_id


def make_jobs_table(endpoint_url: str, region: str) -> None:
    """Make the table of batch jobs, with the name that functions look for it under if nothing else is set."""
    create_table(identity.session(region).client("dynamodb", endpoint_url=endpoint_url))
