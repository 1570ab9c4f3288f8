"""Reads `functions/X/env_vars.yaml`: which environment variables a function has, and their values per environment.

    variables:                      # documents them; optional, a list
      - name: MAX_AGE_HOURS
        description: How old trash must be, in hours.
        required: true              # default: false
        default: 72                 # used where an environment gives no value
    environments:                   # values per environment; `default` is the one that is used unless another is asked for
      default: {MAX_AGE_HOURS: 72}
      production: {MAX_AGE_HOURS: 168, API_TOKEN: {ssm: dea.tidy.token}}

In a value's place, `{ssm: NAME}` names the SSM parameter that holds it: `fetch` reads it when the function runs, and nothing
writes or prints it. Two older forms are read too: a plain mapping of names to values, and one mapping of names to values per
environment. Reading is pure but for the file; only `fetch` asks AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dea.workspace import strict_yaml
from dea.workspace.errors import WorkspaceError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

FILE_NAME = "env_vars.yaml"
DEFAULT_ENVIRONMENT = "default"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASS|PWD|CREDENTIAL|KEYS?($|_)|PRIVATE|AUTH|BEARER|WEBHOOK|HMAC|SALT|COOKIE|SIGNATURE", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://[^/@]*:[^/@]*@|-----BEGIN")  # a URL with a password, a key
_VARIABLE_KEYS = {"name", "description", "required", "default"}
# AWS Systems Manager API Reference, "PutParameter": a name with a slash is a path, and begins with one.
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,1011}|(?=.{1,1011}\Z)(/[A-Za-z0-9_.-]+)+", re.ASCII)


@dataclass(frozen=True)
class SsmParameter:
    """Where a value is kept that is not written down: an SSM parameter.

    Attributes:
        name: The parameter's name.
    """

    name: str


@dataclass(frozen=True)
class Variable:
    """One documented variable.

    Attributes:
        name: Its name.
        description: What it is for.
        required: Whether a function cannot run without it.
        default: Its value where an environment gives none; None if there is none.
    """

    name: str
    description: str = ""
    required: bool = False
    default: str | SsmParameter | None = None


@dataclass(frozen=True)
class EnvironmentFile:
    """What an `env_vars.yaml` says.

    Attributes:
        path: The file.
        variables: The documented variables by name.
        environments: The values by environment and name.
    """

    path: Path
    variables: dict[str, Variable] = field(default_factory=dict)
    environments: dict[str, dict[str, str | SsmParameter]] = field(default_factory=dict)

    def values(self, environment: str | None) -> dict[str, str | SsmParameter]:
        """Return the values of an environment, defaults included.

        Args:
            environment: Its name; None for `default`.

        Raises:
            WorkspaceError: If it is not declared.
        """
        name = environment or DEFAULT_ENVIRONMENT
        if name not in self.environments and (environment is not None or self.environments):
            choices = ", ".join(self.environments) or "(none)"
            raise WorkspaceError(f"{self.path} declares no environment {name!r}: choose one of {choices}")
        defaults = {one.name: one.default for one in self.variables.values() if one.default is not None}
        return {**defaults, **self.environments.get(name, {})}

    def resolve(self, environment: str | None, settings: Mapping[str, str], shell: Mapping[str, str]) -> Resolved:
        """Return the values to run with.

        Args:
            environment: The environment's name; None for `default`.
            settings: Values from the command line, which win over everything.
            shell: The shell's environment, over which the file's values win.

        Raises:
            WorkspaceError: If the environment is not declared or a required variable has no value.
        """
        name = environment or DEFAULT_ENVIRONMENT
        given = self.environments.get(name, {})
        # A default does not replace what the shell has.
        values = {key: value for key, value in self.values(environment).items() if key in given or key not in shell}
        values.update(settings)
        missing = [
            one.name
            for one in self.variables.values()
            if one.required and one.name not in values and one.name not in shell
        ]
        if missing:
            raise WorkspaceError(
                f"{self.path}: required variables without a value in environment {name!r}: {', '.join(missing)}; "
                f"give them there or with --set {missing[0]}=VALUE"
            )
        return Resolved(
            values={key: value for key, value in values.items() if isinstance(value, str)},
            replaced=sorted(key for key, value in values.items() if key in shell and shell[key] != value),
            parameters={key: value.name for key, value in values.items() if isinstance(value, SsmParameter)},
        )


@dataclass(frozen=True)
class Resolved:
    """The values to run a function with. A variable is either in `values` or in `parameters`.

    Attributes:
        values: The values by name.
        replaced: Names whose value in the shell was another one, or may have been.
        parameters: The SSM parameters' names by the names of the variables that they hold the values of.
    """

    values: dict[str, str]
    replaced: list[str]
    parameters: dict[str, str] = field(default_factory=dict)

    def shown(self) -> list[str]:
        """Return what is set, a line each, sorted, as it may be printed: no secret and no parameter's value."""
        texts = {name: shown_value(name, value) for name, value in self.values.items()}
        texts |= {name: f"(from SSM parameter {parameter})" for name, parameter in self.parameters.items()}
        return [
            f"{name}={text}" + ("  (replaces the shell's)" if name in self.replaced else "")
            for name, text in sorted(texts.items())
        ]


