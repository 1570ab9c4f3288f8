"""Decides whether a request may run, and what exactly would: nothing is run, recorded or printed here.

A dispatch acts on the decision, `--explain` prints it: both see the same one.
"""

import os
import pwd

from dea.remote.approval import APPROVED, SCRIPTS, SITE_APPROVED, Unapproved, find, load_command, load_site, verify
from dea.remote.contract.request import Refusal, Request, shown
from dea.remote.contract.schema import ANY, HIDDEN, Bound, bind, has_secret, is_under
from dea.remote.contract.status import REFUSED
from dea.remote.contract.words import join
from dea.remote.launch import environment_for

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any


LOST_AFTER_S = 60.0
"""After how many seconds without a heartbeat whoever has a run in hand is taken for dead, unless the forced command says otherwise.

Long enough for a login node that is short of memory or a file server that restarts; and nothing unsafe follows from it."""

MAX_OUTPUT_BYTES = 1 << 30
"""How much of a run's output is kept, unless its approval or the site's says otherwise."""

INSTALL = "install.sh"
"""The file of a command that installs what its `run` needs."""

UPDATE = "git_pull"
"""The command that lets another release serve."""

_BEATS = 30
_MAX_RECORDED_BYTES = 2048


class Key:
    """What a key may do, from the forced command's own argv; by hand, everything.

    Attributes:
        label: The key's label, or None by hand.
        allow: Patterns of the commands it may run (`*` and `?`), or empty for all.
        only: The one command that it always runs, without arguments, whatever the client sends, or None.
    """

    __slots__ = ("allow", "label", "only")

    def __init__(self, label: "str | None" = None, allow: "tuple[str, ...]" = (), only: "str | None" = None) -> None:
        self.label = label
        self.allow = allow
        self.only = only

    def allows(self, name: str) -> bool:
        """Tell whether the key may run a command.

        The one that changes what all keys run, `UPDATE`, must be named: no wildcard and no missing list covers it.

        >>> Key("lambda", ("execute_*",)).allows("execute_clean"), Key("lambda", ("execute_*",)).allows("quota")
        (True, False)
        >>> Key("lambda").allows("git_pull"), Key("pull", only="git_pull").allows("git_pull")
        (False, True)
        """
        if name == UPDATE and self.label is not None and self.only != UPDATE and UPDATE not in self.allow:
            return False
        if self.only is not None and name != self.only:
            return False
        return not self.allow or any(_matches_wildcards(pattern, name) for pattern in self.allow)


class Plan:
    """What would run.

    Attributes:
        program: The absolute path of the command's `run`.
        arguments: Its arguments, normalised.
        environment: Its whole environment.
        secrets: The names of those variables whose values must not be shown.
        timeout_s: After how many seconds it is ended, or None.
        stdin: Whether it gets the client's stdin.
        max_parallel: How many of it may run at once, or None.
        max_output_bytes: How much of its output is kept, stdout and stderr together.
        recorded: Its arguments as they were sent, secrets hidden.
        stored_days: How long output is kept, or None for the default.
        stored_bytes: How much output of all runs is kept, or None for the default.
        warnings: What by hand is only said, and would refuse a key.
    """

    __slots__ = (
        "arguments", "environment", "max_output_bytes", "max_parallel", "program", "recorded", "secrets", "stdin",
        "stored_bytes", "stored_days", "timeout_s", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        program: str,
        bound: Bound,
        environment: "dict[str, str]",
        approved: "dict[str, Any]",
        true_of_site: "dict[str, Any]",
        warnings: "tuple[str, ...]",
    ) -> None:
        self.program = program
        self.arguments = bound.argv
        self.recorded = bound.recorded
        self.environment = environment
        self.secrets = tuple(bound.environment)
        self.timeout_s: "float | None" = _least("timeout", approved, true_of_site)
        self.max_output_bytes = int(_least("max_output_bytes", approved, true_of_site) or MAX_OUTPUT_BYTES)
        self.stored_days: "float | None" = true_of_site.get("stored_days")
        self.stored_bytes: "float | None" = true_of_site.get("stored_bytes")
        self.stdin: bool = approved.get("stdin", False)
        self.max_parallel: "int | None" = approved.get("max_parallel")
        self.warnings = warnings


