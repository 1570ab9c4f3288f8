"""The reference's tables say what the code says: no row too few, none too many.

Each table of the reference is named below with what it must hold: the names in its first column, taken from the code, or,
where its rows are prose that the code has no list of, how many there are. A table that is not named here fails.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from dea.lambdas import jobs
from dea.lambdas.jobs import metrics
from dea.lambdas.jobs.table import item_of
from dea.raijin.credentials import USER_PATH_VARIABLE
from dea.remote import authorize, bootstrap, fault, gate
from dea.remote import doctor as remote_doctor
from dea.remote.authorized_keys import forced_command
from dea.remote.contract import job, receipt, request, schema, status
from dea.remote.contract.job import Submitted
from dea.remote.launch import environment_for
from dea.remote.releases import pull
from dea.remote.releases import settings as release_settings
from dea.remote.schedulers import choose, commands, errors, modules
from dea.workspace import approval, doctor, environment, interpreters, policy, settings
from dea.workspace.approval import record
from dea.workspace.approval import schema as described
from dea.workspace.packaging import rules
from tests.conftest import ROOT
from tests.docs.pages import PAGES, Table, blocks, codes, folder, read, tables
from tests.docs.sources import calls, constants, keys, options, variables_read

Expected = set[str] | int


def exit_statuses() -> set[str]:
    return {str(value) for name, value in vars(status).items() if name.isupper()}


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


def kinds_of_identity() -> set[str]:
    """Return the kinds of deliveries that are told apart, and those of which nothing is known."""
    return calls("dea/lambdas/identity.py", "Identity") | calls("dea/lambdas/run_ids.py", "Identity")


def prefixes() -> set[str]:
    """Return the prefixes of SSM parameters that the code and the functions name."""
    sources = [*ROOT.glob("dea/**/*.py"), *ROOT.glob("functions/*/env_vars.yaml")]
    named = re.compile(r"orchestrator\.raijin\.users\.[a-z_]+")
    return {found for path in sources for found in named.findall(path.read_text("utf-8"))}


def options_of_command(name: str) -> set[str]:
    approved = json.loads((ROOT / "raijin_scripts" / name / "approved.json").read_text("utf-8"))
    return {f"--{rule['name']}" for rule in approved["arguments"]}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a word that is by hand only."""
    return {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}


def first_record() -> jobs.JobRecord:
    submitted = Submitted("pbs", "1.gadi-pbs", None, "tidy", "2026-01-01T00:00:00Z")
    return jobs.recorded(submitted, run_id="run-00000001", command="submit_job", now=submitted.submitted)


