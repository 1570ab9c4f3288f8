"""The ways of packaging that are compared, each a few lines around the tool that does it.

All of them package the same function with the same versions of the same packages; what each is given differs only where the
tool does. Ours reads `requirements.txt` with the internal packages as path lines, and a lock with hashes. The others get the
lock's pins without hashes, and the internal packages as plain folders beside the handler: they would have to be built or,
with AWS SAM, would be left out.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uv

from dea.workspace import checkout, interpreters, tracked
from dea.workspace.packaging import cache as package_cache
from dea.workspace.packaging import lock, locking, requirements

FUNCTION = "example"
REQUIREMENTS = "./dea/remote\n./dea/raijin\n./dea/lambdas\nboto3\nparamiko\npyyaml\n"
SAM_VERSION = "1.170.0"
MANY = 5

_INTERNAL = ("remote/contract", "raijin", "lambdas")
_LINE = '"""Handle one event."""'
_CACHES = shutil.ignore_patterns("__pycache__")
_TEMPLATE = """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: source/
      Handler: example.handler
      Runtime: python{python}
      Architectures: [x86_64]
"""


@dataclass(frozen=True)
class Inputs:
    """What is packaged, made once for all ways and rounds.

    Attributes:
        python: The version of Python that the packages are for.
        interpreter: This machine's interpreter of it.
        lock: The text of the function's lock.
        pins: The same packages and versions as a requirements file without hashes.
    """

    python: str
    interpreter: Path
    lock: str
    pins: str


def need(*programs: str) -> None:
    """End the benchmark with one line if the system's programs are not there."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise SystemExit(f"missing: {', '.join(missing)} (Debian: apt-get install {' '.join(missing)})")


def inputs(folder: Path) -> Inputs:
    """Choose the target and lock the function's requirements for it, in a copy of the checkout."""
    python = next((version for version in ("3.13", "3.11") if version in interpreters.installed()), None)
    if python is None:
        raise SystemExit(
            "a Python 3.13 or 3.11 is needed: the predecessor and SAM package with an interpreter of the target"
        )
    root = _copy_of_checkout(folder / "lock", python, "", functions=1)
    function = checkout.function(FUNCTION, root)
    lock(function, root=root)
    locked = locking.read(function, requirements.read(function, root))
    pins = "".join(f"{name}=={version}\n" for name, version in sorted(locked.versions.items()))
    return Inputs(python, interpreters.installed()[python], locked.path.read_text("utf-8"), pins)


class Way:
    """One way of packaging, in a folder of its own with caches of its own."""

    title: str
    does_all_again = True
    """Whether it does the same work if nothing has changed, which then is not measured twice."""

    def __init__(self, folder: Path, given: Inputs) -> None:
        self.folder = folder
        self.given = given
        self.source = folder / "source"
        self._edits = self._put_away = 0
        self.prepare()

    def prepare(self) -> None:
        """Lay out what is packaged: the handler, the internal packages, the pins."""
        self.source.mkdir(parents=True)
        shutil.copy(checkout.ROOT / "functions" / FUNCTION / f"{FUNCTION}.py", self.source)
        for part in _INTERNAL:
            shutil.copytree(checkout.ROOT / "dea" / part, self.source / "dea" / part, ignore=_CACHES)
        (self.source / "requirements.txt").write_text(self.given.pins, "utf-8")

    @property
    def zip(self) -> Path:
        """Where the zip will be."""
        return self.folder / "package.zip"

    def build(self) -> None:
        """Make the zip, as a person would by calling the tool."""
        raise NotImplementedError

    def clear(self) -> None:
        """Put away what the last build left that the tool does not reuse; not timed."""

    def put_away(self, *paths: Path) -> None:
        """Move files and folders out of the way, to be removed after the last round.

        Removing them now would slow down whoever is measured next: ext4 takes no inode that was given up in the last minute
        (five minutes, if that is not on disk yet), and looks at each such one before it makes a file (Linux, fs/ext4/ialloc.c,
        `recently_deleted`).
        """
        for path in filter(Path.exists, paths):
            self._put_away += 1
            path.rename(self.folder / f"put-away-{self._put_away}")

    def handlers(self) -> Iterator[Path]:
        """Return the modules to change a line of."""
        yield self.source / f"{FUNCTION}.py"

    def change_line(self) -> None:
        """Change one line of the handler's module."""
        self._edits += 1
        original = (checkout.ROOT / "functions" / FUNCTION / f"{FUNCTION}.py").read_text("utf-8")
        for path in self.handlers():
            path.write_text(original.replace(_LINE, f'"""Handle one event, edited {self._edits} times."""'), "utf-8")

    def run(self, *command: str | Path, where: Path | None = None) -> None:
        """Run a tool with this way's caches; its output is shown if it fails."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=where or self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{self.title}: {command[0]} failed with status {done.returncode}:\n{done.stdout}")

    def _environment(self) -> dict[str, str]:
        # The home folder stays: an index may be configured there. What the tools keep goes elsewhere.
        cache = self.folder / "cache"
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return {
            **own,
            "PATH": os.pathsep.join([str(self.given.interpreter.parent), os.environ.get("PATH", os.defpath)]),
            "XDG_CACHE_HOME": str(cache),
            "UV_CACHE_DIR": str(cache / "uv"),
            "PIP_CACHE_DIR": str(cache / "pip"),
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(self.folder / "sam-settings"),
        }


class Predecessor(Way):
    """The predecessor's recipe: a virtual environment, pip, then all of it zipped at the highest level.

    Three things are kinder than it was: the internal packages are copied and not built, a virtual environment of today brings
    pip but no setuptools, and the removal of the environment at the end is not timed.
    """

    title = "the predecessor's recipe"

    def build(self) -> None:
        """Install into a new environment; zip the handler, then add what was installed."""
        environment = self.folder / "venv"
        self.run(self.given.interpreter, "-m", "venv", environment)
        self.run(environment / "bin" / "pip", "install", "-q", "-r", self.source / "requirements.txt")
        packages = environment / "lib" / f"python{self.given.python}" / "site-packages"
        shutil.copytree(self.source / "dea", packages / "dea")
        self.run(
            self.given.interpreter, "-m", "compileall", "-q", packages / "dea"
        )  # as pip does with what it installs
        self.run("zip", "-q", self.zip, f"{FUNCTION}.py", where=self.source)
        self.run("zip", "-q", "-r", "-g", "-9", self.zip, ".", where=packages)

    def clear(self) -> None:
        """Put the environment away, which the recipe removes at its end, and the zip."""
        self.put_away(self.folder / "venv", self.zip)


class UvTarget(Way):
    """uv installs into a folder, and the folder is zipped at the highest level."""

    title = "uv pip install --target, zip -9"

    def build(self) -> None:
        """Install into a folder beside the handler and zip it."""
        target = self.folder / "target"
        options = ("-q", "--python", self.given.interpreter, "--target", target)
        self.run(uv.find_uv_bin(), "pip", "install", *options, "-r", self.source / "requirements.txt")
        shutil.copy(self.source / f"{FUNCTION}.py", target)
        shutil.copytree(self.source / "dea", target / "dea")
        self.run("zip", "-q", "-r", "-9", self.zip, ".", where=target)

    def clear(self) -> None:
        """Put the folder and the zip away."""
        self.put_away(self.folder / "target", self.zip)


class Sam(Way):
    """AWS SAM CLI builds without a container, and its folder is zipped."""

    title = "sam build, zip"
    options: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Lay out the same, with a template."""
        super().prepare()
        (self.folder / "template.yaml").write_text(_TEMPLATE.format(python=self.given.python), "utf-8")

    def build(self) -> None:
        """Build, and zip what was built."""
        self.run(sam(), "build", *self.options)
        self.run("zip", "-q", "-r", self.zip, ".", where=self.folder / ".aws-sam" / "build" / "Function")

    def clear(self) -> None:
        """Put the zip away."""
        self.put_away(self.zip)


