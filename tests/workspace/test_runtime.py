"""Running a package under AWS's own runtime client: what a handler gets, and what becomes of all that it can do.

The client is the real one, on each interpreter of a Lambda runtime that this machine has.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dea.workspace import interpreters, runtime
from dea.workspace.errors import WorkspaceError
from dea.workspace.runtime import Deployed, Runtime, client
from dea.workspace.settings import RUNTIMES
from tests.workspace.packages import make_package

ARN = "arn:aws:lambda:ap-southeast-2:000000000000:function:made"


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


class Running:
    """A runtime with its log."""

    def __init__(self, warm: Runtime, log: int) -> None:
        self._warm = warm
        self._log = log

    def invoke(self, event: Any = None, request_id: str = "request-1") -> runtime.Invocation:
        return self._warm.invoke(json.dumps(event).encode(), request_id)

    def result(self, event: Any = None) -> Any:
        """Invoke it, and return what the handler returned."""
        invocation = self.invoke(event)
        assert invocation.failed is None, invocation.error
        return json.loads(invocation.payload)

    @property
    def log(self) -> str:
        return os.pread(self._log, 1 << 20, 0).decode()


Run = Callable[..., Running]


@pytest.fixture(params=RUNTIMES)
def version(request: pytest.FixtureRequest) -> str:
    """A version of Python that this machine has."""
    if request.param not in interpreters.installed():
        pytest.skip(f"this machine has no Python {request.param}")
    return str(request.param)


@pytest.fixture
def run(version: str, tmp_path: Path) -> Iterator[Run]:
    """Package a module and run it: `run(body, more files, options)`."""
    with contextlib.ExitStack() as stack:

        def start(
            body: str,
            files: dict[str, str | bytes] | None = None,
            *,
            memory_mb: int = 256,
            timeout_s: float = 30,
            log_format: str = "Text",
            variables: dict[str, str] | None = None,
            init_timeout_s: float = 30,
        ) -> Running:
            package = make_package(
                tmp_path / "made.zip", {"made.py": textwrap.dedent(body), **(files or {})}, python=version
            )
            root = stack.enter_context(runtime.unpacked(package))
            log = stack.enter_context(tempfile.TemporaryFile()).fileno()
            deployed = Deployed(
                "made", ARN, root, client.install(root.interpreter), variables or {}, memory_mb, timeout_s, log_format
            )
            return Running(stack.enter_context(Runtime(deployed, log=log, init_timeout_s=init_timeout_s)), log)

        yield start


def test_the_handler_gets_the_event_and_lambdas_context(run: Run, version: str) -> None:
    body = """
    import sys
    def handler(event, context):
        return {
            "event": event, "python": "%d.%d" % sys.version_info[:2], "left_ms": context.get_remaining_time_in_millis(),
            **{name: getattr(context, name) for name in (
                "aws_request_id", "invoked_function_arn", "function_name", "function_version", "memory_limit_in_mb", "log_group_name",
            )},
        }
    """
    got = run(body).result({"ä": [1, None]})
    assert 20_000 < got.pop("left_ms") <= 30_000
    assert got == {
        "event": {"ä": [1, None]},
        "python": version,
        "aws_request_id": "request-1",
        "invoked_function_arn": ARN,
        "function_name": "made",
        "function_version": "$LATEST",
        "memory_limit_in_mb": "256",
        "log_group_name": "/aws/lambda/made",
    }


def test_the_environment_is_the_functions_own_and_lambdas_and_nothing_else(
    run: Run, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "secret")
    body = """
    import os, tempfile
    def handler(event, context):
        return [dict(os.environ), os.getcwd(), os.path.exists(os.path.expanduser("~")), tempfile.gettempdir()]
    """
    variables, folder, has_home, scratch = run(body, variables={"OWN": "1", "TZ": "Australia/Sydney"}).result()
    assert variables["OWN"] == "1"
    assert variables["TZ"] == "Australia/Sydney"  # a function may
    assert variables["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{version}"
    assert variables["LAMBDA_TASK_ROOT"] == folder
    assert not has_home
    assert scratch.startswith(str(Path(folder).parent))
    assert {name for name in variables if not name.startswith(("AWS_LAMBDA_", "LAMBDA_"))} == (
        {"AWS_EXECUTION_ENV", "HOME", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "OWN", "PATH", "TMPDIR", "TZ"}
        | {"_HANDLER", "_X_AMZN_TRACE_ID"}
    ), "LC_CTYPE comes from Python itself, the last from the client"


def test_a_function_cannot_replace_what_is_lambdas(run: Run) -> None:
    body = "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_FUNCTION_NAME']"
    assert run(body, variables={"AWS_LAMBDA_FUNCTION_NAME": "other"}).result() == "made"


def test_a_process_stays_warm_between_events(run: Run) -> None:
    body = """
    import os
    count = 0
    def handler(event, context):
        global count
        count += 1
        return [count, os.getpid()]
    """
    running = run(body)
    first, second = running.invoke(), running.invoke(request_id="request-2")
    (one, pid), (two, same_pid) = json.loads(first.payload), json.loads(second.payload)
    assert (one, two, same_pid) == (1, 2, pid)
    assert first.report.init_duration_ms is not None
    assert second.report.init_duration_ms is None


@pytest.mark.parametrize(
    ("body", "error_type", "said"),
    [
        ("def handler(event, context):\n    raise KeyError('gone')", "KeyError", "'gone'"),
        ("def handler(event, context):\n    return object()", "Runtime.MarshalError", "not JSON serializable"),
        ("import sys\ndef handler(event, context):\n    sys.exit(3)", "Runtime.ExitError", "exit status 3"),
        ("def handler(event, context):\n    exit()", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("import os\ndef handler(event, context):\n    os._exit(4)", "Runtime.ExitError", "exit status 4"),
        (
            "import os\ndef handler(event, context):\n    os.kill(os.getpid(), 11)",
            "Runtime.ExitError",
            "signal: segmentation fault",
        ),
        (
            "def handler(event, context):\n    return 'x' * 6_400_000",
            "Function.ResponseSizeTooLarge",
            "6400002 bytes",
        ),
    ],
)
def test_a_handlers_failure_has_the_document_that_lambda_gives(run: Run, body: str, error_type: str, said: str) -> None:
    running = run(body)
    invocation = running.invoke()
    assert invocation.failed == "handler"
    document = json.loads(invocation.payload)
    assert document["errorType"] == error_type
    assert said in document["errorMessage"]
    assert "Status: error" in running.log
    again = running.invoke(request_id="request-2")  # in a new process, where the first has ended
    assert json.loads(again.payload)["errorType"] == error_type


def test_what_a_handler_raises_has_its_stack_trace_and_leaves_the_process_warm(run: Run) -> None:
    body = """
    count = 0
    def inner():
        raise ValueError("no ü")
    def handler(event, context):
        global count
        count += 1
        if event == "fail":
            inner()
        return count
    """
    running = run(body)
    document = json.loads(running.invoke("fail").payload)
    assert document["requestId"] == "request-1"
    assert document["errorMessage"] == "no ü"
    assert [line.split(", in ")[1].splitlines()[0] for line in document["stackTrace"]] == ["handler", "inner"]
    assert "[ERROR] ValueError: no ü\nTraceback (most recent call last):\n  File " in running.log
    assert running.result() == 2


@pytest.mark.parametrize(
    ("body", "error_type", "said"),
    [
        ("import no_such_module", "Runtime.ImportModuleError", "No module named 'no_such_module'"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "invalid syntax"),
        ("x = 1", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'made'"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("import sys\nsys.exit(5)", "Runtime.ExitError", "exit status 5"),
        ("import time\nx = b'x' * (300 << 20)\ntime.sleep(60)", "Runtime.ExitError", "signal: killed"),
    ],
)
def test_a_failure_to_load_is_told_from_the_handlers(run: Run, body: str, error_type: str, said: str) -> None:
    running = run(body)
    invocation = running.invoke()
    assert invocation.failed == "init"
    document = json.loads(invocation.payload)
    assert document["errorType"] == error_type
    assert said in document["errorMessage"]
    assert document.get("requestId", "request-1") == "request-1"
    assert "INIT_REPORT Init Duration: " in running.log
    assert running.invoke(request_id="request-2").failed == "init"


def test_an_errors_line_is_one_line_and_no_longer_than_it_has_to_be(run: Run) -> None:
    invocation = run("def handler(event, context):\n    raise ValueError('two\\nlines ' + 'x' * 9999)").invoke()
    assert invocation.error.startswith("ValueError: two lines xxx")
    assert len(invocation.error) < 600


def test_at_the_deadline_the_process_ends_with_all_that_it_started(run: Run) -> None:
    body = """
    import os, subprocess, time
    def handler(event, context):
        if event == "sleep":
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            print("pids", os.getpid(), child.pid, flush=True)
            time.sleep(600)
        return os.getpid()
    """
    running = run(body, timeout_s=2)
    invocation = running.invoke("sleep")
    assert json.loads(invocation.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: request-1 Error: Task timed out after 2.00 seconds",
    }
    assert invocation.report.status == "timeout"
    assert invocation.report.duration_ms >= 2000
    pids = [int(word) for word in running.log.partition("pids ")[2].splitlines()[0].split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_alive, pids)))
    assert running.result() not in pids


def test_too_much_memory_ends_the_process(run: Run) -> None:
    # A hundredth of a second is enough to have used it, and no sample need fall into that time.
    body = "def handler(event, context):\n    x = b'x' * (event << 20)\n    del x\n    return True"
    running = run(body)
    assert running.result(100) is True
    invocation = running.invoke(300)
    assert invocation.failed == "handler"
    assert json.loads(invocation.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: request-1 Error: Runtime exited with error: signal: killed",
    }
    assert invocation.report.error_type == "Runtime.OutOfMemory"
    assert invocation.report.max_memory_used_mb == 256
    assert running.result(1) is True


def test_the_memory_of_child_processes_counts(run: Run) -> None:
    body = """
    import subprocess, sys
    def handler(event, context):
        return subprocess.run([sys.executable, "-c", "x = bytearray(300 << 20); import time; time.sleep(600)"]).returncode
    """
    assert run(body).invoke().report.error_type == "Runtime.OutOfMemory"


def test_reserved_but_unused_memory_does_not_count(run: Run) -> None:
    body = "import mmap\nheld = mmap.mmap(-1, 4 << 30)\ndef handler(event, context):\n    return len(held) >> 30"
    assert run(body).result() == 4


def test_an_init_that_takes_too_long_is_tried_again_within_the_first_invocation(run: Run) -> None:
    body = """
    import os, tempfile, time
    marker = os.path.join(tempfile.gettempdir(), "tried")
    if not os.path.exists(marker):
        open(marker, "w").close()
        time.sleep(600)
    def handler(event, context):
        return context.get_remaining_time_in_millis()
    """
    running = run(body, init_timeout_s=1)
    invocation = running.invoke()
    assert invocation.failed is None
    assert "Phase: init\tStatus: timeout" in running.log
    assert invocation.report.init_duration_ms is None
    assert int(invocation.payload) < 30_000
    assert invocation.report.duration_ms >= 5


def test_the_report_has_plausible_figures(run: Run) -> None:
    body = "import time\ntime.sleep(0.2)\ndef handler(event, context):\n    x = b'x' * (64 << 20)\n    time.sleep(0.1)"
    running = run(body)
    report = running.invoke().report
    assert 100 <= report.duration_ms < 20_000
    assert report.init_duration_ms is not None
    assert 200 <= report.init_duration_ms < 20_000
    assert -0.001 < report.billed_duration_ms - (report.duration_ms + report.init_duration_ms) < 1
    assert 64 <= report.max_memory_used_mb < 150
    last = running.log.splitlines()[-1].split("\t")
    assert last[0] == "REPORT RequestId: request-1"
    assert last[2:4] == [f"Billed Duration: {report.billed_duration_ms} ms", "Memory Size: 256 MB"]
    assert last[-1] == f"Init Duration: {report.init_duration_ms:.2f} ms"


LOGS = """
import logging
logger = logging.getLogger("mine")
def handler(event, context):
    print("printed")
    logger.info("quiet", extra={"files": 1})
    logger.warning("loud", extra={"files": 2})
