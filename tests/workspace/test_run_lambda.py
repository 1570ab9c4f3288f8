"""`inv run-lambda` as a person calls it: packages and the working tree, events, retries, limits, and the caller's own account."""

from __future__ import annotations

import json
import os
import platform
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dea.workspace import checkout, interpreters, packaging, run_lambda
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import Sandbox, sandbox
from dea.workspace.settings import RUNTIMES, Settings
from tests.conftest import ROOT
from tests.workspace.packages import make_package

INV = Path(sys.executable).parent / "inv"
VERSION = next(version for version in reversed(RUNTIMES) if version in interpreters.installed())
NATIVE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


def inv(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the function `example` with these arguments."""
    command = [INV, "run-lambda", "--name", "example", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **settings)


@pytest.fixture
def package(tmp_path: Path) -> Any:
    """Make a package of a function `example` that is another one than the checkout's."""

    def make(body: str, **options: str) -> str:
        options = {"python": VERSION, "architecture": NATIVE, **options}
        return str(make_package(tmp_path / "made.zip", {"example.py": body}, function="example", **options))

    return make


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    """A sandbox that plays the caller's own account."""
    with sandbox() as box:
        yield box


@pytest.fixture
def caller(account: Sandbox, tmp_path: Path) -> dict[str, str]:
    """A shell with a profile that leads there."""
    credentials = tmp_path / "credentials"
    credentials.write_text("[mine]\naws_access_key_id = mykey\naws_secret_access_key = mysecret\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "AWS_PROFILE": "mine",
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return {**kept, **settings, "AWS_REGION": "us-west-2", "AWS_ENDPOINT_URL": account.endpoint_url, "NO_PROXY": "*"}


@pytest.fixture
def run(caller: dict[str, str]) -> Any:
    """Run the function with the caller's account: a sandbox that is up already saves the time of starting one each time."""

    def on_account(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return inv(*arguments, "--target", "aws", "--yes", env=caller, **settings)

    return on_account


ECHO = "def handler(event, context):\n    return [event, context.aws_request_id]\n"
FLAKY = """
import os, tempfile
def handler(event, context):
    marker = os.path.join(tempfile.gettempdir(), "tried")
    if not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(3)
    return context.aws_request_id
"""


def test_the_package_of_the_checkouts_example_runs_on_the_sandbox() -> None:
    done = inv()
    assert done.returncode == 0, done.stderr
    assert "example" in json.loads(done.stdout)["commands"]
    assert "commands listed count=" in done.stderr
    assert "REPORT RequestId: " in done.stderr
    here = Settings("example.handler").python in interpreters.installed()
    assert ("running example from the working tree" in done.stderr) is not here


@pytest.mark.parametrize("version", RUNTIMES)
def test_the_example_runs_on_each_runtime_that_this_machine_has(
    version: str, run: Any, caller: dict[str, str], tmp_path: Path
) -> None:
    if version not in interpreters.installed():
        pytest.skip(f"this machine has no Python {version}")
    output = tmp_path / "example.zip"
    built = packaging.build(checkout.function("example"), output=output, python=version, architecture=NATIVE)
    caller["AWS_REGION"] = "ap-southeast-2"  # where its parameters are
    done = run("--zip", str(built.path), "--event", "{}", "--event", "{}")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert "example" in first["payload"]["commands"]
    assert first["payload"] == second["payload"]
    assert first["report"]["init_duration_ms"] > 0


def test_the_working_tree_runs_with_this_interpreter() -> None:
    done = inv("--source", "--event", "{}", "--event", "1", "--log-format", "JSON")
    assert done.returncode == 0, done.stderr
    assert [one["failed"] for one in json.loads(done.stdout)] == [None, None]
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [line["count"] > 0 for line in lines if line.get("message") == "commands listed"] == [True, True]
    assert [line["type"] for line in lines if "type" in line] == ["platform.start", "platform.report"] * 2


def test_without_an_interpreter_of_the_version_the_working_tree_runs_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interpreters, "find", lambda _: None)
    with run_lambda.code(checkout.function("example"), Settings("example.handler")) as root:
        assert not root.packaged
        assert root.folder == ROOT / "functions" / "example"
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("not the package, this machine has no Python 3.13 (uv python install 3.13")
    assert "): running example from the working tree with Python 3." in said


def test_one_event_prints_its_result_alone(package: Any, run: Any) -> None:
    done = run("--zip", package(ECHO), "--event", '{"a": "ä"}', "--request-id", "mine-1")
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"a": "ä"}, "mine-1"])
    assert "START RequestId: mine-1 Version: $LATEST\n" in done.stderr


