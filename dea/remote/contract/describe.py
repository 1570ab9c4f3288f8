"""Says in plain words what a command takes and what limits it has: for `--describe`, and for who approves it."""

from dea.remote.contract.schema import ANY, label, rule_text

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

    from dea.remote.contract.schema import Rule, Rules

_SPECIAL = " !\"#$&'()*;<>?[\\]^`{|}~"
"""The printable ASCII characters that a text without a pattern cannot hold."""


def usage(name: str, rules: "Rules") -> str:
    """Return the one line that shows how a command is called.

    >>> usage("clean", [{"name": "age", "type": "integer", "required": True}, {"name": "path", "type": "path", "positional": True}])
    'clean --age INTEGER [PATH]'
    """
    if isinstance(rules, str):
        return f"{name} [ANY ARGUMENTS ...]"
    words = [name]
    for rule in sorted(rules, key=lambda rule: bool(rule.get("positional"))):
        word = label(rule)
        if not rule.get("positional") and rule["type"] != "boolean":
            word += f" {rule['type'].upper()}"
        if rule.get("repeat"):
            word += " ..."
        words.append(word if rule.get("required") else f"[{word}]")
    return " ".join(words)


def describe(name: str, approved: "dict[str, Any]") -> "list[str]":
    """Return the lines that describe a command: its usage, each argument's rule, its limits, what reaches it.

    Args:
        name: The command's name.
        approved: The content of its `approved.json`.
    """
    rules = approved["arguments"]
    lines = [f"{name}: {approved['summary']}", f"usage: {usage(name, rules)}"]
    if rules == ANY:
        lines.append("  ANY ARGUMENTS: whatever a client sends reaches the command unchecked")
    else:
        lines += [f"  {_argument(rule)}" for rule in rules] or ["  it takes no arguments"]
    timeout_s = approved.get("timeout")
    lines.append(f"  time: {f'ended after {timeout_s} s' if timeout_s else 'no limit of its own'}")
    if "max_parallel" in approved:
        lines.append(f"  at once: at most {approved['max_parallel']}, over all login nodes")
    if "max_output_bytes" in approved:
        lines.append(f"  output: of a durable run, the first {approved['max_output_bytes']} bytes are kept")
    lines.append(f"  stdin: {'what the client sends, unchecked' if approved.get('stdin') else 'empty'}")
    lines += [f"  environment: {variable}={value}" for variable, value in approved.get("environment", {}).items()]
    return lines


def _argument(rule: "Rule") -> str:
    text = f"{label(rule)}: {rule_text(rule)}"
    beyond = wider_than_usual(rule)
    if beyond:
        text += f"; WIDER than a plain text: it can hold {', '.join(beyond)}"
    if rule.get("required"):
        text += "; required"
    if "default" in rule:
        text += f"; default {' '.join(rule['default'])}"
    if rule.get("repeat"):
        text += "; can be repeated"
    if rule.get("secret"):
        text += f"; secret: reaches the command as the variable {rule['environment']} only, and is never recorded"
    return text + (f" - {rule['description']}" if "description" in rule else "")


def wider_than_usual(rule: "Rule") -> "list[str]":
    """Return what values of a pattern can hold that a text without one cannot: what a command had better not hand to a shell.

    >>> wider_than_usual({"name": "x", "type": "string", "pattern": "[a-z;]*", "automaton": [[1, [";;az", 0]]]})
    [';']
    """
    if "automaton" not in rule:
        return []
    states = [[ranges for ranges, _ in state[1:]] for state in rule["automaton"]]
    anywhere = [ranges for state in states for ranges in state]
    beyond = [char for char in _SPECIAL if _holds(anywhere, char)]
    beyond = ["blanks" if char == " " else char for char in beyond]
    if any(ranges[at + 1] > "~" for ranges in anywhere for at in range(0, len(ranges), 2)):
        beyond.append("characters beyond ASCII")
    if _holds(states[0], "-"):
        beyond.append("- at its beginning")
    return beyond


def _holds(ranges: "list[str]", char: str) -> bool:
    return any(one[at] <= char <= one[at + 1] for one in ranges for at in range(0, len(one), 2))
