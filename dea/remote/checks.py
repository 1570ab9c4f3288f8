"""What one check of a set came to, and how it is told: of a login node, of the way there, of a package.

Nothing is checked here. `ok` is None for what could not be tried, which is no pass.
"""

from dataclasses import dataclass

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = {True: "ok", False: "failed", None: "not tried"}


@dataclass(frozen=True)
class Check:
    """What one check came to.

    Attributes:
        check: Its name.
        ok: Whether it passed; None if it could not be tried, which is no pass.
        detail: What was found.
        remedy: What to do; empty if nothing is to be done.
    """

    check: str
    ok: "bool | None"
    detail: str
    remedy: str = ""


def lines(checks: "list[Check]") -> "list[str]":
    """Return one line of text for each check.

    >>> lines([Check("link", True, "the first one wins"), Check("flock", False, "it is not there", "mount it with flock")])
    ['ok         link   the first one wins', 'failed     flock  it is not there; mount it with flock']
    """
    width = max((len(one.check) for one in checks), default=0)
    texts = [
        f"{_WORDS[one.ok]:<10} {one.check:<{width}}  {one.detail}" + (f"; {one.remedy}" if one.remedy else "")
        for one in checks
    ]
    # The name of a file may hold anything: a line stays one, and steers no terminal.
    return ["".join(char if char.isprintable() else ascii(char)[1:-1] for char in text) for text in texts]


def listed(texts: "Sequence[str]", limit: int = 5) -> str:
    """Return the first of some texts, and how many more there are.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
