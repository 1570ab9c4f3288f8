"""Reads in a function's own source what it uses: environment variables, SSM parameters, sessions. Nothing of it is run.

Only what is written out is seen, `os.environ["NAME"]` or a constant of the module in its place, and not `os.environ[name]`,
whose place is told; what modules of other packages use is not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dea.workspace.errors import WorkspaceError

_ENVIRON = {"os.environ", "environ"}
_READERS = {f"{mapping}.{method}" for mapping in _ENVIRON for method in ("get", "pop", "setdefault", "__getitem__")}
_READERS |= {"os.getenv", "getenv"}
_CLIENT_MAKERS = {"client", "resource", "create_client"}

OUR_CLIENTS = {
    "ToS3": ("s3",),
    "JobsTable": ("dynamodb",),
    "EventBus": ("events",),
    "Tracker.of": ("dynamodb", "events"),
}
"""What of our own packages asks AWS for services that not each function with these packages needs, by what is called."""


@dataclass(frozen=True)
class Usage:
    """What a function's own modules use.

    Attributes:
        variables: The environment variables that are read, with the first place, `file.py:12`.
        unclear_variables: Places where a variable is read whose name is not written out.
        services: The AWS services that it asks for, with the first place.
        default_user_path: Whether there is a session whose SSM parameters have the prefix that the environment names.
        user_paths: Other prefixes that sessions are made with.
        parameters: SSM parameters that are read by name.
        resolves_variables: Whether `resolve_ssm_variables` is called.
        unclear: Places where a session's prefix or a parameter's name is not written out.
    """

    variables: dict[str, str]
    unclear_variables: tuple[str, ...]
    services: dict[str, str]
    default_user_path: bool
    user_paths: frozenset[str]
    parameters: frozenset[str]
    resolves_variables: bool
    unclear: tuple[str, ...]


def own_modules(folder: Path) -> list[Path]:
    """Return the Python files of a function's folder, sorted, without its tests."""
    return sorted(path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts)


def read(folder: Path, modules: Iterable[Path] | None = None) -> Usage:
    """Return what a function's modules use.

    Args:
        folder: The function's folder, or another that its modules are in.
        modules: The modules; None for all of the folder but tests.

    Raises:
        WorkspaceError: If a module is no Python that this interpreter can read.
    """
    reader = _Reader()
    for path in own_modules(folder) if modules is None else modules:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise WorkspaceError(f"{path} cannot be read as Python: {error}") from error
        reader.read(str(path.relative_to(folder)), tree)
    return Usage(
        variables=reader.variables,
        unclear_variables=tuple(reader.unclear_variables),
        services=reader.services,
        default_user_path=reader.default_user_path,
        user_paths=frozenset(reader.user_paths),
        parameters=frozenset(reader.parameters),
        resolves_variables=reader.resolves_variables,
        unclear=tuple(reader.unclear),
    )


def asked_services(tree: ast.Module) -> list[tuple[str, int]]:
    """Return the services that a module asks AWS for, with the line: by a literal name, or by a class of ours that does.

    >>> asked_services(ast.parse("boto3.client('s3'), self.session.resource(service_name='sqs'), docker.client('x')"))
    [('s3', 1), ('sqs', 1)]
    >>> asked_services(ast.parse("Session().create_client('events'), ToS3(bucket, key)"))
    [('events', 1), ('s3', 1)]
    """
    nodes = list(ast.walk(tree))
    given = {node.asname: node.name for node in nodes if isinstance(node, ast.alias) and node.asname}
    of_boto3 = {"boto3", *(name for name in given if given[name] == "boto3")}
    of_boto3 |= {
        _last_name(target)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _last_name(node.value) == "Session"
        for target in node.targets
        if _last_name(target)
    }
    functions = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "boto3"
        for alias in node.names
        if alias.name in _CLIENT_MAKERS
    }
    asked = []
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = _last_name(node.func)
        asked += [(service, node.lineno) for service in OUR_CLIENTS.get(given.get(name, name), ())]
        if isinstance(node.func, ast.Attribute):
            receiver = _last_name(node.func.value)
            asked += [
                (service, node.lineno) for service in OUR_CLIENTS.get(f"{given.get(receiver, receiver)}.{name}", ())
            ]
            is_maker = name in _CLIENT_MAKERS and (receiver in of_boto3 or "session" in receiver.lower())
        else:
            is_maker = name in functions
        service = _argument(node, "service_name")
        if is_maker and isinstance(service, ast.Constant) and isinstance(service.value, str):
            asked.append((service.value, node.lineno))
    return asked


