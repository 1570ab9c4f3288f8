"""Key pairs: what each of the three is for, how one is made, and the files that hold one until it is stored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dea.raijin.credentials import DEFAULT_USER_PATH
from dea.remote.authorized_keys import PublicKey, ed25519_key
from dea.remote.bootstrap import PULL, RUN
from dea.remote.decision import UPDATE
from dea.workspace.checkout import ROOT
from dea.workspace.errors import WorkspaceError
from dea.workspace.git_pull import DEFAULT_USER_PATH as UPDATE_USER_PATH

DEFAULT_FOLDER = Path("~/.ssh/dea-orchestration")
"""Where keys are until they are stored: outside every checkout, so that none is ever committed."""


@dataclass(frozen=True)
class Kind:
    """What a key is for.

    Attributes:
        name: Its name, which is also its label if it gets no other.
        purpose: What it can do, in words.
        user_path: The prefix of its SSM parameters' names; None for a key that is not stored there.
        only: The one command that it runs, or None.
    """

    name: str
    purpose: str
    user_path: str | None
    only: str | None = None


KINDS = {
    kind.name: kind
    for kind in (
        Kind(RUN, "runs commands on the login node", DEFAULT_USER_PATH),
        Kind(PULL, "triggers an update of the login node, and nothing else", UPDATE_USER_PATH, UPDATE),
        Kind("read", "reads the code repository; it belongs on the login node, where --bootstrap makes one", None),
    )
}
"""The three keys."""


@dataclass(frozen=True)
class Pair:
    """A key pair.

    Attributes:
        public: The public half.
        private: The private half, as OpenSSH writes it to a file. It is shown nowhere.
    """

    public: PublicKey
    private: str = field(repr=False)


def make(comment: str) -> Pair:
    """Make an Ed25519 key pair in memory."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return Pair(_public_half(key, comment), private.decode("ascii"))


def write(pair: Pair, folder: Path, name: str) -> None:
    """Write a pair to two files that only their owner can read, in the place of what is there.

    Raises:
        WorkspaceError: If they cannot be written, or the folder is not for its owner alone.
    """
    if folder.resolve().is_relative_to(ROOT):
        raise WorkspaceError(f"{folder} is inside the checkout, where a private key could be committed: name another")
    try:
        # One by one: of those above it, mkdir leaves the mode to the umask, and who can write one can put a key in its place.
        for path in reversed([folder, *folder.parents]):
            path.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
            raise WorkspaceError(f"{folder} can be read by others: chmod 700 it, or name another folder")
        # The private half first: if that is all there is, the public one follows from it.
        for target, text in ((name, pair.private), (f"{name}.pub", f"{pair.public}\n")):
            draft = folder / f".{target}.new"
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            draft.rename(folder / target)
    except OSError as error:
        raise WorkspaceError(f"{error.filename}: {error.strerror}: the key is not kept") from error


def read(folder: Path, name: str) -> Pair:
    """Read a pair from its private half's file.

    Raises:
        WorkspaceError: If there is none, or it is no Ed25519 key without a passphrase.
    """
    path = folder / name
    try:
        data = path.read_bytes()
        key = serialization.load_ssh_private_key(data, password=None)
    except FileNotFoundError:
        raise WorkspaceError(
            f"there is no private key {path}: was it stored and removed already? Else make one with inv keys.make"
        ) from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    except Exception:  # noqa: BLE001 - whatever a parser says of a key may quote it
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise WorkspaceError(f"{path} is no Ed25519 private key without a passphrase: make one with inv keys.make")
    return Pair(_public_half(key, f"dea-orchestration {name}"), data.decode("ascii"))


def read_public(folder: Path, name: str) -> PublicKey:
    """Read a public half, from its own file: the private one may have been stored and removed.

    Raises:
        WorkspaceError: If there is none.
    """
    path = folder / f"{name}.pub"
    try:
        return ed25519_key(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WorkspaceError(
            f"there is no public key {path}: make one with inv keys.make, or name its folder"
        ) from None
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{path}: {error}") from error


def _public_half(key: Ed25519PrivateKey, comment: str) -> PublicKey:
    text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    kind, data = text.decode("ascii").split(" ")[:2]
    return PublicKey(kind, data, comment)
