"""What exists is documented, and what the pages name exists: tasks, options, sessions, errors, variables, files, modules, tests."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import re
import shlex
import sys
import textwrap

import pytest
import yaml
from invoke.collection import Collection

import tasks
from dea import lambdas, raijin
from dea.workspace import checkout
from tests.conftest import ROOT
from tests.docs.pages import DOCS, PAGES, Table, blocks, codes, folder, headings, prose, read, tables
from tests.docs.sources import variables_read

sys.path.append(str(DOCS / "_ext"))
import checkout_reference
import drawing
import page_list
import source_pages

TASKS = {str(context.name): context for context in Collection.from_module(tasks).to_contexts()}
SESSIONS = dict(checkout_reference.sessions(ROOT / "noxfile.py"))
SOURCES = [*ROOT.glob("dea/**/*.py"), *ROOT.glob("functions/*/*.py"), ROOT / "tasks.py", ROOT / "noxfile.py"]
_OF_OURS = re.compile(r"(DEA|AWS|LAMBDA)_[A-Z0-9_]*[A-Z0-9]")


@functools.cache
def commands_of(page: str) -> tuple[str, ...]:
    """Return each command line that a page shows: in console blocks, in indented code, in backticks."""
    text = read(page)
    console = [line for block in blocks(text) if block.language == "console" for line in joined(block.text)]
    shown = [line.removeprefix("$ ") for line in console if line.startswith("$ ")]
    shown += [line.strip() for line in prose(text).splitlines() if line.startswith("    ")]
    return (*shown, *codes(prose(text)))


def joined(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


def words_of(command: str) -> list[str]:
    """Return a command's words, without the comment behind it."""
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return command.split()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_task_and_no_option_that_does_not_exist(page: str) -> None:
    for command in commands_of(page):
        found = re.match(r"(?:DEA_LOG_LEVEL=DEBUG )?inv ([a-z][a-z.-]*)(?: |$)(.*)", command)
        if found is None:
            continue
        assert found[1] in TASKS, f"{command!r}: there is no such task"
        known = {f"--{name}" for argument in TASKS[found[1]].args.values() for name in argument.names} | {"--help"}
        given = {word.partition("=")[0] for word in words_of(found[2]) if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)}
        inside = {word for text in re.findall(r"--args \"([^\"]*)\"", found[2]) for word in text.split()}
        assert given - inside <= known, f"{command!r}: there is no such option"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_nox_session_that_does_not_exist(page: str) -> None:
    for command in commands_of(page):
        if found := re.match(r"(?:\.tools/bin/)?nox -s \"?([a-z]+)", command):
            assert found[1] in SESSIONS, f"{command!r}: there is no such session"


def test_every_task_and_every_option_says_what_it_is_for() -> None:
    for name, context in TASKS.items():
        assert Collection.from_module(tasks)[name].__doc__, f"the task {name} has no docstring"
        assert [one.name for one in context.args.values() if not one.help] == [], name


