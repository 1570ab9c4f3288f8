"""Starts one command without a shell, in surroundings made from nothing, and waits for its end."""

import _signal  # the C half of `signal`: the enums of the Python half cost five milliseconds
import os
import pwd

PATH = "/usr/local/bin:/usr/bin:/bin"
UMASK = 0o027

_FORWARDED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
# Python ignores SIGPIPE and SIGXFSZ and a child would inherit that; KILL and STOP cannot be set. Real-time signals are
# left alone: two of them belong to the C library.
_RESET = sorted(set(range(1, 32)) - {_signal.SIGKILL, _signal.SIGSTOP})


def environment_for(name: str, account: "pwd.struct_passwd", home: str) -> "dict[str, str]":
    """Make the whole environment of a command: nothing of the dispatcher's own, which a client may have a say in.

    Args:
        name: The command's name, as `DEA_COMMAND`.
        account: The account that the dispatcher runs as.
        home: The home folder, as `HOME`.
    """
    return {
        "PATH": PATH,
        "HOME": home,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "LANG": "C.UTF-8",
        "DEA_COMMAND": name,
    }


def launch(program: str, arguments: "tuple[str, ...]", environment: "dict[str, str]") -> int:
    """Run a program in its own folder and process group, and return its exit status, 128+n when signal n killed it.

    stdout and stderr are handed on as they are, so output passes as it comes and at no cost. stdin is `/dev/null`. Only
    the command itself is waited for: children that it leaves behind on purpose live on.

    Note:
        Changes this process's folder, umask and signal handlers, and closes its descriptors above 2. Blocks until the end.

    Raises:
        OSError: If the program cannot be started (its interpreter is missing, say).
    """
    os.umask(UMASK)
    os.chdir(os.path.dirname(program))
    _close_descriptors()
    group = 0
    early = []

    def forward(signum: int, _frame: object) -> None:
        # Its own group does not get the terminal's Ctrl-C.
        if group:
            _signal_group(group, signum)
        else:
            early.append(signum)

    for signum in _FORWARDED:
        _signal.signal(signum, forward)
    group = os.posix_spawn(
        program,
        [program, *arguments],
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setpgroup=0,
        setsigmask=[],
        setsigdef=_RESET,
    )
    for signum in early:
        _signal_group(group, signum)
    _, status = os.waitpid(group, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _signal_group(group: int, signum: int) -> None:
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        pass  # it has just ended


def _close_descriptors() -> None:
    """Close all descriptors but 0 to 2: whatever this process was started with is not the command's business."""
    try:
        open_now = [int(entry) for entry in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc
        os.closerange(3, 1024)
        return
    for descriptor in open_now:
        if descriptor > 2:
            try:
                os.close(descriptor)
            except OSError:
                pass  # the one that listed the folder
