"""Writes what `inv approve` writes, without it: `dea.remote` is tested with nothing installed that `inv approve` needs."""

import hashlib
import json


def write_approval(folder, **changes):
    """Approve the command in a folder as it stands, for any arguments unless told otherwise; return the approval's path."""
    covered = [path for path in sorted(folder.rglob("*")) if path.is_file() and "approved.json" not in path.name]
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in covered}
    content = "".join(f"{digest} {file}\n" for file, digest in files.items())
    document = {
        "format": 1,
        "command": folder.name,
        "summary": "For a test.",
        "arguments": "any",
        "schema": "0" * 64,
        "content": hashlib.sha256(content.encode()).hexdigest(),
        "files": files,
        **changes,
    }
    approved = folder / "approved.json"
    approved.write_text(json.dumps(document))
    approved.chmod(0o644)
    return approved