def fetch(parameters: Mapping[str, str], ssm: SSMClient | None) -> dict[str, str]:
    """Return the values of variables whose values SSM parameters hold, decrypted; up to ten are asked for in one request.

    Args:
        parameters: The parameters' names by the variables' names, as `Resolved` has them.
        ssm: The client to ask with; None for one with this process's AWS settings.

    Raises:
        WorkspaceError: If a parameter does not exist, may not be read, or SSM cannot be asked.

    Note:
        The values are secrets: hand them to the function's process, and to nothing that is printed or written.
    """
    if not parameters:
        return {}
    from dea.lambdas.environment import read_parameters  # noqa: PLC0415 - boto3 and paramiko, for what needs none mostly
    from dea.raijin import CredentialsError  # noqa: PLC0415

    try:
        values = read_parameters(parameters.values(), ssm=ssm)
    except CredentialsError as error:
        names = sorted(name for name, parameter in parameters.items() if parameter in error.parameters)
        raise WorkspaceError(
            f"{', '.join(names)}: {error}; to do without, give the value with --set {names[0]}=VALUE"
        ) from error
    return {name: values[parameter] for name, parameter in parameters.items()}


def shown_value(name: str, value: str) -> str:
    """Return a value as it may be printed: hidden where its name or form says that it is a secret.

    >>> shown_value("BUCKET", "dea"), shown_value("API_TOKEN", "x")
    ('dea', '(hidden)')
    """
    return "(hidden)" if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value) else value


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Read `NAME=VALUE` texts from the command line.

    Raises:
        WorkspaceError: If one is not of that form.

    >>> parse_settings(["A=1", "B=x=y"])
    {'A': '1', 'B': 'x=y'}
    """
    values = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise WorkspaceError(f"--set takes NAME=VALUE, and {name!r} is no name with a value")
        values[name] = value
    return values


def read(path: Path) -> EnvironmentFile:
    """Read an `env_vars.yaml`.

    Raises:
        WorkspaceError: If it is missing, is not YAML, or has something in it that it cannot have.
    """
    try:
        content = strict_yaml.load(path)
    except FileNotFoundError:
        raise WorkspaceError(
            f"{path} is missing: it documents the function's environment variables; an empty file means none"
        ) from None
    except ValueError as error:
        raise WorkspaceError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return EnvironmentFile(path)
    if not isinstance(content, dict):
        raise WorkspaceError(
            f"{path} holds a {_kind(content)}: it is a mapping with the keys `variables` and `environments`"
        )
    if "variables" in content or "environments" in content:
        if unknown := sorted(map(str, set(content) - {"variables", "environments"})):
            raise WorkspaceError(
                f"{path} has unknown keys: {', '.join(unknown)}; there are `variables` and `environments`"
            )
        variables = _variables(path, content.get("variables") or [])
        environments = content.get("environments") or {}
    else:
        variables = {}
        # The two older forms: values of one environment, or one mapping of values for each.
        nested = any(content.values()) and all(
            isinstance(value, dict | None) and not _names_a_parameter(value) for value in content.values()
        )
        environments = content if nested else {DEFAULT_ENVIRONMENT: content}
    if not isinstance(environments, dict):
        raise WorkspaceError(
            f"{path}: `environments` is a {_kind(environments)}: it maps each environment's name to its values"
        )
    return EnvironmentFile(
        path, variables, {str(name): _values(path, str(name), each) for name, each in environments.items()}
    )


def _variables(path: Path, entries: Any) -> dict[str, Variable]:
    if isinstance(entries, dict):  # by name, as easily written
        entries = [
            {"name": name, **(entry or {})} if isinstance(entry, dict | None) else entry
            for name, entry in entries.items()
        ]
    if not isinstance(entries, list):
        raise WorkspaceError(f"{path}: `variables` is a {_kind(entries)}: it is a list of mappings with a `name`")
    found = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not _NAME.fullmatch(entry["name"]):
            raise WorkspaceError(f"{path}: an entry of `variables` has no `name` that an environment variable can have")
        name = entry["name"]
        if unknown := sorted(map(str, set(entry) - _VARIABLE_KEYS)):
            raise WorkspaceError(
                f"{path}: variable {name} has unknown keys: {', '.join(unknown)}; there are {', '.join(sorted(_VARIABLE_KEYS))}"
            )
        if not isinstance(entry.get("required", False), bool):
            raise WorkspaceError(f"{path}: variable {name}: `required` is true or false, not {entry['required']!r:.80}")
        if name in found:
            raise WorkspaceError(f"{path}: variable {name} is documented twice")
        default = entry.get("default")
        found[name] = Variable(
            name=name,
            description=str(entry.get("description", "")),
            required=entry.get("required", False),
            default=None if default is None else _value(path, name, default),
        )
    return found


def _values(path: Path, environment: str, mapping: Any) -> dict[str, str | SsmParameter]:
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise WorkspaceError(f"{path}: environment {environment!r} is a {_kind(mapping)}: it maps names to values")
    values: dict[str, str | SsmParameter] = {}
    for name, value in mapping.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise WorkspaceError(
                f"{path}: {name!r:.80} in environment {environment!r} cannot be the name of an environment variable"
            )
        values[name] = _value(path, name, value)
    return values


def _value(path: Path, name: str, value: Any) -> str | SsmParameter:
    if not _names_a_parameter(value):
        return _text(path, name, value)
    parameter = value["ssm"]
    if not isinstance(parameter, str) or not _PARAMETER_NAME.fullmatch(parameter):
        raise WorkspaceError(
            f"{path}: {name}: {parameter!r:.80} cannot be the name of an SSM parameter: letters, digits and _ . - are; "
            "with slashes it is a path that begins with one"
        )
    return SsmParameter(parameter)


def _names_a_parameter(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"ssm"}


def _text(path: Path, name: str, value: Any) -> str:
    """Return a value as the environment holds it. Booleans become `true` and `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = str(value)
        if "\0" in text:
            raise WorkspaceError(f"{path}: {name} holds a NUL character, which no environment variable can")
        return text
    raise WorkspaceError(
        f"{path}: {name} is a {_kind(value)}: a value is a string, a number, true or false (quote it to mean the text), "
        "or {ssm: NAME} for what an SSM parameter holds"
    )


def _kind(value: Any) -> str:
    return {"NoneType": "null", "dict": "mapping", "str": "string"}.get(type(value).__name__, type(value).__name__)
