"""AWS's runtime client: installed once per interpreter, from a lock with hashes and without an address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uv

from dea.workspace.errors import WorkspaceError
from dea.workspace.runtime import client

HERE = Path(sys.executable)


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing installed yet, but what uv has fetched before is at hand."""
    cache = subprocess.run([uv.find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True).stdout
    monkeypatch.setenv("UV_CACHE_DIR", cache.strip())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_installed_once_and_kept(cold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = client.install(HERE)
    assert folder.is_relative_to(cold)
    asked = [
        HERE,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.append({str(folder)!r}); import runtime_client, awslambdaric",
    ]
    subprocess.run(asked, check=True)
    assert list(folder.glob("awslambdaric/__pycache__/*.pyc")), "it is compiled beforehand"
    assert [path for path in folder.parent.iterdir() if path != folder] == []
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/no/such/uv")
    assert client.install(HERE) == folder


def test_two_at_once_both_have_it(cold: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(client.install, [HERE, HERE]))
    assert len(folders) == 1
    assert [path.name for path in next(iter(folders)).parent.iterdir()] == [next(iter(folders)).name]


def test_without_network_and_cache_it_is_one_clear_error(
    cold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(WorkspaceError, match=r"installing AWS's runtime client for Python .* failed: ") as raised:
        client.install(HERE)
    assert "\n" not in str(raised.value)
    assert list(client.cache().iterdir()) == []


def test_what_is_not_what_the_lock_pins_is_refused(cold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "client.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, client.LOCK.read_text()))
    monkeypatch.setattr(client, "LOCK", lock)
    with pytest.raises(WorkspaceError, match=r"(?i)hash"):
        client.install(HERE)
    assert list(client.cache().iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WorkspaceError, match=r"cannot be kept in .* set XDG_CACHE_HOME"):
        client.install(HERE)


def test_the_lock_holds_hashes_and_no_address_and_no_path() -> None:
    text = client.LOCK.read_text()
    assert "awslambdaric==" in text
    assert re.search(r"://|/|@", text) is None
    requirements = re.findall(r"^[a-z][^\n]*==[^\n]*", text, re.MULTILINE)
    assert len(requirements) == 3
    assert all(line.endswith("\\") for line in requirements), "each has hashes"


def test_its_lock_is_part_of_the_distribution() -> None:
    pyproject = (client.LOCK.parents[1] / "pyproject.toml").read_text()
    assert pyproject.count('"runtime/client.lock"') == 2  # wheel and sdist
    assert os.access(client.LOCK, os.R_OK)
