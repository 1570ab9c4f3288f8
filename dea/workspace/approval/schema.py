"""Reads `command.yaml` and `site.yaml`: checks what a person wrote, and compiles it into what the dispatcher reads.

Everything that is wrong is found at once. The keys are described in docs/reference/command-yaml.md.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

from dea.remote.contract.schema import ANY, TYPES, normal_path, problem_with
from dea.remote.contract.words import controls_in
from dea.workspace import strict_yaml
from dea.workspace.approval.patterns import PatternError, compile_pattern
from dea.workspace.errors import WorkspaceError

COMMAND_KEYS = ("summary", "arguments", "timeout", "max_parallel", "max_output_bytes", "environment", "stdin")
SITE_KEYS = (
    "path", "environment", "timeout", "max_output_bytes", "stored_days", "stored_bytes", "request_burst",
    "requests_per_second",
)  # fmt: skip
RULE_KEYS = (
    "type", "description", "positional", "required", "default", "repeat", "enum", "pattern", "minimum", "maximum",
    "maxLength", "under", "secret", "environment",
)  # fmt: skip

MAX_TIMEOUT_S = 7 * 24 * 3600
MAX_PARALLEL = 1000
MAX_OUTPUT_BYTES = 1 << 50

_SITE_NUMBERS = {
    "max_output_bytes": MAX_OUTPUT_BYTES,
    "stored_days": 3650,
    "stored_bytes": MAX_OUTPUT_BYTES,
    "request_burst": 1_000_000,
    "requests_per_second": 100_000,
}
_NUMERIC = ("integer", "number")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}", re.ASCII)
# What the dispatcher itself says, and may not be said otherwise.
_FIXED = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "PATH"})
# What makes a program load or run something: a client's secret must not get there.
_STEERING = re.compile(
    r"LD_.*|.*PATH|.*_PROXY|PYTHON.*|PERL.*|RUBY.*|NODE_.*|JAVA_.*|BASH.*|GIT_.*|SSH_.*|DEA_.*|LC_.*|MALLOC_.*|LESS.*|LANG|ENV|IFS"
    r"|PS[0-9]|SHELLOPTS|PROMPT_COMMAND|TMPDIR|EDITOR|VISUAL|PAGER"
)


class Problems(WorkspaceError):
    """A description that cannot be approved.

    Attributes:
        path: The file.
        problems: All that is wrong, one sentence each.
    """

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path} cannot be approved:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.path = path
        self.problems = problems


def compile_command(path: Path, site: dict[str, Any]) -> dict[str, Any]:
    """Return what `approved.json` says of a command, but for its files.

    Args:
        path: Its `command.yaml`.
        site: The compiled `site.yaml`.

    Raises:
        Problems: Naming everything that is wrong.
    """
    problems: list[str] = []
    described = _load(path)
    _check_keys("", described, COMMAND_KEYS, problems)
    summary = described.get("summary")
    if not isinstance(summary, str) or not summary.strip() or controls_in(summary.strip()):
        problems.append("summary is missing: one line that says what the command does")
        summary = ""
    compiled: dict[str, Any] = {"summary": summary.strip(), "arguments": _arguments(described, problems)}
    if "timeout" in described:
        timeout_s = described["timeout"]
        compiled["timeout"] = _whole_number("timeout (seconds)", timeout_s, MAX_TIMEOUT_S, problems)
        if compiled["timeout"] and site.get("timeout") and compiled["timeout"] > site["timeout"]:
            problems.append(f"timeout: {timeout_s} s is more than this site allows, {site['timeout']} s (site.yaml)")
    if "max_parallel" in described:
        compiled["max_parallel"] = _whole_number("max_parallel", described["max_parallel"], MAX_PARALLEL, problems)
    if "max_output_bytes" in described:
        compiled["max_output_bytes"] = _whole_number(
            "max_output_bytes", described["max_output_bytes"], MAX_OUTPUT_BYTES, problems
        )
    stdin = described.get("stdin", False)
    if not isinstance(stdin, bool):
        problems.append("stdin is true or false")
    compiled["stdin"] = stdin is True
    compiled["environment"] = _environment(described.get("environment", {}), problems)
    _check_secret_variables(compiled, site, problems)
    if problems:
        raise Problems(path, problems)
    compiled["schema"] = digest_of(compiled["arguments"])
    return compiled


def compile_site(path: Path) -> dict[str, Any]:
    """Return what `site.approved.json` says of the site, but for its files.

    Raises:
        Problems: Naming everything that is wrong.
    """
    problems: list[str] = []
    described = _load(path)
    _check_keys("", described, SITE_KEYS, problems)
    compiled: dict[str, Any] = {}
    if "path" in described:
        folders = described["path"].split(":") if isinstance(described["path"], str) else described["path"]
        if (
            isinstance(folders, list)
            and folders
            and all(_is_folder(folder) and ":" not in folder for folder in folders)
        ):
            compiled["path"] = ":".join(folders)
        else:
            problems.append(
                "path is the absolute folders in which commands find programs, as a list or joined by colons"
            )
    if "timeout" in described:
        compiled["timeout"] = _whole_number("timeout (seconds)", described["timeout"], MAX_TIMEOUT_S, problems)
    for key, largest in _SITE_NUMBERS.items():
        if key in described:
            compiled[key] = _whole_number(key, described[key], largest, problems)
    compiled["environment"] = _environment(described.get("environment", {}), problems)
    if problems:
        raise Problems(path, problems)
    return compiled


def digest_of(arguments: Any) -> str:
    """Return the SHA-256 of a compiled schema, by which two ends compare theirs."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _load(path: Path) -> dict[str, Any]:
    try:
        described = strict_yaml.load(path)
    except FileNotFoundError:
        raise Problems(path, ["it is missing: it says what the command is for and which arguments it takes"]) from None
    except ValueError as error:
        raise Problems(path, [f"it is no valid YAML: {error}"]) from error
    if not isinstance(described, dict):
        raise Problems(path, ["it is no mapping: write `summary: ...` and `arguments: ...`"])
    return described


