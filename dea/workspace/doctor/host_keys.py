"""The host keys that a login node shows, against those that are pinned: at every address that its name has.

A name that leads to many login nodes shows one of them at each look; so a key that is not pinned would be noticed by chance.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import paramiko

from dea.raijin import Credentials
from dea.remote.checks import Check, listed

_SCAN_S = 10.0
_MAX_ADDRESSES = 32
# An RSA host key is asked for by the way it signs (RFC 8332).
_ASKED_FOR = {"ssh-rsa": "rsa-sha2-512"}


def host_keys(found: Credentials) -> Check:
    """Each address of the login node shows a host key that is pinned, of each pinned type that it has."""
    try:
        answers = socket.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = "check the name in the parameter .host, and the network"
        return Check("host_keys", False, f"{found.host} does not resolve ({error})", remedy)
    addresses = sorted({str(answer[4][0]) for answer in answers})[:_MAX_ADDRESSES]
    kinds = sorted({key.get_name() for key in found.host_keys})
    problems, unreached, seen = [], [], set()
    with ThreadPoolExecutor(max_workers=8) as pool:
        scans = pool.map(lambda address: (address, *_scan(address, found.port, kinds)), addresses)
        for address, keys, reason in scans:
            seen.update(keys)
            foreign = [key for key in keys if key not in found.host_keys]
            problems += [f"{address} shows {key.get_name()} {key.fingerprint}, which is not pinned" for key in foreign]
            if reason:
                unreached.append(f"{address} ({reason})")
            elif not keys:
                problems.append(f"{address} has no host key of a pinned type ({', '.join(kinds)})")
    if problems:
        remedy = "ask the site whether its keys changed, and only then store the new ones"
        return Check("host_keys", False, listed(problems), remedy)
    if not seen:
        return Check(
            "host_keys", False, f"nobody answers: {listed(unreached)}", "check the host, the port and the network"
        )
    unused = [key.fingerprint for key in found.host_keys if key not in seen]
    said = f"{len(addresses) - len(unreached)} address(es) of {found.host} show what is pinned"
    said += f"; not reached: {listed(unreached)}" if unreached else ""
    said += f"; pinned, and shown by none of them: {listed(unused)}" if unused else ""
    return Check("host_keys", True, said)


def _scan(host: str, port: int, kinds: list[str]) -> tuple[list[paramiko.PKey], str]:
    """Return the host keys of some types that an address shows, and why it could not be asked, or an empty text."""
    found = []
    for kind in kinds:
        try:
            found += list(_shown_key(host, port, _ASKED_FOR.get(kind, kind)))
        except (OSError, EOFError, paramiko.SSHException) as error:
            return found, str(error) or type(error).__name__
    return found, ""


def _shown_key(host: str, port: int, algorithm: str) -> Iterator[paramiko.PKey]:
    """Give the host key that an address shows when it is asked for one algorithm; none if it has none for that."""
    transport: Any = paramiko.Transport(socket.create_connection((host, port), timeout=_SCAN_S))
    try:
        transport.banner_timeout = _SCAN_S
        transport.get_security_options().key_types = (algorithm,)
        try:
            transport.start_client(timeout=_SCAN_S)
        except paramiko.ssh_exception.IncompatiblePeer:
            return
        yield transport.get_remote_server_key()
    finally:
        transport.close()
