"""Compiles modules for a target, by an interpreter of the target's version, so that the same source gives the same bytes.

The files are `.pyc` with an unchecked hash (PEP 552): Lambda reads no source and compares no date at a cold start.
"""

from __future__ import annotations

import functools
import marshal
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dea.workspace import interpreters
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging.distributions import File

_TIMEOUT_S = 300
# A bare process with a fixed hash seed: what is in memory already (site, other modules) has a say in the bytes, because
# marshal(3) shares only what is referred to more than once. -I would forget the seed; -P keeps the current folder out.
_OPTIONS = ("-s", "-S", "-P", "-B", "-W", "ignore", "-c")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}
# Both ways by marshal, in the version that every Python has: importing json would take as long as the interpreter's start.
_MARSHAL = 2
_PROGRAM = f"""\
import marshal, sys
from importlib.util import MAGIC_NUMBER, source_hash
answer = []
for name, path in marshal.load(sys.stdin.buffer):
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError) as error:
        answer.append((None, getattr(error, "lineno", None) or 0, getattr(error, "msg", None) or str(error)))
        continue
    answer.append((MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + marshal.dumps(code), 0, ""))
    del code
marshal.dump(answer, sys.stdout.buffer, {_MARSHAL})
"""


@dataclass(frozen=True)
class Compiler:
    """An interpreter that compiles for one version of Python.

    Attributes:
        path: The interpreter.
        version: Its exact version, `3.13.0`.
    """

    path: Path
    version: str


@dataclass(frozen=True)
class Compiled:
    """What became of one module.

    Attributes:
        content: The `.pyc`, or None if the source is no Python of this version.
        line: Where not, or 0.
        problem: Why not.
    """

    content: bytes | None
    line: int = 0
    problem: str = ""


@functools.cache
def compiler_for(python: str) -> Compiler | None:
    """Return an interpreter of a minor version on this machine, or None if it has none."""
    found = interpreters.find(python)
    return None if found is None else Compiler(*found)


def pyc_name(name: str, python: str) -> str:
    """Return where the compiled form of a module belongs.

    >>> pyc_name("paramiko/client.py", "3.13"), pyc_name("six.py", "3.13")
    ('paramiko/__pycache__/client.cpython-313.pyc', '__pycache__/six.cpython-313.pyc')
    """
    folder, slash, module = name.rpartition("/")
    return f"{folder}{slash}__pycache__/{module.removesuffix('.py')}.cpython-{python.replace('.', '')}.pyc"


def compile_modules(compiler: Compiler, files: Sequence[File]) -> list[Compiled]:
    """Compile modules in one bare process, in the order given; each knows itself by its name in the package.

    Raises:
        WorkspaceError: If the interpreter does not do it.
    """
    if not files:
        return []
    request = marshal.dumps([(file.name, str(file.path)) for file in files], _MARSHAL)
    try:
        done = subprocess.run(
            [compiler.path, *_OPTIONS, _PROGRAM],
            input=request,
            capture_output=True,
            env=_ENVIRONMENT,
            cwd=os.sep,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode("utf-8", "replace").strip().splitlines()
        raise WorkspaceError(f"{compiler.path} did not compile: {said[-1] if said else error}") from error
    return [Compiled(*values) for values in marshal.loads(done.stdout)]  # noqa: S302 - of a process of ours
