"""Drafting a command from one of the old kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dea.workspace import approval
from dea.workspace.drafting import Option, draft, make_from, options_of
from dea.workspace.errors import WorkspaceError

OLD = """#!/usr/bin/env bash
# Removes what's old from the trash.

usage() { echo "usage: $0" >&2; exit 1; }
while [[ "$#" -gt 0 ]]; do
    key="$1"
    case $key in
        -h|--help) usage ;;
        --min-trash-age-hours)
            HOURS="$2"
            shift 2
            ;;
        -s|--search-string)
            SEARCH="$2"; shift; shift ;;
        "--output-dir")
            OUT=$2; shift 2 ;;
        --level=*) LEVEL="${key#*=}"; shift ;;
        --api-key) KEY=$2; shift 2 ;;
        --dry_run) DRY=1; shift ;;
        --Verbose) V=1; shift ;;
        *) usage ;;
    esac
done
"""


def test_options_are_found_in_a_case_loop() -> None:
    assert options_of(OLD) == [
        Option("min-trash-age-hours", True),
        Option("search-string", True),
        Option("output-dir", True),
        Option("level", True),
        Option("api-key", True),
        Option("dry_run", False),
        Option("Verbose", False),
    ]


def test_options_are_found_in_argparse_calls() -> None:
    script = "parser.add_argument('-n', '--number', type=int)\nparser.add_argument(\"--force\", action='store_true')\n"
    assert options_of(script) == [Option("number", True), Option("force", False)]


def test_the_draft_is_valid_and_marks_every_guess() -> None:
    text = draft(OLD, "execute_clean")
    described = yaml.safe_load(text)
    assert described["summary"] == "Removes what's old from the trash."
    assert described["arguments"] == {
        "min-trash-age-hours": {"type": "integer", "minimum": 0},
        "search-string": {"type": "string"},
        "output-dir": {"type": "path", "under": "/g/data"},
        "level": {"type": "string"},
        "api-key": {"secret": True, "environment": "API_KEY"},
        "dry_run": {"type": "boolean"},
        "verbose": {"type": "boolean"},
    }
    assert "the script calls it --Verbose" in text
    assert text.count("CHECK") >= 8


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("#!/bin/sh\necho $1\n", {"value": {"positional": True, "repeat": True}}), ("#!/bin/sh\nls\n", {})],
)
def test_scripts_without_options(script: str, arguments: dict) -> None:
    assert yaml.safe_load(draft(script, "x"))["arguments"] == arguments


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_is_made_can_be_approved(tmp_path: Path, is_folder: bool) -> None:
    old = tmp_path / "old"
    if is_folder:
        (old / "lib").mkdir(parents=True)
        (old / "lib" / "names").write_text("x")
        (old / "run").write_bytes(OLD.replace("\n", "\r\n").encode())
    else:
        old.write_text(OLD)
    folder = tmp_path / "checkout" / "raijin_scripts" / "clean"
    made = make_from(old, folder)
    assert [path.name for path in made] == ["command.yaml", "run"]
    approval.approve("clean", root=tmp_path / "checkout")
    assert (folder / "lib" / "names").exists() is is_folder


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "binary"):
        with pytest.raises(WorkspaceError, match="--from"):
            make_from(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
