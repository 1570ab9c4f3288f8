"""`run`: arguments built and checked before anything is sent."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from dea.raijin import RequestRefused, SchemaMismatch, schemas
from dea.raijin.testing import FakeSession
from dea.workspace import approval
from tests.conftest import ROOT

RULES = [
    {"name": "min-trash-age-hours", "type": "integer", "minimum": 24},
    {
        "name": "search-string",
        "type": "string",
        "pattern": "[a-z ]+",
        "automaton": [[0, ["  az", 1]], [1, ["  az", 1]]],
    },
    {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
]
REFUSAL = ("", "dea-remote: --min-trash-age-hours: '72' is more than 48\n", 2)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's root, first on the path, with the schema of one command."""
    content = {"format": 1, "commands": {"execute_clean": {"arguments": RULES, "schema": "a" * 64}}}
    (tmp_path / schemas.FILE).write_text(json.dumps(content))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_arguments_become_a_request() -> None:
    session = FakeSession({"execute_clean": ("done\n", "", 0)})
    assert session.run("execute_clean", min_trash_age_hours=72, search_string="x y") == ("done\n", "", 0)
    assert session.requests == ["execute_clean --min-trash-age-hours 72 --search-string 'x y'"]


def test_arguments_that_break_the_schema_are_all_named_and_nothing_is_sent() -> None:
    session = FakeSession({})
    with pytest.raises(RequestRefused) as raised:
        session.run("execute_clean", min_trash_age_hours=5, search_string="X", serach_string="x")
    assert "'serach_string' is no argument of this command" in str(raised.value)
    with pytest.raises(RequestRefused) as raised:
        session.run("execute_clean", min_trash_age_hours=5, search_string="X")
    assert "--min-trash-age-hours: '5' is less than 24" in str(raised.value)
    assert "--search-string: 'X' does not match [a-z ]+" in str(raised.value)
    assert session.requests == []


def test_a_command_that_the_package_does_not_know_is_refused() -> None:
    with pytest.raises(RequestRefused, match=r"name it in function\.yaml under commands"):
        FakeSession({}).run("quota")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 2}', "format 2, not 1"),
        ("{}", "'format'"),
        ("[]", "cannot be used"),
        ("{", "cannot be used"),
        ("\xff", "cannot be used"),
        ('{"format": 1}', "'commands'"),
        ('{"format": 1, "commands": []}', "cannot be used"),
        ('{"format": 1, "commands": {"execute_clean": {"arguments": []}}}', "no argument schema"),
        (
            '{"format": 1, "commands": {"execute_clean": {"arguments": [{"name": "x"}], "schema": "a"}}}',
            "no argument schema",
        ),
    ],
)
def test_a_package_that_cannot_be_understood_is_refused(package: Path, text: str, said: str) -> None:
    (package / schemas.FILE).write_text(text, "latin-1")
    schemas._packaged.cache_clear()
    with pytest.raises(RequestRefused) as raised:
        FakeSession({}).run("execute_clean")
    assert said in str(raised.value)
    assert "package the function again" in str(raised.value)
    schemas._packaged.cache_clear()


def test_in_a_checkout_the_approvals_are_read(package: Path) -> None:
    (package / schemas.FILE).unlink()
    schemas._packaged.cache_clear()
    session = FakeSession({"quota": ("v10\n", "", 0)})
    assert session.run("quota", "v10", unit="TiB").ok
    assert session.requests == ["quota --unit TiB v10"]
    with pytest.raises(RequestRefused, match="there is no argument schema of 'nope'"):
        session.run("nope")
    schemas._packaged.cache_clear()


def test_where_the_packages_are_installed_the_checkout_is_the_current_folder(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a function's own tests, which have nothing of the checkout but the current folder."""
    (package / schemas.FILE).unlink()
    schemas._packaged.cache_clear()
    monkeypatch.setattr(schemas, "_CHECKOUT", tmp_path)
    monkeypatch.chdir(ROOT)
    session = FakeSession({"quota": ("v10\n", "", 0)})
    assert session.run("quota", "v10").ok
    with pytest.raises(RequestRefused, match="PROJECTS"):
        session.run("quota", "v10;")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestRefused, match="there is no argument schema of 'quota'"):
        session.run("quota", "v10")
    schemas._packaged.cache_clear()


def test_a_login_node_with_another_schema_is_named() -> None:
    described = (json.dumps({"schema": "b" * 64}), "", 0)
    session = FakeSession({"execute_clean": REFUSAL, "--json --describe execute_clean": described})
    with pytest.raises(
        SchemaMismatch, match=r"\(bbbbbbbbbbbb\) are not those of this package \(aaaaaaaaaaaa\)"
    ) as raised:
        session.run("execute_clean", min_trash_age_hours=72)
    assert "is more than 48" in str(raised.value)
    assert (raised.value.command, raised.value.packaged, raised.value.approved) == ("execute_clean", "a" * 64, "b" * 64)


@pytest.mark.parametrize("described", [(json.dumps({"schema": "a" * 64}), "", 0), ("", "no", 126), ("[]", "", 0)])
def test_the_same_schema_or_none_leaves_the_refusal_as_it_is(described: tuple[str, str, int]) -> None:
    session = FakeSession({"execute_clean": REFUSAL, "--json --describe execute_clean": described})
    assert session.run("execute_clean", min_trash_age_hours=72).exit_code == 2


def test_a_commands_own_status_2_is_its_own() -> None:
    session = FakeSession({"execute_clean": ("", "usage: execute_clean\n", 2)})
    assert session.run("execute_clean").exit_code == 2
    assert len(session.requests) == 1


def test_a_secret_is_sent_and_neither_kept_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session = FakeSession({"execute_clean": ("", "", 0)})
    result = session.run("execute_clean", token="s3cret")
    assert session.requests == ["execute_clean --token s3cret"]
    assert "s3cret" not in result.command
    assert "s3cret" not in caplog.text


def test_what_packaging_takes_along_is_what_is_read(package: Path) -> None:
    (package / schemas.FILE).write_text(approval.packaged_schemas(["quota"]))
    schemas._packaged.cache_clear()
    with pytest.raises(RequestRefused, match="PROJECTS is required"):
        FakeSession({}).run("quota")
    schemas._packaged.cache_clear()
