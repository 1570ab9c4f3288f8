"""Reads what the forced command's own argv says: which key a request came with, what it may do, and where its state is.

It is trusted, because only the account itself can write `authorized_keys`; a mistake in it refuses everything. Nothing that
a client sends is read here. See sshd(8), AUTHORIZED_KEYS FILE FORMAT.
"""

import os

from dea.remote.contract.request import Refusal, is_name, shown
from dea.remote.contract.status import REFUSED
from dea.remote.decision import Key, Site

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    import pwd

STATE_FOLDER = ".dea-orchestration"
"""The state folder's default place, in the account's home folder."""

OPTIONS = ("--key", "--home", "--state", "--allow", "--only", "--node", "--lost-after", "--fault")

_REPEATABLE = ("--allow",)
_MAX_LABEL_LENGTH = 128
_MAX_LOST_AFTER_S = 24 * 3600.0


def read_options(argv: "list[str]", checkout: str, account: "pwd.struct_passwd") -> "tuple[Site, Key]":
    """Read the options of the forced command.

    Args:
        argv: They alone.
        checkout: The checkout's root.
        account: The account's entry in the user database: in gate mode, HOME is not trusted.

    Raises:
        Refusal: If a word is unknown, an option lacks its value or is repeated, or `--key` is missing.
    """
    values = _values(argv)
    label = "".join(values.get("--key", []))
    only = "".join(values["--only"]) if "--only" in values else None
    if not label or len(label) > _MAX_LABEL_LENGTH:
        raise _misconfigured("has no --key LABEL, or too long a one")
    if only is not None and not is_name(only):
        raise _misconfigured(f"has --only {shown(only)}, which is no name of a command")
    home = "".join(values.get("--home", [account.pw_dir]))
    state = "".join(values.get("--state", [os.path.join(home, STATE_FOLDER)]))
    if not os.path.isabs(home) or not os.path.isabs(state):
        raise _misconfigured("has a --home or --state that is no absolute path")
    site = Site(checkout, account, home, state)
    site.node = "".join(values.get("--node", [site.node]))
    if "--lost-after" in values:
        site.lost_after_s = _seconds("".join(values["--lost-after"]))
    if "--fault" in values:
        from dea.remote import fault

        if not fault.arm("".join(values["--fault"])):
            raise _misconfigured(f"has --fault {shown(values['--fault'][0])}, which is no step")
    return site, Key(label, tuple(values.get("--allow", ())), only)


def _values(argv: "list[str]") -> "dict[str, list[str]]":
    values: "dict[str, list[str]]" = {}
    option = ""
    for word in argv:
        if word.startswith("--"):
            option = word
            if option not in OPTIONS or (option in values and option not in _REPEATABLE):
                raise _misconfigured(f"has an unknown or repeated option {shown(option)}")
            values.setdefault(option, [])
        elif not word or (values[option] and option not in _REPEATABLE):
            raise _misconfigured(f"has a stray word {shown(word)}")
        else:
            values[option].append(word)
    for option, given in values.items():
        if not given:
            raise _misconfigured(f"has no value for {option}")
    return values


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_LOST_AFTER_S:
        raise _misconfigured(f"has --lost-after {shown(text)}, which is no number of seconds up to a day")
    return seconds


def _misconfigured(problem: str) -> Refusal:
    return Refusal(REFUSED, f"the forced command in authorized_keys {problem}: tell the operator")
