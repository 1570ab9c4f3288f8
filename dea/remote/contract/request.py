"""One request: what arrives as `SSH_ORIGINAL_COMMAND`, checked and split into options, a command's name and its arguments.

    request  = NAME *argument                                              run a command
             | "--run-id" ID *( from | "--detach" ) NAME *argument          run it durably, replay or follow it
             | "--run-id" NEW "--rerun" OLD [ "--detach" ]                  a new attempt of what OLD was asked for
             | "--result" ID *( from | "--detach" )                         replay or follow, naming the run alone
             | "--cancel" ID
             | "--list" | "--version" | "--history" [ "--since" TIME ]      ask
             | "--describe" NAME
             | "--explain" NAME *argument
             | ( "--audit-verify" | "--prune" | "--doctor" | "--authorize" | "--bootstrap" ) *argument   by hand only
    from     = ( "--from-stdout" | "--from-stderr" ) BYTES

`--json` can stand beside each question. A name is `[a-z][a-z0-9_]{0,63}`, so it is never taken for an option, and every
word after it belongs to the command.
"""

from dea.remote.contract.status import NOT_FOUND, REFUSED, USAGE
from dea.remote.contract.words import OPERATORS, QuotingError, controls_in, split

MAX_REQUEST_BYTES = 64 * 1024
"""The longest request in bytes of UTF-8. From 128 KiB on (`MAX_ARG_STRLEN`), sshd cannot even start the dispatcher."""

MAX_NAME_LENGTH = 64

MIN_RUN_ID_LENGTH, MAX_RUN_ID_LENGTH = 8, 128

BY_HAND_ONLY = ("--audit-verify", "--prune", "--doctor", "--authorize", "--bootstrap")
"""What is answered to whoever is logged in, never to a key. Every word after it is its own, but `--json`."""

QUESTIONS = ("--list", "--describe", "--explain", "--version", "--history", *BY_HAND_ONLY)
"""What can be asked instead of running a command."""

RESULT, CANCEL, RERUN = "--result", "--cancel", "--rerun"
VERBS = (RESULT, CANCEL, RERUN)
"""What can be done with a run that there is, by its id alone."""

MAX_OFFSET_BYTES = 2**63 - 1

_NAMELESS = ("--list", "--version", "--history", *BY_HAND_ONLY)
_VALUED = ("--run-id", "--from-stdout", "--from-stderr", "--since", *VERBS)
_FLAGS = ("--detach", "--json")
_DIGITS = frozenset("0123456789")
_TIME_SHAPE = "0000-00-00T00:00:00.000000"
_RUN_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME_REST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class Refusal(Exception):
    """A request that does not run.

    Attributes:
        status: The exit status that says why, one of `dea.remote.contract.status`.
        problems: What is wrong with the request and what to do, one sentence each; all of it at once.
        run_id: The request's run id, where it is known, so that a refusal has its receipt too.
        retry_after_s: With `BUSY`: after how many seconds to try again, where that is known.
    """

    def __init__(
        self, status: int, *problems: str, run_id: "str | None" = None, retry_after_s: "float | None" = None
    ) -> None:
        super().__init__(status, *problems)
        self.status = status
        self.problems = problems
        self.run_id = run_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "; ".join(self.problems)


