"""Starts one command without a shell, in surroundings made from nothing, and waits for its end or ends it."""

import _signal  # the C half of `signal`: the enums of the Python half are dear to import
import os
import time

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where a command finds programs, unless the site says otherwise."""

UMASK = 0o027

GRACE_S = 10.0
"""How long a command that outlived its timeout has between TERM and KILL."""

FORWARDED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
# Python ignores SIGPIPE and SIGXFSZ and a child would inherit that; KILL and STOP cannot be set. Real-time signals are
# left alone: two of them belong to the C library.
RESET = sorted(set(range(1, 32)) - {_signal.SIGKILL, _signal.SIGSTOP})


class NotStarted(Exception):
    """The program could not be started, so nothing ran; the message is the kernel's reason."""


class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status, 128+n when signal n killed it.
        signaled: Whether a signal killed it.
        timed_out: Whether it was ended because it outlived its timeout.
        cancelled: Whether it was ended because somebody asked for it.
        children: How many processes of its group are still running.
    """

    __slots__ = ("cancelled", "children", "signaled", "status", "timed_out")

    def __init__(self, status: int, *, signaled: bool, timed_out: bool, children: int, cancelled: bool = False) -> None:
        self.status = status
        self.signaled = signaled
        self.timed_out = timed_out
        self.cancelled = cancelled
        self.children = children


def environment_for(name: str, account: "pwd.struct_passwd", home: str, site: "dict[str, str]") -> "dict[str, str]":
    """Make the environment that every command has: nothing of the dispatcher's own, which a client may have a say in.

    Args:
        name: The command's name, as `DEA_COMMAND`.
        account: The account that the dispatcher runs as.
        home: The home folder, as `HOME`.
        site: What the site adds or sets otherwise.
    """
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        **site,
        "HOME": home,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "DEA_COMMAND": name,
    }


def close_descriptors() -> None:
    """Close all descriptors but 0 to 2, and open those of them that are missing, before anything else is opened.

    Whatever this process was started with is not the command's business; and were 2 free, the audit log could get it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(descriptor, True)
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


def launch(
    program: str,
    arguments: "tuple[str, ...]",
    environment: "dict[str, str]",
    *,
    timeout_s: "float | None" = None,
    stdin: bool = False,
    beat: "Callable[[], None] | None" = None,
    beat_s: float = 1.0,
) -> Ended:
    """Run a program in its own folder and process group, and wait for its end.

    stdout and stderr are handed on as they are, so output passes as it comes and at no cost. stdin is `/dev/null` unless
    asked for. Only the command itself is waited for: children that it leaves behind on purpose live on, except after a
    timeout, which ends its whole process group: TERM, then KILL after `GRACE_S`. `beat` is called every `beat_s` seconds.

    Note:
        Changes this process's folder, umask and signal handlers. Blocks until the end.

    Raises:
        NotStarted: If the program cannot be started (its interpreter is missing, say). Any other error leaves open how it
            ended.
    """
    os.umask(UMASK)
    group = 0
    early: "list[int]" = []
    deadline: "float | None" = None

    def forward(signum: int, _frame: object) -> None:
        # Its own group does not get the terminal's Ctrl-C.
        if group:
            signal_group(group, signum)
        else:
            early.append(signum)

    def tick(_signum: int, _frame: object) -> None:
        nonlocal deadline
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            signal_group(group, _signal.SIGKILL)
        elif deadline is None and limit is not None and now >= limit:
            deadline = now + GRACE_S
            end_group(group)
        if beat is not None:
            beat()
        set_timer()

    def set_timer() -> None:
        now = time.monotonic()
        waits = [due - now for due in (deadline, limit) if due is not None and due > now]
        _signal.setitimer(_signal.ITIMER_REAL, min([*waits, beat_s if beat is not None else 1.0]))

    # Whoever started this process may have blocked the alarm, or ignore SIGCHLD: then the kernel would keep no exit status.
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    for signum in FORWARDED:
        if _signal.getsignal(signum) != _signal.SIG_IGN:  # nohup(1) asked for a hangup to be ignored
            _signal.signal(signum, forward)
    try:
        os.chdir(os.path.dirname(program))
        pid = group = os.posix_spawn(
            program,
            [program, *arguments],
            environment,
            file_actions=() if stdin else [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
            setsigmask=[],
            setsigdef=RESET,
        )
    except OSError as error:
        raise NotStarted(error.strerror) from error
    for signum in early:
        signal_group(group, signum)
    limit = None if timeout_s is None else time.monotonic() + timeout_s
    if limit is not None or beat is not None:
        _signal.signal(_signal.SIGALRM, tick)
        set_timer()
    # WNOWAIT: while the ended child is not taken away, its number is nobody else's, and a late signal is harmless.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    _signal.setitimer(_signal.ITIMER_REAL, 0)
    if deadline is not None:
        _await_group(group, deadline)
    _, status = os.waitpid(pid, 0)
    signaled = os.WIFSIGNALED(status)
    return Ended(
        128 + os.WTERMSIG(status) if signaled else os.WEXITSTATUS(status),
        signaled=signaled,
        timed_out=deadline is not None,
        children=count_group(group),
    )


def signal_group(group: int, signum: int) -> bool:
    """Send a signal to a process group; return whether there is one."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # all that is left of it runs as another user (a set-user-id program)
    return True


def end_group(group: int) -> None:
    """Ask a process group to end."""
    signal_group(group, _signal.SIGTERM)
    signal_group(group, _signal.SIGCONT)  # a stopped process could not even receive it


def _await_group(group: int, deadline: float) -> None:
    """Wait until a group that was sent TERM is gone; kill what is left of it at the deadline (monotonic seconds)."""
    while count_group(group):
        if time.monotonic() >= deadline:
            signal_group(group, _signal.SIGKILL)
            return
        time.sleep(0.05)


def count_group(group: int) -> int:
    """Count the processes of a group. It is nearly always empty, so all processes are looked at only if it is not."""
    if not signal_group(group, 0):
        return 0
    count = 0
    try:
        entries = os.listdir("/proc")
    except OSError:
        return 1  # at least: it took a signal
    for entry in entries:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # proc(5): the fields after the last parenthesis are state, parent, group; Z is dead already
                    state, _parent, its_group = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it has ended
            count += state != b"Z" and int(its_group) == group
    return count
