"""What a person sees of keys: `inv keys.make`, `keys.print`, `keys.install`, `keys.store` and `keys.rotate`. No private key, ever."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dea.raijin import RaijinError
from dea.raijin.credentials import parse_host
from dea.remote.authorized_keys import PublicKey
from dea.remote.bootstrap import ROOT as REMOTE_ROOT
from dea.remote.contract import Refusal
from dea.remote.key_line import Limits, Target, checked_label, limits_of, line_for
from dea.workspace import aws_account
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json, progress
from dea.workspace.keys import host_keys, pairs, parameters, rotation
from dea.workspace.keys.login_node import LoginNode
from dea.workspace.keys.pairs import KINDS, Kind


def make(key: str, *, label: str, folder: str, anew: bool, as_json: bool) -> None:
    """Make keys in files, unless they are there, and print their public halves.

    Args:
        key: Which of the three; empty for the two that do not belong on the login node.
        label: Another label, and name of the files, than the key's own name.
        folder: Where; empty for `pairs.DEFAULT_FOLDER`.
        anew: Whether another key is to take the place of one that is there.
        as_json: Whether to print JSON.

    Raises:
        WorkspaceError: If the files cannot be written, or hold something else.
    """
    kinds = [_kind(key)] if key else [kind for kind in KINDS.values() if kind.user_path]
    if label and not key:
        raise WorkspaceError("--label names one key: say which with --key")
    where = _folder(folder)
    made = []
    for kind in kinds:
        name = _label(kind, label)
        public = None if anew else _kept(where, name)
        made.append((kind, name, public is not None, public or _made(where, name)))
    if as_json:
        print_json(
            [
                {"key": kind.name, "label": name, "made": not kept, "public_key": str(public), "fingerprint": public.fingerprint,
                 "file": str(where / name)}
                for kind, name, kept, public in made
            ]
        )  # fmt: skip
        return
    for kind, name, kept, public in made:
        stored = "" if (where / name).exists() else ", its private half not: it was stored, and --anew makes another"
        _say(f"{where / name} {'is there already' if kept else 'made'}{stored}: {kind.purpose} ({public.fingerprint})")
        print(public)


def show(
    key: str,
    *,
    label: str,
    folder: str,
    checkout: str,
    python: str,
    state: str,
    allow: Sequence[str],
    addresses: str | None,
    expires: str | None,
) -> None:
    """Print the line of `authorized_keys` for a key, or the bare key where it is the repository's server that reads it.

    Raises:
        WorkspaceError: If there is no such key, or a limit is none.
    """
    kind = _kind(key)
    name = _label(kind, label)
    public = pairs.read_public(_folder(folder), name)
    if kind.user_path is None:
        print(public)
        return
    if not checkout:
        raise WorkspaceError(f"--checkout is missing: the absolute path there, /home/USER/{REMOTE_ROOT}/current say")
    limits = _limits(kind, allow, addresses, expires)
    try:
        print(line_for(name, str(public), Target(checkout, python, state or None), limits))
    except Refusal as refusal:
        raise WorkspaceError(str(refusal)) from None


def install(
    key: str,
    *,
    label: str,
    folder: str,
    login: str,
    ssh: str,
    python: str,
    checkout: str,
    allow: Sequence[str],
    addresses: str | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Let a key in on the login node, over the operator's own ssh.

    Raises:
        WorkspaceError: If there is no such key, a limit is none, or the login node refuses.
    """
    kind = _kind(key)
    if kind.user_path is None:
        raise WorkspaceError(
            "the key read is not for the login node: let it in at the repository's server (a deploy key)"
        )
    name = _label(kind, label)
    public = pairs.read_public(_folder(folder), name)
    _limits(kind, allow, addresses, expires)  # refused here, before anything is asked for
    options = ["--only", kind.only] if kind.only else []
    options += [word for pattern in allow for word in ("--allow", pattern)]
    options += [
        word for option, value in (("--from", addresses), ("--expires", expires)) if value for word in (option, value)
    ]
    with progress(f"letting the key {name} in at {login}"):
        done = _node(login, ssh, python, checkout).install(name, public, *options)
    if as_json:
        print_json(done)
        return
    print(f"{done['file']}: {'changed' if done['changed'] else 'nothing to change'}")
    for line in _listed(done):
        print(line)
    for remark in (*([f"the file as it was: {done['backup']}"] if done["backup"] else []), *done["remarks"]):
        _say(remark)


