"""What is checked of a package: a function for each, over the opened package. None of them changes anything."""

from __future__ import annotations

from collections.abc import Callable

from dea.remote.checks import Check, listed
from dea.workspace import environment
from dea.workspace.errors import WorkspaceError
from dea.workspace.interpreters import how_to_install
from dea.workspace.packaging.assembly import MAX_UNZIPPED_BYTES, MAX_UPLOAD_BYTES, megabytes
from dea.workspace.packaging.manifest import Unreadable
from dea.workspace.validation import native, shapes, variables
from dea.workspace.validation.package import Answers, Opened


def archive(package: Opened) -> Check:
    """The zip unpacks whole, into its own folder, each file once."""
    if package.faults:
        return Check("archive", False, listed(package.faults), _again(package))
    return Check("archive", True, f"{len(package.files)} files unpack as they should")


def manifest(package: Opened) -> Check:
    """The package says what it was made of, and is this function's."""
    said = package.manifest
    if isinstance(said, Unreadable):
        return Check("manifest", False, str(said), _again(package))
    if said.function != package.function.name:
        return Check(
            "manifest", False, f"it is the package of {said.function!r:.80}", "give that name, or another --zip"
        )
    return Check("manifest", True, f"{said.function}, for {package.target}")


def handler(package: Opened) -> Check:
    """The handler's module imports with nothing else on the path, and the handler can be called with (event, context)."""
    answers, where = package.answers, package.handler
    if answers is None:
        return _untried(package, "handler", f"{where} was not imported")
    if package.not_imported and not answers.syntax:
        return _untried(package, "handler", f"{where} is Python {package.target.python} and was not imported")
    detail, remedy = _fault_of_handler(answers, where)
    return Check("handler", not detail, detail or f"{where} can be called with (event, context)", remedy)


def _fault_of_handler(answers: Answers, where: str) -> tuple[str, str]:
    if answers.syntax:
        return answers.syntax, "correct it for the version that function.yaml names"
    if answers.handler is None:
        return f"{where}: {answers.ended}", "a module must be importable without ending the process"
    if answers.handler:
        return answers.handler, "requirements.txt names what is packaged, function.yaml the handler"
    if answers.written:
        return (
            f"importing it writes into its own folder: {listed(answers.written)}",
            "write to /tmp: the folder is read-only on Lambda",
        )
    return "", ""


def requirements(package: Opened) -> Check:
    """Every requirement is in the package, in a version that it allows, and its modules import."""
    said = package.manifest
    if isinstance(said, Unreadable):
        return Check("requirements", None, "without a manifest it is not known what is required")
    problems = []
    for requirement in said.requirements:
        part = said.part_of(requirement)
        if part is None:
            problems.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(part.version, prereleases=True):
            problems.append(f"{requirement.name} is {part.version}, and {requirement} is required")
    there = {file.partition("/")[0].partition(".")[0] for file in package.files}
    problems += [f"the module {module} is missing" for module in said.required_modules() if module not in there]
    if package.answers is not None:
        problems += [problem for problem in package.answers.modules.values() if problem]
    if problems:
        return Check("requirements", False, listed(problems), _again(package))
    count = len(said.requirements)
    if package.answers is None or package.not_imported:
        return _untried(package, "requirements", f"{count} are there and were not imported")
    if package.answers.ended:
        return Check("requirements", None, f"{count} are there and were not all imported: {package.answers.ended}")
    return Check("requirements", True, f"{count} are there and import")


def libraries(package: Opened) -> Check:
    """Every native library is for the package's architecture, its Python and a C library that the runtime has."""
    found = [name for name in package.files if native.is_library(package.folder / name)]
    if problems := native.problems(package.folder, found, package.target):
        said = listed([f"{name} {problem}" for name, problem in problems.items()])
        return Check("libraries", False, said, _again(package))
    glibc = ".".join(map(str, package.target.glibc))
    return Check("libraries", True, f"{len(found)} are for {package.target} and glibc {glibc} or older")


def compiled(package: Opened) -> Check:
    """No compiled module is stale: a runtime would run it and never look at the source."""
    count = sum(name.endswith(".pyc") for name in package.files)
    if count == 0:
        return Check("compiled", True, "no module is compiled: a cold start takes longer than it could")
    if package.answers is None or package.answers.compiled is None:
        return _untried(package, "compiled", f"{count} compiled modules were not compared with their sources")
    if wrong := package.answers.compiled["wrong"]:
        return Check("compiled", False, listed([f"{name} {why}" for name, why in wrong]), _again(package))
    return Check("compiled", True, f"{count} of {package.answers.compiled['modules']} modules, each from its source")


def sizes(package: Opened) -> Check:
    """Lambda takes a package of this size."""
    zipped_bytes = package.path.stat().st_size
    detail = f"{megabytes(zipped_bytes)}, {megabytes(package.unzipped_bytes)} unzipped"
    if package.unzipped_bytes > MAX_UNZIPPED_BYTES:
        limit = megabytes(MAX_UNZIPPED_BYTES)
        return Check("sizes", False, f"{detail}, and Lambda takes {limit}", "inv package --explain says what is large")
    if zipped_bytes > MAX_UPLOAD_BYTES:
        return Check("sizes", True, f"{detail}: above {megabytes(MAX_UPLOAD_BYTES)} Lambda takes it only through S3")
    return Check("sizes", True, detail)


def no_secrets(package: Opened) -> Check:
    """No file has a secret's shape."""
    if places := shapes.found(package.folder, package.files):
        remedy = "keep it in an SSM parameter, and replace it: it has been written down"
        return Check("secrets", False, listed(places), remedy)
    return Check("secrets", True, f"none of {len(package.files)} files has a secret's shape")


def environment_variables(package: Opened) -> Check:
    """What env_vars.yaml declares is what the function reads."""
    try:
        declared = environment.read(package.function.folder / environment.FILE_NAME)
    except WorkspaceError as error:
        return Check("variables", False, str(error))
    try:
        found = variables.compare(package.function, declared, package.folder)
    except WorkspaceError as error:
        return Check("variables", None, f"not compared: {error}")
    if found.undeclared:
        places = [f"{name} ({place})" for name, place in found.undeclared.items()]
        return Check("variables", False, f"read and not declared: {listed(places)}", "declare them in env_vars.yaml")
    if found.unresolved:
        return Check(
            "variables",
            False,
            f"SSM parameters hold {listed(found.unresolved)}, and the function would read the text ssm://NAME",
            "call dea.lambdas.environment.resolve_ssm_variables() where its module begins",
        )
    said = "what is declared is read, and what is read is declared"
    if found.unread:
        said = f"declared and not read by the function itself: {listed(found.unread)}"
    if found.unclear:
        said = f"{said if found.unread else 'what is read by a name that is written out is declared'}; "
        said += f"not checked, because the name is not written out: {listed(found.unclear)}"
    return Check("variables", True, said)


CHECKS: tuple[Callable[[Opened], Check], ...] = (
    archive,
    manifest,
    handler,
    requirements,
    libraries,
    compiled,
    sizes,
    no_secrets,
    environment_variables,
)
"""All of them, in the order in which they are said."""


def _untried(package: Opened, check: str, what: str) -> Check:
    remedy = "" if package.answers is not None else how_to_install(package.target.python)
    return Check(check, None, f"{what}: {package.not_imported}", remedy)


def _again(package: Opened) -> str:
    return f"make it again with inv package --name {package.function.name}"
