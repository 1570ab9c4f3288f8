"""A packaged function under AWS's runtime client, against a real login node: ended at its limit, and tried again."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

from dea.workspace import checkout, interpreters, packaging, runtime
from dea.workspace.packaging import Target
from dea.workspace.runtime import Deployed, Invocation, Runtime
from dea.workspace.sandbox import Sandbox
from dea.workspace.settings import RUNTIMES
from tests.conftest import ROOT, require

PYTHON = next(version for version in reversed(RUNTIMES) if version in interpreters.installed())
ARN = "arn:aws:lambda:ap-southeast-2:000000000000:function:once"
SOURCE = """\
from dea.lambdas import RaijinCommand
from dea.remote.contract import join


class Once(RaijinCommand):
    COMMAND_NAME = "once"
    DEADLINE_MARGIN_S = {margin_s}

    def command(self):
        return self.raijin.exec_command(join(["tally", *self.event["words"]]))


handler = Once.handler
"""


def built(tmp_path: Path, margin_s: float) -> Path:
    """Package a function that counts one run of what its event names."""
    root = tmp_path / "checkout"
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("dea", "raijin_scripts"):
        shutil.copytree(ROOT / part, root / part, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", root)
    folder = root / "functions" / "once"
    shutil.copytree(ROOT / "functions" / "example", folder, ignore=ignore)
    (folder / "example.py").unlink()
    (folder / "requirements.lock").unlink()
    (folder / "once.py").write_text(SOURCE.replace("{margin_s}", str(margin_s)), "utf-8")
    (folder / "function.yaml").write_text(f'python: "{PYTHON}"\n', "utf-8")
    return packaging.build(checkout.function("once", root), root=root).path


def invoke(package: Path, box: Sandbox, event: object, request_id: str, timeout_s: float) -> Invocation:
    """Invoke a package once, in an execution environment of its own."""
    with runtime.unpacked(package) as root, tempfile.TemporaryFile() as log:
        client = runtime.install_client(root.interpreter)
        deployed = Deployed("once", ARN, root, client, box.environment({}), 512, timeout_s, "Text")
        with Runtime(deployed, log=log.fileno()) as warm:
            return warm.invoke(json.dumps(event).encode(), request_id)


@pytest.mark.parametrize("margin_s", [-60.0, 10.0], ids=["killed at its limit", "lets go before its limit"])
def test_a_packaged_handler_ended_at_its_limit_is_retried_into_the_one_run(
    box: Sandbox, tmp_path: Path, margin_s: float
) -> None:
    require(Target(PYTHON, "x86_64").why_not_here() or None)
    tally, gate, request_id = tmp_path / "tally", tmp_path / "gate", str(uuid.uuid4())
    package = built(tmp_path, margin_s)
    event = {"words": [str(tally), "once", str(gate)]}
    first = invoke(package, box, event, request_id, timeout_s=6)
    assert first.failed is not None
    said = json.loads(first.payload)
    assert ("Task timed out after 6" in said["errorMessage"]) is (margin_s < 0), said
    assert tally.read_text() == "once\n"
    gate.write_text("7")
    again = invoke(package, box, event, request_id, timeout_s=60)
    assert again.failed is None, again.payload
    result = json.loads(again.payload)
    assert (result["exit_code"], result["stdout"]) == (7, "counted once\n")
    assert tally.read_text() == "once\n"
    other = invoke(package, box, event, str(uuid.uuid4()), timeout_s=60)
    assert json.loads(other.payload)["run_id"] != result["run_id"]
    assert tally.read_text() == "once\nonce\n"
