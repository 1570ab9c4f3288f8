r"""The request's quoting: a text into words and back, by the shell's quoting rules and no other rule of the shell.

Nothing is ever expanded: no variable, no glob, no tilde, no brace, no comment. `shlex` is not used because it differs from
POSIX in places (inside double quotes it keeps the backslash of ``\$``; other white space than the space separates words)
and because importing it costs more than all of this module's work.
"""

OPERATORS = frozenset(";&|<>()$`")
"""Unquoted, each of these asks for a shell. There is none, and whoever sent it expected one: refused."""

_ESCAPABLE_IN_DOUBLE_QUOTES = frozenset('$`"\\')  # POSIX.1-2024, Shell Command Language, 2.2.3
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")  # as shlex.quote

# C0, DEL and C1 steer terminals and end lines; the rest reorders or breaks a line of text as a person reads it, so that an
# audit line would not show what was run (Unicode Standard Annex #9, and U+2028/2029).
_CONTROL_RANGES = ((0x00, 0x1F), (0x7F, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0x061C, 0x061C))
_CONTROLS = frozenset(chr(code) for first, last in _CONTROL_RANGES for code in range(first, last + 1))


class QuotingError(ValueError):
    """The text ends inside a quotation or after a lone backslash: it is no list of words."""


def controls_in(text: str) -> "list[str]":
    r"""Return the distinct control characters in a text, sorted by code point.

    >>> controls_in("a\tb")
    ['\t']
    """
    return sorted(_CONTROLS.intersection(text))


def split(text: str) -> "tuple[list[str], set[str]]":
    r"""Split a text into words.

    Args:
        text: The request, without control characters.

    Returns:
        The words, and the set of operators that stood in it unquoted (to be refused when not empty).

    Raises:
        QuotingError: If a quotation is not closed, or the text ends in an unquoted backslash.

    >>> split("clean --name 'x y' a\\ b \"c'd\"")
    (['clean', '--name', 'x y', 'a b', "c'd"], set())
    >>> split("list; id")[1]
    {';'}
    """
    words = []
    operators = set()
    current: "list[str]" = []
    in_word = False
    position, end = 0, len(text)
    while position < end:
        char = text[position]
        position += 1
        if char == " ":
            if in_word:
                words.append("".join(current))
                current = []
                in_word = False
            continue
        in_word = True
        if char == "'":
            close = text.find("'", position)
            if close < 0:
                raise QuotingError("a single quote is not closed")
            current.append(text[position:close])
            position = close + 1
        elif char == '"':
            position = _double_quoted(text, position, current)
        elif char == "\\":
            if position == end:
                raise QuotingError("it ends in a backslash that quotes nothing")
            current.append(text[position])
            position += 1
        else:
            if char in OPERATORS:
                operators.add(char)
            current.append(char)
    if in_word:
        words.append("".join(current))
    return words, operators


def _double_quoted(text: str, position: int, current: "list[str]") -> int:
    """Append what stands up to the closing double quote to `current`; return the position after that quote."""
    while True:
        char = text[position : position + 1]
        position += 1
        if char == "":
            raise QuotingError("a double quote is not closed")
        if char == '"':
            return position
        if char == "\\" and text[position : position + 1] in _ESCAPABLE_IN_DOUBLE_QUOTES:
            char = text[position]
            position += 1
        current.append(char)


def join(words: "list[str] | tuple[str, ...]") -> str:
    r"""Quote words into one text, so that `split` gives the same words back. The same text as `shlex.join` makes.

    Raises:
        ValueError: If a word holds a control character, which no request may.

    >>> join(["clean", "x y", "", "it's"])
    'clean \'x y\' \'\' \'it\'"\'"\'s\''
    """
    quoted = []
    for word in words:
        if controls_in(word):
            raise ValueError(f"{ascii(word)[:80]} holds a control character: no request may")
        quoted.append(word if word and _SAFE.issuperset(word) else "'" + word.replace("'", "'\"'\"'") + "'")
    return " ".join(quoted)
