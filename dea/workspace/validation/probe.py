"""What an unpacked package looks like to an interpreter of its own version.

`dea.workspace.validation.package` hands this text to that interpreter, which has no other path than the package's folder. It
reads `{"folder", "module", "attribute", "import", "modules"}` from standard input and writes a line of JSON for each thing it
found out, because the next one may end the process. Standard library only.
"""

import importlib
import importlib.util
import inspect
import json
import os
import sys
from typing import Any

_UNCHECKED_HASH = 0b01  # PEP 552: by the source's hash, and never compared with it


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    # What the package itself prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(what: str, value: Any) -> None:
        answers.write(json.dumps([what, value]) + "\n")
        answers.flush()

    folder = request["folder"]
    tell("compiled", _compiled(folder))
    tell("syntax", _syntax(folder, request["module"]))
    if request["import"]:
        sys.path.insert(0, folder)
        tell("handler", _handler(request["module"], request["attribute"]))
        for module in request["modules"]:
            tell("module", [module, _import(module)])
    tell("end", None)


def _compiled(folder: str) -> dict[str, Any]:
    """Return how many modules are compiled, and each file that would not serve, with the reason."""
    modules, compiled, wrong = 0, 0, []
    for place, _, files in os.walk(folder):
        for file in sorted(files):
            path = os.path.join(place, file)  # noqa: PTH118 - each import here is one more that the package did not bring
            modules += file.endswith(".py")
            if file.endswith(".pyc"):
                compiled += 1
                problem = _stale(path)
                if problem:
                    wrong.append([os.path.relpath(path, folder), problem])
    return {"modules": modules, "compiled": compiled, "wrong": sorted(wrong)}


def _stale(path: str) -> str:
    try:
        source = importlib.util.source_from_cache(path)
        with open(source, "rb") as file:  # noqa: PTH123
            expected = importlib.util.source_hash(file.read())
    except (ValueError, OSError):
        return "has no source beside it"
    if importlib.util.cache_from_source(source) != path:
        return "is for another Python"
    with open(path, "rb") as file:  # noqa: PTH123
        header = file.read(16)
    if header[:4] != importlib.util.MAGIC_NUMBER:
        return "is for another Python"
    if int.from_bytes(header[4:8], "little") != _UNCHECKED_HASH:
        return "is compared with its source at each start, by date or hash"
    return "" if header[8:] == expected else "was compiled from another source"


def _syntax(folder: str, module: str) -> str:
    for ending in (".py", "/__init__.py"):
        name = module.replace(".", "/") + ending
        path = os.path.join(folder, name)  # noqa: PTH118
        if os.path.isfile(path):  # noqa: PTH113
            try:
                with open(path, "rb") as file:  # noqa: PTH123
                    compile(file.read(), name, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                return f"line {getattr(error, 'lineno', 0)} of {name} is no Python {sys.version_info[0]}.{sys.version_info[1]}: {error.args[0]}"
            return ""
    return f"there is no module {module.replace('.', '/')}.py"


def _handler(module: str, attribute: str) -> str:
    """Return why Lambda could not call the handler, or nothing."""
    problem = _import(module)
    if problem:
        return problem
    handler: Any = sys.modules[module]
    try:
        handler = getattr(handler, attribute)
    except AttributeError:
        return f"{module} has no {attribute}"
    if not callable(handler):
        return f"{module}.{attribute} is a {type(handler).__name__} and cannot be called"
    if inspect.iscoroutinefunction(handler):
        return f"{module}.{attribute} is async, and Lambda's runtime does not await"
    try:
        inspect.signature(handler).bind({}, None)
    except TypeError as error:
        return f"{module}.{attribute} cannot be called with (event, context): {error}"
    except ValueError:
        pass  # something written in C, which does not say
    return ""


def _import(module: str) -> str:
    try:
        importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - whatever it is, Lambda would fail with it
        return f"importing {module} failed: {type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    main()
