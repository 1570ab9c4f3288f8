"""JSON at the least cost: the C half of `json`, whose Python half is dear to import, nearly all of it `re`.

It writes what the dispatcher writes (one object of plain values, in ASCII) and reads what it and `inv approve` wrote.
"""

from _json import encode_basestring_ascii as _quoted
from _json import make_scanner

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any


class _Hooks:
    """What the C scanner of JSON asks for: plain dictionaries and numbers, and none of NaN and Infinity."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> None:
        raise ValueError(name)


def encode(fields: "dict[str, object]") -> bytes:
    """Return one JSON object on one line, without a newline.

    Args:
        fields: Strings, numbers, booleans, None, and lists and dictionaries of these.

    >>> encode({"event": "ended", "status": 0, "arguments": ["a", "b"], "replayed": True})
    b'{"event": "ended", "status": 0, "arguments": ["a", "b"], "replayed": true}'
    """
    return _value(fields).encode("ascii")


def decode(content: bytes) -> "dict[str, Any]":
    """Return the object in a text.

    Raises:
        ValueError: If it is anything else than one JSON object in UTF-8.

    >>> decode(b'{"status": 0} ')
    {'status': 0}
    """
    text = content.decode("utf-8")
    try:
        value, end = make_scanner(_Hooks)(text, 0)  # type: ignore[arg-type]  # typeshed knows a class, C takes what has its attributes
    except (StopIteration, RecursionError, SystemError) as error:
        # SystemError: the C half looks for the Python half's JSONDecodeError, which nobody has imported.
        raise ValueError("it is no JSON") from error
    if not isinstance(value, dict) or text[end:].strip():
        raise ValueError("it is not one JSON object")
    return value


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([_value(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_quoted(name)}: {_value(item)}" for name, item in value.items()]) + "}"
    return repr(value)
