"""What a cold start takes with our package against the predecessor's: import the handler, make the SSM client.

Each is unpacked once, and run by turns in fresh processes of the target's interpreter that write no compiled modules, with the
page cache warm and dropped. Then the imports of our package by name.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "packaging"))

from ways import Inputs, Ours, Predecessor, inputs, need  # noqa: E402 - the benchmark beside this one makes the packages

RESULTS = HERE / "results.json"
MIN_ROUNDS = 15
IMPORT_ROUNDS = 5
LARGEST = 20
MIN_PACKAGE_MS = 1
OURS, STALE, KEPT = "inv package", "predecessor", "predecessor, dates kept"
STATES = ("warm", "dropped")
HEADINGS = (
    "Package",
    "page cache warm, ms",
    "of it, import",
    "to the predecessor",
    "page cache dropped, ms",
    "to the predecessor",
)
_DROP = Path("/proc/sys/vm/drop_caches")
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)$")
Seconds = dict[str, dict[str, list[tuple[float, float]]]]


def main() -> int:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/cold_start", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: fewer do not show the spread")
    need("git", "zip", "unzip")
    with tempfile.TemporaryDirectory(prefix="dea-cold-start-") as temporary:
        folder = Path(temporary)
        given = inputs(folder)
        packages = _packages(folder, given)
        drop, how = _page_cache()
        seconds: Seconds = {name: defaultdict(list) for name in packages}
        for number in range(rounds):
            # By turns, and in the other order every other round: what drifts meets all alike.
            for name in packages if number % 2 else reversed(packages):
                # Once for nothing: the page cache holds this package, whatever was dropped before.
                _probe(given.interpreter, packages[name])
                seconds[name]["warm"].append(_probe(given.interpreter, packages[name]))
                drop(packages[name])
                seconds[name]["dropped"].append(_probe(given.interpreter, packages[name]))
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        imports = _imports(given.interpreter, packages[OURS])
        standard = _ask(given.interpreter, "sys.stdlib_module_names")
        for package in packages.values():
            _set_writable(package, writable=True)
    results = _results(seconds, imports, standard, f"packages for Python {given.python}; {how}", rounds)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    for table in (results, results["packages"], results["imports"]):
        for row in (table["headings"], *table["rows"]):
            print("".join(f"{cell:<48}" if at == 0 else f"{cell:>26}" for at, cell in enumerate(row)))
    return 0


def _packages(folder: Path, given: Inputs) -> dict[str, Path]:
    """Make both packages and unpack them, the predecessor's twice: with the files' dates, and with those of now.

    A compiled module of pip's is valid while its source has the date that is written in it.
    """
    unpacked = {}
    ours, predecessor = Ours(folder / "ours", given), Predecessor(folder / "predecessor", given)
    for way, names in ((ours, (OURS,)), (predecessor, (STALE, KEPT))):
        print(f"packaging: {way.title}", file=sys.stderr)
        way.build()
        for name in names:
            unpacked[name] = folder / "unpacked" / name.replace(" ", "-").replace(",", "")
            unpacked[name].mkdir(parents=True)
            if name == KEPT:
                subprocess.run(["unzip", "-q", way.zip, "-d", unpacked[name]], check=True)
            else:
                with zipfile.ZipFile(way.zip) as archive:
                    archive.extractall(unpacked[name])
            _set_writable(unpacked[name], writable=False)
    return unpacked


def _set_writable(package: Path, *, writable: bool) -> None:
    """Make a folder's tree read-only, as /var/task is, or writable again."""
    for folder, _, files in os.walk(package):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            path.chmod(path.stat().st_mode | 0o200 if writable else path.stat().st_mode & 0o555)


def _page_cache() -> tuple[Callable[[Path], None], str]:
    """Return what drops the page cache, and how: all of it where one may, else the package's own files."""
    os.sync()
    with contextlib.suppress(OSError):
        _drop_all(Path())
        return _drop_all, "all of the page cache dropped, the interpreter's files too (drop_caches)"
    return _drop_files, "the package's files dropped from the page cache, the interpreter's kept (posix_fadvise)"


def _drop_all(_: Path) -> None:
    _DROP.write_text("3\n")


