"""The Nox sessions: what is checked, each in an environment of its own. uv makes and fills them, always."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from dea.workspace import interpreters  # noqa: E402 - the checkout is importable only now; standard library alone

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests", "remote", "lint", "types", "docs"]

LOCK = "requirements-dev.lock"
RUNTIME_CLIENT_LOCK = "dea/workspace/runtime/client.lock"
PARTS = ("remote", "raijin", "lambdas", "workspace")
FUNCTIONS = sorted(folder.name for folder in (ROOT / "functions").iterdir() if (folder / f"{folder.name}.py").is_file())
# What ruff looks at.
PYTHON = ("dea", "functions", "tests", "benchmarks", "docs", "tasks.py", "noxfile.py")
VERSION_HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON_HERE = interpreters.here()
# The Pythons that a login node may have, the oldest first. `tests` has dea.remote's tests too, on this one.
OF_LOGIN_NODES = {version: str(path) for version, path in interpreters.at_least("3.9").items()}
OTHERS = {version: path for version, path in OF_LOGIN_NODES.items() if version != VERSION_HERE} or OF_LOGIN_NODES
# Never download an interpreter: those of the machine are named by path.
UV_ENVIRONMENT = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def _install_workspace(session: nox.Session) -> None:
    """Install the locked third-party packages, then the four distributions as editable, asking no index for them."""
    session.install("--require-hashes", "--requirements", LOCK, env=UV_ENVIRONMENT)
    editable = (argument for part in PARTS for argument in ("--editable", f"./dea/{part}"))
    session.install("--no-deps", "--no-build-isolation", *editable, env=UV_ENVIRONMENT)


@nox.session
@nox.parametrize("part", [nox.param("workspace", id="workspace"), *(nox.param(name, id=name) for name in FUNCTIONS)])
def tests(session: nox.Session, part: str) -> None:
    """Run the workspace's own tests, or one function's with nothing installed but what it requires, and pytest."""
    if part == "workspace":
        _install_workspace(session)
        # Most of their time the tests wait for other processes. A worker keeps a contiguous half, and with it what a module's
        # tests share, until the other has nothing left to do.
        session.run("pytest", "--numprocesses", "2", "--dist", "worksteal", *session.posargs)
        return
    folder = f"functions/{part}"
    extra = [f"{folder}/requirements-test.txt"] if (ROOT / folder / "requirements-test.txt").is_file() else []
    files = (argument for path in (f"{folder}/requirements.txt", *extra) for argument in ("--requirements", path))
    session.install(*files, "pytest", env=UV_ENVIRONMENT)
    # Only the function's own folder is importable: a package that the checkout has and requirements.txt forgot is missing.
    settings = ("-c", "/dev/null", "--rootdir", folder, "-o", f"pythonpath={ROOT / folder}", "-p", "no:cacheprovider")
    session.run("pytest", *settings, "--import-mode=importlib", folder, *session.posargs)


@nox.session
@nox.parametrize("python", [nox.param(path, id=version) for version, path in OTHERS.items()])
def remote(session: nox.Session) -> None:
    """Run dea.remote's tests with nothing installed but pytest, on each other CPython from 3.9 on that this machine has.

    All but the oldest are spared what is slow and has to do with processes and files, not with Python.
    """
    session.install("pytest", env=UV_ENVIRONMENT)
    chosen = () if session.python == next(iter(OTHERS.values())) else ("-m", "not slow")
    tests = ("tests/remote", "tests/contract", "--ignore-glob=*_properties.py")
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *tests, *chosen, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and imports, shell scripts, YAML files, and that approvals and locks are up to date."""
    _install_workspace(session)
    session.run("ruff", "check", *PYTHON)
    session.run("ruff", "format", "--check", *PYTHON)
    session.run("lint-imports", "--no-cache")
    scripts = [str(path) for path in sorted((ROOT / "raijin_scripts").rglob("*")) if path.is_file()]
    shell = [path for path in scripts if Path(path).read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash"))]
    session.run("shellcheck", *shell, ".ci/run", external=True)
    session.run("inv", "approve", "--check")
    session.run("inv", "lock", "--name", "all", "--check")
    session.run("yamllint", "--strict", "functions", "raijin_scripts", ".yamllint.yaml")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly; each function by itself, because each has a module of its own name."""
    _install_workspace(session)
    session.run("mypy", *(argument for part in PARTS for argument in ("--package", f"dea.{part}")))
    session.run("mypy", "--package", "benchmarks")
    session.run("mypy", "tasks.py", "noxfile.py")
    for name in FUNCTIONS:
        session.run("mypy", f"functions/{name}/{name}.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw generated requests at the dispatcher: nothing but the standard library is needed."""
    session.run("python", "tests/fuzz", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Put many runs through broken connections and count what came of it; `-- --seed N --runs M` repeats it."""
    _install_workspace(session)
    session.run("python", "-m", "dea.workspace.faults", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    _install_workspace(session)
    session.run(
        "sphinx-build", "--nitpicky", "--fail-on-warning", "--keep-going", "-b", "html", "docs", "docs/_build/html"
    )


@nox.session
def demo(session: nox.Session) -> None:
    """Send one event all the way through the sandbox and show each leg of it."""
    _install_workspace(session)
    session.run("python", "-m", "dea.workspace.demo", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure what the documentation claims in numbers: all, or the benchmarks named; `-- --help` says more."""
    _install_workspace(session)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv with everything: inv, the tools, and the four distributions as editable."""
    environment = {**UV_ENVIRONMENT, "VIRTUAL_ENV": str(ROOT / ".venv")}
    uv: str = nox.virtualenv.UV
    session.run(
        uv, "venv", "--quiet", "--allow-existing", "--python", str(PYTHON_HERE), ".venv", external=True, env=environment
    )
    # Compiled now: or each `inv` would do it anew where PYTHONDONTWRITEBYTECODE is set.
    install = (uv, "pip", "install", "--compile-bytecode")
    session.run(*install, "--require-hashes", "--requirements", LOCK, external=True, env=environment)
    editable = [argument for part in PARTS for argument in ("--editable", f"./dea/{part}")]
    session.run(*install, "--no-deps", "--no-build-isolation", *editable, external=True, env=environment)
    session.log("activate it: . .venv/bin/activate")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin the development tools and AWS's runtime client anew: third-party packages only, with hashes, no index address."""
    uv: str = nox.virtualenv.UV
    internal = (argument for part in PARTS for argument in ("--no-emit-package", f"dea-{part}"))
    options = (
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
    )
    for path, sources in (
        (LOCK, (*internal, "--group", "dev", "dea/workspace/pyproject.toml")),
        (RUNTIME_CLIENT_LOCK, ("--group", "runtime-client")),
    ):
        session.run(uv, "pip", "compile", "--quiet", *options, *sources, "-o", path, *session.posargs, external=True)
