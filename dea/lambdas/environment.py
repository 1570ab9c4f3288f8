"""Environment variables whose values SSM parameters hold, so that no secret is written into a function's configuration.

Lambda gives a function the text that is configured, here a reference: `ssm://NAME`. `resolve_ssm_variables` puts the value of
the parameter NAME in its place, in this process alone. It is no cache of parameters and knows nothing of `env_vars.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING

from dea.raijin import MissingParameter
from dea.raijin.parameter_store import get_ssm_parameters, how_to_store

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

REFERENCE = "ssm://"
"""What the value of a variable begins with if the name of an SSM parameter follows."""

# AWS Systems Manager API Reference, "GetParameters": ten names at most.
_NAMES_AT_ONCE = 10


def resolve_ssm_variables(
    environment: MutableMapping[str, str] = os.environ, *, ssm: SSMClient | None = None
) -> list[str]:
    """Replace each variable's value of the form `ssm://NAME` by what the SSM parameter NAME holds, decrypted.

    Call it where the function's module begins, before a variable is read: Lambda then does it once per process, as part of
    the start. Where nothing is left to replace, as under `inv run-lambda`, which has done it, AWS is not asked.

    Args:
        environment: The variables; this process's own are the default.
        ssm: The client to ask with; None for one with this process's AWS settings.

    Returns:
        The names of the variables that it set, sorted.

    Raises:
        CredentialsError: The subclass that says which parameter is missing, may not be read, or why SSM cannot be asked.
            No variable has changed then.
    """
    references = {
        name: value.removeprefix(REFERENCE) for name, value in environment.items() if value.startswith(REFERENCE)
    }
    values = read_parameters(references.values(), ssm=ssm)
    for name, parameter in references.items():
        environment[name] = values[parameter]
    return sorted(references)


def read_parameters(names: Iterable[str], *, ssm: SSMClient | None = None) -> dict[str, str]:
    """Return the values of SSM parameters, decrypted; up to ten are asked for in one request.

    Args:
        names: Their names; each is asked for once.
        ssm: The client to ask with; None for one with this process's AWS settings.

    Raises:
        MissingParameter: If some do not exist; it names all of them.
        CredentialsError: Another subclass, as from `dea.raijin.get_ssm_parameter`.
    """
    wanted = sorted(set(names))
    values: dict[str, str] = {}
    for start in range(0, len(wanted), _NAMES_AT_ONCE):
        values |= get_ssm_parameters(wanted[start : start + _NAMES_AT_ONCE], ssm)
    if missing := [name for name in wanted if name not in values]:
        raise MissingParameter(
            f"SSM parameters that do not exist in this account and region: {', '.join(missing)}; "
            f"{how_to_store(missing[0])}",
            *missing,
        )
    return values
