"""What this checkout serves: the settings of its updates, its commands' approvals and installations, and the record of it all."""

import os

from dea.remote.approval import SCRIPTS, SITE_APPROVED, Unapproved, load_site, verify
from dea.remote.audit_check import read_tails
from dea.remote.checks import Check, listed
from dea.remote.contract.request import shown
from dea.remote.decision import problem_with_readiness
from dea.remote.doctor.node import Node
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.prepare import approvals as read_approvals
from dea.remote.signature import SignatureError, problems_with_signatures


def settings(node: Node) -> Check:
    """A release's settings can be read, and agree with the forced commands."""
    if node.layout is None:
        return Check(
            "settings", True, f"{node.site.checkout} is no release: it serves in place, and git_pull leaves it alone"
        )
    found = node.settings
    if found is None:
        return Check("settings", False, node.settings_problem, f"mend {node.layout.settings}")
    problems = []
    interpreters = {gate.words[0] for gate in node.gates if gate.words}
    if interpreters and found.python not in interpreters:
        problems.append(f"python is {found.python}, and the forced commands name {', '.join(sorted(interpreters))}")
    states = {gate.site.state for gate in node.gates if gate.site is not None}
    if found.state is not None and states and found.state not in states:
        problems.append(f"state is {found.state}, and the forced commands have {', '.join(sorted(states))}")
    if problems:
        remedy = "a release is tried and installed with the one and run with the other: make them the same"
        return Check("settings", False, listed(problems), remedy)
    try:
        serving = node.layout.serving()
    except ReleaseError as error:
        return Check("settings", False, str(error), "bring a release by git_pull")
    here = os.path.basename(node.site.checkout)
    which = "this release serves" if serving == here else f"this is release {here}, and {serving or 'none'} serves"
    return Check("settings", True, f"{found.branch} of {found.repository}; {which}")


def approvals(node: Node) -> Check:
    """Every command is approved as it stands, the site too, and nothing was added since."""
    scripts = os.path.join(node.site.checkout, SCRIPTS)
    try:
        found, problems = read_approvals(node.site)
        site = load_site(node.site.checkout)
        if site:
            verify(node.site.checkout, scripts, os.path.join(scripts, SITE_APPROVED), site["files"])
    except OSError as error:
        return Check("approvals", False, f"{scripts} cannot be read ({error.strerror})", "make the checkout anew")
    except Unapproved as unapproved:
        problems += [problem for problem in unapproved.problems if not any(problem in one for one in problems)]
    if problems:
        return Check("approvals", False, listed(problems), "inv approve in a clone, then bring the commit here")
    return Check("approvals", True, f"{len(found)} commands are approved as they stand")


def signatures(node: Node) -> Check:
    """Every approval is signed by one of the approvers, where updates are told to want that."""
    approvers = node.settings.approvers if node.settings is not None else None
    if approvers is None:
        return Check(
            "signatures", True, "self-approved: whoever can commit can approve, as settings.json names no approvers"
        )
    try:
        problems = problems_with_signatures(node.site.checkout, approvers)
    except (SignatureError, OSError) as error:
        return Check(
            "signatures", None, f"not compared with {approvers}: {error}", "install what is missing, and ask again"
        )
    if problems:
        return Check("signatures", False, listed(problems), "have an approver run inv approve --sign KEY, and update")
    return Check("signatures", True, f"all are signed by somebody in {approvers}")


def installs(node: Node) -> Check:
    """The install.sh of every command that has one has ended well, for what the command is now."""
    try:
        found, _ = read_approvals(node.site)
    except OSError as error:
        return Check("installs", None, f"the commands cannot be read ({error.strerror})", "see approvals")
    problems = []
    for name, approved in found.items():
        problem = problem_with_readiness(node.site, name, approved)
        if problem:
            problems.append(f"{name}: {problem}")
    if problems:
        return Check("installs", False, listed(problems), "a key cannot run these commands until then")
    return Check("installs", True, "every command is ready to run")


def audit(node: Node) -> Check:
    """The end of each login node's audit log is a chain without a break; and where the keys' requests came from last."""
    folder = os.path.join(node.site.state, "audit")
    try:
        logs = read_tails(folder)
    except OSError as error:
        return Check("audit", False, f"{folder} cannot be read: {error}", "what cannot be recorded does not run")
    problems = [problem for log in logs for problem in log.problems]
    if problems:
        remedy = "find out who wrote there; python3 dea/remote --audit-verify reads all of it"
        return Check("audit", False, listed(problems), remedy)
    if not logs:
        return Check("audit", True, f"nothing has been recorded in {folder} yet")
    clients: "dict[str, str]" = {}
    for log in logs:
        clients.update(log.clients)
    seen = ", ".join(f"{shown(key)} from {shown(address)}" for key, address in sorted(clients.items()))
    said = f"the last {sum(log.lines for log in logs)} lines of {len(logs)} log(s) are a chain"
    return Check("audit", True, f"{said}; requests came with {seen}" if seen else said)
