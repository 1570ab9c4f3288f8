"""What a plain dispatch imports: each module is paid for at every request."""

import subprocess

import pytest

TOO_DEAR = {
    "argparse",
    "ctypes",
    "dataclasses",
    "enum",
    "hashlib",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "runpy",
    "shlex",
    "signal",
    "site",
    "subprocess",
    "threading",
    "typing",
    "urllib",
}


PLAIN = {
    "dea.remote",
    "dea.remote.approval",
    "dea.remote.audit",
    "dea.remote.bucket",
    "dea.remote.contract",
    "dea.remote.contract.receipt",
    "dea.remote.contract.request",
    "dea.remote.contract.schema",
    "dea.remote.contract.status",
    "dea.remote.contract.words",
    "dea.remote.decision",
    "dea.remote.digest",
    "dea.remote.dispatcher",
    "dea.remote.exchange",
    "dea.remote.gate",
    "dea.remote.launch",
    "dea.remote.plain_json",
}
DURABLE = {
    "dea.remote.disk",
    "dea.remote.fault",
    "dea.remote.places",
    "dea.remote.runs",
    "dea.remote.runs.capture",
    "dea.remote.runs.follow",
    "dea.remote.runs.requests",
    "dea.remote.runs.store",
    "dea.remote.runs.supervisor",
}


@pytest.mark.parametrize(
    ("options", "own"),
    [("", PLAIN | {"dea.remote.places"}), ("--run-id run-0001 ", PLAIN | DURABLE)],
)
def test_a_dispatch_imports_nothing_dear_and_a_plain_one_nothing_of_durable_runs(gate, options, own):
    rules = [
        {"name": "age", "type": "integer", "minimum": 1},
        {"name": "text", "type": "string", "pattern": "[a-z]+", "automaton": [[0, ["az", 1]], [1, ["az", 1]]]},
    ]
    gate.add("clean", "#!/bin/sh\nexit 0\n", arguments=rules, timeout=60, max_parallel=2)
    python, *rest = gate.program
    done = subprocess.run(
        [python, "-X", "importtime", *rest, *gate.options],
        env=gate.environment(f"{options}clean --age 5 --text abc"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert imported & TOO_DEAR == set()
    assert {name for name in imported if name.startswith("dea.")} == own
