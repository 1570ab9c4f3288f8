"""The same inputs make the same bytes, wherever, whenever and beside whatever else they are made."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dea.workspace import checkout, packaging
from dea.workspace.packaging import cache
from tests.conftest import ROOT
from tests.workspace.packaging.conftest import PYTHONS, MakeFunction
from tests.workspace.packaging.wheels import make_wheel

PROGRAM = """\
import os, sys
from pathlib import Path
from dea.workspace import checkout, packaging
os.umask(int(sys.argv[2], 8))
root = Path(sys.argv[1])
# The version of this very interpreter, which every user of this machine has.
python = "%d.%d" % sys.version_info[:2]
built = packaging.build(checkout.function(sys.argv[3], root), python=python, root=root)
print(built.sha256)
"""


def copy_checkout(target: Path, *, backwards: bool) -> Path:
    """Copy what packaging reads, file by file, in one order of creation or the other: file systems list them differently."""
    parts = ("dea", "functions", "raijin_scripts", "pyproject.toml")
    files = [path for part in parts for path in ((ROOT / part).rglob("*") if (ROOT / part).is_dir() else [ROOT / part])]
    for path in sorted((one for one in files if one.is_file() and "__pycache__" not in one.parts), reverse=backwards):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o775 if path.stat().st_mode & 0o100 else 0o664 if backwards else 0o600)
    return target


def build(root: Path, umask: str = "022", name: str = "example", **settings: object) -> subprocess.Popen[str]:
    """Start building a package in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, root, umask, name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", **settings,
    )  # type: ignore[call-overload, no-any-return]  # fmt: skip


def digest(building: subprocess.Popen[str]) -> str:
    """Wait for a build and return the SHA-256 that it printed."""
    stdout, stderr = building.communicate(timeout=300)
    assert building.returncode == 0, stderr
    return stdout.strip()


def runs_as_nobody() -> bool:
    """Tell whether another user may run this interpreter; one in root's own home folder, nobody else may."""
    command = [sys.executable, "-c", "import dea.workspace"]
    try:
        return subprocess.run(command, user="nobody", cwd="/", check=False).returncode == 0
    except PermissionError:
        return False


def environment(folder: Path, **settings: str) -> Mapping[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder), **settings}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach: pytest shuts its own to all others, whenever a session of it begins."""
    with tempfile.TemporaryDirectory(prefix="dea-two-checkouts-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_two_checkouts_that_differ_in_all_but_content_make_the_same_bytes(tmp_path: Path, open_folder: Path) -> None:
    uv_cache = os.environ.get("UV_CACHE_DIR") or str(Path(os.environ["XDG_CACHE_HOME"]) / "uv")
    one = copy_checkout(tmp_path / "one", backwards=False)
    first = digest(build(one, env=environment(tmp_path / "1", TZ="Pacific/Kiritimati", UV_CACHE_DIR=uv_cache)))
    (two := open_folder / "another place" / "two").mkdir(parents=True)
    copy_checkout(two, backwards=True)
    other: dict[str, object] = {}
    if os.getuid() == 0 and runs_as_nobody():
        # Another user, with caches of its own, all cold.
        other = {"user": "nobody", "extra_groups": []}
        subprocess.run(["chown", "-R", "nobody", open_folder], check=True)
    cold = environment(open_folder / "2", TZ="America/St_Johns", LC_ALL="C", UV_CACHE_DIR=str(open_folder / "2" / "uv"))
    second = digest(build(two, umask="077", env=cold, **other))
    assert first == second
    # Warm, and without any of what was built before beside it.
    shutil.rmtree(one / "dist")
    assert digest(build(one, env=environment(tmp_path / "1", UV_CACHE_DIR=uv_cache))) == first


def test_the_installing_interpreter_leaves_no_trace(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installer writes its interpreter's path into programs for a shell."""
    scripts = {
        "one.py": "def main(): pass\n",
        "one-1.0.dist-info/entry_points.txt": "[console_scripts]\none = one:main\n",
        "one-1.0.data/scripts/two": "#!python\n",
    }
    make_wheel(index, "one", files=scripts)
    function = make_function(requirements="one\n")
    first = packaging.build(function, root=root)
    assert not any(name.startswith("bin/") for name in zipfile.ZipFile(first.path).namelist())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    (another := tmp_path / "another" / "python").parent.mkdir()
    another.symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(another))
    assert packaging.build(function, root=root).sha256 == first.sha256


