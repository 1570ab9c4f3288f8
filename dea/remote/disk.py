"""What is to survive a loss of power: a file that is written whole, with the mode that it is to have, and a name that is there."""

import os


def write_durably(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet, and wait until it would survive; its name, `force_to_disk` of its folder sees to.

    Args:
        path: The file.
        content: All of it.
        mode: What it is to have, whatever the umask.

    Raises:
        OSError: If it is there already, or cannot be written whole.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def force_to_disk(path: str) -> None:
    """Wait until a file's content, or what was created, renamed or removed in a folder, would survive.

    Raises:
        OSError: If it would not.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
