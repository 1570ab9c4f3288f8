"""inv lock, inv package and inv install as a person calls them: their lines, JSON and status."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from dea.workspace import checkout
from dea.workspace.packaging import tasks
from tests.conftest import ROOT
from tests.workspace.packaging.conftest import MakeFunction
from tests.workspace.packaging.wheels import make_wheel

BIN = Path(sys.executable).parent


def inv(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "inv", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_package_says_where_it_is_how_large_and_its_digests(tmp_path: Path) -> None:
    output = tmp_path / "example.zip"
    done = inv("package", "--name", "example", "--output", str(output))
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(output.read_bytes())
    assert "example.zip written: " in done.stdout
    assert digest.hexdigest() in done.stdout
    assert base64.b64encode(digest.digest()).decode() in done.stdout
    again = inv("package", "--name", "example", "--output", str(output), "--json")
    (built,) = json.loads(again.stdout)
    assert (built["sha256"], built["changed"], built["compiled"]) == (digest.hexdigest(), False, True)
    assert {"botocore", "cryptography", "paramiko"} <= {part["part"].split()[0] for part in built["parts"]}
    explained = inv("package", "--name", "example", "--output", str(output), "--explain").stdout
    assert "unchanged" in explained
    assert "services:" in explained


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["package", "--name", "nope"], "choose one of"),
        (["package", "--name", "all", "--output", "x.zip"], "--output names one file"),
        (["package", "--name", "example", "--python", "3.8"], "'3.8' is no supported runtime: choose one of 3.11"),
        (
            ["package", "--name", "example", "--arch", "riscv"],
            "'riscv' is no architecture of Lambda: choose one of x86_64, arm64",
        ),
        (["lock", "--name", "nope"], "choose one of"),
        (["lock", "--name", "example", "--check", "--upgrade"], "say one of them"),
        (["package", "--name", "example", "--output", "/proc/nowhere/x.zip"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_clear_line_and_a_status(arguments: list[str], said: str) -> None:
    done = inv(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_all_are_packaged_but_the_one_that_cannot_be(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one")
    for name in ("first", "second", "third"):
        make_function(name, "one\n./dea/remote\n")
    make_function("broken", "missing\n")
    shutil.copy(ROOT / "tasks.py", root)
    done = inv("package", "--name", "all", "--json", cwd=root)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines() if not line.endswith(" ...")] == ["broken"]
    assert [(one["function"], one["changed"]) for one in json.loads(done.stdout)] == [
        (name, True) for name in ("first", "second", "third")
    ]
    assert {path.name for path in (root / "dist").iterdir()} == {"first.zip", "second.zip", "third.zip"}


def test_a_package_that_only_s3_takes_is_packaged_and_says_so(
    make_function: MakeFunction,
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    function = make_function()
    monkeypatch.setattr(tasks, "MAX_UPLOAD_BYTES", 10)
    monkeypatch.setattr(checkout, "selected", lambda _: [function])
    zip_ = tmp_path / "tidy.zip"
    status = tasks.package(
        "tidy", output=str(zip_), python="", architecture="", require_pyc=False, explain=False, as_json=False
    )
    assert (status, zip_.exists()) == (0, True)
    assert "Lambda takes a package only through S3" in capsys.readouterr().err


def test_lock_check_says_that_all_is_up_to_date() -> None:
    done = inv("lock", "--name", "all", "--check")
    assert done.returncode == 0, done.stderr
    assert "functions/example/requirements.lock is up to date" in done.stdout


def test_install_installs_the_pins_and_the_internal_packages_as_editable(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; sys.prefix = sys.argv[1]; sys.executable = sys.argv[1] + '/bin/python';"
        "from dea.workspace import installation; installation.install('example')"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "venv"], cwd=ROOT, check=True, capture_output=True)
    python = tmp_path / "venv" / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import dea.lambdas, paramiko; print(dea.lambdas.__file__); print(paramiko.__version__)"],
        capture_output=True, text=True, check=True, cwd="/",
    ).stdout.split()  # fmt: skip
    assert found[0] == str(ROOT / "dea" / "lambdas" / "__init__.py")
    assert f"paramiko=={found[1]} " in (ROOT / "functions" / "example" / "requirements.lock").read_text("utf-8")


def test_install_touches_nothing_outside_a_virtual_environment() -> None:
    program = "import sys; sys.prefix = sys.base_prefix; from dea.workspace import installation; installation.install('example')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode != 0
    assert "this is no virtual environment, and nothing outside one is touched" in done.stderr