class Site:
    """Where the dispatcher is: the checkout, and the account that it runs as.

    Attributes:
        checkout: The absolute path of the checkout, symbolic links resolved once, at the start.
        account: The account's entry in the user database.
        home: The home folder that commands get.
        state: The state folder, which all login nodes share.
        node: The login node's name.
        lost_after_s: After how many seconds without a heartbeat whoever has a run in hand is taken for dead.
    """

    __slots__ = ("_commands", "_true_of_site", "account", "checkout", "home", "lost_after_s", "node", "state")

    def __init__(self, checkout: str, account: "pwd.struct_passwd", home: str, state: str) -> None:
        self.checkout = checkout
        self.account = account
        self.home = home
        self.state = state
        self.node = os.uname().nodename
        self.lost_after_s = LOST_AFTER_S
        self._commands: "dict[str, dict[str, Any]]" = {}
        self._true_of_site: "dict[str, Any] | None" = None

    def approval_of(self, name: str) -> "dict[str, Any]":
        """Return the content of a command's approval, read once: one request is decided by one approval.

        Raises:
            Unapproved: As `load_command`.
        """
        if name not in self._commands:
            self._commands[name] = load_command(self.checkout, name)
        return self._commands[name]

    def own_approval(self) -> "dict[str, Any]":
        """Return what is approved to be true of the site, read once.

        Raises:
            Unapproved: As `load_site`.
        """
        if self._true_of_site is None:
            self._true_of_site = load_site(self.checkout)
        return self._true_of_site

    @property
    def beat_s(self) -> float:
        """How many seconds apart heartbeats are."""
        return self.lost_after_s / _BEATS


def decide(site: Site, key: Key, request: Request) -> Plan:
    """Find a request's command, check its approval and its arguments, and say what would run.

    Raises:
        Refusal: If it may not run, with all that is wrong.
    """
    folder = find_allowed(site, key, request.name)
    approved, true_of_site, warnings = _approvals(site, key, folder, request.name)
    bound = bind(approved["arguments"], request.arguments)
    _check_paths(bound.paths)
    environment = environment_for(request.name, site.account, site.home, environment_of(true_of_site))
    environment.update(approved.get("environment", {}))
    environment.update(bound.environment)
    environment["DEA_PREFIX"] = prefix_of(site.state, request.name, approved)
    if request.run_id is not None:
        environment["DEA_RUN_ID"] = request.run_id
    return Plan(os.path.join(folder, "run"), bound, environment, approved, true_of_site, warnings)


def find_allowed(site: Site, key: Key, name: str) -> str:
    """Return the folder of a command that a key may run.

    Raises:
        Refusal: If there is none, or if the key may not run it.
    """
    if not key.allows(name):
        # Said before looking, so that a key cannot learn which commands there are beyond its own.
        raise Refusal(REFUSED, f"the key {shown(key.label or '')} is not allowed to run {name}: ask the operator")
    return find(site.checkout, name)


def check_approval(site: Site, folder: str, name: str) -> "tuple[dict[str, Any], dict[str, Any]]":
    """Return the approvals of a command and of the site, after checking that both hold.

    Raises:
        Unapproved: If one does not.
    """
    approved = site.approval_of(name)
    true_of_site = site.own_approval()
    problems: "list[str]" = []
    scripts = os.path.join(site.checkout, SCRIPTS)
    checks = [(folder, os.path.join(folder, APPROVED), approved)]
    if true_of_site:
        checks.append((scripts, os.path.join(scripts, SITE_APPROVED), true_of_site))
    for where, approval, document in checks:
        try:
            verify(site.checkout, where, approval, document["files"])
        except Unapproved as unapproved:
            problems += [problem for problem in unapproved.problems if problem not in problems]
    if problems:
        raise Unapproved(*problems)
    return approved, true_of_site


def problem_with_readiness(site: Site, name: str, approved: "dict[str, Any]") -> "str | None":
    """Return why a command that is approved is not ready to run, or None: its `install.sh` has to have done its work."""
    if INSTALL not in approved["files"]:
        return None
    from dea.remote.installed import problem_with_installation

    return problem_with_installation(name, prefix_of(site.state, name, approved), approved)


def recordable(site: Site, raw: bytes, request: "Request | None") -> str:
    """Return a request's text for the audit log: shortened, and without what may be secret.

    Args:
        site: Where the dispatcher is.
        raw: The request as it arrived.
        request: The same, or None if it could not be read.
    """
    text = raw[:_MAX_RECORDED_BYTES].decode("utf-8", "backslashreplace")
    if request is None:
        # There are no words to go by: hide it all if it names, whatever the quoting, a command that takes a secret.
        unquoted = "".join(char for char in text if char not in "'\"\\")
        plain = "".join(char if char.isalnum() or char == "_" else " " for char in f"{text} {unquoted}")
        names = [word for word in plain.split() if _may_take_secret(site, word)]
        return f"{HIDDEN} (it names {names[0]}, which may take a secret)" if names else text
    recorded = recorded_arguments(site, request)
    if recorded == request.arguments:
        return text
    words = ["--run-id", request.run_id] if request.run_id is not None else []
    words += [word for word in (request.question, request.name) if word]
    if recorded is None:
        return f"{join(words)} {HIDDEN} ({len(request.arguments)} words that may hold a secret)"
    return join([*words, *recorded])


