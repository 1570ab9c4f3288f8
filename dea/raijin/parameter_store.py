"""Asks SSM Parameter Store, and says what each of its answers means: the only place that knows.

What the parameters hold is not known here: that is `dea.raijin.credentials`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, cast

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.session import Session

from dea.raijin.errors import (
    MissingParameter,
    ParameterAccessDenied,
    ParameterStoreNotConfigured,
    ParameterStoreUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

_BUSY = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException"})

# What may be otherwise at the next try. All else that botocore raises is about settings, a profile that there is not, say: to
# try that again would have the caller wait for nothing.
_TRANSIENT = (
    NoConnectionError,
    HTTPClientError,
    IncompleteReadError,
    CredentialRetrievalError,
    MetadataRetrievalError,
)

# A Lambda function has minutes, not hours: no single try may take them all.
_SSM_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


def get_ssm_parameter(name: str, *, ssm: SSMClient | None = None) -> str:
    """Return the value of one SSM parameter, decrypted.

    Args:
        name: Its name.
        ssm: The client to ask with; None for one with this process's AWS settings.

    Raises:
        MissingParameter: If there is none of that name.
        ParameterAccessDenied: If the AWS identity may not read or decrypt it.
        ParameterStoreUnavailable: If SSM does not answer.
        ParameterStoreNotConfigured: If this process has no AWS region or credentials, or settings that cannot be used, or if
            SSM rejects the request.
    """
    values = get_ssm_parameters([name], ssm)
    if name not in values:
        raise MissingParameter(
            f"SSM parameter {name} does not exist in this account and region: {how_to_store(name)}", name
        )
    return values[name]


def get_ssm_parameters(names: list[str], ssm: SSMClient | None) -> dict[str, str]:
    """Return the values of those of the named parameters that exist, decrypted, in one request.

    Args:
        names: Their names, at most ten (*GetParameters*).
        ssm: The client to ask with; None for one with this process's AWS settings.

    Raises:
        CredentialsError: As `get_ssm_parameter`, except that a missing one is none.
    """
    try:
        client = ssm or cast("SSMClient", Session().create_client("ssm", config=_SSM_CONFIG))
        found = client.get_parameters(Names=names, WithDecryption=True)["Parameters"]
    except ClientError as error:
        _raise_client_error(error, names)
    except NoRegionError as error:
        raise ParameterStoreNotConfigured("no AWS region is configured: set AWS_DEFAULT_REGION", *names) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ParameterStoreNotConfigured(
            f"{error}: give this process an AWS role or run aws configure", *names
        ) from error
    except _TRANSIENT as error:
        raise ParameterStoreUnavailable(f"SSM Parameter Store cannot be asked: {error}", *names) from error
    except BotoCoreError as error:
        said = " ".join(str(error).split())
        raise ParameterStoreNotConfigured(
            f"SSM Parameter Store cannot be asked: {said}: mend the AWS settings of this process", *names
        ) from error
    return {parameter["Name"]: parameter["Value"] for parameter in found}


def how_to_store(name: str) -> str:
    """Return the sentence that says how to store a parameter."""
    return f"store it with aws ssm put-parameter --type SecureString --name {name} --value file://FILE"


def _raise_client_error(error: ClientError, names: list[str]) -> NoReturn:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED or code.startswith("KMS") or status == HTTPStatus.FORBIDDEN:
        raise ParameterAccessDenied(
            f"reading {', '.join(names)} was denied: the role needs ssm:GetParameters on these parameters and kms:Decrypt on their "
            f"key ({' '.join(str(error).split())})",
            *names,
        ) from error
    if code in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ParameterStoreUnavailable(f"SSM Parameter Store is not available: {error}", *names) from error
    raise ParameterStoreNotConfigured(f"SSM Parameter Store rejects the request: {error}", *names) from error
