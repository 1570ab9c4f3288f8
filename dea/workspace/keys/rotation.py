"""Another key takes a key's place: it is let in and has logged in before SSM names it, and only then the old one goes.

Cut off anywhere, at least one key works, and SSM names one that does. The same again makes one more key and finishes with
that: what is left of the one before goes with the old one. Two at once: before each step that another's key could suffer from,
SSM is looked at, and who finds another key there than the one that was there before gives up and shuts nobody out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dea.raijin import RaijinError
from dea.raijin.credentials import parse_private_key
from dea.workspace.errors import WorkspaceError
from dea.workspace.keys import pairs, parameters
from dea.workspace.keys.login_node import LoginNode

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


@dataclass(frozen=True)
class Rotation:
    """What a rotation did.

    Attributes:
        old: The fingerprint of the key before.
        new: The fingerprint of the key that SSM holds now.
        removed: Whether the old key is shut out.
    """

    old: str
    new: str
    removed: bool


def rotate(
    ssm: SSMClient,
    prefix: str,
    node: LoginNode,
    label: str,
    *,
    kms_key_id: str = "",
    expires: str = "",
    checked: bool = True,
    said: Callable[[str], None],
) -> Rotation:
    """Replace a key. The new one may do what the old one may; its private half is never on a disk.

    Args:
        ssm: The client.
        prefix: The prefix of the key's parameters.
        node: The login node.
        label: The key's label there.
        kms_key_id: The KMS key; empty for the one that the old key is encrypted with.
        expires: When the new key ends, `YYYY-MM-DD`; empty for when the old one does.
        checked: Whether this machine can log in with the key (`from=` may not admit it). If not, the old key stays, because
            nobody has seen that the new one works.
        said: Is called with one line for each step.

    Raises:
        WorkspaceError: If a step fails: then the old key works, and SSM names it or one that works too.
    """
    stored = parameters.read(ssm, prefix)
    name = f"{prefix}.pkey"
    old = _fingerprint(stored, name)
    kms_key_id = kms_key_id or parameters.kms_key_of(ssm, name)
    pair = pairs.make(f"dea-orchestration {label}")
    new = pair.public.fingerprint
    node.install(label, pair.public, "--beside", *(["--expires", expires] if expires else []))
    said(f"{new} is let in beside {old}")
    values = dataclasses.replace(stored, private_key=pair.private)
    if checked:
        try:
            parameters.check_values(values)
        except WorkspaceError as error:
            _shut_out_again(ssm, prefix, node, label, stored, error)
            raise
        said("the new key logs in")
    _check_stored(ssm, prefix, stored)
    parameters.put(ssm, name, pair.private, kms_key_id)
    said(f"{name} holds the new key")
    if not checked:
        by_hand = node.how_to_remove_others(label, new)
        said(f"the old key stays. Once functions have logged in with the new one: {by_hand}")
        return Rotation(old, new, removed=False)
    try:
        parameters.check_login(prefix, ssm)
    except WorkspaceError as error:
        _check_stored(ssm, prefix, values)
        parameters.put(ssm, name, stored.private_key, kms_key_id)
        said(f"{name} holds the old key again")
        _shut_out_again(ssm, prefix, node, label, stored, error)
        raise
    said("the stored key logs in")
    _check_stored(ssm, prefix, values)
    node.remove_others(label, new)
    said(f"{old} is shut out")
    return Rotation(old, new, removed=True)


def _check_stored(ssm: SSMClient, prefix: str, values: parameters.Values) -> None:
    """Check that SSM still holds a key.

    Raises:
        WorkspaceError: If it does not.
    """
    if parameters.read(ssm, prefix).private_key != values.private_key:
        raise WorkspaceError(
            f"{prefix}.pkey holds another key than a moment ago: does somebody else replace it too? All keys stay let in"
        )


def _shut_out_again(
    ssm: SSMClient, prefix: str, node: LoginNode, label: str, stored: parameters.Values, why: WorkspaceError
) -> None:
    """Have the new key's line removed: it must not stay let in, since nothing knows it."""
    try:
        _check_stored(ssm, prefix, stored)
        node.remove_others(label, _fingerprint(stored, prefix))
    except WorkspaceError as left:
        raise WorkspaceError(f"{why}; and its line is still there: {left}") from why


def _fingerprint(values: parameters.Values, name: str) -> str:
    try:
        return parse_private_key(values.private_key, name).fingerprint
    except RaijinError as error:
        raise WorkspaceError(str(error)) from error
