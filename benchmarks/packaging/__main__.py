"""What packaging a function takes: ours, the predecessor's recipe, uv alone and AWS SAM CLI, side by side in one run.

Each round begins with empty caches for each way (so the package index and the network are in the cold figures), then changes
one line of the handler, then changes nothing. It takes about three minutes a round.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ways import (
    FUNCTION,
    SAM_VERSION,
    Inputs,
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

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
WAYS: tuple[type[Way], ...] = (Predecessor, UvTarget, Sam, SamCached, Ours, OursMany)
STEPS = ("cold", "changed", "unchanged")
HEADINGS = ("Way", "caches empty, s", "to ours", "one line changed, s", "to ours", "nothing changed, s", "to ours")
ZIP_HEADINGS = ("Way", "zip, MB", "files", "compiled modules among them", "two builds, the same bytes")
MIN_ROUNDS = 2
_IMPORTS = f"import sys; sys.path.insert(0, sys.argv[1]); import {FUNCTION}; {FUNCTION}.handler"
Seconds = dict[str, dict[str, list[float]]]


def main() -> int:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/packaging", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: whether two builds are equal takes two")
    need("git", "zip")
    sam()
    seconds: Seconds = {way.title: defaultdict(list) for way in WAYS}
    zips: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="dea-packaging-") as temporary:
        given = inputs(Path(temporary))
        for number in range(rounds):
            # By turns, and in the other order every other round: what drifts meets all alike.
            for kind in WAYS if number % 2 else reversed(WAYS):
                folder = Path(temporary) / f"{kind.__name__}-{number}"
                measured = seconds[kind.title]
                zips[kind.title].append(_round(kind(folder, given), measured))
                shutil.rmtree(folder)
                took = ", ".join(f"{step} {measured[step][-1]:.2f} s" for step in STEPS if measured[step])
                print(f"round {number + 1} of {rounds}: {kind.title}: {took}", file=sys.stderr, flush=True)
    results = _results(seconds, zips, given, rounds)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    for table in (results, results["zips"]):
        for row in (table["headings"], *table["rows"]):
            print("".join(f"{cell:<36}" if at == 0 else f"{cell:>28}" for at, cell in enumerate(row)))
    return 0


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


def _results(seconds: Seconds, zips: dict[str, list[dict[str, Any]]], given: Inputs, rounds: int) -> dict[str, Any]:
    ours = seconds[Ours.title]
    rows = []
    ratios: dict[str, dict[str, float]] = {}
    for title, measured in seconds.items():
        row = [title]
        ratios[title] = {}
        for step in STEPS:
            # Where all is done again, nothing changed is as a change is.
            own = measured[step] or measured["changed"]
            row += [_spread(own) if measured[step] else "the same", "1"]
            if title != Ours.title:
                median, text = _ratio(own, ours[step])
                row[-1] = text
                ratios[title][step] = median
        rows.append(row)
    zip_rows = []
    for title, made in zips.items():
        last, equal = made[-1], len({one["sha256"] for one in made}) == 1
        if title != OursMany.title:
            size = f"{last['bytes'] / 1024 / 1024:.1f}"
            zip_rows.append([title, size, f"{last['files']:,}", f"{last['compiled']:,}", "yes" if equal else "no"])
    order = list(seconds)
    return {
        "benchmark": "packaging",
        "command": "nox -s benchmarks -- packaging",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "with": f"packages for Python {given.python}; uv {version('uv')}, aws-sam-cli {SAM_VERSION}, Info-ZIP's zip",
        "rounds": rounds,
        "headings": list(HEADINGS),
        "rows": rows,
        "ratios": ratios,
        "pins": given.pins.split(),
        "zips": {"headings": list(ZIP_HEADINGS), "rows": sorted(zip_rows, key=lambda row: order.index(row[0]))},
    }


def _spread(seconds: list[float]) -> str:
    digits = 1 if statistics.median(seconds) >= 1 else 2
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return f"{median:.{digits}f} ({first:.{digits}f} to {third:.{digits}f})"


def _ratio(other: list[float], ours: list[float]) -> tuple[float, str]:
    """Return how many times as long as ours it takes: the median of the ratio within each round, as number and text."""
    median = statistics.median(one / own for one, own in zip(other, ours, strict=True))
    return round(median, 2), f"x {median:.0f}" if median >= 10 else f"x {median:.1f}"


if __name__ == "__main__":
    sys.exit(main())
