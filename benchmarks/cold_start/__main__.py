"""What a cold start takes with our package against the predecessor's: import the handler, make the SSM client.

Each is unpacked once, and run by turns in fresh processes of the target's interpreter that write no compiled modules, with the
page cache warm and dropped. Then the imports of our package by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Spread, Turns, in_turn, ratio
from benchmarks.packaging.ways import Inputs, Ours, Predecessor, inputs, need
from benchmarks.report import Comparison, Report, Table, main

PROBE = Path(__file__).with_name("probe.py")
IMPORT_ROUNDS = 5
LARGEST = 20
MIN_PACKAGE_MS = 1
OURS, STALE, KEPT = "inv package", "predecessor", "predecessor, dates kept"
STATES = {"warm": "page cache warm", "dropped": "page cache dropped"}
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


def measure(turns: Turns) -> Report:
    """Measure both packages, the predecessor's with the files' dates of its zip too."""
    need("git", "zip", "unzip")
    with tempfile.TemporaryDirectory(prefix="dea-cold-start-") as temporary:
        folder = Path(temporary)
        given = inputs(folder)
        packages = _packages(folder, given)
        drop, how = _page_cache()
        seconds: Seconds = {name: defaultdict(list) for name in packages}
        for number in turns:
            for name in in_turn(list(packages), number):
                # Once for nothing: the page cache holds this package, whatever was dropped before.
                _probe(given.interpreter, packages[name])
                seconds[name]["warm"].append(_probe(given.interpreter, packages[name]))
                drop(packages[name])
                seconds[name]["dropped"].append(_probe(given.interpreter, packages[name]))
        imports = _imports(given.interpreter, packages[OURS])
        standard = _ask(given.interpreter, "sys.stdlib_module_names")
        for package in packages.values():
            _set_writable(package, writable=True)
    totals = {name: {state: [sum(one) for one in seconds[name][state]] for state in STATES} for name in seconds}
    rows = []
    for name, total in totals.items():
        imported = statistics.median(one for one, _ in seconds[name]["warm"]) * 1e3
        to = {state: ratio(total[state], totals[STALE][state]).median for state in STATES}
        shown = {state: "1" if name == STALE else f"x {to[state]:.2f}" for state in STATES}
        warm, dropped = (Spread.of(total[state]).text(0, 1e3) for state in STATES)
        rows.append([name, warm, f"{imported:.0f}", shown["warm"], dropped, shown["dropped"]])
    return Report(
        tables={
            "starts": Table(HEADINGS, rows),
            "packages": _by_package(imports, standard),
            "imports": _largest(imports),
        },
        comparisons=[
            Comparison(what, name, ratio(totals[name][state], totals[OURS][state]))
            for state, what in STATES.items()
            for name in packages
            if name != OURS
        ],
        details=f"packages for Python {given.python}; {how}",
    )


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
    command: list[str | Path] = [interpreter, "-I", "-S", "-B", *options, PROBE, package, library]
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


def _by_package(imports: dict[str, tuple[float, float]], standard: set[str]) -> Table:
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
    return Table(("Package", "modules", "their imports, ms", "share"), rows)


def _largest(imports: dict[str, tuple[float, float]]) -> Table:
    ordered = sorted(imports.items(), key=lambda item: -item[1][1])[:LARGEST]
    rows = [[name, f"{whole:.1f}", f"{own:.1f}"] for name, (own, whole) in ordered]
    return Table(("Module", "with what it imports first, ms", "itself, ms"), rows)


if __name__ == "__main__":
    sys.exit(main("cold_start", measure, __doc__))