def _check_keys(where: str, described: dict[str, Any], known: tuple[str, ...], problems: list[str]) -> None:
    problems += [
        f"{where}unknown key {key!r}: the keys are {', '.join(known)}" for key in described if key not in known
    ]


def _whole_number(what: str, value: Any, most: int, problems: list[str]) -> int | None:
    if type(value) is int and 1 <= value <= most:
        return value
    problems.append(f"{what} is a whole number from 1 to {most}, not {value!r}")
    return None


def _environment(described: Any, problems: list[str]) -> dict[str, str]:
    if not isinstance(described, dict):
        problems.append("environment is a mapping of variables to texts")
        return {}
    for name, value in described.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            problems.append(f"environment: {name!r} is no name of a variable: [A-Z_][A-Z0-9_]*")
        elif name in _FIXED or name.startswith("DEA_"):
            problems.append(
                f"environment: {name} is set by the dispatcher" + (" (use path in site.yaml)" if name == "PATH" else "")
            )
        elif not isinstance(value, str):
            problems.append(f"environment: the value of {name} is no text: quote it")
        elif controls_in(value):
            problems.append(f"environment: the value of {name} holds a control character")
    return {str(name): str(value) for name, value in described.items()}


def _check_secret_variables(compiled: dict[str, Any], site: dict[str, Any], problems: list[str]) -> None:
    if compiled["arguments"] == ANY:
        return
    variables = [rule["environment"] for rule in compiled["arguments"] if "environment" in rule]
    for name in sorted(set(variables)):
        if name in compiled["environment"] or name in site.get("environment", {}) or variables.count(name) > 1:
            problems.append(f"the variable {name} is set twice: a secret needs one of its own")


def _arguments(described: dict[str, Any], problems: list[str]) -> Any:
    arguments = described.get("arguments", {})
    if arguments == ANY:
        return ANY
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        problems.append(
            "arguments is a mapping of names to rules, or `any` for a command that takes everything unchecked"
        )
        return []
    rules = [_rule(str(name), rule, problems) for name, rule in arguments.items()]
    _check_together(rules, problems)
    return rules


def _check_together(rules: list[dict[str, Any]], problems: list[str]) -> None:
    names: dict[str, str] = {}
    for rule in rules:
        twin = names.setdefault(rule["name"].replace("-", "_"), rule["name"])
        if twin != rule["name"]:
            problems.append(f"{twin} and {rule['name']} differ in - and _ only: a person would mix them up")
    positionals = [rule for rule in rules if rule.get("positional")]
    for before, after in itertools.pairwise(positionals):
        if before.get("repeat"):
            problems.append(f"{before['name']}: only the last positional argument can be repeated")
        if after.get("required") and not before.get("required"):
            problems.append(f"{after['name']} is required, so {before['name']} before it must be too")


def _rule(name: str, described: Any, problems: list[str]) -> dict[str, Any]:
    """Check one argument's rule, and return it compiled: values as the texts that they are compared with."""
    where = f"{name}: "
    found: list[str] = []
    rule: dict[str, Any] = {"name": name, "type": "string"}
    if not _NAME.fullmatch(name) or len(name) > 64:
        found.append("a name is [a-z][a-z0-9]*, in parts joined by - or _")
    if described is None:
        described = {}
    if not isinstance(described, dict):
        problems.append(f"{where}its rule is no mapping: write `{name}: {{type: integer}}`, say")
        return rule
    _check_keys("", described, RULE_KEYS, found)
    kind = described.get("type", "string")
    if kind not in TYPES:
        found.append(f"type is one of {', '.join(TYPES)}, not {kind!r}")
        problems += [where + problem for problem in found]
        return rule
    rule["type"] = kind
    for key in ("positional", "required", "repeat", "secret"):
        if key in described and not isinstance(described[key], bool):
            found.append(f"{key} is true or false, not {described[key]!r}")
        elif described.get(key):
            rule[key] = True
    if "description" in described:
        rule["description"] = described["description"]
        if not isinstance(described["description"], str) or controls_in(described["description"]):
            found.append("description is one line of text")
    _check_fitting(kind, described, found)
    _add_limits(rule, kind, described, found)
    _add_secret(rule, described, found)
    if "default" in described and not found:
        _add_default(rule, described["default"], found)
    problems += [where + problem for problem in found]
    return rule