"""


def test_the_text_format_drops_info_and_extra(run: Run) -> None:
    running = run(LOGS)
    running.result()
    assert "printed\n" in running.log
    assert "quiet" not in running.log
    assert "\trequest-1\tloud\n" in running.log
    assert "files" not in running.log


def test_the_json_format_has_both(run: Run) -> None:
    running = run(LOGS, log_format="JSON")
    running.result()
    lines = [json.loads(line) for line in running.log.splitlines() if line != "printed"]
    assert [(line["message"], line["files"], line["requestId"]) for line in lines if "message" in line] == [
        ("quiet", 1, "request-1"),
        ("loud", 2, "request-1"),
    ]
    assert [line["type"] for line in lines if "type" in line] == ["platform.start", "platform.report"]
    assert lines[-1]["record"]["metrics"]["memorySizeMB"] == 256
    assert lines[-1]["record"]["status"] == "success"


def test_the_package_is_alone_on_the_path_and_the_client_hides_nothing_of_it(run: Run, version: str) -> None:
    theirs = client.install(interpreters.installed()[version]) / "simplejson"
    copied = {f"simplejson/{path.name}": path.read_bytes() for path in theirs.glob("*.py")}
    body = """
    import importlib.util, sys, simplejson
    def handler(event, context):
        found = [name for name in ("pip", "setuptools", "boto3", "pytest", "dea") if importlib.util.find_spec(name)]
        return [simplejson.__file__, found, sys.path[0]]
    """
    file, found, first = run(body, copied).result()
    assert file.startswith(first)
    assert found == []


def test_the_package_is_read_only_even_for_root(run: Run) -> None:
    body = """
    import os, subprocess, sys
    import data.inner
    def handler(event, context):
        failed = []
        for path in ("made.py", "new", "data/new", "data/inner.py", "../new", os.path.expanduser("~/new")):
            try:
                open(path, "a").close()
            except OSError as error:
                failed.append(type(error).__name__)
        child = subprocess.run([sys.executable, "-c", "open('new', 'w')"], capture_output=True)
        # What a child that may write byte code would leave behind.
        subprocess.run([sys.executable, "-c", "import data.inner"], check=True)
        return [failed, child.returncode, sorted(os.path.join(p, f) for p, _, fs in os.walk(".") for f in fs)]
    """
    failed, child, files = run(body, {"data/inner.py": ""}).result()
    assert failed == ["PermissionError"] * 5 + ["FileNotFoundError"]
    assert child == 1
    assert files == ["./data/inner.py", "./dea_package.json", "./made.py"]


def test_a_program_in_the_package_keeps_its_execute_permission(version: str, tmp_path: Path) -> None:
    import zipfile

    package = make_package(tmp_path / "made.zip", {"made.py": ""}, python=version)
    with zipfile.ZipFile(package, "a") as archive:
        entry = zipfile.ZipInfo("bin/tool")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, "#!/bin/sh\n")
    with runtime.unpacked(package) as root:
        assert (root.folder / "bin/tool").stat().st_mode & 0o777 == 0o555
        assert (root.folder / "made.py").stat().st_mode & 0o777 == 0o444
        assert (root.folder / "bin").stat().st_mode & 0o777 == 0o555
    assert not root.folder.parent.exists()


def test_a_request_id_is_the_same_in_another_process(version: str, tmp_path: Path) -> None:
    """What a run id comes from: a retry that reaches another process is recognised as the same delivery."""
    body = "import os\ndef handler(e, c):\n    return [c.aws_request_id, c.invoked_function_arn, os.getpid()]"
    package = make_package(tmp_path / "made.zip", {"made.py": body}, python=version)
    seen = []
    for _ in range(2):
        with (
            runtime.unpacked(package) as root,
            tempfile.TemporaryFile() as log,
            Runtime(
                Deployed("made", ARN, root, client.install(root.interpreter), {}, 256, 30), log=log.fileno()
            ) as warm,
        ):
            seen.append(json.loads(warm.invoke(b"{}", "8a1b-retried").payload))
    assert seen[0][:2] == seen[1][:2] == ["8a1b-retried", ARN]
    assert seen[0][2] != seen[1][2]


def test_a_handler_may_return_bytes_and_they_pass_unchanged(run: Run) -> None:
    invocation = run("def handler(event, context):\n    return b'\\xff\\x00'").invoke()
    assert (invocation.failed, invocation.payload) == (None, b"\xff\x00")


def test_an_answer_for_another_invocation_is_refused(run: Run) -> None:
    body = """
    import os, urllib.error, urllib.request
    def handler(event, context):
        statuses = []
        for path in ("invocation/other/response", "invocation/other/error", "init/error", "nonsense"):
            try:
                urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/{path}", b"{}")
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
        return statuses
    """
    assert run(body).result() == [400, 400, 404, 404]


def test_a_connection_that_says_nothing_delays_nothing_for_long(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dea.workspace.runtime import api

    monkeypatch.setattr(api.Request, "timeout", 0.2)
    body = """
    import os, socket
    def handler(event, context):
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        globals()["held"] = socket.create_connection((host, int(port)))
        return "answered"
    """
    assert run(body).result() == "answered"


def test_a_file_that_is_no_package_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "no.zip"
    for content in (b"", b"PK"):
        path.write_bytes(content)
        with pytest.raises(WorkspaceError, match="is no package that inv package made"):
            runtime.manifest_of(path)
    with pytest.raises(WorkspaceError, match="is no package that inv package made"):
        runtime.manifest_of(tmp_path / "missing.zip")


def test_a_package_for_a_version_that_is_not_here_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package(tmp_path / "made.zip", {"made.py": ""}, python="3.13")
    monkeypatch.setattr(interpreters, "find", lambda _: None)
    with (
        pytest.raises(WorkspaceError, match=r"is for Python 3\.13, which this machine has not: uv python install"),
        runtime.unpacked(package),
    ):
        pass
