"""Looks at what the checkout brings into a package: the function's files that go in, what the code uses, what it would lack.

Nothing is made here, and nothing is run; what stays out of distributions is in `dea.workspace.packaging.rules`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from dea.workspace import settings, tracked, usage
from dea.workspace.checkout import Function
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import locking, rules, sources
from dea.workspace.packaging.requirements import InternalPackage, Requirements, normalised
from dea.workspace.packaging.rules import Uses
from dea.workspace.packaging.sources import Source
from dea.workspace.settings import Settings

_DEVELOPMENT = ("requirements.txt", "requirements-test.txt", locking.FILE_NAME, "env_vars.yaml", settings.FILE_NAME)
_DEVELOPMENT_FOLDERS = ("tests",)


def own_files(function: Function) -> tuple[Source, ...]:
    """Read the function's own files that belong into its package: those of the project that are not for development.

    Raises:
        WorkspaceError: If one has no name or content of its own that a package could hold.
    """
    names = []
    for name in tracked.files(function.folder):
        path = function.folder / name
        first = name.partition("/")[0]
        if name in _DEVELOPMENT or first in _DEVELOPMENT_FOLDERS or first.startswith((".", "README")):
            continue
        if "__pycache__" in name.split("/"):  # whatever git is told of it
            continue
        if path.is_symlink():
            raise WorkspaceError(f"{path} is a symbolic link: put the file itself there")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise WorkspaceError(f"{str(path)!a} has a name that is not UTF-8: rename it") from None
        names.append(name)
    return sources.read(function.folder, names)


def uses_of(
    wanted: Settings,
    needed: Requirements,
    packages: frozenset[str],
    own: Sequence[Source],
    internal: Mapping[InternalPackage, Sequence[Source]],
) -> Uses:
    """Return what the code of the function and of the internal packages uses, as far as rules ask.

    Args:
        wanted: The function's settings.
        needed: What it requires.
        packages: The normalised names of all packages that go in.
        own: Its files.
        internal: The internal packages, with their files.
    """
    services = {service for package in internal for service in package.services}
    ours = [("", file) for file in own] + [(package.path, file) for package in internal for file in internal[package]]
    modules = [(f"{folder}/{file.name}", file.content) for folder, file in ours if file.name.endswith(".py")]
    reads = any(rules.reads_metadata(content) for _, content in modules)
    return Uses(
        services=frozenset({*wanted.services, *services, *rules.ALWAYS_SERVICES}),
        requires=needed.names,
        reads_metadata_of=packages if reads else frozenset(),
        dispatcher=any(
            rules.imports_dispatcher(content)
            for path, content in modules
            if not rules.is_dispatcher(path.removeprefix("./"))
        ),
    )


def check_own(
    function: Function, wanted: Settings, packages: frozenset[str], uses: Uses, files: Sequence[Source]
) -> None:
    """Check what can be told of the function's own files before anything is made of them.

    Raises:
        WorkspaceError: If the function has the name of a package that goes in, the handler's module is not there, or a
            module asks AWS for a service that is not declared.
    """
    if normalised(function.name) in packages:
        raise WorkspaceError(f"the function {function.name} has the name of a package that it requires: rename it")
    module = wanted.handler.rpartition(".")[0].replace(".", "/")
    if not {f"{module}.py", f"{module}/__init__.py"} & {file.name for file in files}:
        raise WorkspaceError(f"{function.folder} has no module {module}.py, which the handler {wanted.handler} is in")
    for file in files:
        if not file.name.endswith(".py"):
            continue
        for service, line in _asked_services(file.content):
            if service not in uses.services:
                raise WorkspaceError(
                    f"line {line} of {function.folder / file.name} makes a client of {service!r}, whose description is packaged only if "
                    f"{settings.FILE_NAME} names it under services"
                )


def _asked_services(source: bytes) -> list[tuple[str, int]]:
    """Return the services that a module asks AWS for, with the line; of what is no Python, nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []  # the target's own compiler says so, and better
    return usage.asked_services(tree)
