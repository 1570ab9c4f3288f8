"""What is called of this package: the update itself, the release's own part of it, and one command's `install.sh`.

- `python3 dea/remote/releases [--root DIR] [--dry-run] [--rollback] [--force]`: an update, as the command git_pull does it.
- `python3 dea/remote/releases --install NAME`: runs one command's `install.sh`.
- `python3 dea/remote/releases --prepare --state DIR --timeout SECONDS`: a release checks and installs itself.
"""

import sys

if sys.version_info < (3, 9):
    sys.exit("git_pull needs Python 3.9 or newer: put one first in the site's path")

import argparse
import json
import os
import pwd
import signal

# As in dea/remote/__main__.py: nothing in the checkout may shadow the standard library.
_HERE = os.path.dirname(os.path.realpath(__file__))
_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != _HERE]
sys.path.append(_CHECKOUT)

from dea.remote.approval import SCRIPTS, Unapproved  # noqa: E402 - importable only now
from dea.remote.contract import is_name  # noqa: E402
from dea.remote.decision import Site  # noqa: E402
from dea.remote.gate import STATE_FOLDER  # noqa: E402
from dea.remote.installed import FAILED  # noqa: E402
from dea.remote.releases.errors import ReleaseError  # noqa: E402
from dea.remote.releases.install import NONE, TIMEOUT_S, install  # noqa: E402


def main(argv: "list[str]") -> int:
    """Do what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="git_pull", allow_abbrev=False, description="Updates the login node.")
    parser.add_argument("--dry-run", action="store_true", help="fetch, build and check; install and switch nothing")
    parser.add_argument("--rollback", action="store_true", help="go back to the release that served before")
    parser.add_argument(
        "--force",
        action="store_true",
        help="take a commit that does not follow from the one that serves, or was taken back",
    )
    parser.add_argument("--root", help="the folder that holds the releases (default: the one that this release is in)")
    parser.add_argument("--install", metavar="NAME", help="run one command's install.sh, even if that was done before")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--state", help="the state folder, for --install (default: the account's)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="how many seconds an install.sh may take")
    options = parser.parse_args(argv)
    # Many a site's umask lets the group write; what Python compiles here would then be anybody's to replace.
    os.umask(0o022)
    # Ignored by whoever started this, the kernel would keep no child's status: what failed would seem to have succeeded.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # An exception, so that what was begun is ended and given back; the dispatcher sends TERM first.
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, lambda number, _frame: sys.exit(128 + number))
    try:
        if options.prepare:
            return _prepare(_site(options.state), options.timeout, dry_run=options.dry_run)
        if options.install is not None:
            return _install(_site(options.state), options.install, options.timeout)
        return _update(options)
    except ReleaseError as error:
        _say(str(error))
        return error.status
    except OSError as error:
        _say(f"{error}: put that right, and try again")
        return 1


def _update(options: argparse.Namespace) -> int:
    from dea.remote.releases.pull import Update
    from dea.remote.releases.settings import layout_around

    root = options.root
    if root is None:
        layout = layout_around(_CHECKOUT)
        if layout is None:
            raise ReleaseError(
                f"{_CHECKOUT} is no release, but a checkout that serves in place: update it by hand with git pull"
            )
        root = layout.root
    if options.rollback and options.force:
        raise ReleaseError("--rollback and --force exclude each other: one goes back, the other forward")
    update = Update(root, _say, dry_run=options.dry_run, rollback=options.rollback, force=options.force)
    try:
        update.run()
    finally:
        print(json.dumps(update.report, indent=1), flush=True)  # noqa: T201 - the report is the output
    return 0


def _install(site: Site, name: str, timeout_s: float) -> int:
    if not is_name(name) or not os.path.isdir(os.path.join(site.checkout, SCRIPTS, name)):
        raise ReleaseError(f"there is no command {ascii(name)[:80]} in {site.checkout}")
    try:
        outcome, reason = install(site, name, timeout_s=timeout_s, anew=True)
    except Unapproved as unapproved:
        raise ReleaseError(f"{name}: {'; '.join(unapproved.problems)}") from None
    _say(
        f"{name}: {'its install.sh ' if outcome != NONE else 'install.sh: '}{outcome}"
        + (f": {reason}" if reason else "")
    )
    return 1 if outcome == FAILED else 0


def _prepare(site: Site, timeout_s: float, *, dry_run: bool) -> int:
    from dea.remote.releases.prepare import prepare

    outcomes, problems = prepare(site, timeout_s=timeout_s, dry_run=dry_run, lifeline=0)
    print(json.dumps({"commands": outcomes, "problems": problems}))  # noqa: T201 - the caller's JSON
    return 1 if problems else 0


def _site(state: "str | None") -> Site:
    account = pwd.getpwuid(os.getuid())
    home = os.environ.get("HOME") or account.pw_dir
    return Site(_CHECKOUT, account, home, state or os.path.join(account.pw_dir, STATE_FOLDER))


def _say(line: str) -> None:
    print(f"git_pull: {line}", file=sys.stderr, flush=True)  # noqa: T201 - progress, for a person


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
