"""Checks the approvals of a release and installs its commands. It is the release's own code that does this.

So a release whose approvals have another format than the one that serves can read is still checked by what knows it. What
is checked is what `inv approve --check` looks at, as far as it can be told without YAML.
"""

import compileall
import hashlib
import os
import stat

from dea.remote.approval import APPROVED, SCRIPTS, Unapproved, commands_in
from dea.remote.contract import is_name
from dea.remote.contract.request import Refusal, shown
from dea.remote.decision import INSTALL, Key, Site, check_approval, find_allowed
from dea.remote.installed import FAILED
from dea.remote.releases.install import install
from dea.remote.signature import SUFFIX

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from typing import Any

_CACHES = "__pycache__"


def prepare(
    site: Site, *, timeout_s: float, dry_run: bool, lifeline: "int | None" = None
) -> "tuple[dict[str, str], list[str]]":
    """Compile the dispatcher, check all approvals, and if they hold, run each `install.sh` whose command's content is new.

    Args:
        site: The release, and the state folder that its prefixes are in.
        timeout_s: How long one `install.sh` may take.
        dry_run: Only say what would be installed.
        lifeline: As for `install`.

    Returns:
        What came of installing each command, by its name; and all that is wrong.
    """
    # All of it now: what is compiled at a later start would have that start's umask, and its time.
    compileall.compile_dir(os.path.join(site.checkout, "dea", "remote"), quiet=2)
    approved, problems = approvals(site)
    outcomes: "dict[str, str]" = {}
    for name, document in approved.items() if not problems else ():
        outcomes[name], reason = install(site, name, document, timeout_s=timeout_s, dry_run=dry_run, lifeline=lifeline)
        if outcomes[name] == FAILED:
            problems.append(f"{name}: its install.sh failed: {reason}")
    return outcomes, problems


def approvals(site: Site) -> "tuple[dict[str, dict[str, Any]], list[str]]":
    """Return the approvals of all commands by name, and what is wrong with them: nothing else than all of them will do."""
    found: "dict[str, dict[str, Any]]" = {}
    problems: "list[str]" = []
    for name in commands_in(site.checkout):
        if not is_name(name):
            problems.append(f"{shown(name)} is no name of a command: [a-z][a-z0-9_]{{0,63}}")
            continue
        try:
            folder = find_allowed(site, Key(), name)
            approved, _ = check_approval(site, folder, name)
        except (Unapproved, Refusal) as refused:
            problems += [f"{name}: {problem}" for problem in refused.problems]
            continue
        problems += [f"{name}: {problem}" for problem in _uncovered(folder, approved)]
        found[name] = approved
    if not found and not problems:
        problems.append(f"there is no command in {SCRIPTS}")
    return found, problems


def _uncovered(folder: str, approved: "dict[str, Any]") -> "list[str]":
    """Return what a command has beyond its approval: a release holds nothing that git ignores, so nothing may be left over."""
    there = set()
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != _CACHES]
        there |= {os.path.relpath(os.path.join(above, name), folder) for name in files}
    added = sorted(there - set(approved["files"]) - {APPROVED, APPROVED + SUFFIX})
    problems = [f"{shown(name)} was added since it was approved" for name in added]
    # As inv approve makes it; the prefix is named by it, so a stale one would lead to another content's prefix.
    lines = "".join(f"{digest} {name}\n" for name, digest in approved["files"].items())
    if hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest() != approved.get("content"):
        problems.append("the content that its approval names is not that of its files: run inv approve")
    install_sh = os.path.join(folder, INSTALL)
    if os.path.lexists(install_sh) and not os.lstat(install_sh).st_mode & stat.S_IXUSR:
        problems.append("install.sh is not executable: chmod +x it")
    return problems
