"""Tells whether a command's `install.sh` has done its work: reads the outcome that `dea.remote.releases.install` wrote.

It is imported at a dispatch only for a command that has an `install.sh`.
"""

import os

from dea.remote.decision import INSTALL

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

INSTALLED, FAILED, BEGUN = "installed", "failed", "begun"
"""The outcomes: it ended with status 0; it did not; it was begun, and has not ended or was cut off."""

_OUTCOME_SUFFIX, _LOG_SUFFIX = ".outcome", ".log"
_MAX_BYTES = 4096


def outcome_path(prefix: str) -> str:
    """Return where the outcome of the `install.sh` that fills a prefix is kept."""
    return prefix + _OUTCOME_SUFFIX


def log_path(prefix: str) -> str:
    """Return where what that `install.sh` printed is kept."""
    return prefix + _LOG_SUFFIX


class Outcome:
    """What became of an `install.sh`.

    Attributes:
        kind: `INSTALLED`, `FAILED` or `BEGUN`.
        time: When (UTC, ISO 8601).
        checkout: The checkout or release that it was run in.
        reason: Why it failed, or an empty text.
    """

    __slots__ = ("checkout", "kind", "reason", "time")

    def __init__(self, kind: str, time: str, checkout: str, reason: str) -> None:
        self.kind = kind
        self.time = time
        self.checkout = checkout
        self.reason = reason

    def encode(self, content: str) -> str:
        """Return the one line that is kept: `OUTCOME CONTENT TIME CHECKOUT REASON`, with tabs between them."""
        return "\t".join((self.kind, content, self.time, self.checkout, self.reason)) + "\n"


def outcome_of(prefix: str, content: str) -> "Outcome | None":
    """Return what became of the `install.sh` of a content of a command, or None if it has not been run.

    Args:
        prefix: The command's prefix; if that is gone, so is what was installed.
        content: The content's whole hash, as its approval has it: the prefix's name has only a part of it.
    """
    try:
        descriptor = os.open(outcome_path(prefix), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        line = os.read(descriptor, _MAX_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
    fields = line[:-1].split("\t")
    if not line.endswith("\n") or len(fields) != 5 or fields[1] != content or not os.path.isdir(prefix):
        return None
    return Outcome(fields[0], fields[2], fields[3], fields[4])


def problem_with_installation(name: str, prefix: str, approved: "dict[str, Any]") -> "str | None":
    """Return why a command with an `install.sh` cannot run yet, or None.

    Args:
        name: The command's name.
        prefix: Its prefix.
        approved: The content of its `approved.json`.
    """
    outcome = outcome_of(prefix, str(approved.get("content", "")))
    if outcome is not None and outcome.kind == INSTALLED:
        return None
    remedy = f"git_pull runs it for a release; in a checkout of your own, inv install-command --name {name}"
    if outcome is None:
        return f"its {INSTALL} has not been run for this content of the command: {remedy}"
    if outcome.kind == FAILED:
        return f"its {INSTALL} failed ({outcome.reason}; {outcome.time}): see {log_path(prefix)}; {remedy}"
    return f"its {INSTALL} was begun ({outcome.time}) and has not come to its end: {remedy}"
