"""Finds what has a secret's shape in a package: by a file's name, and by what is in it. It never repeats what it found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(
    r"\.env(\..+)?|[._]netrc|\.pypirc|\.pgpass|\.npmrc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|.+\.(p12|pfx|jks|kdbx|ppk|key)"
)
_PUBLIC_PEM = {b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"PUBLIC KEY", b"RSA PUBLIC KEY", b"X509 CRL"}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")

# A key needs a body: libraries that read keys hold the first line alone. Between the two may be what a string in a source has
# there, or the header lines of a PEM.
_BODY = rb"(?:[\s\\nr\"',+]|[A-Za-z-]+: [^\n\\]{0,80}(?:\n|\\n)){0,60}[A-Za-z0-9+/]{40}"
_SHAPES = {
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----" + _BODY),
    "an AWS access key id": re.compile(rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "an AWS secret key": re.compile(
        rb"(?i:aws_?secret_?access_?key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
    "a token of GitHub": re.compile(rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60})"),
    "a token of Slack": re.compile(rb"(?<![A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{20}"),
}
# AWS's own documentation, and so botocore's data, has keys of this kind.
_EXAMPLE = b"EXAMPLE"


def found(folder: Path, files: Iterable[str]) -> list[str]:
    """Return each place that has a secret's shape, as `file:line: kind`."""
    places = []
    for name in files:
        path = folder / name
        content = path.read_bytes()
        if kind := _by_name(name, content):
            places.append(f"{name}: {kind}")
        if content.startswith(b"\x7fELF"):
            continue
        for kind, shape in _SHAPES.items():
            for match in shape.finditer(content):
                if _EXAMPLE not in match[0]:
                    line = content.count(b"\n", 0, match.start()) + 1
                    places.append(f"{name}:{line}: {kind}")
    return places


def _by_name(name: str, content: bytes) -> str:
    base = name.rpartition("/")[2]
    if _NAME.fullmatch(base) or f"/{name}".endswith("/.aws/credentials"):
        return "a name that credentials have"
    if base.endswith(".pem") and {kind.strip() for kind in _PEM.findall(content)} - _PUBLIC_PEM:
        return "a .pem that holds more than certificates and public keys"
    return ""