def _drop_files(package: Path) -> None:
    for folder, _, files in os.walk(package):
        for name in files:
            descriptor = os.open(Path(folder, name), os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _probe(interpreter: Path, package: Path, *options: str) -> tuple[float, float]:
    seconds: tuple[float, float] = json.loads(_run(interpreter, package, *options).stdout)
    return seconds


def _run(interpreter: Path, package: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # -I: nothing of the user's; -S: nothing installed beside the interpreter; -B: writes no compiled modules.
    library = "boto3" if package.name.startswith(STALE) else "botocore"
    command: list[str | Path] = [interpreter, "-I", "-S", "-B", *options, HERE / "probe.py", package, library]
    environment = {"PATH": os.defpath, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def _imports(interpreter: Path, package: Path) -> dict[str, tuple[float, float]]:
    """Return the milliseconds of each module of our package's start, its own and with what it imports first: medians."""
    measured: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _ in range(IMPORT_ROUNDS):
        lines = _run(interpreter, package, "-X", "importtime").stderr.splitlines()
        for line in lines:
            if match := _IMPORT.match(line):
                measured[match.group(4)].append((int(match.group(1)), int(match.group(2))))
    # What Python itself imports before the program starts is no part of it.
    before = _ask(interpreter, "sys.modules")
    return {
        name: (statistics.median(own for own, _ in times) / 1e3, statistics.median(all_ for _, all_ in times) / 1e3)
        for name, times in measured.items()
        if name not in before
    }


def _ask(interpreter: Path, names: str) -> set[str]:
    command: list[str | Path] = [interpreter, "-I", "-S", "-c", f"import sys; print(*{names})"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def _results(
    seconds: Seconds, imports: dict[str, tuple[float, float]], standard: set[str], how: str, rounds: int
) -> dict[str, Any]:
    totals = {name: {state: [sum(one) for one in seconds[name][state]] for state in STATES} for name in seconds}
    rows = []
    ratios: dict[str, dict[str, float]] = {}
    for name, total in totals.items():
        ratios[name] = {
            state: round(statistics.median(_by_round(total[state], totals[STALE][state])), 3) for state in STATES
        }
        to = {state: "1" if name == STALE else f"x {ratios[name][state]:.2f}" for state in STATES}
        imported = statistics.median(one for one, _ in seconds[name]["warm"]) * 1e3
        warm, dropped = (_spread(total[state]) for state in STATES)
        rows.append([name, warm, f"{imported:.0f}", to["warm"], dropped, to["dropped"]])
    return {
        "benchmark": "cold_start",
        "command": "nox -s benchmarks -- cold_start",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "with": how,
        "rounds": rounds,
        "headings": list(HEADINGS),
        "rows": rows,
        "ratios": ratios,
        "packages": _by_package(imports, standard),
        "imports": _largest(imports),
    }


def _by_round(ones: list[float], others: list[float]) -> list[float]:
    return [one / other for one, other in zip(ones, others, strict=True)]


def _spread(seconds: list[float]) -> str:
    first, median, third = (value * 1e3 for value in statistics.quantiles(seconds, n=4, method="inclusive"))
    return f"{median:.0f} ({first:.0f} to {third:.0f})"


def _by_package(imports: dict[str, tuple[float, float]], standard: set[str]) -> dict[str, Any]:
    """Return what the modules of each package take themselves, the largest first."""
    packages: dict[str, list[float]] = defaultdict(list)
    for name, (own, _) in imports.items():
        first = name.partition(".")[0]
        packages["the standard library" if first in standard else first].append(own)
    # Most of these are looked for and not there, as OpenSSL and awscrt.
    others = [packages.pop(name) for name in list(packages) if sum(packages[name]) < MIN_PACKAGE_MS]
    ordered = sorted(packages.items(), key=lambda item: -sum(item[1]))
    ordered += [("all others", [own for one in others for own in one])]
    whole = sum(own for own, _ in imports.values())
    rows = [[name, str(len(own)), f"{sum(own):.1f}", f"{sum(own) / whole:.0%}"] for name, own in ordered]
    rows.append(["all", str(len(imports)), f"{whole:.1f}", "100%"])
    return {"headings": ["Package", "modules", "their imports, ms", "share"], "rows": rows}


def _largest(imports: dict[str, tuple[float, float]]) -> dict[str, Any]:
    ordered = sorted(imports.items(), key=lambda item: -item[1][1])[:LARGEST]
    rows = [[name, f"{whole:.1f}", f"{own:.1f}"] for name, (own, whole) in ordered]
    return {"headings": ["Module", "with what it imports first, ms", "itself, ms"], "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