def test_several_events_print_a_list_and_one_that_fails_does_not_stop_the_others(
    package: Any, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text("0")
    body = "def handler(event, context):\n    return 1 / event\n"
    arguments = ("--event", str(tmp_path / "a.json"), "--event", "-")
    done = run("--zip", package(body), *arguments, input="2")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert (first["failed"], first["payload"]["errorType"]) == ("handler", "ZeroDivisionError")
    assert first["payload"]["requestId"] == first["request_id"] != second["request_id"]
    assert (second["failed"], second["payload"]) == (None, 0.5)
    assert second["report"]["init_duration_ms"] is None  # the same process
    assert "handler failed: ZeroDivisionError: division by zero" in done.stderr


def test_a_failed_event_is_tried_again_with_the_same_request_id(package: Any, run: Any) -> None:
    done = run("--zip", package(FLAKY), "--retries", "2", "--json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["payload"]["errorType"] == "Runtime.ExitError"
    assert second["payload"] == first["request_id"] == second["request_id"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def handler(event, context):\n    raise ValueError('gone')", "handler failed: ValueError: gone"),
        ("import no_such_module", "init failed: Runtime.ImportModuleError: Unable to import module 'example'"),
    ],
)
def test_a_failure_prints_no_result_and_a_line_that_says_whose(package: Any, run: Any, body: str, said: str) -> None:
    done = run("--zip", package(body))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.splitlines()[-1]


def test_the_timeout_of_the_command_line_wins(package: Any, run: Any) -> None:
    body = "import time\ndef handler(event, context):\n    time.sleep(600)"
    done = run("--zip", package(body), "--timeout", "0.5")
    assert done.returncode == 1
    assert "Task timed out after 0.50 seconds" in done.stderr


def test_bytes_that_are_no_json_are_printed_as_they_are(package: Any, run: Any) -> None:
    done = run("--zip", package("def handler(event, context):\n    return 'ä'.encode()"))
    assert (done.returncode, done.stdout) == (0, "ä")


def test_only_documented_variables_come_from_the_shell(package: Any) -> None:
    body = "import os\ndef handler(event, context):\n    return sorted(os.environ.items())"
    done = inv(
        *("--zip", package(body), "--set", "GIVEN=1", "--set", "AWS_REGION=us-east-1"),
        env={**os.environ, "DEA_RAIJIN_USER_PATH": "of.the.shell", "OF_THE_SHELL": "x", "AWS_PROFILE": "mine"},
    )
    assert done.returncode == 0, done.stderr
    variables = dict(json.loads(done.stdout))
    assert variables["DEA_RAIJIN_USER_PATH"] == "of.the.shell"
    assert variables["GIVEN"] == "1"
    assert variables["AWS_REGION"] == "ap-southeast-2"
    assert "OF_THE_SHELL" not in variables
    assert "AWS_PROFILE" not in variables
    assert "set DEA_RAIJIN_USER_PATH=of.the.shell  (the shell's)" in done.stderr
    assert "AWS_REGION is not the function's to set: the value given is not used" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--log-format", "XML"], "--log-format 'XML' is not known: choose one of Text, JSON"),
        (["--timeout", "0"], "--timeout '0' is not a number above 0, up to 900"),
        (["--timeout", "nan"], "--timeout 'nan' is not a number"),
        (["--retries", "-1"], "--retries '-1' is not a whole number from 0 to 100"),
        (["--request-id", "a b"], "--request-id 'a b' is none"),
        (["--request-id", "a\r\nX-Header: 1"], "is none"),
        (["--source", "--zip", "x.zip"], "--source and --zip exclude each other"),
        (["--zip", "no/such.zip"], "no/such.zip is no package that inv package made"),
        (["--target", "aws"], "there is no terminal to confirm that on: give --yes"),
    ],
)
def test_a_mistake_is_one_clear_line_and_a_status(arguments: list[str], said: str) -> None:
    done = inv(*arguments, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("inv run-lambda: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_a_package_that_is_another_functions_or_another_machines_is_refused(package: Any) -> None:
    example = checkout.function("example")
    other = "arm64" if NATIVE == "x86_64" else "x86_64"
    with pytest.raises(WorkspaceError, match=f"it is made for {other}, and this machine is"):
        run_lambda.code(example, Settings(""), package=Path(package(ECHO, architecture=other)))
    path = Path(package(ECHO)).with_name("tidy.zip")
    make_package(path, {"tidy.py": ECHO}, function="tidy", python=VERSION, architecture=NATIVE)
    with pytest.raises(WorkspaceError, match="is the package of tidy, not of example"):
        run_lambda.code(example, Settings(""), package=path)


def test_an_event_that_lambda_would_not_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(json.dumps("x" * 6_300_000))
    with pytest.raises(WorkspaceError, match="is 6300002 bytes: Lambda takes 6291556"):
        run_lambda.run("example", sources=[str(tmp_path / "large.json")])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_however_it_ends_nothing_is_left(
    package: Any, caller: dict[str, str], tmp_path: Path, number: int, status: int
) -> None:
    body = (
        "import os, time\ndef handler(event, context):\n    print('pid', os.getpid(), flush=True)\n    time.sleep(600)"
    )
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    command = [INV, "run-lambda", "--name", "example", "--zip", package(body), "--target", "aws", "--yes"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**caller, "TMPDIR": str(scratch)}
    ) as task:
        assert task.stderr is not None
        pid = next(int(line.split()[1]) for line in task.stderr if line.startswith("pid "))
        # Not to the group, as the terminal would: the function must not depend on getting it too.
        task.send_signal(number)
        assert task.wait(60) == status
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the function's process is still there"
        time.sleep(0.01)
    if number != signal.SIGKILL:  # then nothing can remove it
        assert [path.name for path in scratch.iterdir() if path.name.startswith("dea-function-")] == []


REGION = """
import os
def handler(event, context):
    names = ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE")
    return [context.invoked_function_arn, *(os.environ.get(name) for name in names)]
"""


def test_the_callers_own_credentials_reach_the_function_as_lambda_hands_them_over(
    package: Any, caller: dict[str, str]
) -> None:
    done = inv("--zip", package(REGION), "--target", "aws", "--yes", env=caller)
    assert done.returncode == 0, done.stderr
    arn, *variables = json.loads(done.stdout)
    assert arn == "arn:aws:lambda:us-west-2:123456789012:function:example"
    assert variables == ["mykey", "us-west-2", None, os.devnull]
    assert "mysecret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 1), ("no\n", 1)])
def test_on_a_terminal_it_asks_first(package: Any, caller: dict[str, str], answer: str, status: int) -> None:
    primary, terminal = pty.openpty()
    command = [INV, "run-lambda", "--name", "example", "--zip", package(REGION), "--target", "aws"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, env={**caller, "COLUMNS": "500"}
    ) as task:
        os.close(terminal)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(primary, 4096)
        os.write(primary, answer.encode())
        while True:
            try:
                if not (part := os.read(primary, 4096)):
                    break
            except OSError:  # the terminal's last user has gone
                break
            shown += part
        assert task.stdout is not None
        printed = task.stdout.read()
        assert task.wait(60) == status, shown
    os.close(primary)
    assert b"run example as arn:aws:" in shown
    assert b"us-west-2" in shown
    assert bool(printed) is (status == 0)
    assert (b"not confirmed: nothing was run" in shown) is (status != 0)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"AWS_PROFILE": "other"}, "your AWS credentials cannot be used"),
        (
            {"AWS_PROFILE": "", "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
            "your settings have no AWS credentials",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "your AWS credentials cannot be used: Could not connect"),
    ],
)
def test_credentials_that_cannot_be_used_are_one_clear_line(
    package: Any, caller: dict[str, str], replaced: dict[str, str], said: str
) -> None:
    environment = {name: value for name, value in {**caller, **replaced, "AWS_MAX_ATTEMPTS": "1"}.items() if value}
    done = inv("--zip", package(REGION), "--target", "aws", "--yes", env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.strip().splitlines()[-1]
    assert "START" not in done.stderr