def _check_fitting(kind: str, described: dict[str, Any], found: list[str]) -> None:
    """Find keys that do not belong to the type, or contradict each other."""
    belongs = {
        "enum": ("string", "integer", "number"), "pattern": ("string", "path"), "minimum": _NUMERIC, "maximum": _NUMERIC,
        "maxLength": ("string", "path"), "under": ("path",), "secret": ("string",),
    }  # fmt: skip
    for key, kinds in belongs.items():
        if key in described and kind not in kinds:
            found.append(f"{key} does not belong to type {kind}: it is for {', '.join(kinds)}")
    if kind == "boolean":
        found += [
            f"{key} does not belong to a flag" for key in ("positional", "repeat", "required") if described.get(key)
        ]
    if "enum" in described:
        found += [
            f"enum names every value, so {key} contradicts it or says nothing"
            for key in ("pattern", "minimum", "maximum", "maxLength")
            if key in described
        ]
    if described.get("required") and "default" in described:
        found.append("required and default contradict each other: what has a default can be left out")


def _add_limits(rule: dict[str, Any], kind: str, described: dict[str, Any], found: list[str]) -> None:
    if "enum" in described:
        choices = described["enum"]
        texts = [_text_of(kind, choice, found) for choice in choices] if isinstance(choices, list) else []
        if not texts or len(set(texts)) != len(texts):
            found.append("enum is a list of different values")
        rule["enum"] = texts
    for key in ("minimum", "maximum"):
        if key not in described:
            continue
        limit = described[key]
        if isinstance(limit, bool) or not isinstance(limit, (int, float) if kind == "number" else int):
            found.append(f"{key} is {'a number' if kind == 'number' else 'an integer'}, not {limit!r}")
        elif not math.isfinite(limit):
            found.append(f"{key} is a finite number")
        else:
            rule[key] = limit
    if "minimum" in rule and "maximum" in rule and rule["minimum"] > rule["maximum"]:
        found.append(f"minimum {rule['minimum']} is more than maximum {rule['maximum']}: no value fits")
    if "maxLength" in described:
        rule["maxLength"] = _whole_number("maxLength", described["maxLength"], 32 * 1024, found)
    if "pattern" in described:
        rule["pattern"] = described["pattern"]
        try:
            rule["automaton"] = compile_pattern(described["pattern"])
        except (PatternError, TypeError) as error:
            found.append(f"pattern {described['pattern']!r}: {error}")
    _add_folders(rule, described, found)


def _add_folders(rule: dict[str, Any], described: dict[str, Any], found: list[str]) -> None:
    if "under" in described:
        folders = [described["under"]] if isinstance(described["under"], str) else described["under"]
        if not isinstance(folders, list) or not folders or not all(_is_folder(folder) for folder in folders):
            found.append("under is an absolute folder, or a list of them, without ..")
        else:
            rule["under"] = [normal_path(folder) for folder in folders]


def _add_secret(rule: dict[str, Any], described: dict[str, Any], found: list[str]) -> None:
    variable = described.get("environment")
    if not rule.get("secret"):
        if variable is not None:
            found.append("environment names the variable of a secret: say secret: true, or leave it out")
        return
    if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
        found.append("a secret needs `environment: NAME`, the variable by which the command gets it")
    elif variable in _FIXED or _STEERING.fullmatch(variable):
        found.append(f"environment: a client must not set {variable}: choose another variable")
    else:
        rule["environment"] = variable
    found += [
        f"a secret cannot have {key}"
        for key in ("default", "repeat", "positional", "enum")
        if described.get(key) is not None
    ]


def _add_default(rule: dict[str, Any], default: Any, found: list[str]) -> None:
    if isinstance(default, list) and not rule.get("repeat"):
        found.append("default is a list, but the argument cannot be repeated")
        return
    values = [_text_of(rule["type"], value, found) for value in (default if isinstance(default, list) else [default])]
    for value in [] if found else values:
        problem = problem_with(rule, value)
        if problem:
            found.append(f"the default {value!r} {problem}")
    rule["default"] = [normal_path(value) if rule["type"] == "path" else value for value in values]


def _text_of(kind: str, value: Any, found: list[str]) -> str:
    """Return a YAML value as the text that would be sent for it; YAML's own guesses (yes, 010, 1e3) are no texts."""
    wanted: Any = {"integer": int, "number": (int, float), "boolean": bool}.get(kind, str)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        found.append(f"{value!r} is no {kind}" + (": quote it" if wanted is str else ""))
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if controls_in(text):
        found.append(f"{value!r} holds a control character, which no request may")
    return text


def _is_folder(folder: Any) -> bool:
    return (
        isinstance(folder, str) and folder.startswith("/") and ".." not in folder.split("/") and not controls_in(folder)
    )
