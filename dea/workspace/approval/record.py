"""Makes approvals and compares them with what is there: `inv approve --name` and `inv approve --check`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dea.remote import approval
from dea.remote.contract import is_name
from dea.remote.contract.describe import describe
from dea.remote.contract.packaged import FORMAT
from dea.remote.signature import SUFFIX
from dea.workspace import checkout
from dea.workspace.approval import files, schema, signature
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console

SITE = "site"
"""The name by which `raijin_scripts/site.yaml` is approved; no command can have it."""


def run(*, name: str, sign: str, check: bool, allowed_signers: str) -> None:
    """Do what `inv approve` was asked for.

    Raises:
        WorkspaceError: If the options do not fit together, and as `approve` and `check` do.
    """
    if check == bool(name) or (sign and check) or (allowed_signers and not check):
        raise WorkspaceError("say what to approve, --name NAME|all [--sign KEY], or --check [--allowed-signers FILE]")
    if check:
        check_all(allowed_signers=Path(allowed_signers) if allowed_signers else None)
    else:
        approve(name, key=Path(sign) if sign else None)


def approvable(root: Path = checkout.ROOT) -> list[str]:
    """Return the names of all that can be approved: the site first, because commands depend on it, then the commands."""
    site = [SITE] if _scripts(root).joinpath(approval.SITE).exists() else []
    return site + [name for name in checkout.commands(root) if is_name(name)]


def approve(name: str, *, key: Path | None = None, root: Path = checkout.ROOT) -> None:
    """Approve a command, the site, or all: check, show in plain words what is allowed, and write the approval.

    Nothing is written unless all that is asked for can be approved.

    Args:
        name: A command's name, `site`, or `all`.
        key: The approver's private SSH key, to sign each approval with, or None.
        root: The checkout.

    Raises:
        WorkspaceError: If there is no such command, or something about it cannot be approved; with all that is wrong.
    """
    names = approvable(root) if name == "all" else [name]
    if name not in ("all", SITE):
        checkout.command(name, root)
    documents: dict[str, dict[str, Any]] = {}
    problems = []
    for one in names:
        try:
            # A site that is approved in this very call is what its commands are checked against.
            documents[one] = document_for(one, root, site=documents.get(SITE))
        except WorkspaceError as error:
            problems.append(str(error))
    if problems:
        raise WorkspaceError("\n".join(problems))
    for one, document in documents.items():
        path = approval_path(one, root)
        _write(path, document)
        if key is not None:
            signature.sign(path, key)
        for line in _plain_words(one, document):
            console.print(line, markup=False, soft_wrap=True)
        console.print(
            f"approved{' and signed' if key else ''}: {path.relative_to(root)}\n", markup=False, soft_wrap=True
        )


def check_all(*, allowed_signers: Path | None = None, root: Path = checkout.ROOT) -> None:
    """Check that everything is approved as it stands, and say so.

    Args:
        allowed_signers: A file of who may approve (ssh-keygen(1), ALLOWED SIGNERS), to check signatures too, or None.
        root: The checkout.

    Raises:
        WorkspaceError: Naming every approval that is missing, stale, or not signed as asked.
    """
    if problems := problems_with_approvals(allowed_signers=allowed_signers, root=root):
        raise WorkspaceError("\n".join(problems))
    console.print(f"{len(approvable(root))} approvals are up to date", markup=False, soft_wrap=True)


def problems_with_approvals(*, allowed_signers: Path | None = None, root: Path = checkout.ROOT) -> list[str]:
    """Return every approval that is missing, unreadable, stale, or not signed as asked, a sentence each; as `check_all` takes it.

    Raises:
        WorkspaceError: If signatures cannot be checked at all.
    """
    problems = []
    for name in approvable(root):
        path = approval_path(name, root)
        try:
            wanted = document_for(name, root)
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            problems.append(f"{name} is not approved: run inv approve --name {name}")
            continue
        except WorkspaceError as error:
            problems.append(f"{name}: {error}")
            continue
        except (OSError, ValueError) as error:
            problems.append(f"{path.relative_to(root)} cannot be read ({error}): run inv approve --name {name}")
            continue
        if not isinstance(found, dict):
            found = {}
        stale = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
        if stale:
            problems.append(
                f"{name} has changed since its approval ({', '.join(stale)}): run inv approve --name {name}"
            )
        if allowed_signers is not None:
            problem = signature.verify_signature(path, allowed_signers)
            if problem:
                problems.append(f"{name}: {problem}")
    for stray in sorted(_scripts(root).glob(f"*/{approval.APPROVED}")):
        if stray.parent.name not in approvable(root):
            problems.append(f"{stray.relative_to(root)} approves what is no command: remove it")
    return problems


def document_for(name: str, root: Path = checkout.ROOT, *, site: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the approval of a command, or of the site, has to say: the content of `approved.json`.

    Args:
        name: A command's name, or `site`.
        root: The checkout.
        site: The compiled site to check a command against; read from `site.yaml` if None.

    Raises:
        WorkspaceError: If it cannot be approved as it stands; with all that is wrong.
    """
    site_path = _scripts(root) / approval.SITE
    if name == SITE:
        hashes = files.digests(_scripts(root), [approval.SITE]) if site_path.is_file() else {}
        return {"format": approval.FORMAT, "site": SITE, **schema.compile_site(site_path), "files": hashes}
    folder = _scripts(root) / name
    if site is None:
        site = schema.compile_site(site_path) if site_path.exists() else {}
    names = files.covered(folder)
    problems = files.problems_with(folder, names, site.get("path", ""))
    if name == SITE or not is_name(name):
        problems.append(f"{name!r} is no name that a request can have: [a-z][a-z0-9_]{{0,63}}, and not {SITE!r}")
    compiled: dict[str, Any] = {}
    try:
        compiled = schema.compile_command(folder / "command.yaml", site)
    except schema.Problems as error:
        problems += error.problems
    if problems:
        raise schema.Problems(folder, problems)
    hashes = files.digests(folder, names)
    content = hashlib.sha256(
        "".join(f"{digest} {file}\n" for file, digest in hashes.items()).encode("utf-8", "surrogateescape")
    )
    return {"format": approval.FORMAT, "command": name, **compiled, "content": content.hexdigest(), "files": hashes}


