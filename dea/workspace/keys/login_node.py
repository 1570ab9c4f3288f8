"""The login node's `authorized_keys`, edited there by `--authorize`, over the operator's own ssh.

The operator's ssh program, configuration and keys lead there; only what they are asked to run is said here.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from dea.remote.authorized_keys import PublicKey
from dea.remote.bootstrap import ROOT as REMOTE_ROOT
from dea.workspace.errors import WorkspaceError

DEFAULT_PYTHON = "/usr/bin/python3"
DEFAULT_CHECKOUT = f"{REMOTE_ROOT}/current"

_TIMEOUT_S = 120
_MAX_SAID = 400


@dataclass(frozen=True)
class LoginNode:
    """The account on the login node, as its owner reaches it.

    Attributes:
        login: What ssh is called with: `user@host`, or a name in the operator's own configuration.
        ssh: The ssh program and its options.
        python: The interpreter there.
        checkout: The checkout or release whose dispatcher edits the file, from the account's home folder on.
    """

    login: str
    ssh: tuple[str, ...] = ("ssh",)
    python: str = DEFAULT_PYTHON
    checkout: str = DEFAULT_CHECKOUT

    def install(self, label: str, key: PublicKey, *options: str) -> dict[str, Any]:
        """Have a key let in; return what `--authorize` says.

        Raises:
            WorkspaceError: If the login node cannot be reached or refuses.
        """
        return self._authorize(label, "--public-key", "-", *options, told=f"{key}\n")

    def remove_others(self, label: str, fingerprint: str) -> dict[str, Any]:
        """Have all lines of a label removed but one key's.

        Raises:
            WorkspaceError: As `install`; also if that key is not let in.
        """
        return self._authorize("--remove", label, "--except", fingerprint)

    def how_to_remove_others(self, label: str, fingerprint: str) -> str:
        """Return the command line that does that by hand."""
        return shlex.join(self._command("--remove", label, "--except", fingerprint))

    def _command(self, *arguments: str) -> list[str]:
        if self.login.startswith("-") or not self.login:
            raise WorkspaceError(
                f"--login {self.login!r} is no account: give user@host, or a name of your ssh configuration"
            )
        main = f"{self.checkout}/dea/remote/__main__.py"
        words = [self.python, "-I", "-S", main, "--json", "--authorize", *arguments]
        return [*self.ssh, self.login, shlex.join(words)]

    def _authorize(self, *arguments: str, told: str = "") -> dict[str, Any]:
        # A public key goes by standard input, so that no line is too long and nothing needs to be quoted.
        try:
            done = subprocess.run(
                self._command(*arguments), input=told, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorkspaceError(f"{self.login} cannot be reached: {error}") from error
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        if done.returncode != 0:
            words = "; ".join(line.removeprefix("dea-remote: ") for line in said)[-_MAX_SAID:]
            raise WorkspaceError(f"{self.login}: {words or 'it said nothing'} (status {done.returncode})")
        try:
            # The last line: a login node's own greetings come before.
            answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
            answer["keys"] = [dict(one) for one in answer["keys"]]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise WorkspaceError(
                f"{self.login}: {self.checkout} there has no --authorize: is it this repository?"
            ) from error
        return answer