REFERENCE: dict[tuple[str, str, int], Callable[[], Expected]] = {
    ("command-yaml", "Keys", 0): lambda: {*described.COMMAND_KEYS},
    ("command-yaml", "Arguments", 0): lambda: {*described.RULE_KEYS},
    ("command-yaml", "site.yaml", 0): lambda: {*described.SITE_KEYS},
    ("env-vars-yaml", "variables", 0): lambda: {*environment._VARIABLE_KEYS},
    ("function-yaml", "function.yaml", 0): lambda: {*settings._KEYS},
    ("function-yaml", "services", 0): lambda: {"actions", "resources"} & constants("dea/workspace/settings.py"),
    ("settings-json", "settings.json", 0): lambda: {one.name for one in fields(release_settings.Settings)} | {"format"},
    ("protocol", "By key", 0): lambda: {*gate.OPTIONS},
    ("protocol", "Exit status", 0): exit_statuses,
    ("protocol", "The receipt", 0): lambda: {
        *json.loads(receipt.Receipt("run-00000001", "exited", 0, received="now", version="1").encode().strip(b"\x1e\n"))
    },
    ("protocol", "Durable runs", 0): lambda: keys("dea/remote/runs/history.py", "_entry"),
    ("audit", "Check it", 0): lambda: options("dea/remote/audit_check.py", "report"),
    ("git-pull", "Exit status", 0): lambda: {"0", "1", "2", str(status.BUSY), "128+n"},
    ("git-pull", "The report", 0): lambda: {*pull.Update("/", print).report},
    ("git-pull", "What it keeps", 0): lambda: 4,
    ("package", "What is in it", 0): lambda: 6,
    ("package", "What stays out", 0): lambda: {*rules.RULES},
    ("package", "The manifest", 0): lambda: keys("dea/workspace/packaging/assembly.py", "_manifest"),
    ("run-ids", "What it is made of", 0): lambda: 4,  # the parameters of run_id_of
    ("run-ids", "What a delivery is known by", 0): lambda: len(kinds_of_identity()),
    ("ssm-parameters", "SSM parameters", 0): lambda: {f"PREFIX.{part}" for part in policy._PARTS},
    ("ssm-parameters", "SSM parameters", 1): prefixes,
    ("errors", "Exit statuses", 0): exit_statuses,
    ("jobs-table", "The table", 0): lambda: {*item_of(replace(first_record(), unknown_since="2026-01-01T00:00:00Z"))},
    ("jobs-table", "States", 0): lambda: {*job.STATES},
    ("jobs-table", "Events", 0): lambda: {*first_record().outbox[0]},
    ("jobs-table", "Metrics", 0): lambda: {*metrics.of_standing(()), *metrics.of_changes(())},
    ("jobs-table", "Environment variables", 0): lambda: {
        name for name in constants("dea/lambdas/jobs/settings.py") if name.startswith("DEA_JOBS_")
    },
    ("by-hand", "--authorize", 0): lambda: options_of(authorize._parser()),
    ("by-hand", "--bootstrap", 0): lambda: options_of(bootstrap._parser()),
    ("by-hand", "Exit status", 0): lambda: {
        "0",
        str(bootstrap.UNFINISHED),
        str(status.USAGE),
        str(status.REFUSED),
    },
    ("file-formats", "Files", 0): lambda: 15,
    ("batch-jobs", "JOB", 0): lambda: {*job.Job("1", job.LOST).encode()},
    ("batch-jobs", "States", 0): lambda: {*job.STATES},
    ("batch-jobs", "Exit status", 0): lambda: {
        "0",
        "1",
        "2",
        str(errors.Unreachable.status),
        str(errors.Uncertain.status),
    },
    ("batch-jobs", "What the site says", 0): lambda: {
        choose.VARIABLE,
        commands.INTERVAL,
        modules.INIT,
        "PBS_CONF_FILE",
        "SLURM_CONF",
    },
    ("batch-jobs", "What the login node keeps", 0): lambda: 5,
    ("doctor", "On the login node", 0): lambda: options("dea/remote/doctor/answer.py", "report") | {"--json"},
    ("doctor", "On the login node", 1): lambda: {check.__name__ for check in remote_doctor.CHECKS},
    ("doctor", "On a developer's machine", 0): lambda: {*doctor.CHECKS},
}
"""What the tables of docs/reference hold, by page, heading and number below it. Errors, environment variables and the audit
log's lines have tests of their own."""

ELSEWHERE: dict[tuple[str, str, int], Callable[[], Expected]] = {
    ("explanation/exactly-once", "After a kill at each step", 0): lambda: {*fault.STEPS},
    ("explanation/exactly-once", "Where it is kept", 0): lambda: 8,
    ("explanation/exactly-once", "The states and what they mean", 0): lambda: 14,
    ("how-to/check-a-package", "Check a package", 0): lambda: calls("dea/workspace/validation/checks.py", "Check"),
    ("how-to/update-the-login-node", "Update", 0): lambda: options_of_command("git_pull"),
}
"""Tables of other pages that list what the code has."""

OWN_TESTS = {"errors", "environment-variables", "audit"}


def found(page: str, heading: str, number: int) -> Table:
    below = [table for table in tables(read(f"docs/{page}.md")) if table.heading == heading]
    assert len(below) > number, f"{page}.md has no table {number + 1} below {heading!r}"
    return below[number]


