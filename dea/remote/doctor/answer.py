"""Puts the checks of a login node together and tells what came of them: `--doctor [--state DIR] [--home DIR] [--one-node]`."""

import os
from dataclasses import asdict

from dea.remote.checks import Check, lines
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import USAGE
from dea.remote.doctor import file_system, mounts, permissions, serving, surroundings
from dea.remote.doctor.forced_commands import forced_commands
from dea.remote.doctor.node import Node, look

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from collections.abc import Callable

NOT_WELL = 1
"""The exit status when a check did not pass."""

CHECKS: "tuple[Callable[[Node], Check], ...]" = (
    surroundings.python,
    surroundings.shell_startup,
    surroundings.site_limits,
    permissions.checkout,
    permissions.ssh_files,
    forced_commands,
    permissions.state_folder,
    mounts.shared_file_system,
    file_system.rename,
    file_system.link,
    file_system.flock,
    file_system.fsync,
    file_system.clock,
    file_system.free_space,
    serving.settings,
    serving.approvals,
    serving.signatures,
    serving.installs,
    serving.audit,
)
"""All of them, in the order in which they are told. Each is named as its check."""

_TAKES = "--doctor takes --state DIR, --home DIR (absolute), --one-node and --json"


def report(checkout: str, arguments: "tuple[str, ...]") -> "tuple[int, list[dict[str, object]], list[str]]":
    """Check a login node.

    Args:
        checkout: The checkout's root, links resolved.
        arguments: `--state DIR`: another state folder than the forced commands name; `--home DIR`: another home folder than
            the account's; `--one-node`: that there is no other login node.

    Returns:
        The exit status (0 if every check passed, else `NOT_WELL`), the checks, and the same as lines of text.

    Raises:
        Refusal: If an argument is none of these.
    """
    paths: "dict[str, str]" = {}
    is_alone = False
    rest = iter(arguments)
    for option in rest:
        if option == "--one-node":
            is_alone = True
            continue
        value = next(rest, "")
        if option not in ("--state", "--home") or not os.path.isabs(value):
            raise Refusal(USAGE, f"{shown(option)}: {_TAKES}")
        paths[option] = value
    node = look(checkout, home=paths.get("--home"), state=paths.get("--state"), is_alone=is_alone)
    checks = [_checked(check, node) for check in CHECKS]
    return (0 if all(one.ok for one in checks) else NOT_WELL), [asdict(one) for one in checks], lines(checks)


def _checked(check: "Callable[[Node], Check]", node: Node) -> Check:
    """Run one check; that one of them fails in itself must not hide what the others found."""
    try:
        return check(node)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and is no pass
        return Check(check.__name__, None, f"it could not be tried: {type(error).__name__}: {shown(str(error), 200)}")
