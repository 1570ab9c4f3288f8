"""Lets keys in, and shuts them out: `--authorize`, by hand only. One line of `authorized_keys` for each key label.

    --authorize                                              list the keys that the dispatcher serves
    --authorize LABEL --public-key KEY [limits] [--beside]   add the key's line, or replace it
    --authorize LABEL --public-key KEY [limits] --print      print the line, change nothing
    --authorize --remove LABEL [--except FINGERPRINT]        remove the label's lines, but for one key's

What a line is made of is `dea.remote.key_line`'s.
"""

import argparse
import os

from dea.remote.authorized_keys import Entry, authorized_keys_line
from dea.remote.authorized_keys_file import Edit, authorized_keys_of, edit, entries, read, with_line, without_label
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import REFUSED, USAGE
from dea.remote.contract.words import split
from dea.remote.key_line import (
    Limits,
    Target,
    check_target,
    checked_label,
    given_key,
    limits_of,
    line_for,
    target_of,
)

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    import pwd
    from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Reads the words after one that is by hand only; a mistake is one line, as everything that the dispatcher says."""

    def error(self, message: str) -> "NoReturn":
        """Refuse the words.

        Raises:
            Refusal: Always.
        """
        raise Refusal(USAGE, f"{message}: {self.prog} --help lists what there is")


def report(
    checkout: str, account: "pwd.struct_passwd", arguments: "tuple[str, ...]"
) -> "tuple[dict[str, object], list[str]]":
    """Do what the arguments say; return what was done, and the same as lines of text.

    Args:
        checkout: The checkout that this code is in; if it is a release, the link to it is what keys are tied to.
        account: The account's entry in the user database.
        arguments: As in this module's first lines; `--help` describes them.

    Raises:
        Refusal: If an argument is not as it should be, or the file is not to be changed, or cannot be.
    """
    try:
        return _report(checkout, account, _parser().parse_args(arguments))
    except OSError as error:
        raise Refusal(REFUSED, f"{error.filename}: {error.strerror}: nothing was changed") from error


def _report(
    checkout: str, account: "pwd.struct_passwd", options: argparse.Namespace
) -> "tuple[dict[str, object], list[str]]":
    path = os.path.abspath(options.authorized_keys or authorized_keys_of(account.pw_dir))
    _check_together(options)
    if options.label is not None:
        checked_label(options.label)
    if options.remove is not None:
        done = edit(path, lambda content: without_label(content, options.remove, but=options.except_))
        gone = f"removed the lines of the key {options.remove}"
        return _told(path, done, gone, f"no line of the key {shown(options.remove)} is to be removed")
    if options.label is None:
        return _listed(path)
    if options.public_key is None:
        raise Refusal(USAGE, "--public-key is missing: a .pub file, - for standard input, or the key's text")
    key = given_key(options.public_key)
    limits = limits_of(options.only, options.allow, options.from_, options.expires)
    if options.beside:
        done = edit(path, lambda content: _with_another(content, options.label, key, limits))
        return _told(path, done, f"added {key} beside the key {options.label}")
    target = target_of(checkout)
    if options.checkout or options.python or options.state:
        target = Target(
            options.checkout or target.checkout, options.python or target.python, options.state or target.state
        )
    line = line_for(options.label, key, target, limits)
    if options.print:
        return {"line": line}, [line]
    check_target(target)
    return _told(path, authorize(path, line), f"the key {options.label} is let in")


def authorize(path: str, line: str) -> Edit:
    """Have a line of ours in the file, in the place of its label's.

    Raises:
        Refusal: As `edit` and `with_line`.
        OSError: As `edit`.
    """
    return edit(path, lambda content: with_line(content, line))


def _check_together(options: argparse.Namespace) -> None:
    """Check that everything that is given counts: who gives a limit, or `--print`, must not be passed over.

    Raises:
        Refusal: If something does not.
    """
    given = {name for name, value in vars(options).items() if value not in (None, False, [])} - {"authorized_keys"}
    if options.remove is not None:
        passed_over, why = given - {"remove", "except_"}, "--remove takes the label, and --except at most"
    elif options.label is None:
        passed_over, why = given, "without a LABEL, keys are listed and nothing is done"
    elif options.beside:
        passed_over = given - {"label", "public_key", "beside", "from_", "expires"}
        why = "--beside takes what the key may do from its label's line"
    else:
        passed_over, why = given & {"except_"}, "--except is for --remove"
    if passed_over:
        flags = ("LABEL" if name == "label" else f"--{name.rstrip('_').replace('_', '-')}" for name in passed_over)
        raise Refusal(USAGE, f"{why}: leave out {', '.join(sorted(flags))}")


def _with_another(content: bytes, label: str, key: str, limits: Limits) -> bytes:
    """Return the content with one more key of a label that may do what the label's first one may."""
    old = next((entry for _, entry in entries(content) if entry is not None and entry.label == label), None)
    if old is None:
        raise Refusal(REFUSED, f"there is no line of the key {shown(label)} to put another beside: leave out --beside")
    addresses = limits.addresses or old.options.get("from", "")
    expires = limits.expires or old.options.get("expiry-time", "")
    line = authorized_keys_line(key, old.options["command"], addresses=addresses, expires=expires)
    return with_line(content, line, beside=True)


