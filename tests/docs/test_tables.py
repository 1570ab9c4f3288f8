"""The tables of the documentation say what the code says: no row too few, none too many.

What each must hold is in `tests/docs/expected.py`. A table that is named neither there nor below fails.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dea.raijin.credentials import USER_PATH_VARIABLE
from dea.remote import gate
from dea.remote.authorized_keys import forced_command
from dea.remote.contract import request, schema
from dea.remote.launch import environment_for
from dea.workspace import approval, interpreters
from dea.workspace.approval import record
from tests.conftest import ROOT
from tests.docs.expected import TABLES, Expected
from tests.docs.pages import PAGES, Table, blocks, codes, read, tables
from tests.docs.sources import keys, variables_read

# Pages whose tables have tests of their own, here and in test_names.py.
OWN_TESTS = {
    "docs/decisions/dependencies.md",
    "docs/explanation/security-model.md",
    "docs/reference/audit.md",
    "docs/reference/environment-variables.md",
    "docs/reference/errors.md",
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What a dispatcher recorded of every kind of request, read back from its log."""
    folder = tmp_path_factory.mktemp("audited")
    checkout, state = folder / "checkout", folder / "state"
    command = checkout / "raijin_scripts" / "hello"
    command.mkdir(parents=True)
    (command / "run").write_text("#!/bin/sh\necho hello\n", "utf-8")
    (command / "run").chmod(0o755)
    (command / "command.yaml").write_text("summary: Says hello.\n", "utf-8")
    (checkout / "dea").mkdir()
    (checkout / "dea" / "remote").symlink_to(ROOT / "dea" / "remote")
    approval.approve("hello", root=checkout)
    for path in (checkout, *checkout.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o022)

    def ask(text: str) -> None:
        program = forced_command(str(interpreters.login_node()), str(ROOT), "test", {"--state": str(state)}).split()
        entry = folder / "entry.py"
        entry.write_text(
            f"import sys; sys.path.append({str(ROOT)!r}); from dea.remote.dispatcher import main; "
            f"sys.exit(main({str(checkout)!r}, sys.argv[1:]))",
            "utf-8",
        )
        words = [str(entry) if word.endswith("__main__.py") else word for word in program]
        subprocess.run(words, env={"SSH_ORIGINAL_COMMAND": text}, capture_output=True, check=False, timeout=60)

    for text in ("hello", "hello --no", "--list", "--run-id run-00000001 hello", "--run-id run-00000001 hello"):
        ask(text)
    ask("--cancel run-00000001")
    [log] = (state / "audit").glob("*.jsonl")
    with log.open("ab") as file:
        file.write(b'{"seq": 99, "ti')  # as a process leaves it that was killed in the middle
    ask("hello")
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


def approved_keys(tmp_path: Path) -> set[str]:
    """Return the keys of an approval of a command that says everything that there is to say."""
    folder = tmp_path / "raijin_scripts" / "all"
    folder.mkdir(parents=True)
    (folder / "run").write_text("#!/bin/sh\n", "utf-8")
    (folder / "run").chmod(0o755)
    (folder / "command.yaml").write_text(
        "summary: All.\ntimeout: 1\nmax_parallel: 1\nmax_output_bytes: 1\nstdin: true\nenvironment: {A: b}\n", "utf-8"
    )
    return set(record.document_for("all", tmp_path))


def found(page: str, heading: str, number: int) -> Table:
    below = [table for table in tables(read(f"{page}.md")) if table.heading == heading]
    assert len(below) > number, f"{page}.md has no table {number + 1} below {heading!r}"
    return below[number]