def _last_name(node: ast.expr) -> str:
    """Return the last name of a dotted one, of a call the function's; nothing for another expression."""
    match node:
        case ast.Call():
            return _last_name(node.func)
        case ast.Attribute():
            return node.attr
        case ast.Name():
            return node.id
    return ""


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the strings that a module gives names to, if nothing in it gives such a name to anything else."""
    given = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    given += [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)]
    found = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found.update(
                {one.id: value.value for one in targets if isinstance(one, ast.Name) and given.count(one.id) == 1}
            )
    return found


class _Reader(ast.NodeVisitor):
    """Collects what `Usage` holds."""

    def __init__(self) -> None:
        self.file = ""
        self.variables: dict[str, str] = {}
        self.unclear_variables: list[str] = []
        self.services: dict[str, str] = {}
        self.default_user_path = False
        self.user_paths: set[str] = set()
        self.parameters: set[str] = set()
        self.resolves_variables = False
        self.unclear: list[str] = []
        self.aliases: dict[str, str] = {}  # names that the module being read gives to others'
        self.constants: dict[str, str] = {}

    def read(self, file: str, tree: ast.Module) -> None:
        """Collect what one module uses."""
        self.file, self.aliases, self.constants = file, {}, _constants(tree)
        for service, line in asked_services(tree):
            self.services.setdefault(service, f"{file}:{line}")
        self.visit(tree)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load) and self._name(node.value) in _ENVIRON:
            self._variable(node.slice)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if isinstance(node.ops[0], ast.In | ast.NotIn) and self._name(node.comparators[0]) in _ENVIRON:
            self._variable(node.left)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self._name(node.func)
        if called in _READERS and node.args:
            self._variable(node.args[0])
        match called.rpartition(".")[2]:
            case "resolve_ssm_variables":
                self.resolves_variables = True
            case "RaijinSession" | "load_credentials":
                self._prefix(node)
            case "get_ssm_parameter":
                self._named(_argument(node, "name"), self.parameters, node)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self.default_user_path |= node.name == "RaijinCommand"
        if node.asname:
            self.aliases[node.asname] = node.name

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.default_user_path |= node.attr == "RaijinCommand"
        self.generic_visit(node)

    def _name(self, node: ast.expr) -> str:
        """Return the name that an expression is, with its first part as the import had it; any text for what is none."""
        first, dot, rest = ast.unparse(node).partition(".")
        return self.aliases.get(first, first) + dot + rest

    def _variable(self, node: ast.expr) -> None:
        name, place = self._text(node), f"{self.file}:{node.lineno}"
        if name is not None:
            self.variables.setdefault(name, place)
        elif place not in self.unclear_variables:
            self.unclear_variables.append(place)

    def _text(self, node: ast.expr | None) -> str | None:
        """Return the string that an expression is: a literal, or a constant of the module."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self.constants.get(node.id) if isinstance(node, ast.Name) else None

    def _prefix(self, node: ast.Call) -> None:
        given = _argument(node, "user_path")
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            self.default_user_path = True
        else:
            self._named(given, self.user_paths, node)

    def _named(self, given: ast.expr | None, names: set[str], node: ast.Call) -> None:
        if (name := self._text(given)) is not None:
            names.add(name)
        else:
            self.unclear.append(f"{self.file}:{node.lineno}: {ast.unparse(node):.80}")


def _argument(node: ast.Call, name: str) -> ast.expr | None:
    """Return the argument of that name, which is also the first."""
    if node.args:
        return node.args[0]
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)
