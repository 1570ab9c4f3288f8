"""A command's argument schema in its compiled form: checks words against it, and makes words that pass.

Both ends run this code on the same schema: the client before it connects, the login node as the authority. The compiled
form is what `inv approve` writes into `approved.json` (docs/reference/command-yaml.md); reading YAML is not done here.
It imports nothing, `re` included: a pattern arrives as the table of a finite automaton, so that matching takes time
proportional to the value's length, whatever the pattern.
"""

from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import USAGE
from dea.remote.contract.words import controls_in

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

    Rule = dict[str, Any]  # one argument, compiled
    Rules = str | list[Rule]
    Automaton = list[list[Any]]

ANY = "any"
"""The schema of a command that takes every argument unchecked, by its approver's explicit choice."""

MAX_LENGTH = 256
"""The longest string in characters where the schema says nothing else."""

MAX_PATH_LENGTH = 1024
"""The longest path in characters where the schema says nothing else; below Linux's `PATH_MAX`."""

HIDDEN = "***"
"""What stands for a secret value wherever it would be read."""

TYPES = ("string", "integer", "number", "boolean", "path")
"""What an argument can be."""

_KEYS: "dict[str, Any]" = {
    "name": str, "type": str, "description": str, "positional": bool, "required": bool, "repeat": bool, "secret": bool,
    "environment": str, "default": list, "enum": list, "under": list, "pattern": str, "automaton": list,
    "minimum": (int, float), "maximum": (int, float), "maxLength": int,
}  # fmt: skip
_DIGITS = frozenset("0123456789")
_NARROW = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,=@%+-")
_MAX_NUMBER_LENGTH = 32
_TRUE, _FALSE = "true", "false"