def recorded_arguments(site: Site, request: Request) -> "tuple[str, ...] | None":
    """Return a request's arguments without its secrets, or None if what is secret cannot be told from the rest."""
    known = os.path.isdir(os.path.join(site.checkout, SCRIPTS, request.name))
    if not request.arguments or (known and not _may_take_secret(site, request.name)):
        return request.arguments
    try:
        return bind(site.approval_of(request.name)["arguments"], request.arguments).recorded
    except (Unapproved, Refusal):
        return None  # what does not fit the schema, or was meant for another name, cannot be told from a secret


def _may_take_secret(site: Site, name: str) -> bool:
    """Tell whether there is a command of that name that takes a secret, or for which nothing says that it does not."""
    if not os.path.isdir(os.path.join(site.checkout, SCRIPTS, name)):
        return False
    try:
        return has_secret(site.approval_of(name)["arguments"])
    except Unapproved:
        return True


def prefix_of(state: str, name: str, approved: "dict[str, Any]") -> str:
    """Return the folder that a command's `install.sh` wrote to: one for each content of the command.

    >>> prefix_of("/home/dea/state", "clean", {"content": "0123456789abcdef0123"})
    '/home/dea/state/prefix/clean-0123456789abcdef'
    """
    return os.path.join(state, "prefix", f"{name}-{str(approved.get('content', 'unapproved'))[:16]}")


def state_of(prefix: "str | None") -> "str | None":
    """Return the state folder of the dispatcher that gave a command its prefix, for what the command itself calls.

    >>> state_of(prefix_of("/home/dea/state", "clean", {})), state_of(None)
    ('/home/dea/state', None)
    """
    return os.path.dirname(os.path.dirname(prefix)) if prefix else None


def _approvals(
    site: Site, key: Key, folder: str, name: str
) -> "tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]":
    """Return what is approved of a command and the site, and warnings: by hand one's own unapproved command may run."""
    try:
        approved, true_of_site = check_approval(site, folder, name)
    except Unapproved as unapproved:
        if key.label is not None:
            raise Refusal(REFUSED, *(f"{name}: {problem}" for problem in unapproved.problems)) from None
        return {"arguments": ANY}, {}, (*unapproved.problems, "its arguments are not checked: a key would be refused")
    problem = problem_with_readiness(site, name, approved)
    if problem and key.label is not None:
        raise Refusal(REFUSED, f"{name}: {problem}")
    return approved, true_of_site, (problem,) if problem else ()


def _least(limit: str, approved: "dict[str, Any]", true_of_site: "dict[str, Any]") -> "float | None":
    """Return the lower of a command's own limit and the site's, or None where neither has one."""
    limits = [document[limit] for document in (approved, true_of_site) if document.get(limit) is not None]
    return min(limits) if limits else None


def environment_of(true_of_site: "dict[str, Any]") -> "dict[str, str]":
    """Return the variables that the site sets for every command, by its approval."""
    environment: "dict[str, str]" = dict(true_of_site.get("environment", {}))
    if "path" in true_of_site:
        environment["PATH"] = true_of_site["path"]
    return environment


def _check_paths(paths: "list[tuple[str, str, list[str]]]") -> None:
    """Check again what the schema checked by the text alone, now with symbolic links resolved.

    Raises:
        Refusal: If a path leads out of the folders that it must be in.
    """
    problems = []
    for argument, path, folders in paths:
        resolved = os.path.realpath(path)
        if not is_under(resolved, [os.path.realpath(folder) for folder in folders]):
            problems.append(f"{argument}: {shown(path)} leads out of {' and '.join(folders)} through a symbolic link")
    if problems:
        raise Refusal(REFUSED, *problems)


def _matches_wildcards(pattern: str, name: str) -> bool:
    """Match a whole name: `*` stands for any characters, `?` for one. Not `fnmatch`, which imports `re`."""
    position = retry_at = 0
    star = -1
    index = 0
    while position < len(name):
        if index < len(pattern) and pattern[index] in ("?", name[position]):
            index += 1
            position += 1
        elif index < len(pattern) and pattern[index] == "*":
            star, retry_at = index, position
            index += 1
        elif star >= 0:
            retry_at += 1
            index, position = star + 1, retry_at
        else:
            return False
    return pattern[index:].strip("*") == ""