def test_a_comment_in_an_internal_module_changes_the_package(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    function = make_function(requirements="./dea/remote\n")
    before = packaging.build(function, root=root)
    module = root / "dea" / "remote" / "contract" / "words.py"
    module.write_text(module.read_text("utf-8") + "# changed\n", "utf-8")
    after = packaging.build(function, root=root)
    assert after.changed
    assert after.sha256 != before.sha256


def test_an_unchanged_package_is_left_alone(make_function: MakeFunction, root: Path, index: Path) -> None:
    function = make_function()
    before = packaging.build(function, root=root)
    os.utime(before.path, (1, 1))
    after = packaging.build(function, root=root)
    assert (before.changed, after.changed) == (True, False)
    assert after.sha256 == before.sha256
    assert after.path.stat().st_mtime == 1
    # Proven by the bytes, not believed by a date: a package that somebody changed is made anew.
    content = bytearray(before.path.read_bytes())
    content[len(content) // 2] ^= 1
    before.path.write_bytes(content)
    assert packaging.build(function, root=root).changed
    assert packaging.build(function, root=root).sha256 == before.sha256


def test_builds_at_the_same_time_agree(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one", files={f"one/m{number}.py": f"X = {number}\n" * 200 for number in range(50)})
    function = make_function(requirements="one\n./dea/remote\n")
    packaging.lock(function, root=root)
    builds = [build(root, name=function.name) for _ in range(4)]
    assert len({digest(one) for one in builds}) == 1
    assert [path.name for path in (root / "dist").iterdir()] == [f"{function.name}.zip"]
    assert [path for path in cache.folder().iterdir() if path.name.startswith((".", "build-"))] == []


def test_an_interrupted_build_leaves_no_half_zip_and_no_broken_cache(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path
) -> None:
    make_wheel(index, "one", files={f"one/m{number}.py": f"X = {number}\n" * 200 for number in range(100)})
    function = make_function(requirements="one\n./dea/remote\n")
    wanted = packaging.build(function, root=root)
    before = wanted.path.read_bytes()
    dice = random.Random(3)
    for _ in range(6):
        shutil.rmtree(cache.folder(), ignore_errors=True)
        function.source.write_text(f"def handler(event, context): return {dice.random()}\n", "utf-8")
        building = build(root, name=function.name, start_new_session=True)
        time.sleep(dice.uniform(0.3, 1.5))  # the moment is the dice's: no condition to wait for
        os.killpg(building.pid, signal.SIGKILL)
        building.communicate()
        with zipfile.ZipFile(wanted.path) as archive:
            assert archive.testzip() is None
    function.source.write_text("def handler(event, context): return event\n", "utf-8")
    again = packaging.build(function, root=root)
    assert again.sha256 == wanted.sha256
    assert again.path.read_bytes() == before


def test_a_damaged_or_emptied_cache_mends_itself(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one")
    function = make_function(requirements="one\n./dea/remote\n")
    wanted = packaging.build(function, root=root).sha256
    for damage in (b"", b"half", None):
        for path in [
            entry for entry in cache.folder().iterdir() if entry.is_file()
        ]:  # a build's folder may just be going
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage)
        assert packaging.build(function, root=root).sha256 == wanted


def test_the_example_is_the_same_tree_for_every_unpacker(tmp_path: Path) -> None:
    built = packaging.build(checkout.function("example"), output=tmp_path / "example.zip")
    assert subprocess.run(["unzip", "-tqq", built.path], check=False).returncode == 0
    subprocess.run(["unzip", "-q", built.path, "-d", tmp_path / "info-zip"], check=True)
    with zipfile.ZipFile(built.path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "zipfile")
        listed = archive.namelist()
        assert listed == sorted(listed)
        assert len(listed) == len(set(listed))
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} <= {0o100644, 0o100755, 0o040755}
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist() if not info.is_dir()}
    trees = [
        {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("info-zip", "zipfile")
    ]
    assert trees[0] == trees[1]
    assert set(trees[0]) == set(modes)
    assert {name: (tmp_path / "info-zip" / name).stat().st_mode & 0o777 for name in modes} == modes


@pytest.mark.parametrize("python", PYTHONS)
def test_the_example_imports_from_its_package_alone(tmp_path: Path, python: str) -> None:
    from dea.workspace import interpreters

    built = packaging.build(checkout.function("example"), output=tmp_path / "example.zip", python=python)
    with zipfile.ZipFile(built.path) as archive:
        archive.extractall(tmp_path / "out")
    found = interpreters.find(python)
    assert found is not None
    program = (
        "import sys, json; sys.path.append(sys.argv[1]); import example, botocore.session, paramiko;"
        "botocore.session.Session().create_client('ssm', region_name='x');"
        "print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]))"
    )
    done = subprocess.run(
        [found[0], "-I", "-S", "-B", "-c", program, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    loaded = [Path(path) for path in json.loads(done.stdout)]
    assert [path for path in loaded if "site-packages" in path.parts or ROOT in path.parents] == []
    assert len([path for path in loaded if (tmp_path / "out") in path.parents]) > 100


def test_for_arm64_every_library_is_for_arm64(tmp_path: Path) -> None:
    built = packaging.build(checkout.function("example"), output=tmp_path / "example.zip", architecture="arm64")
    machines = {}
    with zipfile.ZipFile(built.path) as archive:
        for name in archive.namelist():
            head = archive.read(name)[:20]
            if head.startswith(b"\x7fELF"):
                machines[name] = int.from_bytes(head[18:20], "little")
    assert len(machines) >= 4
    assert set(machines.values()) == {0xB7}  # EM_AARCH64, elf(5)
    assert built.architecture == "arm64"