def _told(
    path: str, done: Edit, what: str, nothing: str = "nothing to change"
) -> "tuple[dict[str, object], list[str]]":
    lines = [f"{path}: {what if done.changed else nothing}"]
    lines += [f"the file as it was: {done.backup}"] if done.backup else []
    return {
        "file": path, "changed": done.changed, "backup": done.backup, "remarks": done.remarks, **_listed(path)[0],
    }, [*lines, *done.remarks]  # fmt: skip


def _listed(path: str) -> "tuple[dict[str, object], list[str]]":
    found = [entry for _, entry in entries(read(path)) if entry is not None]
    ours = [about(entry) for entry in found if entry.label is not None]
    lines = [
        f"{one['label']}: {one['fingerprint']}, {one['may']}"
        + (f", from {one['from']}" if one["from"] else "")
        + (f", until {one['expires']}" if one["expires"] else "")
        for one in ours
    ]
    strangers = len(found) - len(ours)
    remark = f"{strangers} other keys, which are not ours" if strangers else "no other keys"
    return {"file": path, "keys": ours, "strangers": strangers}, [*lines, remark]


def about(entry: Entry) -> "dict[str, Any]":
    """Return what a line of ours says of its key."""
    words = split(entry.options["command"])[0][4:]
    given: "dict[str, list[str]]" = {}
    option = ""
    for word in words:
        option = word if word.startswith("--") else option
        given.setdefault(option, []).extend([] if word == option else [word])
    only, allow = given.get("--only"), given.get("--allow")
    may = f"runs {only[0]} whatever is sent" if only else f"may run {' '.join(allow)}" if allow else "may run commands"
    return {
        "label": entry.label,
        "fingerprint": entry.key.fingerprint,
        "only": only[0] if only else None,
        "allow": allow or [],
        "may": may,
        "from": entry.options.get("from", ""),
        "expires": entry.options.get("expiry-time", ""),
        "restricted": "restrict" in entry.options,
        "forced_command": entry.options["command"],
    }


def _parser() -> Parser:
    parser = Parser(
        prog="python3 dea/remote --authorize",
        allow_abbrev=False,
        description="Lets a key in, with the dispatcher as its forced command; without a label, lists those that are.",
    )
    parser.add_argument("label", nargs="?", help="the key's label, which the audit log names; its line is replaced")
    parser.add_argument("--public-key", metavar="KEY", help="a .pub file, - for standard input, or the key's text")
    parser.add_argument("--only", metavar="NAME", help="the one command that the key runs, whatever it is sent")
    parser.add_argument("--allow", metavar="PATTERN", action="append", default=[], help="commands that it may run")
    parser.add_argument("--from", dest="from_", metavar="LIST", help="from where: 192.0.2.0/24,*.example.org")
    parser.add_argument("--expires", metavar="DATE", help="until when: 2030-12-31")
    parser.add_argument(
        "--beside", action="store_true", help="add the key beside the label's, which stays, as it may do"
    )
    parser.add_argument("--print", action="store_true", help="print the line and change nothing")
    parser.add_argument("--remove", metavar="LABEL", help="remove the label's lines")
    parser.add_argument(
        "--except", dest="except_", metavar="FINGERPRINT", help="with --remove: the key whose line stays"
    )
    parser.add_argument("--checkout", metavar="DIR", help="what the forced command starts (default: what this is)")
    parser.add_argument("--python", metavar="PATH", help="its interpreter (default: the configured one, else this one)")
    parser.add_argument("--state", metavar="DIR", help="its state folder (default: the configured one)")
    parser.add_argument("--authorized-keys", metavar="FILE", help="another file than ~/.ssh/authorized_keys")
    return parser
