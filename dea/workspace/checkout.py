"""Where things are in a checkout: functions, commands, and what each says of itself."""

from __future__ import annotations

import ast
import keyword
import sys
from dataclasses import dataclass
from pathlib import Path

from dea.remote.contract import is_name
from dea.workspace import strict_yaml
from dea.workspace.errors import WorkspaceError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that this file belongs to."""


@dataclass(frozen=True)
class Function:
    """A Lambda function's folder, `functions/NAME`."""

    name: str
    folder: Path

    @property
    def source(self) -> Path:
        """The module with the handler, `functions/NAME/NAME.py`."""
        return self.folder / f"{self.name}.py"

    @property
    def summary(self) -> str:
        """The first line of the module's docstring, or an empty text."""
        try:
            docstring = ast.get_docstring(ast.parse(self.source.read_bytes()))
        except SyntaxError as error:
            return f"(syntax error in line {error.lineno})"
        except ValueError:
            return "(cannot be read as Python)"
        return docstring.splitlines()[0] if docstring else ""


@dataclass(frozen=True)
class Command:
    """A command's folder, `raijin_scripts/NAME`."""

    name: str
    folder: Path

    @property
    def summary(self) -> str:
        """The summary in `command.yaml`, or an empty text."""
        try:
            described = strict_yaml.load(self.folder / "command.yaml")
        except FileNotFoundError:
            return ""
        except ValueError:
            return "(command.yaml is not valid YAML)"
        return str(described.get("summary", "")) if isinstance(described, dict) else ""


def functions(root: Path = ROOT) -> dict[str, Function]:
    """Return the functions by name, sorted: each folder of `functions` that holds a module of its own name."""
    folders = sorted((root / "functions").iterdir()) if (root / "functions").is_dir() else []
    return {
        folder.name: Function(folder.name, folder) for folder in folders if (folder / f"{folder.name}.py").is_file()
    }


def commands(root: Path = ROOT) -> dict[str, Command]:
    """Return the commands by name, sorted: each folder of `raijin_scripts` that holds a file `run`."""
    folders = sorted((root / "raijin_scripts").iterdir()) if (root / "raijin_scripts").is_dir() else []
    return {folder.name: Command(folder.name, folder) for folder in folders if (folder / "run").is_file()}


def function(name: str, root: Path = ROOT) -> Function:
    """Return one function.

    Raises:
        WorkspaceError: If there is none of that name; it names those that there are.
    """
    found = functions(root)
    if name not in found:
        raise WorkspaceError(
            f"there is no function {name!r}: choose one of {', '.join(found) or '(none yet)'}, or make it with inv new"
        )
    return found[name]


def command(name: str, root: Path = ROOT) -> Command:
    """Return one command.

    Raises:
        WorkspaceError: If there is none of that name; it names those that there are.
    """
    found = commands(root)
    if name not in found:
        choices = ", ".join(found) or "(none yet)"
        raise WorkspaceError(
            f"there is no command {name!r}: choose one of {choices}, or make it with inv new --kind command"
        )
    return found[name]


def selected(name: str, root: Path = ROOT) -> list[Function]:
    """Return the function of that name, or all of them for `all`.

    Raises:
        WorkspaceError: If there is none of that name.
    """
    return list(functions(root).values()) if name == "all" else [function(name, root)]


def check_new_name(name: str) -> None:
    """Check a name for a new function or command.

    Raises:
        WorkspaceError: If it is not `[a-z][a-z0-9_]{0,63}`, is a word of Python, or stands for something else already: in the
            tasks, or as a module that a function of that name would hide.
    """
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - slow to import, and new names are rare

    if not is_name(name) or keyword.iskeyword(name) or name == "all":
        raise WorkspaceError(
            f"{name!r} cannot be a name here: use [a-z][a-z0-9_]{{0,63}}, no word of Python and not 'all'"
        )
    if name in sys.stdlib_module_names or name in packages_distributions():
        raise WorkspaceError(
            f"{name!r} cannot be a name here: a module of that name would hide Python's own or a package's"
        )