@pytest.mark.parametrize(
    ("page", "heading", "number", "expected"),
    [(f"reference/{page}", *rest, wanted) for (page, *rest), wanted in REFERENCE.items()]
    + [(*place, wanted) for place, wanted in ELSEWHERE.items()],
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
    assert set(found("reference/command-yaml", "approved.json", 0).names()) - {"automaton"} == approved_keys(tmp_path)


def test_the_types_of_arguments() -> None:
    page = read("docs/reference/command-yaml.md")
    [types] = [row for row in found("reference/command-yaml", "Arguments", 0).rows if row[0] == "`type`"]
    assert set(codes(types[2])) == {*schema.TYPES}
    assert {line for line in page.splitlines() if line in schema.TYPES} == {*schema.TYPES}


def test_the_lines_of_the_audit_log(audited: list[dict[str, object]]) -> None:
    lines, events = (found("reference/audit", "A line", number).names() for number in (0, 1))
    assert set(lines) == {key for line in audited for key in line}
    assert lines.count("outcome") == 2  # it is in the lines of a run's end, and of a question about it
    assert sorted(events) == sorted({str(line["event"]) for line in audited})


def test_the_grammar_has_every_option_of_a_request() -> None:
    grammar = blocks(read("docs/reference/protocol.md"))[0].text
    known = {*request.QUESTIONS, *request.VERBS, *request._VALUED, *request._FLAGS} - {"--json"}  # beside any question
    assert {option for option in known if f'"{option}"' not in grammar} == set()


def variables(heading: str) -> set[str]:
    """Return the environment variables that a table of their page has in its first column."""
    named = found("reference/environment-variables", heading, 0).names()
    return {name for name in named if re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)}


def test_the_variables_that_commands_get() -> None:
    account = pwd.getpwuid(os.getuid())
    given = environment_for("quota", account, "/home/dea", {})
    assert variables("Given to commands") == {*given} | {"DEA_ATTEMPT_OF", "DEA_PREFIX", "DEA_RUN_ID"}
    declared = [row[0] for row in found("reference/environment-variables", "Given to commands", 0).rows][-2:]
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


OF_OPENSSH = {"Host key verification failed"}


def test_what_a_failed_update_says_is_what_the_page_says() -> None:
    [table] = [one for one in tables(read("docs/how-to/update-the-login-node.md")) if one.head[0] == "Said"]
    said = [codes(row[0])[0] for row in table.rows]
    assert len(said) == 7, "a row was taken out or added: say so here too"
    code = " ".join(path.read_text("utf-8") for path in (ROOT / "dea" / "remote").rglob("*.py"))
    parts = [part.strip(" ,") for text in said for part in text.split("...")]
    assert [part for part in parts if part not in code and part not in OF_OPENSSH] == []


def test_every_table_of_the_reference_is_held_to_the_code() -> None:
    named = {(f"docs/reference/{page}.md", heading) for page, heading, _ in REFERENCE}
    named |= {("docs/reference/command-yaml.md", "approved.json")}
    own = {f"docs/reference/{page}.md" for page in OWN_TESTS}
    there = {(page, table.heading) for page in folder("reference") if page not in own for table in tables(read(page))}
    assert there - named == set(), "name each in REFERENCE, with where its rows come from"


def test_a_table_that_lost_a_row_is_noticed() -> None:
    table = found("reference/protocol", "By key", 0)
    shorter = Table(table.heading, table.head, table.rows[1:])
    assert {name.split()[0] for name in shorter.names()} != {*gate.OPTIONS}


@pytest.mark.parametrize("page", PAGES)
def test_every_row_has_as_many_cells_as_its_table_has_columns(page: str) -> None:
    uneven = [(table.heading, row) for table in tables(read(page)) for row in table.rows if len(row) != len(table.head)]
    assert uneven == []
