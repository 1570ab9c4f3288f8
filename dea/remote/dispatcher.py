"""The dispatcher: takes one request, finds the command, runs it, and passes on its output and status. Never a shell.

There are two ways in. In gate mode, which the forced command's own argv turns on with `--key`, the request is what the
client sent; by hand it is the arguments. See sshd(8), AUTHORIZED_KEYS FILE FORMAT.
"""

import os
import pwd
import stat
import sys
import time

from dea.remote.audit import Audit
from dea.remote.contract.request import Refusal, Request, parse_request, request_of, shown
from dea.remote.contract.status import FAILED, NOT_FOUND, REFUSED
from dea.remote.launch import environment_for, launch

STATE_FOLDER = ".dea-orchestration"
"""The state folder's default place, in the account's home folder."""


_GATE_OPTIONS = ("--key", "--home", "--state")


class _Gate:
    """What the forced command's own argv says; trusted, because only the account itself can write `authorized_keys`."""

    __slots__ = ("home", "key", "state")

    def __init__(self, argv: "list[str]", home: str) -> None:
        values = {"--home": home}
        rest = iter(argv)
        for option in rest:
            if option not in _GATE_OPTIONS:
                raise Refusal(REFUSED, f"the forced command in authorized_keys has an unknown word {shown(option)}")
            value = next(rest, "")
            if not value:
                raise Refusal(REFUSED, f"the forced command in authorized_keys has no value for {option}")
            values[option] = value
        if "--key" not in values:
            raise Refusal(REFUSED, "the forced command in authorized_keys has no --key LABEL")
        self.key = values["--key"]
        self.home = values["--home"]
        self.state = values.get("--state", os.path.join(self.home, STATE_FOLDER))


def main(checkout: str, argv: "list[str]") -> int:
    """Handle one request and return the exit status.

    Args:
        checkout: The absolute path of the checkout that holds `raijin_scripts`.
        argv: The dispatcher's own arguments: gate options from the forced command, or by hand the request's words.
    """
    try:
        # Not HOME: in gate mode the environment is not trusted.
        account = pwd.getpwuid(os.getuid())
        if argv[:1] and argv[0] in _GATE_OPTIONS:
            return _gate(checkout, _Gate(argv, account.pw_dir), account)
        return _run(checkout, request_of(argv), account, account.pw_dir)
    except Refusal as refusal:
        return _refuse(refusal)
    except Exception as error:  # noqa: BLE001 - the last resort: a clear line and 125, never a traceback to a client
        return _refuse(
            Refusal(FAILED, f"the dispatcher itself failed: {type(error).__name__}: {shown(str(error), 300)}")
        )


def _gate(checkout: str, gate: _Gate, account: "pwd.struct_passwd") -> int:
    """Handle what a client sent: as `_run` does, with a line in the audit log before and after."""
    raw = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"")
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    audit = Audit(gate.state, gate.key, client)
    begin = time.monotonic()
    try:
        audit.record("received", request=raw[:1024].decode("utf-8", "backslashreplace"), size_bytes=len(raw))
    except OSError as error:
        raise Refusal(
            REFUSED, f"the audit log cannot be written ({error}): what cannot be recorded does not run"
        ) from error
    try:
        request = parse_request(raw)
        status = _run(checkout, request, account, gate.home)
    except Refusal as refusal:
        audit.record("refused", status=refusal.status, problems=list(refusal.problems))
        raise
    duration_s = round(time.monotonic() - begin, 4)
    audit.record("ended", command=request.name, arguments=list(request.arguments), status=status, duration_s=duration_s)
    return status


def _run(checkout: str, request: Request, account: "pwd.struct_passwd", home: str) -> int:
    program = _find(os.path.join(checkout, "raijin_scripts"), request.name)
    try:
        return launch(program, request.arguments, environment_for(request.name, account, home))
    except OSError as error:
        raise Refusal(
            REFUSED,
            f"{request.name} cannot be started ({error.strerror}): check the first line of its `run` and the interpreter there",
        ) from error


def _find(scripts: str, name: str) -> str:
    """Return the path of a command's `run`.

    Raises:
        Refusal: If there is none, or if it is not a plain executable file in a plain folder.
    """
    folder = os.path.join(scripts, name)
    program = os.path.join(folder, "run")
    try:
        # lstat: a link could lead out of the folder that was approved
        folder_mode, mode = os.lstat(folder).st_mode, os.lstat(program).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal(NOT_FOUND, f"there is no command {name}: ask for one of those in raijin_scripts") from None
    if not stat.S_ISDIR(folder_mode) or not stat.S_ISREG(mode):
        raise Refusal(REFUSED, f"{name} is not a folder with a plain file `run`: symbolic links are not followed")
    if not os.access(program, os.X_OK):
        raise Refusal(REFUSED, f"{name}/run is not executable: chmod +x it")
    return program


def _refuse(refusal: Refusal) -> int:
    """Say on stderr what is wrong; nothing ever goes to stdout, where it could pass for a command's output."""
    for problem in refusal.problems:
        sys.stderr.write(f"dea-remote: {problem}\n")
    return refusal.status