@pytest.mark.parametrize(
    ("page", "heading", "number", "expected"),
    [(*place, wanted) for place, wanted in TABLES.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_holds_what_the_code_has(
    page: str, heading: str, number: int, expected: Callable[[], Expected]
) -> None:
    table, wanted = found(page, heading, number), expected()
    if isinstance(wanted, int):
        assert len(table.rows) == wanted, "a row was taken out or added: say so here too"
        return
    # An option is named without the value that it takes.
    names = {name.split()[0] for name in table.names()} or {row[0] for row in table.rows}
    assert names == wanted


def test_the_keys_of_an_approval(tmp_path: Path) -> None:
    assert set(found("docs/reference/command-yaml", "approved.json", 0).names()) - {"automaton"} == approved_keys(
        tmp_path
    )


def test_the_types_of_arguments() -> None:
    page = read("docs/reference/command-yaml.md")
    [types] = [row for row in found("docs/reference/command-yaml", "Arguments", 0).rows if row[0] == "`type`"]
    assert set(codes(types[2])) == {*schema.TYPES}
    assert {line for line in page.splitlines() if line in schema.TYPES} == {*schema.TYPES}


def test_the_lines_of_the_audit_log(audited: list[dict[str, object]]) -> None:
    lines, events = (found("docs/reference/audit", "A line", number).names() for number in (0, 1))
    assert set(lines) == {key for line in audited for key in line}
    assert lines.count("outcome") == 2  # it is in the lines of a run's end, and of a question about it
    assert sorted(events) == sorted({str(line["event"]) for line in audited})


def test_the_grammar_has_every_option_of_a_request() -> None:
    grammar = blocks(read("docs/reference/protocol.md"))[0].text
    known = {*request.QUESTIONS, *request.VERBS, *request._VALUED, *request._FLAGS} - {"--json"}  # beside any question
    assert {option for option in known if f'"{option}"' not in grammar} == set()


def variables(heading: str) -> set[str]:
    """Return the environment variables that a table of their page has in its first column."""
    named = found("docs/reference/environment-variables", heading, 0).names()
    return {name for name in named if re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)}


def test_the_variables_that_commands_get() -> None:
    account = pwd.getpwuid(os.getuid())
    given = environment_for("quota", account, "/home/dea", {})
    assert variables("Given to commands") == {*given} | {"DEA_ATTEMPT_OF", "DEA_PREFIX", "DEA_RUN_ID"}
    declared = [row[0] for row in found("docs/reference/environment-variables", "Given to commands", 0).rows][-2:]
    assert declared == [
        "what `environment` in `site.yaml` and `command.yaml` says",
        "the variable of a secret argument",
    ]


def test_the_variables_that_functions_read() -> None:
    assert variables_read("dea/raijin", "dea/lambdas") | {USER_PATH_VARIABLE} <= variables("Read by functions")
    assert "AWS_DEFAULT_REGION" in variables("Read by functions")


def test_the_variables_that_the_developers_tools_read() -> None:
    of_functions = {"DEA_RUN_ID"} | keys("dea/workspace/runtime/deployed.py", "_of_lambda")
    assert variables_read("dea/workspace") - of_functions <= variables("Read by the developer's tools")


def test_the_variables_that_the_dispatcher_reads() -> None:
    source = (ROOT / "dea" / "remote" / "dispatcher.py").read_text("utf-8")
    assert variables("Read by the dispatcher") == set(re.findall(r"os\.environb?\.get\(b?\"(\w+)\"", source))


def test_the_variables_that_the_sandbox_sets() -> None:
    assert variables("Set by the sandbox") == keys("dea/workspace/sandbox/client.py", "variables") | {
        USER_PATH_VARIABLE
    }


def test_the_variables_that_lambda_sets_and_so_does_inv_run_lambda() -> None:
    path = "dea/workspace/runtime/deployed.py"
    wanted = keys(path, "_of_lambda") | keys(path, "_replaceable") | {"AWS_LAMBDA_LOG_LEVEL"}
    assert variables("Set by `inv run-lambda`") == wanted


# What OpenSSH and uv say, and we hand on.
OF_OTHERS = {"Host key verification failed", "was not found"}


@pytest.mark.parametrize(
    ("page", "part"),
    [("docs/how-to/update-the-login-node.md", "remote"), ("docs/how-to/package-a-function.md", "workspace")],
)
def test_what_a_page_says_that_a_failure_says_is_in_the_code(page: str, part: str) -> None:
    [table] = [one for one in tables(read(page)) if one.head[0] == "Said"]
    code = " ".join(path.read_text("utf-8") for path in (ROOT / "dea" / part).rglob("*.py"))
    parts = [part.strip(" ,") for row in table.rows for part in codes(row[0])[0].split("...")]
    assert [part for part in parts if part not in code and part not in OF_OTHERS] == []


def without_extras(requirements: list[str]) -> set[str]:
    """Return the names of packages, of requirements or as a page writes them."""
    return {re.split(r"[\[>=<, ]", one)[0].lower() for one in requirements}


def test_every_dependency_says_why_it_is_here() -> None:
    def declared(path: str) -> set[str]:
        project = tomllib.loads((ROOT / path).read_text("utf-8"))["project"]
        return {name for name in without_extras(project["dependencies"]) if not name.startswith("dea-")}

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    of_groups = [one for name in groups if name != "runtime-client" for one in groups[name] if isinstance(one, str)]
    page = read("docs/decisions/dependencies.md")
    said = [without_extras([name for row in one.rows for name in row[0].split(", ")]) for one in tables(page)]
    assert said == [
        declared("dea/raijin/pyproject.toml"),
        declared("dea/workspace/pyproject.toml"),
        without_extras(of_groups),
    ]
    assert declared("dea/remote/pyproject.toml") | declared("dea/lambdas/pyproject.toml") == set()


def test_every_table_is_held_to_the_code() -> None:
    named = {(f"{page}.md", heading, number) for page, heading, number in TABLES}
    named |= {("docs/reference/command-yaml.md", "approved.json", 0)}
    there = set()
    for page in PAGES:
        seen: list[str] = []
        for table in tables(read(page)):
            there.add((page, table.heading, seen.count(table.heading)))
            seen.append(table.heading)
    unnamed = {each for each in there - named if each[0] not in OWN_TESTS}
    assert unnamed == set(), "name each in TABLES, with where its rows come from"


def test_a_table_that_lost_a_row_is_noticed() -> None:
    table = found("docs/reference/protocol", "By key", 0)
    shorter = Table(table.heading, table.head, table.rows[1:])
    assert {name.split()[0] for name in shorter.names()} != {*gate.OPTIONS}


@pytest.mark.parametrize("page", PAGES)
def test_every_row_has_as_many_cells_as_its_table_has_columns(page: str) -> None:
    uneven = [(table.heading, row) for table in tables(read(page)) for row in table.rows if len(row) != len(table.head)]
    assert uneven == []