class SamCached(Sam):
    """The same, with SAM's own cache of what it built."""

    title = "sam build --cached, zip"
    options = ("--cached",)
    does_all_again = False


class Ours(Way):
    """`inv package`, in a copy of the checkout."""

    title = "inv package"
    name = FUNCTION
    functions = 1
    does_all_again = False

    def prepare(self) -> None:
        """Lay out a checkout."""
        _copy_of_checkout(self.source, self.given.python, self.given.lock, functions=self.functions)
        # Not part of packaging: the first start of a tool after its installation compiles it.
        self.run(sys.executable, "-m", "compileall", "-q", self.source / "dea", self.source / "tasks.py")
        _inv()

    def build(self) -> None:
        """Build the package, as a person would."""
        self.run(_inv(), "package", "--name", self.name, "--require-pyc", where=self.source)

    @property
    def zip(self) -> Path:
        """The default output."""
        return self.source / "dist" / f"{FUNCTION}.zip"

    def handlers(self) -> Iterator[Path]:
        """Return each function's module."""
        yield from (function.source for function in checkout.functions(self.source).values())


class OursMany(Ours):
    """The same for several functions at once, each with the same requirements, each changed."""

    title = f"inv package --name all, {MANY} functions"
    name = "all"
    functions = MANY


@functools.cache
def _inv() -> Path:
    """Return Invoke's program in this environment, which is compiled as pip would have done: uv leaves that to the first start."""
    folder = sysconfig.get_path("purelib")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-j", "0", folder], env=environment, check=False)
    return Path(sys.executable).with_name("inv")


@functools.cache
def sam() -> Path:
    """Return AWS SAM CLI's program, installed from its package into an environment of its own beside the packages' cache."""
    folder = package_cache.folder().parent / "benchmarks" / f"aws-sam-cli-{SAM_VERSION}"
    program = folder / "bin" / "sam"
    if not program.exists():
        print(f"installing aws-sam-cli {SAM_VERSION} into {folder}", file=sys.stderr)
        command = [uv.find_uv_bin(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
        subprocess.run(command, check=True)
        # Compiled as pip would, so that its first start is like the others.
        install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(folder), "--compile-bytecode"]
        subprocess.run([*install, f"aws-sam-cli=={SAM_VERSION}"], check=True)
    return program


def _copy_of_checkout(root: Path, python: str, lock_text: str, *, functions: int) -> Path:
    """Copy the checkout's files, a git work tree as it is one, with the example in it as often as asked for."""
    for name in tracked.files(checkout.ROOT):
        if not name.startswith(("functions/", "tests/", "docs/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout.ROOT / name, root / name)
    for number in range(1, functions + 1):
        name = FUNCTION if number == 1 else f"{FUNCTION}_{number}"
        folder = root / "functions" / name
        folder.mkdir(parents=True)
        shutil.copy(checkout.ROOT / "functions" / FUNCTION / f"{FUNCTION}.py", folder / f"{name}.py")
        (folder / "requirements.txt").write_text(REQUIREMENTS, "utf-8")
        (folder / "function.yaml").write_text(
            f'python: "{python}"\narchitecture: x86_64\ncommands: [example]\n', "utf-8"
        )
        if lock_text:
            (folder / "requirements.lock").write_text(lock_text, "utf-8")
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)
    return root
