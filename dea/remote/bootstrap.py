"""Makes a bare account one that serves: `--bootstrap`, by hand only, from any clone. What is there already is kept, never changed.

It makes the folder of the releases with its settings, the third key and the pinned host key of the repository's server, has
the first release built and checked by git_pull itself, and lets the keys in that it is given. Each step is one that a second
call finds done, so whatever fails or is cut off, the same call again goes on. See docs/how-to/install-on-raijin.md.
"""

import os
import subprocess
import sys

from dea.remote.authorize import Parser, about, authorize
from dea.remote.authorized_keys import Entry, ed25519_key
from dea.remote.authorized_keys_file import authorized_keys_of, entries, read
from dea.remote.bootstrap_settings import configure, public_half
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import REFUSED, USAGE
from dea.remote.decision import UPDATE
from dea.remote.exchange import say
from dea.remote.key_line import Limits, Target, given_key, limits_of, line_for
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import Layout, Settings

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    import pwd

ROOT = "dea-orchestration"
"""The folder of the releases, in the account's home folder, unless another is named."""

RUN, PULL = "run", "pull"
"""The labels of the key that runs commands and of the key that triggers updates."""

UNFINISHED = 1
"""The exit status if something is still to be done; the last line says what."""


def report(
    checkout: str, account: "pwd.struct_passwd", arguments: "tuple[str, ...]"
) -> "tuple[int, dict[str, object], list[str]]":
    """Do what is still to be done; return the exit status, how things stand, and the same as lines of text.

    Args:
        checkout: The clone that this code is in; it is not needed afterwards.
        account: The account's entry in the user database.
        arguments: `--help` describes them.

    Raises:
        Refusal: If an argument is not as it should be, is another than at the first call, or something is in the way.
    """
    options = _parser().parse_args(arguments)
    # Many a site's umask lets the group write; nothing that others can write would be trusted.
    os.umask(0o022)
    limits = limits_of(None, (), options.from_, None)
    if limits.addresses and options.run_key is None and options.pull_key is None:
        raise Refusal(USAGE, "--from limits the keys that are let in: give --run-key or --pull-key with it")
    keys = {RUN: options.run_key, PULL: options.pull_key}
    given = {label: given_key(source) for label, source in keys.items() if source is not None}
    layout = Layout(os.path.realpath(options.root or os.path.join(account.pw_dir, ROOT)))
    path = os.path.abspath(options.authorized_keys or authorized_keys_of(account.pw_dir))
    try:
        settings = configure(layout, options)
        public_key = public_half(settings.key) if settings.is_ssh and settings.key else None
        if public_key and not layout.serving():
            say(f"the third key, which must be able to read {settings.repository} and nothing else:", public_key)
        while not layout.serving() and not _updated(checkout, layout, settings):
            if not public_key or not sys.stdin.isatty():
                said = "nothing serves yet: put right what the lines before say, and run this again"
                if public_key:
                    said += f"; the repository's server must let this key read: {public_key}"
                return UNFINISHED, _found(layout, public_key, {}, said), [said]
            _wait_for_enter()
        authorized = _authorized(path, Target(layout.current, settings.python, settings.state), given, limits)
    except (ReleaseError, OSError) as error:
        raise Refusal(REFUSED, str(error)) from error
    lines = [f"{layout.serving()} serves from {layout.current}"]
    lines += [f"{label}: {fingerprint} is let in" for label, fingerprint in authorized.items()]
    lines += [
        f"{label}: not let in yet: python3 {layout.current}/dea/remote --authorize {label} --public-key FILE"
        + (f" --only {UPDATE}" if label == PULL else "")
        for label in (RUN, PULL)
        if label not in authorized
    ]
    return 0, _found(layout, public_key, authorized), lines


def _found(
    layout: Layout, public_key: "str | None", authorized: "dict[str, str]", problem: "str | None" = None
) -> "dict[str, object]":
    serving = layout.serving()
    return {
        "root": layout.root, "serving": serving, "public_key": public_key, "authorized": authorized, "problem": problem,
    }  # fmt: skip


