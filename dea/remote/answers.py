"""Answers questions instead of running something: `--list`, `--describe`, `--explain`, `--history` and the like.

Each answer is text for a person or, with `--json`, one JSON object. It is imported only when something is asked, so it may
import what a plain dispatch must not.
"""

import json
import platform

from dea.remote import __version__, approval, contract
from dea.remote.approval import Unapproved, commands_in
from dea.remote.contract.describe import describe, usage
from dea.remote.contract.request import Refusal, Request
from dea.remote.contract.schema import ANY, HIDDEN, label, rule_text
from dea.remote.contract.status import REFUSED
from dea.remote.decision import Key, Site, check_approval, decide, find_allowed, problem_with_readiness


def answer(site: Site, key: Key, request: Request, client: "str | None" = None) -> "tuple[int, str]":
    """Answer a question.

    Args:
        site: Where the dispatcher is.
        key: What the asking key may do; a key is told only of commands that it may run.
        request: The question.
        client: The address that it came from, as sshd names it; None by hand.

    Returns:
        The exit status, and the text for stdout.

    Raises:
        Refusal: If the question is about a command that there is not, or that the key may not run; or if the commands cannot
            be read.
    """
    status = 0
    found: "dict[str, object] | list[dict[str, object]]"
    if request.question == "--list":
        found, lines = _list(site, key)
    elif request.question == "--describe":
        found, lines = _describe(site, key, request.name)
    elif request.question == "--explain":
        found, lines = _explain(site, key, request)
    elif request.question == "--version":
        python = platform.python_version()
        found = {"version": __version__, "python": python, "approval_format": approval.FORMAT,
                 "receipt_format": contract.receipt.FORMAT, "client": client}  # fmt: skip
        lines = [f"dea-remote {__version__}, Python {python}" + (f", asked from {client}" if client else "")]
    elif request.question == "--history":
        from dea.remote.runs.history import history

        found, lines = history(site, key, request.since)
    elif request.question == "--authorize":
        from dea.remote.authorize import report as report_authorized

        found, lines = report_authorized(site.checkout, site.account, request.arguments)
    elif request.question == "--bootstrap":
        from dea.remote.bootstrap import report as report_bootstrap

        status, found, lines = report_bootstrap(site.checkout, site.account, request.arguments)
    elif request.question == "--prune":
        from dea.remote.runs.prune import report as report_pruned

        found, lines = report_pruned(site.state, request.arguments)
    elif request.question == "--doctor":
        from dea.remote.doctor import report as report_checks

        status, found, lines = report_checks(site.checkout, request.arguments)
    else:
        from dea.remote.audit_check import report

        status, found, lines = report(site.state, request.arguments)
    return status, (json.dumps(found) if request.as_json else "\n".join(lines)) + "\n"


def _list(site: Site, key: Key) -> "tuple[dict[str, object], list[str]]":
    commands = []
    lines = []
    try:
        names = commands_in(site.checkout)
    except OSError as error:
        raise Refusal(REFUSED, f"{error.filename} cannot be listed ({error.strerror}): tell the operator") from error
    for name in names:
        if not contract.is_name(name) or not key.allows(name):
            continue
        summary, problems = _standing(site, key, name)
        commands.append({"name": name, "summary": summary, "problems": problems})
        lines.append(f"{name}: {summary}" if not problems else f"{name}: does not run: {'; '.join(problems)}")
    return {"commands": commands}, lines


def _standing(site: Site, key: Key, name: str) -> "tuple[str, list[str]]":
    """Return a command's approved summary, and what keeps it from running."""
    try:
        approved, _ = check_approval(site, find_allowed(site, key, name), name)
    except (Unapproved, Refusal) as refused:
        return "", list(refused.problems)
    problem = problem_with_readiness(site, name, approved)
    return approved["summary"], [problem] if problem else []


def _describe(site: Site, key: Key, name: str) -> "tuple[dict[str, object], list[str]]":
    folder = find_allowed(site, key, name)
    try:
        approved, _ = check_approval(site, folder, name)
    except Unapproved as unapproved:
        raise Refusal(REFUSED, *(f"{name}: {problem}" for problem in unapproved.problems)) from None
    rules = approved["arguments"]
    found: "dict[str, object]" = {
        "name": name,
        "summary": approved["summary"],
        "usage": usage(name, rules),
        "arguments": rules if rules == ANY else [_public(rule) for rule in rules],
        "schema": approved["schema"],
        "timeout": approved.get("timeout"),
        "max_parallel": approved.get("max_parallel"),
        "max_output_bytes": approved.get("max_output_bytes"),
        "stdin": approved.get("stdin", False),
        "environment": approved.get("environment", {}),
    }
    return found, describe(name, approved)


def _public(rule: "dict[str, object]") -> "dict[str, object]":
    return {
        **{key: value for key, value in rule.items() if key != "automaton"},
        "argument": label(rule),
        "rule": rule_text(rule),
    }


def _explain(site: Site, key: Key, request: Request) -> "tuple[dict[str, object], list[str]]":
    """Say what would run, or why nothing would. Saying so is an answer too: its status is 0."""
    try:
        plan = decide(site, key, request)
    except Refusal as refusal:
        found: "dict[str, object]" = {"would_run": False, "status": refusal.status, "problems": list(refusal.problems)}
        return found, [
            f"would not run: status {refusal.status}",
            *(f"  because: {problem}" for problem in refusal.problems),
        ]
    environment = {name: HIDDEN if name in plan.secrets else value for name, value in plan.environment.items()}
    found = {
        "would_run": True,
        "program": plan.program,
        "arguments": list(plan.arguments),
        "environment": environment,
        "timeout": plan.timeout_s,
        "max_parallel": plan.max_parallel,
        "stdin": plan.stdin,
        "warnings": list(plan.warnings),
    }
    lines = [f"would run: {plan.program}"]
    lines += [f"  argument {number}: {argument}" for number, argument in enumerate(plan.arguments, 1)]
    lines += [f"  environment: {name}={value}" for name, value in environment.items()]
    lines.append(f"  time: {f'ended after {plan.timeout_s} s' if plan.timeout_s is not None else 'no limit'}")
    lines.append(f"  stdin: {'what the client sends' if plan.stdin else 'empty'}")
    if key.label is not None:
        lines.append(
            f"  because: {request.name} is approved and unchanged, its arguments fit, and the key {key.label} may run it"
        )
    return found, lines + [f"  warning: {warning}" for warning in plan.warnings]
