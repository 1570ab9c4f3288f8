"""The sandbox: everything that an event passes, on this machine alone, without AWS and without an HPC account.

`sandbox()` starts a loopback AWS endpoint (moto's server) that holds the four SSM parameters as SecureStrings under a KMS
key, and a login node that runs the real forced command from a real `authorized_keys`: OpenSSH's sshd where the machine has
it, asyncssh where it does not. Tasks and tests use the same code. Keys are made fresh, ports are ephemeral, nothing of the
user's `~/.ssh` or `~/.aws` is read or written, and nothing is left at the end, a crash or Ctrl-C included.
"""

from dea.workspace.sandbox.client import REGION, LoginNodeKind, Sandbox, sandbox
from dea.workspace.sandbox.exported import (
    check_leads_to_aws,
    exported_dynamodb,
    exported_session,
    exported_ssm,
    leads_to_a_sandbox,
)
from dea.workspace.sandbox.identity import ACCOUNT

__all__ = [
    "ACCOUNT",
    "REGION",
    "LoginNodeKind",
    "Sandbox",
    "check_leads_to_aws",
    "exported_dynamodb",
    "exported_session",
    "exported_ssm",
    "leads_to_a_sandbox",
    "sandbox",
]
