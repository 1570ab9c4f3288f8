"""One request: what arrives as `SSH_ORIGINAL_COMMAND`, checked and split into options, a command's name and its arguments.

    request  = [ "--run-id" ID ] NAME *argument          run a command
             | "--list" | "--version"                     ask
             | "--describe" NAME
             | "--explain" NAME *argument
             | "--audit-verify" *argument                 ask, by hand only

`--json` can stand beside each question. A name is `[a-z][a-z0-9_]{0,63}`, so it is never taken for an option, and every
word after it belongs to the command.
"""

from dea.remote.contract.status import NOT_FOUND, REFUSED, USAGE
from dea.remote.contract.words import OPERATORS, QuotingError, controls_in, split

MAX_REQUEST_BYTES = 64 * 1024
"""The longest request in bytes of UTF-8. From 128 KiB on (`MAX_ARG_STRLEN`), sshd cannot even start the dispatcher."""

MAX_NAME_LENGTH = 64

MIN_RUN_ID_LENGTH, MAX_RUN_ID_LENGTH = 8, 128

QUESTIONS = ("--list", "--describe", "--explain", "--version", "--audit-verify")
"""What can be asked instead of running a command."""

BY_HAND_ONLY = ("--audit-verify",)
"""What is answered to whoever is logged in, never to a key."""

_NAMELESS = ("--list", "--version", "--audit-verify")
_RUN_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME_REST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class Refusal(Exception):
    """A request that does not run.

    Attributes:
        status: The exit status that says why, one of `dea.remote.contract.status`.
        problems: What is wrong with the request and what to do, one sentence each; all of it at once.
        run_id: The request's run id, where it is known, so that a refusal has its receipt too.
    """

    def __init__(self, status: int, *problems: str, run_id: "str | None" = None) -> None:
        super().__init__(status, *problems)
        self.status = status
        self.problems = problems
        self.run_id = run_id

    def __str__(self) -> str:
        return "; ".join(self.problems)


class Request:
    """A well-formed request.

    Attributes:
        name: The command's name; well-formed, not yet known to exist. Empty for a question that names none.
        arguments: The words after it.
        run_id: The client's id for this run, or None.
        question: One of `QUESTIONS`, or None for a request to run the command.
        as_json: Whether the answer to the question is to be JSON.
    """

    __slots__ = ("arguments", "as_json", "name", "question", "run_id")

    def __init__(
        self,
        name: str,
        arguments: "tuple[str, ...]" = (),
        *,
        run_id: "str | None" = None,
        question: "str | None" = None,
        as_json: bool = False,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.run_id = run_id
        self.question = question
        self.as_json = as_json

    def __repr__(self) -> str:
        named = (("run_id", self.run_id), ("question", self.question), ("as_json", self.as_json or None))
        return (
            f"Request({self.name!r}, {self.arguments!r}"
            + "".join(f", {n}={v!r}" for n, v in named if v is not None)
            + ")"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

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


def is_run_id(text: str) -> bool:
    """Tell whether a text can be a run id: `[A-Za-z0-9_-]{8,128}`.

    >>> is_run_id("5f0c_17-aZ"), is_run_id("../../x")
    (True, False)
    """
    return MIN_RUN_ID_LENGTH <= len(text) <= MAX_RUN_ID_LENGTH and _RUN_ID.issuperset(text)


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
            and `REFUSED` for a request that is too long, not UTF-8, or asks for a shell. It has the run id if the request
            begins with one.

    >>> parse_request(b"execute_clean --search-string 'x y'")
    Request('execute_clean', ('--search-string', 'x y'))
    """
    try:
        return _parsed(raw)
    except Refusal as refusal:
        # It belongs to this run even if nothing after its id can be read: the client learns for certain that it did not run.
        refusal.run_id = refusal.run_id or _run_id_at_begin(raw)
        raise


def _run_id_at_begin(raw: bytes) -> "str | None":
    """Return the id of a request that begins with `--run-id ID `, whatever follows."""
    option, _, rest = raw[: len("--run-id ") + MAX_RUN_ID_LENGTH + 1].decode("utf-8", "replace").partition(" ")
    run_id, space, _ = rest.partition(" ")
    return run_id if option == "--run-id" and space and is_run_id(run_id) else None


def _parsed(raw: bytes) -> Request:
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
        Refusal: With `USAGE` if there is no word, or an option is unknown, repeated or has a bad value; with `NOT_FOUND`
            if the name can be no name.

    >>> request_of(["--run-id", "a-run-id", "clean", "--run-id", "x"])
    Request('clean', ('--run-id', 'x'), run_id='a-run-id')
    """
    run_id, question, as_json, begin = _options(words)
    name = words[begin] if begin < len(words) else ""
    if question in _NAMELESS:
        if question != "--audit-verify" and begin < len(words):
            raise Refusal(USAGE, f"{question} stands alone, or with --json: leave out {shown(name)}")
        return Request("", tuple(words[begin:]), question=question, as_json=as_json)
    if not name:
        wanted = (
            f"{question} needs the name of a command"
            if question
            else "the request is empty: send the name of a command, then its arguments"
        )
        raise Refusal(USAGE, wanted, run_id=run_id)
    if not is_name(name):
        raise Refusal(
            NOT_FOUND, f"{shown(name)} is no name of a command: a name is [a-z][a-z0-9_]{{0,63}}", run_id=run_id
        )
    if question == "--describe" and begin + 1 < len(words):
        raise Refusal(USAGE, f"--describe takes one name: leave out {shown(words[begin + 1])}")
    return Request(name, tuple(words[begin + 1 :]), run_id=run_id, question=question, as_json=as_json)


def _options(words: "list[str]") -> "tuple[str | None, str | None, bool, int]":
    """Read the options before the name; return the run id, the question, whether it is JSON, and where the name stands."""
    run_id = question = None
    as_json = False
    position = 0
    while position < len(words) and words[position].startswith("--"):
        option, equals, value = words[position].partition("=")
        position += 1
        if option == "--run-id" and run_id is None:
            if not equals:
                value = words[position] if position < len(words) else ""
                position += 1
            if not is_run_id(value):
                raise Refusal(USAGE, f"{shown(value)} is no run id: a run id is [A-Za-z0-9_-]{{8,128}}")
            run_id = value
        elif option in QUESTIONS and question is None and not equals:
            question = option
            if question == "--audit-verify":
                break  # what follows are its own options
        elif option == "--json" and not as_json and not equals:
            as_json = True
        else:
            raise Refusal(
                USAGE,
                f"unknown or misplaced option {shown(option)}: before the name there can be --run-id ID, or"
                " one of --list --describe --explain --version, with --json",
                run_id=run_id,
            )
    if question and run_id is not None:
        raise Refusal(USAGE, f"{question} runs nothing: leave out --run-id", run_id=run_id)
    if as_json and not question:
        raise Refusal(
            USAGE,
            "--json belongs to --list, --describe, --explain or --version: a command's output is its own",
            run_id=run_id,
        )
    return run_id, question, as_json, position
