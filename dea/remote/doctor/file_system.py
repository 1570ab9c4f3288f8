"""What the file system of the state folder does: all promises of runs rest on it (docs/explanation/exactly-once.md).

Everything is tried in a folder made for it, and that is removed. What cannot be tried from one node is in `mounts`.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time

from dea.remote.approval import Unapproved, load_site
from dea.remote.checks import Check
from dea.remote.decision import MAX_OUTPUT_BYTES
from dea.remote.doctor.mounts import ONE_NODES_TIME, mount_of, nearest
from dea.remote.doctor.node import Node

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from collections.abc import Callable

SKEW_S = 5.0
"""How far clocks may be apart. NTP keeps them within milliseconds; this one does not run."""

TRIED_BYTES = 16 << 20
"""How much is really allocated, because a quota is seen in no number that statvfs(3) gives."""

LEAST_FREE_FILES = 1000

_QUOTA_LIMIT_S = 10.0


def clock(node: Node) -> Check:
    """This node's clock and that of the state folder's file system agree, and no file there is from the future."""

    def look(folder: str) -> Check:
        before = time.time()
        with open(os.path.join(folder, "clock"), "wb") as file:
            file.write(b"x")
        theirs = os.stat(os.path.join(folder, "clock")).st_mtime
        after = time.time()
        skew_s = before - theirs if theirs < before else max(0.0, theirs - after)
        newest = max((os.stat(path).st_mtime for path in _logs(node.site.state)), default=0.0)
        ahead_s = newest - after
        remedy = "have the site run NTP on it: times of records, pruning and the limit of requests go by the clock"
        if skew_s > SKEW_S:
            return Check("clock", False, f"this node is {skew_s:.1f} s from the clock of {node.site.state}", remedy)
        if ahead_s > SKEW_S:
            return Check(
                "clock", False, f"another login node's clock is ahead: a log is from {ahead_s:.1f} s after now", remedy
            )
        kind = mount_of(folder)[1]
        against = "which is that of this node too" if kind in ONE_NODES_TIME else "the file server's"
        return Check(
            "clock", True, f"{skew_s:.2f} s from the clock of the state folder's file system ({kind}), {against}"
        )

    return _tried("clock", node, look)


def rename(node: Node) -> Check:
    """A folder that is renamed onto one that holds something is refused: so one process alone claims a run."""

    def look(folder: str) -> Check:
        ours, theirs, free = (os.path.join(folder, name) for name in ("ours", "theirs", "free"))
        for path in (ours, theirs):
            os.mkdir(path)
            _write(os.path.join(path, "token"), os.path.basename(path).encode())
        remedy = "name a state folder on another file system, with --state DIR"
        try:
            os.rename(ours, theirs)
        except OSError:
            pass
        else:
            return Check("rename", False, "a folder was renamed onto one that held something, which is gone", remedy)
        with open(os.path.join(theirs, "token"), "rb") as file:
            if file.read() != b"theirs":
                return Check("rename", False, "a rename that was refused changed its target", remedy)
        os.rename(ours, free)
        link, draft = os.path.join(folder, "current"), os.path.join(folder, "draft")
        for target in ("theirs", "free"):
            os.symlink(target, draft)
            os.replace(draft, link)
        if os.readlink(link) != "free":
            return Check("rename", False, "a link was not replaced by another", remedy)
        return Check("rename", True, "a claim cannot be renamed over another, and a link is replaced in one step")

    return _tried("rename", node, look)


def link(node: Node) -> Check:
    """Of two links of one name the first wins: so what was decided once stays decided."""

    def look(folder: str) -> Check:
        first, second, name = (os.path.join(folder, one) for one in ("first", "second", "name"))
        _write(first, b"first")
        _write(second, b"second")
        remedy = "name a state folder on another file system, with --state DIR"
        try:
            os.link(first, name)
        except OSError as error:
            return Check("link", False, f"link(2) does not work there: {error.strerror}", remedy)
        try:
            os.link(second, name)
        except FileExistsError:
            pass
        else:
            return Check("link", False, "a second link of the same name took the first one's place", remedy)
        with open(name, "rb") as file:
            if file.read() != b"first" or os.stat(first).st_nlink != 2:
                return Check("link", False, "after a second link was refused, the first is not what it was", remedy)
        return Check("link", True, "the first link of a name wins, and counts")

    return _tried("link", node, look)


def flock(node: Node) -> Check:
    """A lock keeps another process out, on this node: the audit log is written under one."""

    def look(folder: str) -> Check:
        path = os.path.join(folder, "lock")
        _write(path, b"")
        ours, theirs = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
        remedy = "ask the site to mount it with flock, or name another state folder with --state DIR"
        try:
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Check("flock", True, "who has a lock keeps others out")
            return Check("flock", False, "two had the same lock at once", remedy)
        except OSError as error:
            return Check("flock", False, f"flock(2) does not work there: {error.strerror}", remedy)
        finally:
            os.close(ours)
            os.close(theirs)

    return _tried("flock", node, look)


def fsync(node: Node) -> Check:
    """What is to be durable can be written through to the disk: files and folders."""

    def look(folder: str) -> Check:
        begin = time.monotonic()
        try:
            for path, flags in ((os.path.join(folder, "file"), os.O_WRONLY | os.O_CREAT), (folder, os.O_RDONLY)):
                descriptor = os.open(path, flags, 0o600)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            return Check(
                "fsync",
                False,
                f"fsync(2) does not work there: {error.strerror}",
                "name another state folder with --state DIR",
            )
        return Check(
            "fsync", True, f"a file and its folder are on the disk after {(time.monotonic() - begin) * 1000:.0f} ms"
        )

    return _tried("fsync", node, look)


def free_space(node: Node) -> Check:
    """There is room for the output of a run, by the file system's own numbers and by the account's quota."""
    try:
        most_bytes = load_site(node.site.checkout).get("max_output_bytes", MAX_OUTPUT_BYTES)
    except Unapproved:
        most_bytes = MAX_OUTPUT_BYTES

    def look(folder: str) -> Check:
        status = os.statvfs(folder)
        free_bytes, free_files = status.f_bavail * status.f_frsize, status.f_favail
        remedy = (
            "python3 dea/remote --prune removes stored output; lower max_output_bytes in site.yaml, or get more room"
        )
        try:
            descriptor = os.open(os.path.join(folder, "room"), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, TRIED_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            said = f"{TRIED_BYTES >> 20} MiB cannot be had there ({error.strerror}), of {_megabytes(free_bytes)} that are free"
            return Check("free_space", False, said, remedy)
        if free_bytes < most_bytes:
            said = f"{_megabytes(free_bytes)} are free, and one run may leave {_megabytes(most_bytes)} of output"
            return Check("free_space", False, said, remedy)
        if status.f_files and free_files < LEAST_FREE_FILES:
            return Check("free_space", False, f"{free_files} more files can be made there", remedy)
        quota = _quota()
        if quota is not None and quota[0]:
            return Check("free_space", False, f"the account is over a quota: {quota[1]}", remedy)
        said = "no quota program to ask" if quota is None else "within quota"
        return Check("free_space", True, f"{_megabytes(free_bytes)} are free, {said}")

    return _tried("free_space", node, look)


def _tried(check: str, node: Node, look: "Callable[[str], Check]") -> Check:
    """Try something in a folder of its own on the state folder's file system."""
    try:
        folder = tempfile.mkdtemp(prefix=".dea-doctor-", dir=nearest(node.site.state))
    except OSError as error:
        return Check(check, None, f"nothing can be written at {node.site.state} ({error.strerror})", "see state_folder")
    try:
        return look(folder)
    except OSError as error:
        return Check(check, False, f"{node.site.state}: {error}", "name another state folder with --state DIR")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quota() -> "tuple[bool, str] | None":
    """Return whether the account is over a quota and what quota(1) says, or None where there is no such program."""
    program = shutil.which("quota")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-q"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_QUOTA_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # a file server that does not answer it
    return done.returncode != 0 and bool(done.stdout.strip()), ascii(
        b" ".join(done.stdout.split())[:200].decode("utf-8", "replace")
    )


def _logs(state: str) -> "list[str]":
    folder = os.path.join(state, "audit")
    return [os.path.join(folder, entry) for entry in (os.listdir(folder) if os.path.isdir(folder) else ())]


def _write(path: str, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
