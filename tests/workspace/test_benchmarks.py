"""The benchmarks' common parts: all of them in one go and in bounded time, what is kept of each, and what is drawn of it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.measuring import Spread, Turns, in_turn, ratio
from benchmarks.plan import LIMIT_S, PLAN
from benchmarks.report import RESULTS, Comparison, Report, Table, entry, keep
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"
FAKE = """
import sys
from benchmarks.report import Report, Table, main
def measure(turns):
    for _ in turns:
        {body}
    return Report({{"calls": Table(("Way", "ms"), [("ours", "1")])}})
if __name__ == "__main__":
    sys.exit(main({name!r}, measure, "For a test."))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the common parts, a plan of three benchmarks, and these three: one of them does not end."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for path in FOLDER.glob("*.py"):
        (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    text = (folder / "plan.py").read_text("utf-8")
    parts = ", ".join(f'"{name}": Part(rounds=3, least=2, limit_s=1000)' for name in ("first", "endless", "second"))
    (folder / "plan.py").write_text(f"{text.partition('PLAN = ')[0]}PLAN = {{{parts}}}\n", "utf-8")
    for name, body in (("first", "pass"), ("endless", "import time; time.sleep(600)"), ("second", "pass")):
        (folder / name).mkdir()
        (folder / name / "__main__.py").write_text(FAKE.format(name=name, body=body), "utf-8")
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)


def found(root: Path) -> dict[str, int]:
    """Return the rounds of each benchmark that there are figures of."""
    results = json.loads((root / "benchmarks" / "results.json").read_text("utf-8"))
    return {name: one["rounds"] for name, one in results.items()}


def test_those_named_run_and_put_what_they_find_beside_what_is_there(copy: Path) -> None:
    done = run(copy, "second")
    assert (done.returncode, found(copy)) == (0, {"second": 3}), done.stderr
    assert done.stdout.split() == ["Way", "ms", "ours", "1"]
    assert run(copy, "second", "first", "--rounds", "2").returncode == 0
    assert found(copy) == {"first": 2, "second": 2}
    unknown = run(copy, "thrid")
    assert unknown.returncode == 2
    assert "there is no benchmark 'thrid': choose from first, endless, second" in unknown.stderr


def test_a_quick_look_changes_nothing_of_the_documentations(copy: Path) -> None:
    few = run(copy, "first", "--rounds", "1")
    assert few.returncode == 1
    assert "--rounds is at least 2" in few.stderr
    assert run(copy, "first", "--results", "elsewhere.json").returncode == 0
    assert (copy / "elsewhere.json").exists()
    assert not (copy / "benchmarks" / "results.json").exists()


def test_when_the_time_is_over_what_was_measured_stays_and_the_rest_is_said(copy: Path) -> None:
    done = run(copy, "--minutes", "0.05")
    assert done.returncode == 1
    assert found(copy) == {"first": 3}
    said = "not measured: endless was ended: the time was over; second was not begun: the time was over; what was measured is kept"
    assert done.stderr.splitlines()[-1] == said


def test_the_plan_has_every_benchmark_and_fits_into_its_time() -> None:
    assert set(PLAN) == {path.parent.name for path in FOLDER.glob("*/__main__.py")}
    assert sum(part.limit_s for part in PLAN.values()) <= LIMIT_S
    assert all(1 <= part.least <= part.rounds for part in PLAN.values())


def test_every_benchmark_has_its_line_its_figures_and_its_place_in_the_documentation() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "explanation").glob("*.md"))
    results = json.loads(RESULTS.read_text("utf-8"))
    for name in PLAN:
        assert f"\n| `{name}` | " in readme
        assert f"```{{benchmark}} {name}" in pages
        assert results[name]["tables"]
        assert {"cores", "architecture", "system", "python"} <= set(results[name]["machine"])
    assert list(results) == list(PLAN)


def test_no_further_round_begins_that_would_not_end_in_time() -> None:
    assert list(Turns(5, 2, limit_s=1000)) == [0, 1, 2, 3, 4]
    assert list(Turns(5, 2, limit_s=0)) == [0, 1]
    assert Turns(5, 2, limit_s=0).done == 0


def test_every_other_round_has_the_sides_the_other_way_round() -> None:
    assert [list(in_turn("ab", number)) for number in range(3)] == [["b", "a"], ["a", "b"], ["b", "a"]]
    calls: list[str] = []
    seconds = Turns(2, 2, 0).seconds({name: lambda name=name: calls.append(name) for name in "ab"})  # type: ignore[misc]
    assert calls == ["b", "a", "a", "b"]
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_that_within_each_round() -> None:
    assert ratio([2, 30, 4], [1, 10, 4]) == Spread(median=2, q1=1.5, q3=2.5)
    assert Spread(0.0123, 0.01, 0.02).text(1, 1e3) == "12.3 (10.0 to 20.0)"


def test_what_is_kept_replaces_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    report = Report(
        {"calls": Table(("Way", "ms"), [("ours", "1")])},
        [Comparison("a call", "theirs", Spread(2.00049, 1, 3))],
        "by hand",
    )
    keep(path, "session", entry(report, 7))
    keep(path, "many", {"rounds": 1})
    results = json.loads(path.read_text("utf-8"))
    assert (results["session"]["rounds"], results["many"]) == (7, {"rounds": 1})
    assert results["session"]["comparisons"] == [
        {"what": "a call", "peer": "theirs", "times_faster": {"median": 2.0, "q1": 1.0, "q3": 3.0}}
    ]
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def test_a_plot_has_a_line_for_each_comparison_within_its_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import benchmark_plot

    ratios = {"0.15": (0.14, 0.153, 0.2), "1.2": (1.0, 1.2, 1.3), "90": (60.0, 90.0, 400.0)}
    comparisons = [
        {"what": "a <call>", "peer": name, "times_faster": {"q1": q1, "median": median, "q3": q3}}
        for name, (q1, median, q3) in ratios.items()
    ]
    drawing = ET.fromstring(benchmark_plot.svg(comparisons))
    circles = [float(circle.get("cx", "")) for circle in drawing.findall("{*}circle")]
    assert circles == sorted(circles)
    ends = [float(line.get(x, "")) for line in drawing.findall("{*}line") for x in ("x1", "x2")]
    right = float(drawing.get("width", "")) - benchmark_plot.VALUES
    assert right - benchmark_plot.PLOT - 1 <= min(ends) <= max(ends) <= right + 1
    texts = [text.text for text in drawing.findall("{*}text")]
    assert {"1", "a <call> · 1.2", *ratios} <= set(texts)
