"""Draws the comparisons of a benchmark as SVG: a line for each, from quartile to quartile of how many times faster ours is.

It is text, made at each build from `benchmarks/results.json`; nothing but this module draws. Colours and letters are those
of the page around it, so that it can be read in the light and in the dark theme. What a line is of stands above it, not
beside it, so that a phone shows both.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

PLOT, VALUES, ROW, TOP = 310, 50, 42, 40
LETTER = 7.2  # the width of one, more or less: what is drawn does not know its font
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
OURS = "var(--color-brand-content, #2757dd)"
THEIRS = "var(--color-foreground-muted, #6b6f76)"


def svg(comparisons: list[dict[str, Any]]) -> str:
    """Return the drawing of a benchmark's comparisons, on a logarithmic scale with 1 on it.

    >>> one = {"what": "a call", "peer": "B", "times_faster": {"median": 2.0, "q1": 1.5, "q3": 3.0}}
    >>> svg([one]).count("<circle")
    1
    """
    labels = [f"{one['what']} · {one['peer']}" for one in comparisons]
    width = max(PLOT + VALUES, LETTER * max(map(len, labels)))
    values = [value for one in comparisons for value in one["times_faster"].values()]
    low, high = min(0.8, *values) * 0.9, max(1.25, *values) * 1.1

    def at(value: float) -> float:
        return PLOT * math.log(value / low) / math.log(high / low)

    bottom = TOP + ROW * len(comparisons)
    parts = [_text(0, 14, "ours is so many times as fast", "start", THEIRS)]
    for tick in (tick for tick in TICKS if low <= tick <= high):
        parts.append(_line(at(tick), TOP - 6, at(tick), bottom, THEIRS, 1.5 if tick == 1 else 0.5))
        parts.append(_text(at(tick), TOP - 10, f"{tick:g}", "middle", THEIRS))
    for number, (label, one) in enumerate(zip(labels, comparisons, strict=True)):
        spread, top = one["times_faster"], TOP + ROW * number
        y = top + 29
        colour = OURS if spread["median"] >= 1 else THEIRS
        parts.append(_text(0, top + 16, label, "start"))
        parts.append(_line(at(spread["q1"]), y, at(spread["q3"]), y, colour, 5))
        parts.append(f'<circle cx="{at(spread["median"]):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(_text(PLOT + VALUES - 4, y + 4, shown(spread["median"]), "end"))
    size = f'width="{width:.0f}" height="{bottom + 8}" viewBox="0 0 {width:.0f} {bottom + 8}"'
    about = "How many times as fast as each peer; the table has the figures."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-size="13" '
        f'style="max-width: 100%; height: auto" aria-label="{about}">{"".join(parts)}</svg>'
    )


def shown(value: float) -> str:
    """Return a ratio with as many digits as say something.

    >>> [shown(value) for value in (0.153, 1.234, 12.3, 123.4)]
    ['0.15', '1.2', '12', '123']
    """
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}" stroke-linecap="round"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "currentColor") -> str:
    # The scale's lines pass behind a text, and leave room around its letters.
    around = 'stroke="var(--color-background-primary, #fff)" stroke-width="5" paint-order="stroke"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {around}>{escape(text)}</text>'
