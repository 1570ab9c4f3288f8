"""Compares the environment variables that `env_vars.yaml` declares with those that a package's own modules read."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dea.workspace import usage
from dea.workspace.checkout import Function
from dea.workspace.environment import DEFAULT_ENVIRONMENT, EnvironmentFile, SsmParameter

# AWS Lambda Developer Guide, "Defined runtime environment variables".
_OF_LAMBDA = re.compile(
    r"AWS_\w+|LAMBDA_\w+|_HANDLER|_X_AMZN_TRACE_ID|LANG|PATH|LD_LIBRARY_PATH|PYTHONPATH|TZ", re.ASCII
)
_OF_DEA = re.compile(r"DEA_[A-Z0-9_]+", re.ASCII)


@dataclass(frozen=True)
class Comparison:
    """What the two say of each other.

    Attributes:
        undeclared: Variables that are read and not declared, with the place.
        unread: Variables that are declared and that nothing written out in the function's or our own modules reads.
        unclear: Places where a variable is read whose name is not written out.
        unresolved: Variables that name SSM parameters in a function that does not resolve them.
    """

    undeclared: dict[str, str]
    unread: list[str]
    unclear: tuple[str, ...]
    unresolved: list[str]


def compare(function: Function, declared: EnvironmentFile, folder: Path) -> Comparison:
    """Compare them.

    Args:
        function: The function, which says what its own modules are.
        declared: Its `env_vars.yaml`.
        folder: The unpacked package, whose modules are read.

    Raises:
        WorkspaceError: If a module is no Python that this interpreter can read.
    """
    own = [folder / path.relative_to(function.folder) for path in usage.own_modules(function.folder)]
    used = usage.read(folder, [path for path in own if path.is_file()])
    names = {*declared.variables, *(name for values in declared.environments.values() for name in values)}
    ours = _read_by_dea(folder)
    parameters = {
        *(one.name for one in declared.variables.values() if isinstance(one.default, SsmParameter)),
        *(name for values in declared.environments.values() for name in _parameters(values)),
    }
    return Comparison(
        undeclared={
            name: place
            for name, place in sorted(used.variables.items())
            if name not in names and name not in ours and not _OF_LAMBDA.fullmatch(name)
        },
        unread=sorted(names - set(used.variables) - ours),
        unclear=used.unclear_variables,
        unresolved=[] if used.resolves_variables else sorted(parameters),
    )


def placeholders(declared: EnvironmentFile) -> dict[str, str]:
    """Return a value for each declared variable: that of `default`, or a text that says that there is none.

    A package is imported with them. No parameter is read for it.
    """
    values = declared.environments.get(DEFAULT_ENVIRONMENT, {})
    names = {*declared.variables, *values}
    known = {
        name: values.get(name, declared.variables[name].default if name in declared.variables else None)
        for name in names
    }
    return {name: value if isinstance(value, str) else "(none while validating)" for name, value in known.items()}


def _parameters(values: Mapping[str, str | SsmParameter]) -> list[str]:
    return [name for name, value in values.items() if isinstance(value, SsmParameter)]


def _read_by_dea(folder: Path) -> set[str]:
    """Return the variables' names that our own modules in the package hold."""
    names = set()
    for path in (folder / "dea").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _OF_DEA.fullmatch(node.value):
                names.add(node.value)
    return names