def packaged_schemas(names: Iterable[str], root: Path = checkout.ROOT) -> str:
    """Return the text of the file that takes commands' schemas along in a function's package (`dea.raijin.schemas`).

    Args:
        names: The commands, as `function.yaml` names them.
        root: The checkout.

    Raises:
        WorkspaceError: If one is no command, or is not approved as it stands.
    """
    schemas = {}
    for name in sorted(names):
        checkout.command(name, root)
        wanted = document_for(name, root)
        try:
            approved = json.loads(approval_path(name, root).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            approved = None
        if approved != wanted:
            raise WorkspaceError(f"{name} is not approved as it stands: run inv approve --name {name}")
        schemas[name] = {"arguments": wanted["arguments"], "schema": wanted["schema"]}
    return json.dumps({"format": FORMAT, "commands": schemas}, indent=1) + "\n"


def approval_path(name: str, root: Path) -> Path:
    """Return where the approval of a command, or of the site, is kept."""
    return _scripts(root) / approval.SITE_APPROVED if name == SITE else _scripts(root) / name / approval.APPROVED


def _scripts(root: Path) -> Path:
    return root / approval.SCRIPTS


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write an approval in one step, so that no dispatcher reads half of it; a signature of the former one goes."""
    path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(_encoded(document), "utf-8")
    # Readable for all, writable by the owner alone, whatever the umask: the dispatcher refuses anything looser.
    draft.chmod(0o644)
    draft.replace(path)


def _encoded(document: dict[str, Any]) -> str:
    """Return the JSON text: one line for each thing that a reviewer looks at, and an automaton on one line."""
    lines = []
    for key, value in document.items():
        if isinstance(value, (dict, list)) and value:
            pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
            inner = ",\n".join(
                "    " + (f"{json.dumps(name)}: " if name is not None else "") + json.dumps(item)
                for name, item in pairs
            )
            opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
            lines.append(f"  {json.dumps(key)}: {opening}\n{inner}\n  {closing}")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _plain_words(name: str, document: dict[str, Any]) -> list[str]:
    if name != SITE:
        return [*describe(name, document), f"  files: {', '.join(document['files'])}"]
    lines = [
        "site: what is true for every command",
        f"  programs are found in: {document.get('path', 'the usual places')}",
    ]
    timeout_s = document.get("timeout")
    lines.append(f"  time: {f'no command may take more than {timeout_s} s' if timeout_s else 'no limit'}")
    limits = {
        "max_output_bytes": "of each durable run's output, so many bytes are kept at most",
        "stored_days": "output is kept for so many days",
        "stored_bytes": "of all output together, so many bytes are kept",
        "request_burst": "so many requests may come at once",
        "requests_per_second": "so many more may come each second",
    }
    lines += [f"  {key}: {document[key]} ({meaning})" for key, meaning in limits.items() if key in document]
    return lines + [f"  environment: {variable}={value}" for variable, value in document["environment"].items()]