def test_every_session_says_what_it_does() -> None:
    assert [name for name, said in SESSIONS.items() if not said] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_a_page_names_is_there(page: str) -> None:
    """Paths in backticks that begin with a folder of the repository; those with a placeholder in capitals are none."""
    roots = ("dea/", "docs/", "tests/", "benchmarks/", "functions/example", "functions/git_pull", ".ci/")
    named = {code.partition("::")[0] for code in codes(prose(read(page))) if code.startswith(roots)}
    plain = {path for path in named if re.fullmatch(r"[a-z0-9_./-]+(\.[a-z]+)?", path) and "remote " not in path}
    assert {path for path in plain if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_a_name_of_our_packages_that_a_page_has_is_one(page: str) -> None:
    for name in {
        found
        for code in codes(prose(read(page)))
        for found in re.findall(r"\bdea\.(?:remote|raijin|lambdas|workspace)\b[\w.]*", code)
    }:
        parts = name.rstrip(".").split(".")
        for length in range(len(parts), 1, -1):
            try:
                value: object = importlib.import_module(".".join(parts[:length]))
            except ModuleNotFoundError:
                continue
            for attribute in parts[length:]:
                value = getattr(value, attribute)
            break


def linked() -> list[tuple[str, str]]:
    """Return each page with each source that it links to."""
    return [(page, name) for page in PAGES for name in re.findall(r"\{source\}`([^`]+)`", read(page))]


@pytest.mark.parametrize(("page", "name"), linked())
def test_a_link_to_code_or_to_a_test_leads_there(page: str, name: str) -> None:
    path, _, function = name.partition("::")
    source_pages.line_of(ROOT / path, function)


@pytest.mark.parametrize(
    "table", [table for table in tables(read("docs/explanation/security-model.md")) if table.head[0] == "Threat"]
)
def test_every_threat_has_code_that_stands_against_it_and_a_test_that_tries_it(table: Table) -> None:
    assert table.head == ("Threat", "What stands against it", "Code", "Tried by")
    for row in table.rows:
        assert codes(row[2]), row[0]
        assert all(code.startswith(("dea/", "raijin_scripts/")) for code in codes(row[2])), row[0]
        assert codes(row[3]), row[0]
        assert all(re.match(r"tests/.*::test_", code) for code in codes(row[3])), row[0]


def test_the_security_model_has_as_many_threats_as_were_thought_of() -> None:
    """So that none is lost by a slip; one more is one more here."""
    found = [len(table.rows) for table in tables(read("docs/explanation/security-model.md"))]
    assert found == [9, 10, 8, 5, 11, 4]


@functools.cache
def errors_in(part: str) -> dict[str, type[Exception]]:
    found = {}
    for path, one in checkout_reference.error_classes(part):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[one.name] = getattr(importlib.import_module(module), one.name)
    return found


def documented_errors() -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of the errors' tables by the error."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for table in tables(read("docs/reference/errors.md")):
        if table.head[0] == "Error":
            for row in table.rows:
                rows.setdefault(codes(row[0])[0], []).append(row)
    return rows


@pytest.mark.parametrize("part", ["raijin", "lambdas", "lambdas/jobs"])
def test_every_error_of_the_api_is_documented(part: str) -> None:
    """What is not exported is listed by a directive: it is nobody's to catch."""
    roots = {
        "RaijinError",
        "CredentialsError",
        "CannotConnect",
        "OutcomeUnknown",
    }  # their subclasses are what is raised
    public = set(errors_in(part)) & checkout_reference.exported(part)
    assert public - set(documented_errors()) - roots == set()
    assert {root for root in roots if root not in read("docs/reference/errors.md")} == set()


def test_every_documented_error_exists() -> None:
    assert len(documented_errors()["RequestRefused"]) == 2, "of a request, and of the arguments of `run`"
    assert set(documented_errors()) <= set(errors_in("raijin")) | set(errors_in("lambdas"))


def test_the_reference_says_rightly_what_is_retryable() -> None:
    for name, rows in documented_errors().items():
        error = getattr(raijin, name, None)
        for row in rows:
            # Of an unknown outcome, each error itself says so: it depends on where its run's id came from.
            if error is not None and not issubclass(error, raijin.OutcomeUnknown) and row[-1] in ("yes", "no"):
                assert error.retryable is (row[-1] == "yes"), name


def variables_in_code() -> set[str]:
    """Return the environment variables that the code names: those of ours and AWS's, and what is read by name."""
    named = {
        one.value
        for path in SOURCES
        for one in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(one, ast.Constant) and _OF_OURS.fullmatch(str(one.value))
    }
    return {str(name) for name in named} | variables_read("dea")


# Names in code that no process of ours reads or sets: one that Lambda reserves, a limit in bytes, and one that `inv doctor`
# sends to see that it does not arrive.
NO_VARIABLES = {"AWS_ACCESS_KEY", "DEA_DOCTOR", "LAMBDA_MAX_BYTES"}

# What programs of others read, and ours hand on.
OF_OTHERS = {"PBS_CONF_FILE", "SLURM_CONF"}


def documented_variables() -> set[str]:
    return {
        name
        for page in folder("reference")
        for table in tables(read(page))
        for row in table.rows
        for name in codes(" ".join(row[:2]))
        if re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)
    }


def test_every_environment_variable_is_documented() -> None:
    assert variables_in_code() - documented_variables() - NO_VARIABLES == set()