class Bound:
    """Arguments that a schema allows.

    Attributes:
        argv: The normalised arguments of the command: options in the schema's order, each as `--name` `value`, defaults
            filled in; then the positionals, after `--` if one of them begins with a hyphen. No secret is among them.
        environment: The secret values, by the variable that the schema declares for each.
        paths: `(argument, value, folders)` for each path that must lie in one of some folders, for the login node to
            check again after resolving symbolic links.
        recorded: The words as they were given, secret values hidden, for the audit log.
    """

    __slots__ = ("argv", "environment", "paths", "recorded")

    def __init__(
        self,
        argv: "tuple[str, ...]",
        environment: "dict[str, str]",
        paths: "list[tuple[str, str, list[str]]]",
        recorded: "tuple[str, ...]",
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.paths = paths
        self.recorded = recorded


def bind(rules: "Rules", words: "list[str] | tuple[str, ...]") -> Bound:
    """Check a command's arguments and bring them into the one form that the command gets.

    Args:
        rules: The compiled schema: `ANY`, or one rule for each argument in order.
        words: The arguments as they came.

    Raises:
        Refusal: With `USAGE`, naming everything that is wrong: the argument, its value, and the rule.

    >>> rules = [{"name": "age", "type": "integer", "minimum": 1, "required": True}, {"name": "dry-run", "type": "boolean"}]
    >>> bind(rules, ["--dry-run", "--age=72"]).argv
    ('--age', '72', '--dry-run')
    """
    if isinstance(rules, str):
        if rules != ANY:
            raise ValueError(f"a schema is {ANY!r} or a list of rules")
        return Bound(tuple(words), {}, [], tuple(words))
    problems: "list[str]" = []
    given, recorded = _collect(rules, words, problems)
    bound = Bound((), {}, [], tuple(recorded))
    options: "list[str]" = []
    positionals: "list[str]" = []
    for rule in rules:
        for value in _values(rule, given, problems):
            if rule["type"] == "path" and "under" in rule:
                bound.paths.append((label(rule), value, rule["under"]))
            if rule.get("secret"):
                bound.environment[rule["environment"]] = value
            elif rule.get("positional"):
                positionals.append(value)
            else:
                options += _option(rule, value)
    if problems:
        raise Refusal(USAGE, *problems)
    if any(value.startswith("-") for value in positionals):
        options.append("--")
    bound.argv = (*options, *positionals)
    return bound


def is_sound(rules: object) -> bool:
    """Tell whether this is a compiled schema, every rule of which is understood: one that is not must not be passed over.

    >>> is_sound("any"), is_sound([{"name": "data", "type": "path", "under": ["/g/data"]}])
    (True, True)
    >>> is_sound([{"name": "data", "type": "path", "under": "/g/data"}]), is_sound([{"name": "x", "type": "path", "within": []}])
    (False, False)
    """
    return rules == ANY or (isinstance(rules, list) and all(_is_sound_rule(rule) for rule in rules))


def has_secret(rules: "Rules") -> bool:
    """Tell whether a schema has an argument whose value must not be recorded."""
    return not isinstance(rules, str) and any(rule.get("secret") for rule in rules)


def words_for(rules: "Rules", positionals: "tuple[object, ...]", options: "dict[str, object]") -> "list[str]":
    """Make a command's arguments of Python values, and check them.

    Args:
        rules: The compiled schema.
        positionals: The values of positional arguments, in order.
        options: The values by name, with `_` where the argument has `-`; positional arguments can be named too. None
            leaves one out, a list or tuple repeats it, a boolean sets or leaves a flag.

    Raises:
        Refusal: With `USAGE`, naming everything that is wrong.

    >>> words_for([{"name": "search-string", "type": "string"}], (), {"search_string": "x"})
    ['--search-string', 'x']
    """
    problems: "list[str]" = []
    known = {} if isinstance(rules, str) else {str(rule["name"]).replace("-", "_"): rule for rule in rules}
    words: "list[str]" = []
    named_positionals: "dict[str, list[str]]" = {}
    for name, value in options.items():
        if value is None:
            continue
        rule = known.get(name.replace("-", "_"))
        if rule is None and not isinstance(rules, str):
            problems.append(f"{shown(name)} is no argument of this command: it takes {_known(rules)}")
            continue
        rule = rule or {"name": name.replace("_", "-")}
        texts = [
            _text(label(rule), item, problems) for item in (value if isinstance(value, (list, tuple)) else [value])
        ]
        if rule.get("positional"):
            named_positionals[str(rule["name"])] = texts
        elif rule.get("type") == "boolean" or isinstance(value, bool):
            # An option that is on unless told otherwise is the only flag for which "off" has to be said.
            on_by_default = rule.get("default") == [_TRUE]
            words += [
                f"--{rule['name']}" if text == _TRUE else f"--{rule['name']}={text}"
                for text in texts
                if text != _FALSE or on_by_default
            ]
        else:
            for text in texts:
                words += [f"--{rule['name']}", text]
    last = [_text("a positional argument", value, problems) for value in positionals]
    for rule in known.values():
        last += named_positionals.get(str(rule["name"]), [])
    if any(text.startswith("-") for text in last):
        words.append("--")
    words += last
    hidden = has_secret(rules)
    for text in words:
        if controls_in(text):
            # A token that was read from a file with its newline must not end in a log.
            said = "a value (not shown: it could be a secret)" if hidden else shown(text)
            problems.append(f"{said} holds a control character: no request may")
    if problems:
        raise Refusal(USAGE, *problems)
    bind(rules, words)
    return words


def label(rule: "Rule") -> str:
    """Return an argument's name as a person reads it: `--name`, or `NAME` for a positional one.

    >>> label({"name": "dry-run"}), label({"name": "project", "positional": True})
    ('--dry-run', 'PROJECT')
    """
    name = str(rule["name"])
    return name.upper().replace("-", "_") if rule.get("positional") else f"--{name}"


def rule_text(rule: "Rule") -> str:
    """Return in plain words what a value must be.

    >>> rule_text({"name": "age", "type": "integer", "minimum": 1, "maximum": 9})
    'an integer from 1 to 9'
    >>> rule_text({"name": "dry-run", "type": "boolean"})
    'a flag'
    """
    kind = rule["type"]
    if kind == "boolean":
        return "a flag"
    if "enum" in rule:
        return "one of " + ", ".join(rule["enum"])
    if kind in ("integer", "number"):
        text = "an integer" if kind == "integer" else "a number"
        if "minimum" in rule and "maximum" in rule:
            return f"{text} from {rule['minimum']} to {rule['maximum']}"
        text += f", at least {rule['minimum']}" if "minimum" in rule else ""
        return text + (f", at most {rule['maximum']}" if "maximum" in rule else "")
    text = "a text"
    if kind == "path":
        text = "a path" + (" under " + " or ".join(rule["under"]) if "under" in rule else "")
        text += ", without `..`"
    text += f", 1 to {_max_length(rule)} characters"
    if "pattern" in rule:
        return text.replace(", 1 to", ", up to") + f", that as a whole matches {rule['pattern']}"
    return f"{text} of A-Z a-z 0-9 _ . / : , = @ % + -, not beginning with -"


def problem_with(rule: "Rule", value: str) -> "str | None":
    """Return what is wrong with a value under a rule, or None. The value itself is not repeated.

    >>> problem_with({"name": "age", "type": "integer", "minimum": 1}, "0")
    'is less than 1'
    """
    if controls_in(value):
        return "holds a control character"
    kind = rule["type"]
    if kind == "boolean":
        return None if value in (_TRUE, _FALSE) else "is neither true nor false"
    if "enum" in rule:
        choices = rule["enum"]
        return None if value in choices else f"is not one of {', '.join(choices)}"
    if kind in ("integer", "number"):
        return _problem_with_number(rule, value)
    return _problem_with_text(rule, value) or (_problem_with_path(rule, value) if kind == "path" else None)


def normal_path(path: str) -> str:
    """Return a path without `//`, `/./` and a slash at its end, by its text alone.

    >>> normal_path("/g/data//v10/./x/")
    '/g/data/v10/x'
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."


def is_under(path: str, folders: "list[str]") -> bool:
    """Tell whether a normal path is one of some folders or lies in one, by its text alone.

    >>> is_under("/g/data/v10", ["/g/data"]), is_under("/g/database", ["/g/data"])
    (True, False)
    """
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def matches(automaton: "Automaton", text: str) -> bool:
    """Run a deterministic finite automaton over a text.

    Args:
        automaton: For each state: 1 if a text may end there, else 0; then pairs of ranges and target state. Ranges are
            first and last characters in turn: `"azAZ"` is `[a-zA-Z]`. State 0 is the first.
        text: What must match as a whole.

    >>> matches([[0, ["az", 1]], [1, ["az09", 1]]], "a1"), matches([[0, ["az", 1]], [1]], "1")
    (True, False)
    """
    state = automaton[0]
    for char in text:
        for ranges, target in state[1:]:
            if any(ranges[at] <= char <= ranges[at + 1] for at in range(0, len(ranges), 2)):
                state = automaton[target]
                break
        else:
            return False
    return bool(state[0])


def _is_sound_rule(rule: object) -> bool:
    if not isinstance(rule, dict) or "name" not in rule or rule.get("type") not in TYPES:
        return False
    if not all(key in _KEYS and isinstance(value, _KEYS[key]) for key, value in rule.items()):
        return False
    if any(not isinstance(text, str) for key in ("default", "enum", "under") for text in rule.get(key, ())):
        return False
    return all((one in rule) == (other in rule) for one, other in (("pattern", "automaton"), ("secret", "environment")))


def _collect(  # noqa: PLR0912 - one branch for each form that a word can have
    rules: "list[Rule]", words: "list[str] | tuple[str, ...]", problems: "list[str]"
) -> "tuple[dict[str, list[str]], list[str]]":
    """Sort words by the argument that they belong to; return the values by name, and the words with secrets hidden."""
    options = {f"--{rule['name']}": rule for rule in rules if not rule.get("positional")}
    given: "dict[str, list[str]]" = {}
    recorded: "list[str]" = []
    plain: "list[str]" = []
    hidden = has_secret(rules)
    rest = iter(words)
    for word in rest:
        if word == "--":
            recorded.append(word)
            for value in rest:
                plain.append(value)
                recorded.append(value)
            break
        # A hyphen and a digit is a negative number, not an option: no option here has such a name.
        if not word.startswith("-") or word == "-" or word[1] in _DIGITS:
            plain.append(word)
            recorded.append(word)
            continue
        option, equals, value = word.partition("=")
        rule = options.get(option)
        if rule is None:
            # `--tokens3cret`, say: what is not known cannot be told from a secret.
            said = "a word (not shown: it could be a secret)" if hidden else shown(option)
            problems.append(f"{said} is no option of this command: it takes {_known(rules)}")
            continue
        secret = bool(rule.get("secret"))
        if equals:
            recorded.append(f"{option}={HIDDEN}" if secret else word)
        elif rule["type"] == "boolean":
            value = _TRUE
            recorded.append(word)
        else:
            following = next(rest, None)
            if following is None:
                problems.append(f"{option} has no value: {rule_text(rule)}")
                continue
            value = following
            recorded += [option, HIDDEN if secret else value]
        given.setdefault(str(rule["name"]), []).append(value)
    for rule in rules:
        name = str(rule["name"])
        if rule.get("positional") and plain:
            taken = len(plain) if rule.get("repeat") else 1
            given[name], plain = plain[:taken], plain[taken:]
        if len(given.get(name, ())) > 1 and not rule.get("repeat"):
            problems.append(f"{label(rule)} is given {len(given[name])} times: give it once")
    if plain:
        listed = ", ".join(HIDDEN if hidden else shown(value) for value in plain[:5])
        problems.append(f"{len(plain)} words too many ({listed}): it takes {_known(rules)}")
    return given, recorded


def _values(rule: "Rule", given: "dict[str, list[str]]", problems: "list[str]") -> "list[str]":
    """Return an argument's values in the form that the command gets, after adding to `problems` what is wrong with them."""
    if rule["name"] not in given:
        if rule.get("required"):
            problems.append(f"{label(rule)} is required: {rule_text(rule)}")
        return list(rule.get("default", ()))
    values = given[rule["name"]]
    for value in values:
        problem = problem_with(rule, value)
        if problem:
            quoted = "its value (not shown)" if rule.get("secret") else shown(value)
            problems.append(f"{label(rule)}: {quoted} {problem}; it must be {rule_text(rule)}")
    return [normal_path(value) for value in values] if rule["type"] == "path" else values


def _option(rule: "Rule", value: str) -> "list[str]":
    name = f"--{rule['name']}"
    if rule["type"] == "boolean":
        return [name] if value == _TRUE else []
    return [name, value]


def _problem_with_number(rule: "Rule", value: str) -> "str | None":
    kind = rule["type"]
    if len(value) > _MAX_NUMBER_LENGTH or not (_is_integer(value) if kind == "integer" else _is_number(value)):
        # "010" is ten to one program and eight to the next: one spelling only.
        return f"is no {kind} in plain decimal digits without leading zeros"
    number = int(value) if kind == "integer" else float(value)
    if number in (float("inf"), float("-inf")):
        return "is too large"
    if "minimum" in rule and number < rule["minimum"]:
        return f"is less than {rule['minimum']}"
    if "maximum" in rule and number > rule["maximum"]:
        return f"is more than {rule['maximum']}"
    return None


def _problem_with_text(rule: "Rule", value: str) -> "str | None":
    if len(value) > _max_length(rule):
        return f"is longer than {_max_length(rule)} characters"
    if "pattern" in rule:
        return None if matches(rule["automaton"], value) else f"does not match {rule['pattern']} as a whole"
    if not value:
        return "is empty"
    if value.startswith("-"):
        return "begins with -"
    strange = " ".join(ascii(char) for char in sorted(set(value) - _NARROW)[:5])
    return f"holds {strange}: only A-Z a-z 0-9 _ . / : , = @ % + - are allowed" if strange else None


def _is_integer(text: str) -> bool:
    digits = text[1:] if text.startswith("-") else text
    # Not str.isdigit: it takes the digits of every script.
    return bool(digits) and _DIGITS.issuperset(digits) and (digits[0] != "0" or text == "0")


def _is_number(text: str) -> bool:
    mantissa, exponent_mark, exponent = text.replace("E", "e").partition("e")
    whole, point, fraction = mantissa.partition(".")
    if not _is_integer(whole) and whole != "-0":
        return False
    if point and not (fraction and _DIGITS.issuperset(fraction)):
        return False
    exponent = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    return not exponent_mark or (0 < len(exponent) <= 3 and _DIGITS.issuperset(exponent))


def _problem_with_path(rule: "Rule", value: str) -> "str | None":
    if ".." in value.split("/"):
        return "has a component `..`"
    under = rule.get("under")
    if under and not is_under(normal_path(value), under):
        return f"is not under {' or '.join(under)}"
    return None


def _max_length(rule: "Rule") -> int:
    default = MAX_PATH_LENGTH if rule["type"] == "path" else MAX_LENGTH
    return int(rule.get("maxLength", default))


def _known(rules: "Rules") -> str:
    return ", ".join(label(rule) for rule in rules if not isinstance(rule, str)) or "no arguments"


def _text(name: str, value: object, problems: "list[str]") -> str:
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return repr(value)
    if hasattr(value, "__fspath__"):
        return str(value.__fspath__())
    problems.append(
        f"{name}: a {type(value).__name__} cannot be an argument: pass a text, a number, a boolean or a path"
    )
    return ""