def _updated(checkout: str, layout: Layout, settings: Settings) -> bool:
    """Have the first release built, checked and switched to, by git_pull as it is in this clone; tell whether it serves."""
    program = [settings.python, "-I", "-S", os.path.join(checkout, "dea", "remote", "releases", "__main__.py")]
    done = subprocess.run(
        [*program, "--root", layout.root], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0 and layout.serving() is not None


def _wait_for_enter() -> None:
    say(
        "put that right (the repository's server must let the key above read), and press Enter; or Ctrl-C, to go on later"
    )
    if not sys.stdin.readline():
        raise Refusal(UNFINISHED, "nothing serves yet: run this again")


def _authorized(path: str, target: Target, given: "dict[str, str]", limits: Limits) -> "dict[str, str]":
    """Let the given keys in that are not yet; return the fingerprints of both labels' keys, as far as there are."""
    for label, key in given.items():
        there = [entry for _, entry in entries(read(path)) if entry is not None and entry.label == label]
        line = line_for(label, key, target, Limits(UPDATE if label == PULL else None, (), limits.addresses))
        if any(_lets_in(entry, key, label, target, limits) for entry in there):
            continue
        if there:
            raise Refusal(
                REFUSED,
                f"authorized_keys has a line of the key {label} already, {there[0].key.fingerprint} with the forced command"
                f" {shown(there[0].options['command'], 200)} and from={shown(there[0].options.get('from', ''))}: replace it on purpose, with"
                f" python3 {target.checkout}/dea/remote --authorize {label}",
            )
        for remark in authorize(path, line).remarks:
            say(remark)
    found = [entry for _, entry in entries(read(path)) if entry is not None]
    return {entry.label: entry.key.fingerprint for entry in found if entry.label in (RUN, PULL)}


def _lets_in(entry: Entry, key: str, label: str, target: Target, limits: Limits) -> bool:
    """Tell whether a line lets a key in to what is asked for: narrower may be, wider not."""
    return (
        entry.key.fingerprint == ed25519_key(key).fingerprint
        and entry.starts(target.checkout)
        and (label != PULL or about(entry)["only"] == UPDATE)
        and "restrict" in entry.options
        and limits.addresses in ("", entry.options.get("from", ""))
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python3 dea/remote --bootstrap",
        allow_abbrev=False,
        description="Makes this account serve: releases from a repository, behind keys. Can be called again at any time.",
    )
    parser.add_argument("--repository", metavar="URL", help="git@HOST:PATH, ssh://USER@HOST[:PORT]/PATH, or /PATH")
    parser.add_argument("--branch", help="the branch whose newest commit serves (default: production)")
    parser.add_argument(
        "--known-hosts", metavar="FILE", help="host keys of the repository's server (default: ask for them)"
    )
    parser.add_argument("--key", metavar="FILE", help="a private key that can read the repository (default: make one)")
    parser.add_argument("--run-key", metavar="KEY", help="the public key that runs commands: a .pub file or its text")
    parser.add_argument("--pull-key", metavar="KEY", help="the public key that triggers updates, likewise")
    parser.add_argument("--from", dest="from_", metavar="LIST", help="from where both may be used")
    parser.add_argument("--commit-signers", metavar="FILE", help="who may sign commits; without it nobody has to")
    parser.add_argument("--approvers", metavar="FILE", help="who may sign approvals; without it nobody has to")
    parser.add_argument("--root", metavar="DIR", help=f"the folder of the releases (default: ~/{ROOT})")
    parser.add_argument("--state", metavar="DIR", help="the state folder (default: ~/.dea-orchestration)")
    parser.add_argument(
        "--python", metavar="PATH", help="the forced commands' interpreter (default: the one that runs this)"
    )
    parser.add_argument("--authorized-keys", metavar="FILE", help="another file than ~/.ssh/authorized_keys")
    return parser
