"""Drafts a command of ours from one of the old kind, a script with a `case` loop: `inv new --kind command --from FILE`.

It reads the script as text and guesses; it never runs it. What it cannot know it marks with CHECK, for a person to decide
before `inv approve`.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from dea.workspace.errors import WorkspaceError

_MAX_SCRIPT_BYTES = 1024 * 1024
# `-n|--name)`, `--name=*)`, `"--name")` at the beginning of a line, with what is on the line after it.
_BRANCH = re.compile(r"^[ \t]*\(?(?P<patterns>[\"']?-[^()\n]*?)\)(?P<rest>.*)$", re.MULTILINE)
_LONG = re.compile(r"--(?P<name>[A-Za-z][A-Za-z0-9_-]*)(?P<equals>=\*)?[\"']?$")
_ARGPARSE = re.compile(r"add_argument\(\s*(?P<names>(?:[\"'][^\"']+[\"']\s*,?\s*)+)(?P<rest>[^\n]*)")
# What says that an option takes the next word.
_TAKES_VALUE = re.compile(r"\$\{?2\b|\bshift\s+2\b|\$\{1#|OPTARG")
_POSITIONAL = re.compile(r"\$\{?[1-9@*]")
_TABLE = {
    "integer": re.compile(
        r"hours?$|days?$|minutes?$|seconds?$|count$|number|^n$|^num|limit$|age|size$|max|min|year|month|day"
    ),
    "path": re.compile(r"path$|dir$|directory$|folder$|file$|root$"),
    "secret": re.compile(r"password|token|secret|passphrase|(?:api|private|access)[-_]?key"),
}


@dataclass(frozen=True)
class Option:
    """An option that a script seems to take.

    Attributes:
        name: Its name without `--`.
        takes_value: Whether it takes a value, else it is a flag.
    """

    name: str
    takes_value: bool


def options_of(script: str) -> list[Option]:
    """Return the long options that a script's `case` loop, or its argparse calls, seem to know, in order.

    >>> options_of('''case "$1" in
    ...     -n|--days) days=$2; shift 2 ;;
    ...     --dry-run) dry=yes; shift ;;
    ... esac''')
    [Option(name='days', takes_value=True), Option(name='dry-run', takes_value=False)]
    """
    found: dict[str, bool] = {}
    matches = list(_BRANCH.finditer(script))
    ends = [match.start() for match in matches[1:]] + [len(script)]
    for match, end in zip(matches, ends, strict=False):
        body = script[match.start("rest") : end].partition(";;")[0]
        for pattern in match["patterns"].split("|"):
            option = _LONG.search(pattern.strip())
            if option:
                takes_value = bool(option["equals"]) or bool(_TAKES_VALUE.search(body))
                found[option["name"]] = found.get(option["name"], False) or takes_value
    for match in _ARGPARSE.finditer(script):
        for name in re.findall(r"[\"']--([A-Za-z][A-Za-z0-9_-]*)[\"']", match["names"]):
            found.setdefault(name, "store_true" not in match["rest"] and "store_false" not in match["rest"])
    return [Option(name, takes_value) for name, takes_value in found.items() if name not in ("help", "version")]


def draft(script: str, source: str) -> str:
    """Return a draft of `command.yaml` for a script.

    Args:
        script: The script's text.
        source: What it is called, for the comment.
    """
    lines = [
        f"# Drafted from {source}: every CHECK is a guess, to be decided and taken away before inv approve.",
        f"summary: {_quoted(_summary(script))}  # CHECK: one line that says what it does",
    ]
    options = options_of(script)
    positional = not options and bool(_POSITIONAL.search(script))
    lines.append("arguments:" if options or positional else "arguments: {}  # CHECK: none were found")
    for option in options:
        lines += _rule(option)
    if positional:
        lines += [
            "  value:  # CHECK: it reads $1 or $@; name what they are, one rule each",
            "    positional: true",
            "    repeat: true",
        ]
    lines.append("timeout: 300  # CHECK: seconds; without it only the site's limit holds")
    return "\n".join(lines) + "\n"


def read_old(path: Path) -> tuple[str, Path]:
    """Return the text of an old command's script and where it is.

    Args:
        path: The script, or a folder that has it as `run`.

    Raises:
        WorkspaceError: If there is none, or it is no script.
    """
    script = path / "run" if path.is_dir() else path
    if not script.is_file():
        raise WorkspaceError(f"--from {path}: name a script, or a folder with a file run")
    if script.stat().st_size > _MAX_SCRIPT_BYTES:
        raise WorkspaceError(f"--from {path}: {script} is too large to be a script")
    try:
        # Line ends of another system's would make the interpreter's name end in a carriage return.
        return script.read_text("utf-8").replace("\r\n", "\n"), script
    except UnicodeDecodeError as error:
        raise WorkspaceError(f"--from {path}: {script} is no text: only scripts can be drafted from") from error


def make_from(path: Path, folder: Path) -> list[Path]:
    """Make a command's folder from an old command: its files, `run`, and a draft of `command.yaml`.

    Args:
        path: The old script, or the folder that has it as `run`.
        folder: The new command's folder; it must not be there yet.

    Returns:
        What was made, the two files that need a look first.

    Raises:
        WorkspaceError: If the old command cannot be read.
    """
    text, script = read_old(path)
    if path.is_dir():
        shutil.copytree(
            path, folder, symlinks=True, ignore=shutil.ignore_patterns("approved.json*", "__pycache__", ".git")
        )
    else:
        folder.mkdir(parents=True)
    run, description = folder / "run", folder / "command.yaml"
    run.write_text(text if text.startswith("#!") else f"#!/bin/bash\n{text}", "utf-8")
    run.chmod(0o755)
    description.write_text(draft(text, script.name), "utf-8")
    return [description, run]


def _rule(option: Option) -> list[str]:
    name = option.name.lower()
    # What the script reads is what its option is called, so the name is not changed but for what no name can have.
    safe = re.sub(r"[-_]+", lambda match: match[0][0], re.sub(r"[^a-z0-9_-]", "", name)).strip("-_")
    renamed = [f"    # CHECK: the script calls it --{option.name}"] if safe != option.name else []
    if not option.takes_value:
        return [f"  {safe}:", *renamed, "    type: boolean"]
    if _TABLE["secret"].search(name):
        variable = safe.upper().replace("-", "_")
        return [
            f"  {safe}:  # CHECK: let the script read ${variable}, not an option",
            *renamed,
            "    secret: true",
            f"    environment: {variable}",
        ]
    if _TABLE["path"].search(name):
        return [f"  {safe}:", *renamed, "    type: path  # CHECK", "    under: /g/data  # CHECK: which folders?"]
    if _TABLE["integer"].search(name):
        return [f"  {safe}:", *renamed, "    type: integer  # CHECK", "    minimum: 0  # CHECK: and a maximum?"]
    return [f"  {safe}:", *renamed, "    type: string  # CHECK: better an enum or a pattern"]


def _summary(script: str) -> str:
    for line in script.splitlines()[1:30]:
        text = line.lstrip("#\"' ").rstrip("\"' ")
        if line.startswith(("#", '"""')) and any(char.isalpha() for char in text) and not text.startswith("!"):
            return text[:150]
    return "What does it do?"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
