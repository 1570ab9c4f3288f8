"""What a key's line is made of, each part checked: the label, the public key, what it starts, and its limits.

A limit that means nothing would be no limit, so what is not wholly understood is refused.
"""

import os
import stat
import sys
import time

from dea.remote.approval import unsafe
from dea.remote.authorized_keys import authorized_keys_line, ed25519_key, forced_command
from dea.remote.contract.request import Refusal, is_name, shown
from dea.remote.contract.status import REFUSED, USAGE
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import layout_around
from dea.remote.releases.settings import read as read_settings

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MAX_LABEL_LENGTH = 64
# sshd_config(5), PATTERNS: addresses, networks, names, with * ? and !
_ADDRESSES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/*?!,_-")
_PATTERN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_*?")
_MAX_KEY_BYTES = 16 * 1024


class Target:
    """What a forced command starts.

    Attributes:
        checkout: The checkout that serves, or the link to the release that does.
        python: The interpreter.
        state: The state folder, or None for the dispatcher's own default.
    """

    __slots__ = ("checkout", "python", "state")

    def __init__(self, checkout: str, python: str, state: "str | None" = None) -> None:
        self.checkout = checkout
        self.python = python
        self.state = state


class Limits:
    """What a key may do, and when.

    Attributes:
        only: The one command that it always runs, or None.
        allow: Patterns of the commands that it may run; none for all.
        addresses: From where it may be used (`from=`); empty for everywhere.
        expires: When it ends, `YYYYMMDD`; empty for never.
    """

    __slots__ = ("addresses", "allow", "expires", "only")

    def __init__(
        self, only: "str | None" = None, allow: "tuple[str, ...]" = (), addresses: str = "", expires: str = ""
    ) -> None:
        self.only = only
        self.allow = allow
        self.addresses = addresses
        self.expires = expires


def checked_label(label: str) -> str:
    """Return a key label that is one; it is also a part of files' names.

    Raises:
        Refusal: If it is none.
    """
    if not label or len(label) > _MAX_LABEL_LENGTH or not _LABEL.issuperset(label) or label[0] in "-.":
        raise Refusal(
            USAGE, f"{shown(label)} is no key label: use up to {_MAX_LABEL_LENGTH} letters, digits, . _ and -"
        )
    return label


def line_for(label: str, public_key: str, target: Target, limits: Limits) -> str:
    """Return the line of a key.

    Raises:
        Refusal: If the label can be none, or a path is not absolute.
    """
    checked_label(label)
    for name, path in (("checkout", target.checkout), ("python", target.python), ("state", target.state or "/")):
        if not os.path.isabs(path):
            raise Refusal(
                USAGE, f"--{name} {shown(path)} is no absolute path: a forced command has no folder of its own"
            )
    options = {"--only": limits.only, "--state": target.state}
    command = forced_command(
        target.python, target.checkout, label, {name: value for name, value in options.items() if value}, limits.allow
    )
    return authorized_keys_line(public_key, command, addresses=limits.addresses, expires=limits.expires)


def limits_of(
    only: "str | None", allow: "list[str] | tuple[str, ...]", addresses: "str | None", expires: "str | None"
) -> Limits:
    """Check what is asked of a key's limits; None where nothing is. `expires` is a date, `YYYY-MM-DD`.

    Raises:
        Refusal: If one is not as it should be: a limit that means nothing would be no limit.
    """
    if only is not None and not is_name(only):
        raise Refusal(USAGE, f"--only {shown(only)} is no name of a command")
    if only is not None and allow:
        raise Refusal(USAGE, "--only and --allow exclude each other: one command whatever is sent, or a choice")
    for pattern in allow:
        if not pattern or not _PATTERN.issuperset(pattern):
            raise Refusal(USAGE, f"--allow {shown(pattern)} is no pattern of commands: a name, with * and ?")
    # Empty is not none: a script whose variable is not set has meant a limit.
    if addresses is not None and (not addresses or not _ADDRESSES.issuperset(addresses)):
        raise Refusal(USAGE, f"--from {shown(addresses)} is no list of addresses: as 192.0.2.0/24,*.example.org")
    if expires is not None:
        try:
            date = time.strptime(expires, "%Y-%m-%d")
        except ValueError:
            raise Refusal(USAGE, f"--expires {shown(expires)} is no date: write 2030-12-31") from None
        if date < time.localtime():
            raise Refusal(USAGE, f"--expires {shown(expires)} is over: the key would never log in")
        expires = time.strftime("%Y%m%d", date)
    return Limits(only, tuple(allow), addresses or "", expires or "")


def given_key(source: str) -> str:
    """Return the public key that an argument gives: its text, a file's, or standard input's.

    Raises:
        Refusal: If it is no Ed25519 public key, or cannot be read.
    """
    text, where = source, "--public-key"
    if not source.startswith("ssh-"):
        where = "standard input" if source == "-" else source
        try:
            with open(0 if source == "-" else source, "rb", closefd=source != "-") as file:
                text = file.read(_MAX_KEY_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(USAGE, f"{where} cannot be read: {error}") from error
    try:
        return str(ed25519_key(text))
    except ValueError as error:
        raise Refusal(USAGE, f"{where}: {error}") from None


def target_of(checkout: str) -> Target:
    """Return what the keys of a checkout are tied to: where it is a release, the link to whichever release serves.

    Raises:
        Refusal: If it is a release whose settings cannot be read.
    """
    layout = layout_around(checkout)
    if layout is None:
        return Target(checkout, sys.executable)
    try:
        settings = read_settings(layout)
    except ReleaseError as error:
        raise Refusal(REFUSED, str(error)) from error
    return Target(layout.current, settings.python, settings.state)


def check_target(target: Target) -> None:
    """Check that a forced command would start what the account alone can change.

    Raises:
        Refusal: With all that is wrong.
    """
    problems = []
    if not os.access(target.python, os.X_OK):
        problems.append(f"{target.python} cannot be executed: give --python")
    checkout = os.path.realpath(target.checkout)
    package = os.path.join(checkout, "dea", "remote")
    kinds = ((checkout, stat.S_ISDIR), (package, stat.S_ISDIR), (os.path.join(package, "__main__.py"), stat.S_ISREG))
    for path, is_kind in kinds:
        try:
            problem = unsafe(os.lstat(path), (0, os.geteuid()), is_kind)
        except OSError as error:
            problem = f"cannot be looked at ({error.strerror})"
        if problem:
            problems.append(f"{path} {problem}")
    if problems:
        raise Refusal(REFUSED, *problems)
