"""Where the run ids of a session's calls come from; deriving them from an event is `dea.lambdas`' own."""

from __future__ import annotations

import secrets
from typing import Protocol


class RunIds(Protocol):
    """Makes the run ids of a session's calls.

    If it has an attribute `repeatable` that is false, its ids are new each time, and no error says that repeating is safe.
    """

    def __call__(self, key: str | None, /) -> str:
        """Return the id of the next call's run: the same for the same call of the same event, whenever that is repeated.

        Args:
            key: The call's own `key`; None if it has none.
        """


def random_run_id(key: str | None = None, /) -> str:  # noqa: ARG001 - no key makes it any less random
    """Return an id that names a run once: a lost connection is safe, a repeated event is not."""
    # Never a hyphen first: people hand ids to programs that would take it for an option.
    return f"run-{secrets.token_hex(12)}"