def test_every_documented_environment_variable_is_in_the_code() -> None:
    text = "\n".join(path.read_text("utf-8") for path in SOURCES)
    assert {name for name in documented_variables() - OF_OTHERS if not re.search(rf"\b{name}\b", text)} == set()


def test_the_variables_of_functions_are_documented_where_they_are_declared() -> None:
    from dea.workspace import environment

    for function in checkout.functions().values():
        declared = environment.read(function.folder / environment.FILE_NAME)
        assert [name for name, one in declared.variables.items() if not one.description] == [], function.name


def test_every_public_package_says_what_it_exports() -> None:
    for package in (raijin, lambdas, importlib.import_module("dea.remote.contract")):
        exported = set(package.__all__)
        public = {
            name for name, value in vars(package).items() if not name.startswith("_") and not inspect.ismodule(value)
        }
        assert exported <= public, package.__name__


def test_every_command_and_function_says_what_it_is_for() -> None:
    for one in (*checkout.commands().values(), *checkout.functions().values()):
        assert one.summary, one.name


def test_every_module_says_what_it_is_for() -> None:
    mute = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert mute == []


# A duration in milliseconds, or how many times as fast, large or dear something is.
_MEASURED = re.compile(
    r"(?:[\d.,]*\d|\b(?:two|three|four|five|six|eight|ten|hundred)) (?:ms|milliseconds?|times (?:as|the|faster|slower|smaller))\b"
    r"|\d ?%|\bper cent\b|\bhal(?:ves|ved) (?:a|the|its)\b|\b(?:half|third|quarter|fifth|tenth) of (?:a|the|its) (?:time|size|cold|total)"
)
# What is set or aimed at, and so not measured; and one that the table beside it shows.
_NOT_MEASURED = {
    "docs/explanation/exactly-once.md": {"4 milliseconds"},
    "docs/explanation/performance.md": {"1.05 times the", "11 ms", "five times the", "hundred times as"},
    "docs/how-to/handle-batches.md": {"six times the"},
    "docs/how-to/run-once.md": {"fifth of the time", "three times the"},
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leaves_figures_to_the_benchmarks_tables(page: str) -> None:
    """They are made of what was measured last; a sentence would go on saying what was measured once."""
    found = set(_MEASURED.findall(" ".join(prose(read(page)).split())))
    assert found == _NOT_MEASURED.get(page, set())


def test_the_glossary_is_in_order_and_has_each_word_once() -> None:
    lines = next(block.text for block in blocks(read("docs/glossary.md"))).splitlines()
    words = [line for line in lines if line and not line.startswith(" ")]
    assert words == sorted(set(words), key=str.casefold)


@pytest.mark.parametrize("page", folder("decisions"))
def test_a_decision_begins_with_a_sentence_that_its_index_can_show(page: str) -> None:
    title, sentence = page_list.beginning(read(page))
    assert title
    assert 20 < len(sentence) < 400, sentence


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_has_one_title(page: str) -> None:
    text = prose(read(page))
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert len(headings(read(page))) == len(set(headings(read(page)))), "two headings of one page are alike"


def code_blocks() -> list[tuple[str, str, str]]:
    """Return the blocks that are data or a program by themselves: page, language, text."""
    parsed = ("json", "python", "yaml")
    return [
        (page, block.language, block.text) for page in PAGES for block in blocks(read(page)) if block.language in parsed
    ]


@pytest.mark.parametrize(("page", "language", "text"), code_blocks())
def test_a_block_of_code_is_code(page: str, language: str, text: str) -> None:
    parse = {"json": json.loads, "python": lambda code: ast.parse(textwrap.dedent(code)), "yaml": yaml.safe_load}
    parse[language](text)


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/")])
def test_a_link_of_a_readme_leads_somewhere(page: str) -> None:
    """Sphinx sees to those of the documentation itself."""
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(read(page)))
    assert {link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()} == set()


def test_the_readmes_picture_is_the_pages_drawing() -> None:
    drawn = drawing.file_of(read("docs/explanation/way-of-an-event.md"))
    made = "python docs/_ext/drawing.py docs/explanation/way-of-an-event.md docs/_static/way-of-an-event.svg"
    assert (DOCS / "_static" / "way-of-an-event.svg").read_text("utf-8") == drawn, f"draw it anew: {made}"
