"""Where the state folder is mounted from, as far as one node can know: what others see of it cannot be tried from here."""

import os

from dea.remote.checks import Check
from dea.remote.doctor.node import Node

MOUNTS = "/proc/self/mountinfo"

_SHARED = frozenset((
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph", "panfs", "pvfs2", "glusterfs", "fuse.glusterfs", "afs",
    "cifs", "smb3", "ocfs2", "gfs2", "wekafs", "9p", "virtiofs",
))  # fmt: skip
_LOCAL = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "overlay", "bcachefs"))
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))
_LOCKS_ON_ONE_NODE = ("localflock", "local_lock=flock", "local_lock=all", "nolock")
ONE_NODES_TIME = _LOCAL | _IN_MEMORY | {"lustre", "gpfs", "beegfs"}
"""Where a file's time is that of the node that wrote it: on the last ones of each client."""

_ESCAPED = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}  # proc(5), mountinfo


def shared_file_system(node: Node) -> Check:
    """The state folder is on a file system that all login nodes share: a run is known on each of them, or it can run twice."""
    mount, kind, options = mount_of(nearest(node.site.state))
    where = f"{node.site.state} is on {kind} ({mount})"
    local = [option for option in options if option in _LOCKS_ON_ONE_NODE]
    locks = f"; locks hold on one node only ({local[0]}), and what holds between nodes uses none" if local else ""
    if kind in _IN_MEMORY:
        return Check(
            "shared_file_system",
            False,
            f"{where}: a restart loses all runs",
            "name a folder on a disk, with --state DIR",
        )
    if kind in _SHARED:
        return Check("shared_file_system", True, where + locks)
    if node.is_alone:
        return Check("shared_file_system", True, f"{where}, and it was said that there is one login node")
    remedy = "name a folder that they share, with --state DIR in each forced command; if there is one login node, ask with --one-node"
    if kind in _LOCAL:
        return Check("shared_file_system", False, f"{where}: other login nodes do not see the runs there", remedy)
    return Check("shared_file_system", None, f"{where}: whether login nodes share it is not known", remedy)


def nearest(path: str) -> str:
    """Return a folder, or the nearest above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.path.realpath(path)


def mount_of(path: str) -> "tuple[str, str, list[str]]":
    """Return the mount point that a folder is below, the type of its file system, and its options; see proc(5)."""
    found = ("/", "unknown", [""])
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _, rest = line.rstrip("\n").partition(" - ")
                words, kinds = fields.split(" "), rest.split(" ")
                mount = words[4]
                for code, char in _ESCAPED.items():
                    mount = mount.replace(code, char)
                # The last one that fits hides those before it.
                if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(found[0]):
                    found = (mount, kinds[0], words[5].split(",") + kinds[2].split(","))
    except (OSError, IndexError):
        pass  # no Linux
    return found
