"""The lines of `authorized_keys` that let keys in, to be looked at; how one is read is `dea.remote.authorized_keys`'s."""

import os
from dataclasses import dataclass

from dea.remote.authorized_keys import MAIN, parse
from dea.remote.contract.words import QuotingError, split

_FOLDER = "/dea/remote"  # the slow form, which works too


@dataclass(frozen=True)
class KeyLine:
    """One line that lets a key in.

    Attributes:
        file: The file that it is in.
        number: Its number there, from 1 on.
        options: Its options in order: each name in lower case, and its value, empty for a flag.
        key: The key's type and base64.
    """

    file: str
    number: int
    options: "tuple[tuple[str, str], ...]"
    key: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)} line {self.number}"

    @property
    def names(self) -> "list[str]":
        """The names of its options."""
        return [name for name, _ in self.options]

    def value(self, name: str) -> "str | None":
        """Return the value of an option, or None if the line does not have it."""
        return next((value for one, value in self.options if one == name), None)

    @property
    def words(self) -> "list[str] | None":
        """The words of its forced command; None if a shell would read more in it than words."""
        try:
            words, operators = split(self.value("command") or "")
        except QuotingError:
            return None
        return None if operators else words

    @property
    def program_at(self) -> int:
        """Which of the words is the dispatcher, from 0 on; -1 if none is."""
        words = self.words or []
        return next((at for at, word in enumerate(words) if _checkout_in(word) is not None), -1)

    @property
    def checkout(self) -> "str | None":
        """The checkout whose dispatcher its forced command starts, as it is written; None if it starts another program."""
        words = self.words
        if words is not None:
            return _checkout_in(words[self.program_at]) if self.program_at >= 0 else None
        # Not to be told apart without a shell: the word that it most likely is.
        return next((at for at in map(_checkout_in, (self.value("command") or "").split()) if at is not None), None)


def read(path: str) -> "list[KeyLine]":
    """Return the lines of a file that let a key in; those that sshd passes over are none.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:
        text = file.read().decode("utf-8", "surrogateescape")
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        parsed = parse(line)
        if parsed is not None:
            options, key = parsed
            found.append(KeyLine(path, number, options, f"{key.kind} {key.data}"))
    return found


def _checkout_in(word: str) -> "str | None":
    for end in (MAIN, _FOLDER):
        if word.endswith(end):
            return word[: -len(end)]
    return None