def store(
    key: str,
    *,
    label: str,
    folder: str,
    user: str,
    host: str,
    host_keys_file: str,
    kms_key_id: str,
    user_path: str,
    keep: bool,
    overwrite: bool,
    unchecked: bool,
    confirmed: bool,
    as_json: bool,
) -> None:
    """Store a key with what else a session needs in SSM, see that it logs in, and remove the private key's file.

    Raises:
        WorkspaceError: If it does not log in, or cannot be stored; then its file stays.
    """
    kind = _kind(key)
    if kind.user_path is None:
        raise WorkspaceError("the key read is not stored in SSM: it stays on the login node")
    name = _label(kind, label)
    where = _folder(folder)
    prefix = user_path or kind.user_path
    pair = pairs.read(where, name)
    try:
        address = parse_host(host, "--host")
    except RaijinError:
        raise WorkspaceError(f"--host {host!r:.80} is no host: give a name or name:port") from None
    aws_account.check_can_confirm("it", confirmed=confirmed)
    pinned = host_keys.from_file(Path(host_keys_file), *address) if host_keys_file else host_keys.confirmed(*address)
    values = parameters.Values(user, host, pair.private, pinned)
    account = aws_account.account()
    if not confirmed:
        aws_account.confirm(f"store the key {pair.public.fingerprint} as {prefix}", account)
    if not unchecked:
        with progress(f"logging in at {host} as {user}"):
            parameters.check_values(values)
    with progress("storing it"):
        written = parameters.store(account.ssm, prefix, values, kms_key_id, overwrite=overwrite)
    if not unchecked:
        with progress("logging in with what is stored"):
            parameters.check_login(prefix, account.ssm)
    if not keep:
        (where / name).unlink()
    if as_json:
        print_json(
            {"prefix": prefix, "written": written, "checked": not unchecked, "fingerprint": pair.public.fingerprint,
             "private_key_file": str(where / name) if keep else None}
        )  # fmt: skip
        return
    for one in written or ["nothing: all of it was stored already"]:
        print(f"stored {one}")
    _say(f"{where / name} {'is still there' if keep else 'removed: SSM alone holds the private key now'}")
    _say("not tried: the stored key has not logged in" if unchecked else "the stored key logs in")


def rotate(
    key: str,
    *,
    label: str,
    login: str,
    ssh: str,
    python: str,
    checkout: str,
    kms_key_id: str,
    user_path: str,
    expires: str | None,
    unchecked: bool,
    confirmed: bool,
    as_json: bool,
) -> None:
    """Replace a stored key by a new one, with both working meanwhile.

    Raises:
        WorkspaceError: If a step fails; the stored key works then.
    """
    kind = _kind(key)
    if kind.user_path is None:
        raise WorkspaceError("the key read is replaced on the login node: docs/how-to/rotate-keys.md tells how")
    name = _label(kind, label)
    prefix = user_path or kind.user_path
    _limits(kind, (), None, expires)
    node = _node(login, ssh, python, checkout)
    aws_account.check_can_confirm("it", confirmed=confirmed)
    account = aws_account.account()
    if not confirmed:
        aws_account.confirm(f"replace the key of {prefix}", account)
    with progress(f"replacing the key {name}"):
        done = rotation.rotate(
            account.ssm,
            prefix,
            node,
            name,
            kms_key_id=kms_key_id,
            expires=expires or "",
            checked=not unchecked,
            said=_say,
        )
    if as_json:
        print_json({"prefix": prefix, "old": done.old, "new": done.new, "removed": done.removed})
    else:
        print(f"old   {done.old}{'' if done.removed else ' (still let in)'}", f"new   {done.new}", sep="\n")


def _kept(where: Path, name: str) -> PublicKey | None:
    """Return the key that is there; its private half may have been stored and removed."""
    if (where / name).exists():
        pair = pairs.read(where, name)
        if not (where / f"{name}.pub").exists():
            pairs.write(pair, where, name)
        return pair.public
    return pairs.read_public(where, name) if (where / f"{name}.pub").exists() else None


def _made(where: Path, name: str) -> PublicKey:
    pair = pairs.make(f"dea-orchestration {name}")
    pairs.write(pair, where, name)
    return pair.public


def _listed(done: dict[str, Any]) -> list[str]:
    return [f"{one['label']}: {one['fingerprint']}, {one['may']}" for one in done["keys"]]


def _kind(key: str) -> Kind:
    if key not in KINDS:
        raise WorkspaceError(f"--key {key!r:.80} is none: choose one of {', '.join(KINDS)}")
    return KINDS[key]


def _label(kind: Kind, label: str) -> str:
    """Return a key's label, which is also its files' name."""
    try:
        return checked_label(label or kind.name)
    except Refusal as refusal:
        raise WorkspaceError(str(refusal)) from None


def _limits(kind: Kind, allow: Sequence[str], addresses: str | None, expires: str | None) -> Limits:
    try:
        return limits_of(kind.only, tuple(allow), addresses, expires)
    except Refusal as refusal:
        raise WorkspaceError(str(refusal)) from None


def _node(login: str, ssh: str, python: str, checkout: str) -> LoginNode:
    try:
        words = tuple(shlex.split(ssh))
    except ValueError as error:
        raise WorkspaceError(f"--ssh {ssh!r:.80} is no command line: {error}") from None
    return LoginNode(login, words or ("ssh",), python, checkout)


def _folder(folder: str) -> Path:
    return Path(folder or pairs.DEFAULT_FOLDER).expanduser()


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
