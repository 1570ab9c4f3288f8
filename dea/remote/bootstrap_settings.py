"""The folder of the releases before its first release: its settings, and the files that they name. Nothing is run from it here.

The settings are written last. Until they are there, what a call has left is written anew; from then on nothing is.
"""

import json
import os
import stat
import subprocess
import sys

from dea.remote.approval import unsafe
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import REFUSED, USAGE
from dea.remote.disk import write_durably
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import FORMAT, Layout, Settings
from dea.remote.releases.settings import read as read_settings
from dea.remote.repository_server import Server, pin, server_of

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    import argparse
    from typing import Any

THIRD_KEY, KNOWN_HOSTS = "repository_key", "known_hosts"
"""The files of the key that reads the repository, and of its server's host keys, in that folder."""

_KEYGEN_TIMEOUT_S = 60


def configure(layout: Layout, options: "argparse.Namespace") -> Settings:
    """Make the folder with its settings and what they name, if there are none yet; return what is configured.

    Args:
        layout: Where things are.
        options: What `--bootstrap` was asked for.

    Raises:
        Refusal: If that is not as it should be, or is something else than what there is.
        ReleaseError: If the settings cannot be used.
        OSError: If something cannot be written.
    """
    os.makedirs(layout.root, mode=0o755, exist_ok=True)
    problem = unsafe(os.lstat(layout.root), (0, os.geteuid()), stat.S_ISDIR)
    if problem:
        raise Refusal(REFUSED, f"{layout.root} {problem}")
    _remove_leftovers(layout.root)
    key = os.path.abspath(options.key) if options.key else None
    asked: "dict[str, Any]" = {
        "repository": options.repository, "branch": options.branch, "state": options.state, "python": options.python, "key": key,
    }  # fmt: skip
    # Copies: the clone that a list may be in must not be able to vouch for what comes out of it.
    files = {
        os.path.join(layout.root, name): _content_of(source)
        for name, source in (("commit_signers", options.commit_signers), ("approvers", options.approvers))
        if source is not None
    }
    asked.update({os.path.basename(path): path for path in files})
    asked = {name: value for name, value in asked.items() if value is not None}
    document = _settings_so_far(layout)
    repository = str(asked.get("repository") or (document or {}).get("repository") or "")
    server = server_of(repository) if repository and not repository.startswith("/") else None
    if server is not None and options.known_hosts is not None:
        files[os.path.join(layout.root, KNOWN_HOSTS)] = pin(server, _content_of(options.known_hosts))
    if document is not None:
        _check_same(layout, document, asked, files)
        return read_settings(layout)
    if not repository:
        raise Refusal(
            USAGE, "--repository is missing: where the code comes from, git@HOST:PATH or ssh://USER@HOST[:PORT]/PATH"
        )
    for path, content in files.items():
        _write(path, content, 0o644)
    if server is not None:
        asked.setdefault("key", os.path.join(layout.root, THIRD_KEY))
        asked["known_hosts"] = os.path.join(layout.root, KNOWN_HOSTS)
        if not _is_pinned(server, asked["known_hosts"]):
            _write(asked["known_hosts"], pin(server, None), 0o644)
        if key is None:
            _make_key(asked["key"])
    asked.setdefault("python", sys.executable)
    # Last: once it is there, nothing that it names is written again.
    _write(layout.settings, json.dumps({"format": FORMAT, **asked}, indent=1) + "\n")
    try:
        return read_settings(layout)
    except ReleaseError:
        os.unlink(layout.settings)  # it says what was asked for and cannot be: the next call asks for something else
        raise


def public_half(key: str) -> str:
    """Return the public half of a key, from the key itself: the file beside it may be another's.

    Raises:
        Refusal: If it is no key without a passphrase.
    """
    return _ssh_keygen(["ssh-keygen", "-y", "-P", "", "-f", key]).strip()


def _check_same(layout: Layout, document: "dict[str, Any]", asked: "dict[str, Any]", files: "dict[str, str]") -> None:
    """Check that what is asked for is what there is.

    Raises:
        Refusal: If it is not: this decides nothing anew that somebody has decided.
    """
    differing = [
        f"{name} is {shown(str(document[name])) if name in document else 'not set'} there"
        for name, value in asked.items()
        if document.get(name) != value
    ]
    differing += [f"{path} has another content" for path, content in files.items() if _content_of(path) != content]
    if differing:
        said = "; ".join(differing)
        raise Refusal(REFUSED, f"{layout.settings} says otherwise ({said}): change it by hand, or leave the option out")


def _is_pinned(server: Server, path: str) -> bool:
    """Tell whether a call before has pinned this server: it may have been given another."""
    return os.path.exists(path) and _content_of(path).startswith(f"{server.known_as} ")


def _settings_so_far(layout: Layout) -> "dict[str, Any] | None":
    try:
        with open(layout.settings, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refusal(REFUSED, f"{layout.settings} cannot be read ({error}): put it right, or remove it") from error
    return document if isinstance(document, dict) else {}


def _make_key(path: str) -> None:
    """Make the third key, which never leaves the login node, unless it is there."""
    if not os.path.exists(path):
        draft = f"{path}.new"
        comment = f"dea-orchestration read {os.uname().nodename}"
        _ssh_keygen(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", draft])
        os.unlink(f"{draft}.pub")
        try:
            # The first one stays: a call at the same time may have shown it already.
            os.link(draft, path)
        except FileExistsError:
            pass
        os.unlink(draft)
    if not os.path.exists(f"{path}.pub"):
        _write(f"{path}.pub", f"{public_half(path)}\n", 0o644)


def _ssh_keygen(command: "list[str]") -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_KEYGEN_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(REFUSED, f"ssh-keygen cannot be run ({error}): OpenSSH's client must be installed") from error
    if done.returncode != 0:
        raise Refusal(REFUSED, f"ssh-keygen failed for {command[-1]}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def _content_of(source: str) -> str:
    try:
        with open(source, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(USAGE, f"{source} cannot be read: {error}") from error


def _write(path: str, content: str, mode: int = 0o600) -> None:
    draft = f"{path}.new"
    write_durably(draft, content.encode("utf-8"), mode)
    os.rename(draft, path)


def _remove_leftovers(root: str) -> None:
    """Remove what a call that was cut off has left half written."""
    for name in ("settings.json", KNOWN_HOSTS, "commit_signers", "approvers", THIRD_KEY, f"{THIRD_KEY}.pub"):
        for draft in (f"{name}.new", f"{name}.new.pub"):
            try:
                os.unlink(os.path.join(root, draft))
            except FileNotFoundError:
                continue
