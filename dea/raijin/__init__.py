"""The way in: SSH sessions to the login node, with credentials from SSM Parameter Store and pinned host keys.

It knows the login node by `dea.remote.contract` alone, and nothing of AWS Lambda.
"""

import logging

from dea.raijin.calls import Call
from dea.raijin.connection import Timeouts
from dea.raijin.credentials import Credentials, load_credentials
from dea.raijin.destinations import Destination, ToFile, ToS3
from dea.raijin.errors import (
    AuthenticationFailed,
    CannotConnect,
    CommandFailed,
    CommandTimeout,
    ConnectionClosed,
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    CredentialsError,
    HandshakeTimeout,
    HostKeyMismatch,
    HostUnreachable,
    IncompleteOutput,
    InvalidAnswer,
    InvalidHost,
    InvalidHostKey,
    InvalidPrivateKey,
    LoginNodeBusy,
    MissingHostKey,
    MissingParameter,
    OutcomeUnknown,
    ParameterAccessDenied,
    ParameterStoreNotConfigured,
    ParameterStoreUnavailable,
    PassphraseProtectedKey,
    RaijinError,
    RequestRefused,
    RunLost,
    SchemaMismatch,
    SessionLimitReached,
    SomeFailed,
    StillRunning,
    UnknownRun,
)
from dea.raijin.history import RunRecord
from dea.raijin.parameter_store import get_ssm_parameter
from dea.raijin.result import CommandResult
from dea.raijin.retry import Retries
from dea.raijin.run_ids import RunIds, random_run_id
from dea.raijin.session import RaijinSession

# A library is silent unless its user asks: without this, Python prints warnings of an unconfigured logger.
logging.getLogger("dea").addHandler(logging.NullHandler())
# What paramiko says of a broken connection is raised as an error of ours: its traceback is for who configures logging.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

__all__ = [
    "AuthenticationFailed",
    "Call",
    "CannotConnect",
    "CommandFailed",
    "CommandResult",
    "CommandTimeout",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionLimitReached",
    "ConnectionLost",
    "ConnectionRefused",
    "Credentials",
    "CredentialsError",
    "Destination",
    "HandshakeTimeout",
    "HostKeyMismatch",
    "HostUnreachable",
    "IncompleteOutput",
    "InvalidAnswer",
    "InvalidHost",
    "InvalidHostKey",
    "InvalidPrivateKey",
    "LoginNodeBusy",
    "MissingHostKey",
    "MissingParameter",
    "OutcomeUnknown",
    "ParameterAccessDenied",
    "ParameterStoreNotConfigured",
    "ParameterStoreUnavailable",
    "PassphraseProtectedKey",
    "RaijinError",
    "RaijinSession",
    "RequestRefused",
    "Retries",
    "RunIds",
    "RunLost",
    "RunRecord",
    "SchemaMismatch",
    "SessionLimitReached",
    "SomeFailed",
    "StillRunning",
    "Timeouts",
    "ToFile",
    "ToS3",
    "UnknownRun",
    "get_ssm_parameter",
    "load_credentials",
    "random_run_id",
]
