"""What there is to look at on a login node: the account, its keys, where they lead, and what updates are configured with."""

import os
import pwd
import sys
from dataclasses import dataclass

from dea.remote.contract.request import Refusal
from dea.remote.decision import Key, Site
from dea.remote.doctor.key_lines import KeyLine, read
from dea.remote.gate import OPTIONS, STATE_FOLDER, read_options
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import Layout, Settings, layout_around
from dea.remote.releases.settings import read as read_settings

AUTHORIZED_KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")
"""sshd_config(5), AuthorizedKeysFile: the default, in the home folder."""

FAULT = "--fault"


@dataclass(frozen=True)
class Gate:
    """A line of `authorized_keys` whose forced command starts this checkout's dispatcher.

    Attributes:
        line: The line.
        words: The forced command's words; empty if they cannot be told without a shell.
        site: Where it says that things are; None if its options are not right.
        key: What it lets its key do; None likewise.
        problem: What is wrong with its words, or an empty text.
    """

    line: KeyLine
    words: "tuple[str, ...]"
    site: "Site | None" = None
    key: "Key | None" = None
    problem: str = ""


@dataclass(frozen=True)
class Node:
    """What there is.

    Attributes:
        site: The checkout, the account, the home folder and the state folder.
        key_files: The files of keys that there are.
        lines: The lines of those files that hold a key.
        gates: Those of them that lead to this checkout.
        elsewhere: The checkouts that other forced commands lead to.
        layout: Where releases are; None if the checkout is none.
        settings: What updates are configured with; None if the checkout is no release, or they cannot be read.
        settings_problem: Why they cannot be read, or an empty text.
        is_alone: Whether it was said that there is one login node only.
    """

    site: Site
    key_files: "tuple[str, ...]"
    lines: "tuple[KeyLine, ...]"
    gates: "tuple[Gate, ...]"
    elsewhere: "tuple[str, ...]"
    layout: "Layout | None"
    settings: "Settings | None"
    settings_problem: str
    is_alone: bool

    @property
    def interpreters(self) -> "list[str]":
        """The interpreters that dispatch: those of the forced commands, of the settings, or else this one."""
        named = [gate.words[0] for gate in self.gates if gate.words]
        if self.settings is not None:
            named.append(self.settings.python)
        return list(dict.fromkeys(named)) or [sys.executable]


def look(checkout: str, *, home: "str | None", state: "str | None", is_alone: bool) -> Node:
    """Gather what there is to look at.

    Args:
        checkout: The checkout's root, links resolved.
        home: The account's home folder; None for the user database's.
        state: The state folder; None for the one that the forced commands name, or else the default.
        is_alone: Whether there is one login node only.
    """
    account = pwd.getpwuid(os.getuid())
    home = home or account.pw_dir
    key_files = tuple(path for path in (os.path.join(home, name) for name in AUTHORIZED_KEYS) if os.path.lexists(path))
    found = tuple(line for path in key_files for line in _lines_of(path))
    gates = []
    elsewhere = []
    for line in found:
        where = line.checkout
        if where is not None and os.path.realpath(where) != checkout:
            elsewhere.append(where)
        elif where is not None:
            gates.append(_gate(line, checkout, account))
    layout, settings, problem = _settings_of(checkout)
    named = {gate.site.state for gate in gates if gate.site is not None}
    if state is None:
        configured = settings.state if settings is not None else None
        state = min(named) if named else configured or os.path.join(home, STATE_FOLDER)
    site = Site(checkout, account, home, state)
    return Node(
        site, key_files, found, tuple(gates), tuple(dict.fromkeys(elsewhere)), layout, settings, problem, is_alone
    )


def _lines_of(path: str) -> "list[KeyLine]":
    try:
        return read(path) if os.path.isfile(path) else []
    except OSError:
        return []  # that the account cannot read it is said by a check


def _gate(line: KeyLine, checkout: str, account: "pwd.struct_passwd") -> Gate:
    words = line.words
    if words is None:
        return Gate(line, (), problem="its forced command holds what a shell would read as more than words")
    options = words[line.program_at + 1 :]
    if FAULT in options:  # the dispatcher would be told to die, and so would this process
        return Gate(line, tuple(words), problem=f"its forced command has {FAULT}, which is for tests: take it out")
    if not options or options[0] not in OPTIONS:
        what = "behind the dispatcher comes none of its options: it would take that for a request, and not look at the client's"
        return Gate(line, tuple(words), problem=what)
    try:
        site, key = read_options(options, checkout, account)
    except Refusal as refusal:
        return Gate(line, tuple(words), problem=str(refusal))
    return Gate(line, tuple(words), site, key)


def _settings_of(checkout: str) -> "tuple[Layout | None, Settings | None, str]":
    layout = layout_around(checkout)
    if layout is None:
        return None, None, ""
    try:
        return layout, read_settings(layout), ""
    except (ReleaseError, OSError) as error:
        return layout, None, str(error)