class Request:
    """A well-formed request.

    Attributes:
        name: The command's name; well-formed, not yet known to exist. Empty where none is named.
        arguments: The words after it.
        run_id: The run that this is about, or None. With `--rerun`, the new one.
        question: One of `QUESTIONS`, or None for a request about a run.
        verb: One of `VERBS`, or None for a request to run the command.
        rerun_of: With `--rerun`, the run whose request is to be run anew.
        from_stdout: How many bytes of the run's stdout the client has already.
        from_stderr: The same for stderr.
        detach: Whether to answer without waiting for the run's end.
        since: With `--history`, the time in UTC from which on runs are listed, or None.
        as_json: Whether the answer to the question is to be JSON.
    """

    __slots__ = (
        "arguments", "as_json", "detach", "from_stderr", "from_stdout", "name", "question", "rerun_of", "run_id", "since",
        "verb",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        arguments: "tuple[str, ...]" = (),
        *,
        run_id: "str | None" = None,
        question: "str | None" = None,
        verb: "str | None" = None,
        rerun_of: "str | None" = None,
        from_stdout: int = 0,
        from_stderr: int = 0,
        detach: bool = False,
        since: "str | None" = None,
        as_json: bool = False,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.run_id = run_id
        self.question = question
        self.verb = verb
        self.rerun_of = rerun_of
        self.from_stdout = from_stdout
        self.from_stderr = from_stderr
        self.detach = detach
        self.since = since
        self.as_json = as_json

    def __repr__(self) -> str:
        named = [(name, getattr(self, name)) for name in self.__slots__ if name not in ("name", "arguments")]
        return f"Request({self.name!r}, {self.arguments!r}" + "".join(f", {n}={v!r}" for n, v in named if v) + ")"

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
        return request_of(words_of(raw))
    except Refusal as refusal:
        # It belongs to this run even if nothing after its id can be read: the client learns for certain that it did not run.
        refusal.run_id = refusal.run_id or _run_id_at_begin(raw)
        raise


def _run_id_at_begin(raw: bytes) -> "str | None":
    """Return the id of a request that begins with `--run-id ID `, whatever follows."""
    option, _, rest = raw[: len("--run-id ") + MAX_RUN_ID_LENGTH + 1].decode("utf-8", "replace").partition(" ")
    run_id, space, _ = rest.partition(" ")
    return run_id if option == "--run-id" and space and is_run_id(run_id) else None


def words_of(raw: bytes) -> "list[str]":
    """Check a text that is to be a request and split it into words, whatever they mean.

    Args:
        raw: The text, UTF-8.

    Raises:
        Refusal: With `USAGE` for a text that is no list of words, `REFUSED` for one that is too long, not UTF-8, or asks for
            a shell.
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
    return words


def request_of(words: "list[str]") -> Request:
    """Make a request of words that are split already.

    Raises:
        Refusal: With `USAGE` if there is no word, or an option is unknown, repeated or has a bad value; with `NOT_FOUND`
            if the name can be no name.

    >>> request_of(["--run-id", "a-run-id", "clean", "--run-id", "x"])
    Request('clean', ('--run-id', 'x'), run_id='a-run-id')
    """
    given, begin = _options(words)
    question = next((option for option in QUESTIONS if option in given), None)
    verb = next((option for option in VERBS if option in given), None)
    run_id = given.get("--run-id") or given.get(RESULT) or given.get(CANCEL)
    _check_combination(given, run_id)
    request = Request(
        words[begin] if begin < len(words) else "",
        tuple(words[begin + 1 :]),
        run_id=run_id,
        question=question,
        verb=verb,
        rerun_of=given.get(RERUN),
        from_stdout=int(given.get("--from-stdout", 0)),
        from_stderr=int(given.get("--from-stderr", 0)),
        detach="--detach" in given,
        since=given.get("--since"),
        as_json="--json" in given,
    )
    name = request.name
    if question in BY_HAND_ONLY:
        own = words[begin:]
        request.name, request.arguments = "", tuple(word for word in own if word != "--json")
        request.as_json = request.as_json or "--json" in own
    elif verb or question in _NAMELESS:
        if begin < len(words):
            raise Refusal(USAGE, f"{verb or question} names no command: leave out {shown(name)}", run_id=run_id)
    elif not name:
        wanted = (
            f"{question} needs the name of a command"
            if question
            else "the request is empty: send the name of a command, then its arguments"
        )
        raise Refusal(USAGE, wanted, run_id=run_id)
    elif not is_name(name):
        raise Refusal(
            NOT_FOUND, f"{shown(name)} is no name of a command: a name is [a-z][a-z0-9_]{{0,63}}", run_id=run_id
        )
    elif question == "--describe" and request.arguments:
        raise Refusal(USAGE, f"--describe takes one name: leave out {shown(request.arguments[0])}")
    return request


def normal_time(text: str) -> "str | None":
    """Return a time in UTC so that it sorts among the dispatcher's own, or None if it is no ISO 8601 time in UTC.

    >>> normal_time("2026-11-24T10:00Z"), normal_time("2026-11-24"), normal_time("2026-11-24T10:00:00+11:00")
    ('2026-11-24T10:00', '2026-11-24', None)
    """
    if len(text) > len("0000-00-00"):
        text = text[:-1] if text.endswith("Z") else text[:-6] if text.endswith("+00:00") else text
    shape = "".join("0" if char in _DIGITS else char for char in text)
    return text if shape == _TIME_SHAPE[: len(text)] and len(text) in (10, 16, 19, 21, 22, 23, 24, 25, 26) else None


def _options(words: "list[str]") -> "tuple[dict[str, str], int]":
    """Read the options before the name; return their values by option (empty for a flag), and where the name stands."""
    given: "dict[str, str]" = {}
    position = 0
    while position < len(words) and words[position].startswith("--"):
        option, equals, value = words[position].partition("=")
        position += 1
        valued = option in _VALUED
        known = valued or ((option in QUESTIONS or option in _FLAGS) and not equals)
        if not known or option in given or (option in QUESTIONS and any(other in given for other in QUESTIONS)):
            raise Refusal(
                USAGE,
                f"unknown or misplaced option {shown(option)}: before the name there can be --run-id ID with"
                " --from-stdout, --from-stderr, --detach or --rerun; or one of --result --cancel --list --describe"
                " --explain --history --version",
                run_id=given.get("--run-id"),
            )
        if valued and not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        given[option] = _checked(option, value, given.get("--run-id")) if valued else ""
        if option in BY_HAND_ONLY:
            break  # what follows are its own options
    return given, position


def _checked(option: str, value: str, run_id: "str | None") -> str:
    """Return an option's value in its one form."""
    if option in ("--run-id", *VERBS):
        if not is_run_id(value):
            raise Refusal(USAGE, f"{shown(value)} is no run id: a run id is [A-Za-z0-9_-]{{8,128}}", run_id=run_id)
        return value
    if option == "--since":
        since = normal_time(value)
        if since is None:
            raise Refusal(
                USAGE, f"--since {shown(value)} is no time in UTC: write 2026-01-31T23:59:59Z or a part of it"
            )
        return since
    if not value or not _DIGITS.issuperset(value) or len(value) > 19 or int(value) > MAX_OFFSET_BYTES:
        raise Refusal(USAGE, f"{option} {shown(value)} is no number of bytes: give one from 0 on", run_id=run_id)
    return value


def _check_combination(given: "dict[str, str]", run_id: "str | None") -> None:
    """Refuse options that do not belong together, so that none is silently without effect."""
    asked = [option for option in (*QUESTIONS, *VERBS) if option in given]
    for option in given:
        if option in ("--from-stdout", "--from-stderr"):
            good = run_id is not None and asked in ([], [RESULT])
            belongs = "--run-id ID NAME or --result ID"
        elif option == "--detach":
            good = run_id is not None and asked in ([], [RESULT], [RERUN])
            belongs = "--run-id ID or --result ID"
        elif option == "--run-id":
            good, belongs = asked in ([], [RERUN]), "the name of a command or --rerun, which run something"
        elif option == RERUN:
            good, belongs = asked == [RERUN] and "--run-id" in given, "--run-id NEW, and no question"
        elif option == "--since":
            good, belongs = asked == ["--history"], "--history"
        elif option == "--json":
            good, belongs = len(asked) == 1 and asked[0] in QUESTIONS, "a question: a command's output is its own"
        else:
            good, belongs = len(asked) == 1, "no other question"
        if not good:
            raise Refusal(USAGE, f"{option} is misplaced: it belongs to {belongs}", run_id=run_id)
    if given.get(RERUN) is not None and given[RERUN] == run_id:
        raise Refusal(USAGE, "--rerun names the run itself: the new attempt needs an id of its own", run_id=run_id)
