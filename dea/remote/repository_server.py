"""The server of the repository: its name in a URL, and its host keys, which a person has to confirm or to give.

`ssh-keyscan` believes whoever answers. So what it finds is shown with fingerprints and pinned only after somebody at a
terminal has said yes; without a terminal there must be a file.
"""

import os
import subprocess
import sys

from dea.remote.authorized_keys import PublicKey
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import REFUSED, USAGE
from dea.remote.exchange import say

_SCAN_TIMEOUT_S = 15
_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_PORT = 22


class Server:
    """Where the repository is.

    Attributes:
        host: The server's name or address.
        port: Its port.
    """

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def known_as(self) -> str:
        """Its name in a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        return self.host if self.port == _PORT else f"[{self.host}]:{self.port}"


def server_of(repository: str) -> Server:
    """Return the server in a URL.

    Raises:
        Refusal: If it is none that SSH can reach.

    >>> server_of("git@example.org:a/b.git").known_as, server_of("ssh://git@example.org:2222/a").known_as
    ('example.org', '[example.org]:2222')
    """
    scheme = "ssh://"
    address = repository[len(scheme) :].partition("/")[0] if repository.startswith(scheme) else repository
    user, _, place = address.partition("@")
    host, _, rest = place.partition(":")
    port = rest if repository.startswith(scheme) and rest else str(_PORT)
    if not user or not host or host.startswith("-") or not port.isdigit() or not 0 < int(port) < 65536:
        raise Refusal(
            USAGE,
            f"--repository {shown(repository)} is neither git@HOST:PATH, ssh://USER@HOST[:PORT]/PATH, nor a path on this node",
        )
    return Server(host, int(port))


def pin(server: Server, given: "str | None") -> str:
    """Return the lines of a known_hosts file for a server.

    Args:
        server: The server.
        given: Host keys, as ssh-keyscan(1) prints them or as in a `.pub` file, that somebody has checked; None to ask the
            server for them and the person at the terminal whether they are right.

    Raises:
        Refusal: If there are none, or they are not confirmed.
    """
    if given is not None:
        keys = _keys_in(_of_one_server(server, given))
        if not keys:
            raise Refusal(USAGE, "--known-hosts holds no host key: save there what ssh-keyscan -t ed25519 HOST prints")
    else:
        keys = _keys_in(_scanned(server))
        if not keys:
            raise Refusal(REFUSED, f"{server.known_as} has no Ed25519 host key: give its keys with --known-hosts FILE")
        _confirm(server, keys)
    return "".join(f"{server.known_as} {key.kind} {key.data}\n" for key in keys)


def _of_one_server(server: Server, text: str) -> str:
    """Return the lines of one server: of a file of many, a person's own known_hosts say, the others must not be believed.

    Where all lines have one name, whichever that is, somebody has made the file for this server.

    Raises:
        Refusal: If there are several names, and none is this server's.
    """
    named = [words for words in map(str.split, text.splitlines()) if len(words) > 2 and words[1] in _KINDS]
    if len({words[0] for words in named}) < 2:
        return text
    own = [" ".join(words) for words in named if server.known_as in words[0].split(",")]
    if not own:
        raise Refusal(
            USAGE,
            f"--known-hosts names several servers, and none is {server.known_as}: save what ssh-keyscan prints of it alone",
        )
    return "\n".join(own)


def _keys_in(text: str) -> "list[PublicKey]":
    found = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0].startswith(("#", "@")):  # a revoked key or a CA is nothing to pin
            continue
        at = next((index for index, word in enumerate(words[:2]) if word in _KINDS), len(words))
        if len(words) > at + 1:
            found.append(PublicKey(words[at], words[at + 1]))
    return found


def _scanned(server: Server) -> str:
    command = ["ssh-keyscan", "-T", "10", "-p", str(server.port), "-t", "ed25519", server.host]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SCAN_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(REFUSED, f"{server.known_as} cannot be asked for its host key: {error}") from error
    return done.stdout


def _confirm(server: Server, keys: "list[PublicKey]") -> None:
    shown_keys = ", ".join(key.fingerprint for key in keys)
    if not sys.stdin.isatty() or not os.isatty(2):
        raise Refusal(
            REFUSED,
            f"{server.known_as} says that its host key is {shown_keys}, and there is no terminal to confirm that on: compare it"
            " with what its operator publishes, and give the file that has it with --known-hosts FILE",
        )
    say(f"{server.known_as} says that its host key is {shown_keys}: compare it with what its operator publishes")
    os.write(2, b"Is it right? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refusal(REFUSED, "the host key is not confirmed: nothing trusts it")
