"""The house: who may import whom, what is at the namespace's level, and what no installer may ever ask an index for."""

from __future__ import annotations

import ast
import http.server
import os
import re
import subprocess
import sys
import sysconfig
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import uv

from dea.workspace import checkout
from dea.workspace.versions import PARTS
from tests.conftest import ROOT


def imported(path: Path) -> set[str]:
    """Return the absolute names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_the_namespace_level_holds_nothing_but_its_portions() -> None:
    entries = {path.name for path in (ROOT / "dea").iterdir()} - {"__pycache__"}
    assert entries == set(PARTS)


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


# Which of them there is depends on Python's version; the standard library's own hashlib is the way out.
_STDLIB_SINCE_OR_UNTIL = {"_sha2", "_sha256"}


def test_the_login_node_needs_nothing_but_the_standard_library() -> None:
    for path in (ROOT / "dea" / "remote").rglob("*.py"):
        foreign = {
            name
            for name in imported(path)
            if name.split(".")[0] not in sys.stdlib_module_names | _STDLIB_SINCE_OR_UNTIL
            and not name.startswith("dea.remote")
        }
        assert foreign == set(), path


def test_the_way_in_knows_the_login_node_by_its_contract_only() -> None:
    for part in ("raijin", "lambdas"):
        for path in (ROOT / "dea" / part).rglob("*.py"):
            of_the_login_node = {name for name in imported(path) if f"{name}.".startswith("dea.remote.")}
            assert all(f"{name}.".startswith("dea.remote.contract.") for name in of_the_login_node), path


def test_the_contract_is_pure() -> None:
    for path in (ROOT / "dea" / "remote" / "contract").rglob("*.py"):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & {"os", "io", "sys", "subprocess", "socket", "pathlib"}, path
        assert all(name.startswith("dea.remote.contract.") for name in names if name.startswith("dea.")), path


def test_functions_import_what_their_pages_show_and_nothing_else_of_ours() -> None:
    allowed = ("dea.lambdas.", "dea.raijin.", "dea.remote.contract.")
    for function in checkout.functions().values():
        for path in function.folder.glob("*.py"):
            ours = {name for name in imported(path) if name.startswith("dea.")}
            assert all(name.startswith(allowed) for name in ours), path


def test_nothing_that_runs_elsewhere_knows_the_workspace() -> None:
    for part in ("remote", "raijin", "lambdas"):
        for path in (ROOT / "dea" / part).rglob("*.py"):
            assert not {name for name in imported(path) if name.startswith("dea.workspace")}, path


def test_siblings_are_found_in_the_workspace_and_installed_as_plain_files() -> None:
    for part in PARTS:
        project = tomllib.loads((ROOT / "dea" / part / "pyproject.toml").read_text("utf-8"))
        siblings = {name.partition("==")[0] for name in project["project"]["dependencies"] if name.startswith("dea-")}
        sources = project.get("tool", {}).get("uv", {}).get("sources", {})
        assert sources == {name: {"workspace": True, "editable": False} for name in siblings}


def test_every_function_names_the_internal_packages_by_path() -> None:
    for function in checkout.functions().values():
        lines = (function.folder / "requirements.txt").read_text("utf-8").splitlines()
        assert {"./dea/remote", "./dea/raijin", "./dea/lambdas"} <= set(lines), function.name
        assert not [line for line in lines if line.startswith("dea")]


def test_the_lock_has_third_party_pins_with_hashes_and_nothing_else() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text("utf-8").splitlines()
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*==[^ ]+( ; [^\\]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert not [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)]
    assert not [line for line in lines if line.startswith("dea-")]


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that has every package that it is asked for, empty; it remembers the names."""

    asked: set[str]

    def do_GET(self) -> None:
        words = self.path.strip("/").split("/")
        if words[0] == "simple":
            self.asked.add(words[1])
            name = words[1].replace("-", "_")
            body, kind = f'<a href="/wheels/{name}-9999-py3-none-any.whl">x</a>'.encode(), "text/html"
        else:
            body, kind = self.wheel(words[1].partition("-")[0]), "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    @staticmethod
    def wheel(name: str) -> bytes:
        info = f"{name}-9999.dist-info"
        data = BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9999\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return data.getvalue()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[tuple[str, set[str]]]:
    """A running index: its address, and the names that it was asked for."""
    asked: set[str] = set()
    handler = type("Handler", (Index,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/", asked
        server.shutdown()


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_no_installer_asks_an_index_for_a_package_of_ours(
    installer: str, index: tuple[str, set[str]], tmp_path: Path
) -> None:
    """A stranger could have published one under that name."""
    url, asked = index
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    environment |= {"NO_PROXY": "*", "no_proxy": "*", "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    names = sorted(checkout.functions())
    requirements = [argument for name in names for argument in ("-r", f"functions/{name}/requirements.txt")]
    # hatchling builds them and comes from this environment: the index has nothing but empty packages.
    common = ["--no-build-isolation", "--index-url", url, "--target", str(tmp_path / "out"), *requirements]
    if installer == "uv":
        command = [uv.find_uv_bin(), "pip", "install", "--no-cache", "--python", sys.executable, *common]
    else:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, capture_output=True)
        command = [
            tmp_path / "venv" / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--ignore-installed",
            *common,
        ]
        environment["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "paramiko" in asked  # it was really asked
    assert not [name for name in asked if name.startswith("dea")]
    installed = {path.name for path in (tmp_path / "out" / "dea").iterdir()}
    assert installed == {"remote", "raijin", "lambdas"}
    assert not list((tmp_path / "out").glob("*.pth"))
