"""The lines of `authorized_keys` that lead to this checkout: each key can start its dispatcher, and nothing else."""

import os
import time

from dea.remote.authorized_keys import MAIN
from dea.remote.checks import Check, listed
from dea.remote.doctor.node import Gate, Node

_GIVES_BACK = ("pty", "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc", "tunnel")
"""What `restrict` takes and these options give again."""

_REMEDY = "write the line anew: sshd reads the file at each login"


def forced_commands(node: Node) -> Check:
    """Each key of this checkout is restricted to a forced command that the dispatcher can read."""
    if not node.gates:
        others = f"; other lines lead to {listed(node.elsewhere)}" if node.elsewhere else ""
        line = f'restrict,command="PYTHON -I -S {node.site.checkout}{MAIN} --key LABEL" KEY'
        return Check("forced_commands", False, f"no key leads to this checkout{others}", f"add a line: {line}")
    problems = [f"{gate.line}: {problem}" for gate in node.gates for problem in _problems_with(gate, node)]
    states = sorted({gate.site.state for gate in node.gates if gate.site is not None})
    if len(states) > 1:
        problems.append(f"they name several state folders ({', '.join(states)}), and a run is known in one alone")
    if problems:
        return Check("forced_commands", False, listed(problems), _REMEDY)
    labels = ", ".join(_shown(gate) for gate in node.gates)
    return Check("forced_commands", True, f"{len(node.gates)} restricted: {labels}")


def _problems_with(gate: Gate, node: Node) -> "list[str]":
    line = gate.line
    problems = [gate.problem] if gate.problem else []
    if "restrict" not in line.names:
        problems.append("it lacks restrict, so its key can forward ports, say")
    problems += [f"{name} gives back what restrict takes" for name in line.names if name in _GIVES_BACK]
    if "environment" in line.names:
        problems.append("environment= sets variables for the dispatcher, which has no use for any")
    if "cert-authority" in line.names:
        problems.append("cert-authority lets in every key that this one signs, all under one label")
    problems += _problems_with_time(line.value("expiry-time"))
    # The first line of a key is the one that counts (sshd(8)); behind another one, this is no restriction at all.
    twins = [str(other) for other in node.lines if other.key == line.key and other != line]
    if twins:
        problems.append(f"the same key is in {', '.join(twins)} too: one line alone says what it may do")
    if gate.words and not gate.problem:
        problems += _problems_with_words(gate, node)
    return problems


def _problems_with_words(gate: Gate, node: Node) -> "list[str]":
    problems = []
    program = gate.words[gate.line.program_at]
    before = gate.words[: gate.line.program_at]
    if not before or not os.path.isabs(before[0]):
        problems.append("its interpreter is no absolute path: the login shell's PATH would choose one")
    flags = "".join(word[1:] for word in before[1:] if word.startswith("-") and not word.startswith(("-X", "-W")))
    problems += [
        f"its interpreter lacks -{flag}, which {why}"
        for flag, why in (("I", "keeps modules of others out"), ("S", "keeps site-packages out, and saves time"))
        if flag not in flags
    ]
    if not program.endswith(".py"):
        problems.append("it names the folder dea/remote: name the file __main__.py in it, which starts faster")
    if node.layout is not None and f"/releases/{os.path.basename(node.site.checkout)}/" in program:
        problems.append(f"it names one release: name {node.layout.current}{MAIN}, or no update reaches it")
    return problems


def _problems_with_time(text: "str | None") -> "list[str]":
    """Return what is wrong with an `expiry-time`: YYYYMMDD[HHMM[SS]], local, or UTC with a Z behind it."""
    if text is None:
        return []
    digits = text[:-1] if text.endswith(("Z", "z")) else text
    now = time.gmtime() if digits != text else time.localtime()
    if not digits.isdigit() or len(digits) not in (8, 12, 14):
        return [f"expiry-time={text[:40]!a} is no time: sshd lets nobody in by this line"]
    if digits.ljust(14, "0") <= time.strftime("%Y%m%d%H%M%S", now):
        return [f"it expired at {text}: make a new key, or a later time"]
    return []


def _shown(gate: Gate) -> str:
    """Return what a key is called and what it may do, in a few words."""
    key = gate.key
    if key is None:
        return "?"
    may = f"only {key.only}" if key.only else f"allow {' '.join(key.allow)}" if key.allow else "all but git_pull"
    source = f", from {gate.line.value('from')}" if gate.line.value("from") else ""
    return f"{key.label} ({may}{source})"
