"""Lets another release serve: one link is replaced in one step, and what followed what is written down."""

import json
import os
import time

from dea.remote.audit import timestamp
from dea.remote.disk import force_to_disk, write_durably
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import Layout

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
_KEPT = 200


def switches(layout: Layout) -> "list[dict[str, Any]]":
    """Return the switches so far, oldest first: `time` (UTC, ISO 8601), `from` (None for the first), `to`, `rollback`.

    Raises:
        ReleaseError: If their record cannot be read.
    """
    try:
        with open(layout.switches, encoding="utf-8") as file:
            document = json.load(file)
        found: "list[dict[str, Any]]" = document["switches"]
        if document["format"] != FORMAT or not all({"time", "from", "to", "rollback"} <= set(one) for one in found):
            raise ValueError("it is not what this release writes")  # noqa: TRY301
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{layout.switches} cannot be read ({error}): move it away to begin a new one") from error
    return found


def previous(layout: Layout, serving: "str | None") -> str:
    """Return the commit that served before the one that serves.

    Raises:
        ReleaseError: If there is none, or its release is gone.
    """
    for switch in reversed(switches(layout)):
        if switch["to"] == serving and not switch["rollback"] and switch["from"] not in (None, serving):
            commit = str(switch["from"])
            if not os.path.isdir(layout.release(commit)):
                raise ReleaseError(f"the release before, {commit}, has been removed: push a commit that is right")
            return commit
    raise ReleaseError("there is no release before this one to go back to")


def was_taken_back(layout: Layout, commit: str) -> bool:
    """Tell whether a commit was left by a rollback and has not served since."""
    for switch in reversed(switches(layout)):
        if switch["to"] == commit:
            return False
        if switch["from"] == commit and switch["rollback"]:
            return True
    return False


def switch_to(layout: Layout, commit: str, token: str, *, rollback: bool) -> None:
    """Let a commit's release serve from now on. A command that runs keeps the release that it was started in.

    Args:
        layout: Where things are.
        commit: The commit.
        token: What this update's temporary names end in.
        rollback: Whether this goes back.
    """
    # Written before: a switch that is written down and did not happen is harmless, one that nobody knows of is not.
    done = [*switches(layout), _entry(layout.serving(), commit, rollback)][-_KEPT:]
    draft = f"{layout.switches}.new-{token}"
    record = json.dumps({"format": FORMAT, "switches": done}, indent=1)
    write_durably(draft, f"{record}\n".encode("ascii"), 0o644)
    os.replace(draft, layout.switches)
    link = f"{layout.current}.new-{token}"
    os.symlink(os.path.join("releases", commit), link)
    os.replace(link, layout.current)
    force_to_disk(layout.root)


def _entry(serving: "str | None", commit: str, rollback: bool) -> "dict[str, Any]":
    return {"time": timestamp(time.time()), "from": serving, "to": commit, "rollback": rollback}
