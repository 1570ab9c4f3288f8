"""One request: what arrives as `SSH_ORIGINAL_COMMAND`, checked and split into a command's name and its arguments."""

from dea.remote.contract.status import NOT_FOUND, REFUSED, USAGE
from dea.remote.contract.words import OPERATORS, QuotingError, controls_in, split

MAX_REQUEST_BYTES = 64 * 1024
"""The longest request in bytes of UTF-8. From 128 KiB on (`MAX_ARG_STRLEN`), sshd cannot even start the dispatcher."""

MAX_NAME_LENGTH = 64

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME_REST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class Refusal(Exception):
    """A request that does not run.

    Attributes:
        status: The exit status that says why, one of `dea.remote.contract.status`.
        problems: What is wrong with the request and what to do, one sentence each; all of it at once.
    """

    def __init__(self, status: int, *problems: str) -> None:
        super().__init__(status, *problems)
        self.status = status
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class Request:
    """A well-formed request.

    Attributes:
        name: The command's name; well-formed, not yet known to exist.
        arguments: The words after it.
    """

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, arguments: "tuple[str, ...]") -> None:
        self.name = name
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"Request({self.name!r}, {self.arguments!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return (self.name, self.arguments) == (other.name, other.arguments)

    __hash__ = None  # type: ignore[assignment]  # a value that is compared, never a key


def shown(text: str, limit: int = 80) -> str:
    """Quote a text from outside for a message: escaped to ASCII, and shortened.

    >>> shown("a" * 100, limit=10)
    "'aaaaaaaaaa'... (100 characters)"
    """
    return ascii(text) if len(text) <= limit else f"{text[:limit]!a}... ({len(text)} characters)"


def is_name(text: str) -> bool:
    """Tell whether a text can be a command's name: `[a-z][a-z0-9_]{0,63}`.

    >>> is_name("execute_clean"), is_name("../evil"), is_name("")
    (True, False, False)
    """
    return text[:1] in _NAME_START and len(text) <= MAX_NAME_LENGTH and _NAME_REST.issuperset(text)


def check_size(size_bytes: int) -> None:
    """Refuse a request that is too long.

    Raises:
        Refusal: If it is.
    """
    if size_bytes > MAX_REQUEST_BYTES:
        raise Refusal(
            REFUSED,
            f"the request is {size_bytes} bytes long, {MAX_REQUEST_BYTES} are allowed: put what is long into a file, or send less at once",
        )


def parse_request(raw: bytes) -> Request:
    r"""Check a request and split it into name and arguments.

    Args:
        raw: The request as it arrived, UTF-8.

    Raises:
        Refusal: With `USAGE` for a text that is no list of words, `NOT_FOUND` for a first word that can be no name,
            and `REFUSED` for a request that is too long, not UTF-8, or asks for a shell.

    >>> parse_request(b"execute_clean --search-string 'x y'")
    Request('execute_clean', ('--search-string', 'x y'))
    """
    check_size(len(raw))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(REFUSED, f"the request is not valid UTF-8 at byte {error.start}: send UTF-8") from error
    problems = []
    controls = controls_in(text)
    if controls:
        listed = ", ".join(f"U+{ord(char):04X}" for char in controls[:5])
        problems.append(f"it holds control characters ({listed}): a request is one line of plain text")
    try:
        words, operators = split(text)
    except QuotingError as error:
        if problems:
            raise Refusal(REFUSED, *problems, str(error)) from error
        raise Refusal(USAGE, f"{error}: close it, or quote it to mean the character itself") from error
    if operators:
        listed = " ".join(char for char in sorted(OPERATORS) if char in operators)
        problems.append(
            f"it has {listed} outside quotes, and no shell reads it: quote them to mean the characters themselves"
        )
    if problems:
        raise Refusal(REFUSED, *problems)
    return request_of(words)


def request_of(words: "list[str]") -> Request:
    """Make a request of words that are split already.

    Raises:
        Refusal: With `USAGE` if there is no word or an option before the name, with `NOT_FOUND` if the first can be no name.
    """
    if not words or not words[0]:
        raise Refusal(USAGE, "the request is empty: send the name of a command, then its arguments")
    name = words[0]
    if name.startswith("--"):
        raise Refusal(USAGE, f"unknown option {shown(name)}: a request begins with the name of a command")
    if not is_name(name):
        raise Refusal(NOT_FOUND, f"{shown(name)} is no name of a command: a name is [a-z][a-z0-9_]{{0,63}}")
    return Request(name, tuple(words[1:]))
