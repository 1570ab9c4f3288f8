"""What packaging a function takes: ours, the predecessor's recipe, uv alone and AWS SAM CLI, side by side in one run.

Each round begins with empty caches for each way (so the package index and the network are in the cold figures), then changes
one line of the handler, then changes nothing. What is made stays until the end (`Way.put_away`): about a gigabyte a round, which
takes about two minutes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import Spread, Turns, in_turn, ratio
from benchmarks.packaging.ways import (
    FUNCTION,
    SAM_VERSION,
    Ours,
    OursMany,
    Predecessor,
    Sam,
    SamCached,
    UvTarget,
    Way,
    inputs,
    need,
    sam,
)
from benchmarks.report import Comparison, Report, Table, main

WAYS: tuple[type[Way], ...] = (Predecessor, UvTarget, Sam, SamCached, Ours, OursMany)
STEPS = {"cold": "caches empty", "changed": "one line changed", "unchanged": "nothing changed"}
HEADINGS = ("Way", "caches empty, s", "to ours", "one line changed, s", "to ours", "nothing changed, s", "to ours")
ZIP_HEADINGS = ("Way", "zip, MB", "files", "compiled modules among them", "two builds, the same bytes")
_IMPORTS = f"import sys; sys.path.insert(0, sys.argv[1]); import {FUNCTION}; {FUNCTION}.handler"
Seconds = dict[str, dict[str, list[float]]]


def measure(turns: Turns) -> Report:
    """Measure all ways."""
    need("git", "zip")
    sam()
    seconds: Seconds = {way.title: defaultdict(list) for way in WAYS}
    zips: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="dea-packaging-") as temporary:
        given = inputs(Path(temporary))
        for number in turns:
            for kind in in_turn(WAYS, number):
                way = kind(Path(temporary) / f"{kind.__name__}-{number}", given)
                zips[kind.title].append(_round(way, seconds[kind.title]))
    longer = {
        title: {step: ratio(_own(measured, step), seconds[Ours.title][step]) for step in STEPS}
        for title, measured in seconds.items()
    }
    programs = f"uv {version('uv')}, aws-sam-cli {SAM_VERSION}, Info-ZIP's zip"
    return Report(
        tables={
            "times": Table(HEADINGS, [_row(title, measured, longer[title]) for title, measured in seconds.items()]),
            "zips": Table(ZIP_HEADINGS, [_zip_row(title, zips[title]) for title in seconds if title != OursMany.title]),
        },
        comparisons=[
            Comparison(what, title, longer[title][step])
            for step, what in STEPS.items()
            for title in seconds
            if title not in (Ours.title, OursMany.title)
        ],
        details=f"packages for Python {given.python}; {programs}",
    )


def _round(way: Way, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Do one round of one way; return what its zip is at the end, which is of the same inputs in every round."""
    seconds["cold"].append(_timed(way))
    way.change_line()
    seconds["changed"].append(_timed(way))
    if not way.does_all_again:
        seconds["unchanged"].append(_timed(way))
    return _described(way)


def _timed(way: Way) -> float:
    way.clear()
    begin = time.perf_counter()
    way.build()
    return time.perf_counter() - begin


def _described(way: Way) -> dict[str, Any]:
    """Return a zip's size, files and digest, after its handler has been imported from it."""
    path = way.zip
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        unpacked = way.folder / "unpacked"
        archive.extractall(unpacked)
    subprocess.run([way.given.interpreter, "-I", "-S", "-B", "-c", _IMPORTS, unpacked], check=True)
    return {
        "bytes": path.stat().st_size,
        "files": len(names),
        "compiled": sum(name.endswith(".pyc") for name in names),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _own(measured: dict[str, list[float]], step: str) -> list[float]:
    """Return the seconds of a step: where all is done again, nothing changed is as a change is."""
    return measured[step] or measured["changed"]


def _row(title: str, measured: dict[str, list[float]], longer: dict[str, Spread]) -> list[str]:
    row = [title]
    for step in STEPS:
        own = Spread.of(_own(measured, step))
        row += [own.text(1 if own.median >= 1 else 2) if measured[step] else "the same"]
        times = longer[step].median
        row += ["1" if title == Ours.title else f"x {times:.0f}" if times >= 10 else f"x {times:.1f}"]
    return row


def _zip_row(title: str, made: list[dict[str, Any]]) -> list[str]:
    last, equal = made[-1], len({one["sha256"] for one in made}) == 1
    size = f"{last['bytes'] / 1024 / 1024:.1f}"
    return [title, size, f"{last['files']:,}", f"{last['compiled']:,}", "yes" if equal else "no"]


if __name__ == "__main__":
    sys.exit(main("packaging", measure, __doc__))
