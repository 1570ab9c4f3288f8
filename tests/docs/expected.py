"""What each table of the documentation must hold.

That is the names in its first column, taken from the code; or, where its rows are prose that the code has no list of, how many
there are. A table is known by its page, the heading that it stands below, and how many stand there before it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace

from benchmarks.plan import PLAN
from dea.lambdas import jobs
from dea.lambdas.jobs import metrics
from dea.lambdas.jobs.table import item_of
from dea.raijin.credentials import DEFAULT_USER_PATH, parameter_names
from dea.remote import authorize, bootstrap, fault, gate
from dea.remote import doctor as remote_doctor
from dea.remote.contract import job, receipt, status
from dea.remote.contract.job import Submitted
from dea.remote.releases import pull
from dea.remote.releases import settings as release_settings
from dea.remote.schedulers import choose, commands, errors, modules
from dea.workspace import doctor, environment, faults, settings
from dea.workspace.approval import schema as described
from dea.workspace.packaging import rules
from tests.conftest import ROOT
from tests.docs.sources import calls, constants, keys, options

Expected = set[str] | int


def exit_statuses() -> set[str]:
    return {str(value) for name, value in vars(status).items() if name.isupper()}


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


def modules_of(part: str) -> set[str]:
    """Return the modules and packages of a distribution."""
    files = {path.stem for path in (ROOT / "dea" / part).glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in (ROOT / "dea" / part).glob("*/__init__.py")}


def folders_of_tests() -> set[str]:
    return {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))} - {"raijin_scripts"}


def first_record() -> jobs.JobRecord:
    submitted = Submitted("pbs", "1.gadi-pbs", None, "tidy", "2026-01-01T00:00:00Z")
    return jobs.recorded(submitted, run_id="run-00000001", command="submit_job", now=submitted.submitted)


_REFERENCE: dict[tuple[str, str, int], Callable[[], Expected]] = {
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
    ("ssm-parameters", "SSM parameters", 0): lambda: {*parameter_names("PREFIX").values()},
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

_ELSEWHERE: dict[tuple[str, str, int], Callable[[], Expected]] = {
    ("README", "Read on", 0): lambda: 4,
    ("benchmarks/README", "benchmarks", 0): lambda: {*PLAN},
    ("dea/lambdas/README", "dea-lambdas", 0): lambda: modules_of("lambdas"),
    ("dea/raijin/README", "dea-raijin", 0): lambda: modules_of("raijin"),
    ("dea/remote/README", "dea-remote", 0): lambda: modules_of("remote"),
    ("functions/README", "functions", 0): lambda: 7,
    ("raijin_scripts/README", "raijin_scripts", 0): lambda: 5,
    ("tests/README", "tests", 0): folders_of_tests,
    ("docs/index", "dea-orchestration", 0): lambda: 5,
    ("docs/explanation/batch-jobs", "Its end is guessed", 0): lambda: 10,
    ("docs/explanation/exactly-once", "After a kill at each step", 0): lambda: {*fault.STEPS},
    ("docs/explanation/exactly-once", "Where it is kept", 0): lambda: 8,
    ("docs/explanation/exactly-once", "The states and what they mean", 0): lambda: 14,
    ("docs/explanation/faults", "Faults, made on purpose", 0): lambda: (
        {*faults.__all__} - {"Fault"} | {"sandbox(login_nodes=2)"}
    ),
    ("docs/explanation/lambda-runtime", "What is as on Lambda", 0): lambda: 6,
    ("docs/explanation/lambda-runtime", "What is as on Lambda", 1): lambda: 4,
    ("docs/explanation/session", "How each call ends", 0): lambda: 5,
    ("docs/how-to/check-a-package", "Check a package", 0): lambda: calls("dea/workspace/validation/checks.py", "Check"),
    ("docs/how-to/give-a-function-its-permissions", "What is in it", 0): lambda: {
        *calls("dea/workspace/policy.py", "_statement"),
        "Use1",
        "Use2",
    },
    ("docs/how-to/handle-batches", "Write the command", 0): lambda: 3,
    ("docs/how-to/install-on-raijin", "Install on raijin", 0): lambda: 3,
    ("docs/how-to/move-from-the-old-scripts", "Scripts", 0): lambda: 9,
    ("docs/how-to/move-from-the-old-scripts", "Folders", 0): lambda: 4,
    ("docs/how-to/move-from-the-old-scripts", "Imports", 0): lambda: 4,
    ("docs/how-to/move-from-the-old-scripts", "In a function", 0): lambda: 6,
    ("docs/how-to/move-from-the-old-scripts", "SSM parameters", 0): lambda: 4,
    ("docs/how-to/move-from-the-old-scripts", "On the login node", 0): lambda: 5,
    ("docs/how-to/package-a-function", "When it fails", 0): lambda: 9,
    ("docs/how-to/recover-a-lost-run", "Ask again", 0): lambda: 5,
    ("docs/how-to/rotate-keys", "The keys in SSM", 0): lambda: 4,
    ("docs/how-to/run-a-batch-job", "When submitting fails", 0): lambda: {
        "1",
        str(errors.Unreachable.status),
        str(errors.Uncertain.status),
    },
    ("docs/how-to/run-a-function", "Choose what runs", 0): lambda: 3,
    ("docs/how-to/run-a-function", "Give it events", 0): lambda: keys("dea/workspace/run_lambda.py", "_shown"),
    ("docs/how-to/store-credentials", "Store the credentials", 0): lambda: {
        *parameter_names(DEFAULT_USER_PATH).values()
    },
    ("docs/how-to/update-the-login-node", "Update", 0): lambda: options_of_command("git_pull"),
    ("docs/how-to/update-the-login-node", "When it fails", 0): lambda: 7,
    ("docs/how-to/write-a-function", "Choose the class", 0): lambda: 3,
    ("docs/how-to/write-a-function", "Log", 0): lambda: 2,
}
"""What the tables of all other pages hold. The threats have tests of their own, and so have the dependencies."""

TABLES = {(f"docs/reference/{page}", *rest): wanted for (page, *rest), wanted in _REFERENCE.items()} | _ELSEWHERE
"""All of them, but those that have tests of their own."""
