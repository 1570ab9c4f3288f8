"""Reads `functions/X/function.yaml`: what a function is deployed as, and what it uses. Every key has a default.

    handler: example.handler        # MODULE.FUNCTION; default: X.handler
    python: "3.13"                  # Lambda's runtime; default: the newest that is supported
    architecture: x86_64            # or arm64
    memory: 512                     # MB
    timeout: 60                     # seconds
    commands: [example]             # the commands of the login node that it runs: their argument schemas travel in its package
    services:                       # the AWS services that it uses, by boto3's names; those of dea.raijin are understood
      - s3                          # a name alone, or with what it does there, which `inv policy` needs:
      - dynamodb:
          actions: [dynamodb:GetItem]
          resources: ["arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/runs"]

The values are checked here, once; what they mean for a package is in `dea.workspace.packaging`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dea.remote.contract import is_name
from dea.workspace import strict_yaml
from dea.workspace.checkout import Function
from dea.workspace.errors import WorkspaceError

FILE_NAME = "function.yaml"

RUNTIMES = ("3.11", "3.12", "3.13")
"""The versions of Python that are supported, oldest first, all of them runtimes of AWS Lambda."""

ARCHITECTURES = ("x86_64", "arm64")
"""Lambda's instruction sets, by its names for them."""

# AWS Lambda Developer Guide, "Lambda quotas".
_MEMORY_MB = (128, 10_240)
_TIMEOUT_S = (1, 900)
_HANDLER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
# IAM User Guide, "IAM JSON policy elements": no wildcard in an action, because what it will match is not known.
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:([a-z-]+|\$\{AWS::Partition\}):[a-z0-9-]+:\S+", re.ASCII)


@dataclass(frozen=True)
class Permission:
    """What a function does with an AWS service.

    Attributes:
        service: The service, by boto3's name.
        actions: IAM's names of what it calls, such as `dynamodb:GetItem`.
        resources: The ARNs that it calls it on; `*` where the action knows no other.
    """

    service: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What a `function.yaml` says.

    Attributes:
        handler: `MODULE.FUNCTION`, as Lambda is told.
        python: The runtime's version of Python, `3.13`.
        architecture: `x86_64` or `arm64`.
        memory_mb: Memory, in MB.
        timeout_s: The longest that one invocation may take, in seconds.
        commands: The commands of the login node that it runs.
        services: The AWS services that it uses itself, by boto3's names.
        permissions: What it does with those services that are declared with their actions.
    """

    handler: str
    python: str = RUNTIMES[-1]
    architecture: str = ARCHITECTURES[0]
    memory_mb: int = 512
    timeout_s: int = 60
    commands: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    permissions: tuple[Permission, ...] = ()


def read(function: Function) -> Settings:
    """Read a function's `function.yaml`; without one, every setting is its default.

    Raises:
        WorkspaceError: If it is not YAML, has a key that there is not, or a value that cannot be; all of it at once.
    """
    path = function.folder / FILE_NAME
    default = Settings(handler=f"{function.name}.handler")
    try:
        content = strict_yaml.load(path)
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise WorkspaceError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return default
    if not isinstance(content, dict):
        raise WorkspaceError(f"{path} holds no mapping: its keys are {', '.join(_KEYS)}")
    problems = [f"there is no key {key!r:.60}: its keys are {', '.join(_KEYS)}" for key in content if key not in _KEYS]
    values: dict[str, Any] = {}
    for key, (field, read_value) in _KEYS.items():
        if key in content:
            try:
                values[field] = read_value(content[key])
            except ValueError as error:
                problems.append(f"{key}: {content[key]!r:.80} {error}")
    if problems:
        raise WorkspaceError(f"{path}: {'; '.join(problems)}")
    services: tuple[Permission, ...] = values.pop("services", ())
    return Settings(
        **{"handler": default.handler, **values},
        services=tuple(sorted({one.service for one in services})),
        permissions=tuple(one for one in services if one.actions),
    )


def supported_python(value: object) -> str:
    """Return a version of Python if it is a supported runtime.

    Raises:
        ValueError: If it is not; the text says what it must be.

    >>> supported_python(3.13)
    '3.13'
    """
    text = str(value)
    if text not in RUNTIMES:
        raise ValueError(f"is no supported runtime: choose one of {', '.join(RUNTIMES)}")
    return text


def supported_architecture(value: object) -> str:
    """Return an architecture if it is one of Lambda's.

    Raises:
        ValueError: If it is not; the text says what it must be.
    """
    if value not in ARCHITECTURES:
        raise ValueError(f"is no architecture of Lambda: choose one of {', '.join(ARCHITECTURES)}")
    return str(value)


def _handler(value: object) -> str:
    if not isinstance(value, str) or not _HANDLER.fullmatch(value):
        raise ValueError("is no MODULE.FUNCTION")
    return value


def _whole_number(value: object, limits: tuple[int, int], unit: str) -> int:
    if type(value) is not int or not limits[0] <= value <= limits[1]:
        raise ValueError(f"is no whole number of {unit} from {limits[0]} to {limits[1]}")
    return value


def _names(value: object, is_one: Any, kind: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and is_one(one) for one in value):
        raise ValueError(f"is no list of {kind}")
    return tuple(sorted(set(value)))


def _services(value: object) -> tuple[Permission, ...]:
    if not isinstance(value, list):
        raise ValueError(  # noqa: TRY004 - what `read` expects of a value that cannot be
            "is no list of AWS services' names, as boto3 has them, or of mappings from one to what is done with it"
        )
    return tuple(_service(entry) for entry in value)


def _service(entry: object) -> Permission:
    name, details = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, None)
    if not isinstance(name, str) or not _SERVICE.fullmatch(name):
        raise ValueError(
            f"has {entry!r:.60}, which is no AWS service's name, as boto3 has them, nor a mapping from one"
        )
    if name is entry:
        return Permission(name, (), ())
    if not isinstance(details, dict) or set(details) != {"actions", "resources"}:
        raise ValueError(f"has {name} with other keys than its two, actions and resources")
    return Permission(
        name,
        _texts(
            details["actions"], _ACTION, f"{name}: actions is no list of IAM actions, written out as SERVICE:Action"
        ),
        _texts(details["resources"], _RESOURCE, f"{name}: resources is no list of ARNs"),
    )


def _texts(value: object, pattern: re.Pattern[str], said: str) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, str) and pattern.fullmatch(one) for one in value)
    ):
        raise ValueError(f"has {said}: {value!r:.60}")
    return tuple(sorted(set(value)))


_KEYS: dict[str, tuple[str, Any]] = {
    "handler": ("handler", _handler),
    "python": ("python", supported_python),
    "architecture": ("architecture", supported_architecture),
    "memory": ("memory_mb", lambda value: _whole_number(value, _MEMORY_MB, "MB")),
    "timeout": ("timeout_s", lambda value: _whole_number(value, _TIMEOUT_S, "seconds")),
    "commands": ("commands", lambda value: _names(value, is_name, "commands' names")),
    "services": ("services", _services),
}
