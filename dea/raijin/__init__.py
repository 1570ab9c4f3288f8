"""The way in: SSH sessions to the login node, with credentials from SSM Parameter Store and pinned host keys.

It knows the login node by `dea.remote.contract` alone, and nothing of AWS Lambda.
"""

import logging

from dea.raijin.connection import Timeouts
from dea.raijin.credentials import Credentials, get_ssm_parameter, load_credentials
from dea.raijin.errors import (
    AuthenticationFailed,
    CannotConnect,
    CommandFailed,
    CommandTimeout,
    ConnectionClosed,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    CredentialsError,
    HandshakeTimeout,
    HostKeyMismatch,
    HostUnreachable,
    InvalidHost,
    InvalidHostKey,
    InvalidPrivateKey,
    MissingHostKey,
    MissingParameter,
    NoExitStatus,
    OutcomeUnknown,
    ParameterAccessDenied,
    ParameterStoreNotConfigured,
    ParameterStoreUnavailable,
    PassphraseProtectedKey,
    RaijinError,
    RequestRefused,
    SchemaMismatch,
    SessionLimitReached,
)
from dea.raijin.result import CommandResult
from dea.raijin.session import RaijinSession

# A library is silent unless its user asks: without this, Python prints warnings of an unconfigured logger.
logging.getLogger("dea").addHandler(logging.NullHandler())

__all__ = [
    "AuthenticationFailed",
    "CannotConnect",
    "CommandFailed",
    "CommandResult",
    "CommandTimeout",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionLost",
    "ConnectionRefused",
    "Credentials",
    "CredentialsError",
    "HandshakeTimeout",
    "HostKeyMismatch",
    "HostUnreachable",
    "InvalidHost",
    "InvalidHostKey",
    "InvalidPrivateKey",
    "MissingHostKey",
    "MissingParameter",
    "NoExitStatus",
    "OutcomeUnknown",
    "ParameterAccessDenied",
    "ParameterStoreNotConfigured",
    "ParameterStoreUnavailable",
    "PassphraseProtectedKey",
    "RaijinError",
    "RaijinSession",
    "RequestRefused",
    "SchemaMismatch",
    "SessionLimitReached",
    "Timeouts",
    "get_ssm_parameter",
    "load_credentials",
]
