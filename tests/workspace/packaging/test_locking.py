"""requirements.lock: what is pinned, that it names no index and no path, and that a stale one is noticed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import locking, requirements
from tests.conftest import require
from tests.workspace.packaging.conftest import MakeFunction
from tests.workspace.packaging.wheels import make_wheel


def read(function: checkout.Function, root: Path) -> locking.Lock:
    return locking.read(function, requirements.read(function, root))


def test_pins_what_is_required_with_hashes_and_all_that_that_requires(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", "1.2", requires=["two>=1"])
    make_wheel(index, "two", "1.5")
    function = make_function(requirements="one\n")
    assert locking.lock(function, root=root)
    lock = read(function, root)
    assert lock.versions == {"one": "1.2", "two": "1.5"}
    assert lock.body.count("--hash=sha256:") == 2


def test_what_the_shell_sets_for_other_projects_has_no_say(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "2.0", "3.0b1"):
        make_wheel(index, "one", version, requires=["two"])
    make_wheel(index, "two", "1.0")
    (listed := tmp_path / "listed.txt").write_text("two\n", "utf-8")
    (pinned := tmp_path / "pinned.txt").write_text("one==1.0\n", "utf-8")
    for name, value in {
        "UV_RESOLUTION": "lowest", "UV_PRERELEASE": "allow", "UV_EXCLUDE": str(listed), "UV_CONSTRAINT": str(pinned),
        "UV_OVERRIDE": str(pinned), "UV_EXCLUDE_NEWER": "2001-01-01",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    function = make_function(requirements="one\n")
    locking.lock(function, root=root)
    assert read(function, root).versions == {"one": "2.0", "two": "1.0"}


def test_names_no_index_no_path_and_no_internal_package(make_function: MakeFunction, root: Path, index: Path) -> None:
    for name in ("botocore", "cryptography", "paramiko"):
        make_wheel(index, name, "99.0")
    function = make_function(requirements="./dea/remote\n./dea/raijin\n./dea/lambdas\n")
    locking.lock(function, root=root)
    text = (function.folder / locking.FILE_NAME).read_text("utf-8")
    assert set(read(function, root).versions) == {"botocore", "cryptography", "paramiko"}
    assert not re.search(r"://|find-links|index-url|dea-|\./|(^|\s)/", text, re.MULTILINE)
    assert str(root) not in text and str(index) not in text


def test_a_pin_stays_until_it_is_upgraded_or_no_longer_fits(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", "1.0")
    function = make_function(requirements="one\n")
    locking.lock(function, root=root)
    make_wheel(index, "one", "2.0")
    assert not locking.lock(function, root=root)
    assert read(function, root).versions == {"one": "1.0"}
    assert locking.lock(function, upgrade=True, root=root)
    assert read(function, root).versions == {"one": "2.0"}
    (function.folder / "requirements.txt").write_text("one<2\n", "utf-8")
    assert locking.lock(function, root=root)
    assert read(function, root).versions == {"one": "1.0"}


def test_a_conflict_with_an_internal_package_is_an_error_and_the_old_lock_stays(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    for name in ("botocore", "cryptography", "paramiko"):
        make_wheel(index, name, "99.0")
    make_wheel(index, "paramiko", "2.0")
    function = make_function(requirements="./dea/remote\n./dea/raijin\n")
    locking.lock(function, root=root)
    before = (function.folder / locking.FILE_NAME).read_text("utf-8")
    (function.folder / "requirements.txt").write_text("./dea/remote\n./dea/raijin\nparamiko<3\n", "utf-8")
    with pytest.raises(WorkspaceError, match=r"locking tidy .* failed: .*dea-raijin.*paramiko") as caught:
        locking.lock(function, root=root)
    assert "\n" not in str(caught.value)
    assert (function.folder / locking.FILE_NAME).read_text("utf-8") == before


def test_a_requirement_that_does_not_exist_is_named(make_function: MakeFunction, root: Path, index: Path) -> None:
    function = make_function(requirements="nowhere-to-be-found==1.0\n")
    with pytest.raises(WorkspaceError, match=r"locking tidy for Python 3.* nowhere-to-be-found was not found"):
        locking.lock(function, root=root)
    assert not (function.folder / locking.FILE_NAME).exists()


@pytest.mark.parametrize("change", ["requirement", "target", "internal"])
def test_a_stale_lock_is_noticed(make_function: MakeFunction, root: Path, index: Path, change: str) -> None:
    for name in ("botocore", "cryptography", "paramiko"):
        make_wheel(index, name, "99.0")
    function = make_function(requirements="./dea/remote\n./dea/raijin\n")
    locking.lock(function, root=root)
    read(function, root)
    if change == "requirement":
        (function.folder / "requirements.txt").write_text("./dea/remote\n./dea/raijin\nboto3\n", "utf-8")
    elif change == "target":
        (function.folder / "function.yaml").write_text("architecture: arm64\n", "utf-8")
    else:
        project = root / "dea" / "raijin" / "pyproject.toml"
        project.write_text(project.read_text("utf-8").replace('"paramiko>=5"', '"paramiko>=6"'), "utf-8")
    with pytest.raises(WorkspaceError, match=r"is stale: .* run inv lock --name tidy"):
        read(function, root)


def test_another_version_of_the_distributions_makes_no_lock_stale(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    for name in ("botocore", "cryptography", "paramiko"):
        make_wheel(index, name, "99.0")
    function = make_function(requirements="./dea/remote\n./dea/raijin\n")
    locking.lock(function, root=root)
    for part in ("remote", "raijin"):
        project = root / "dea" / part / "pyproject.toml"
        project.write_text(project.read_text("utf-8").replace("0.1.0", "9.9.9"), "utf-8")
    read(function, root)


def test_a_lock_changed_by_hand_is_noticed(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one", "1.0")
    function = make_function(requirements="one\n")
    locking.lock(function, root=root)
    path = function.folder / locking.FILE_NAME
    path.write_text(path.read_text("utf-8").replace("one==1.0", "one==1.1"), "utf-8")
    with pytest.raises(WorkspaceError, match="was changed since it was locked"):
        read(function, root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"<<<<<<< ours\n" + text + b"=======\n" + text + b">>>>>>> theirs\n",
        lambda text: text.replace(b"one==1.0", b"<<<<<<< ours\none==1.0\n=======\none==1.1\n>>>>>>> theirs"),
        lambda text: text[:-20],
        lambda text: text + b"\xff\xfe",
        lambda _: b"\xff\xfe\0",
        lambda _: b"",
    ],
)
def test_a_damaged_lock_is_noticed_and_locking_replaces_it(
    make_function: MakeFunction, root: Path, index: Path, damage: Callable[[bytes], bytes]
) -> None:
    make_wheel(index, "one", "1.0")
    function = make_function(requirements="one\n")
    locking.lock(function, root=root)
    path = function.folder / locking.FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(WorkspaceError, match=r"requirements\.lock (is not what inv lock writes|was changed)"):
        read(function, root)
    assert locking.lock(function, root=root)
    assert path.read_bytes() == whole


def test_a_lock_that_cannot_be_written_is_one_clear_error_and_the_old_one_stays(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    require(None if os.getuid() == 0 else "mounting a small file system (run as root)")
    make_wheel(index, "one", "1.0")
    function = make_function(requirements="one\n")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", function.folder], check=True)
    try:
        (function.folder / "requirements.txt").write_text("one\n", "utf-8")
        locking.lock(function, root=root)
        before = (function.folder / locking.FILE_NAME).read_bytes()
        (function.folder / "filler").write_bytes(bytes(4096))
        (function.folder / "requirements.txt").write_text("one>=1\n", "utf-8")
        with (function.folder / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        make_wheel(index, "one", "2.0")
        with pytest.raises(
            WorkspaceError, match=r"requirements\.lock cannot be written: No space left on device"
        ) as caught:
            locking.lock(function, upgrade=True, root=root)
        assert "\n" not in str(caught.value)
        assert (function.folder / locking.FILE_NAME).read_bytes() == before
    finally:
        subprocess.run(["umount", function.folder], check=True)


def test_every_function_of_the_project_is_locked() -> None:
    for function in checkout.functions().values():
        locking.read(function, requirements.read(function))
