"""What a function's requirements.txt may say, and that no index is ever asked for an internal package."""

from __future__ import annotations

from pathlib import Path

import pytest

from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import requirements
from tests.workspace.packaging.conftest import MakeFunction


def test_third_party_and_internal_requirements_are_told_apart(make_function: MakeFunction, root: Path) -> None:
    function = make_function(
        requirements="# why\n./dea/remote\n./dea/raijin   # the way in\n\nPyYAML[x]>=6; python_version>'3'\n"
    )
    needed = requirements.read(function, root)
    assert [package.name for package in needed.internal] == ["dea-remote", "dea-raijin"]
    assert needed.names == {"pyyaml"}
    assert needed.internal[1].services == ("ssm",)
    assert "paramiko>=5" in needed.all_third_party()
    assert not any(line.startswith("dea-") for line in needed.all_third_party())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("./dea/nowhere\n", "line 1 of .* there is no internal package './dea/nowhere'"),
        ("\n../elsewhere\n", "line 2 of .* leads out of the checkout"),
        ("/etc\n", "leads out of the checkout"),
        ("dea-raijin\n", "a stranger's index could answer: name it by its path"),
        ("Dea_Raijin==0.1.0\n", "name it by its path"),
        ("-e ./dea/remote\n", "is an option"),
        ("--index-url https://example.org/simple\n", "is an option"),
        ("six @ file:///tmp/six.whl\n", "line 1 of .* is an address or a file .*the lock would hold it"),
        ("six@https://example.org/six.whl\n", "is an address or a file"),
        ("https://example.org/six.whl\n", "is an address or a file"),
        ("git+ssh://git@example.org/six\n", "is an address or a file"),
        ("six.whl\n", "is an address or a file"),
        ("./dea/raijin\n", "needs dea-remote: name it too, with a line ./dea/remote"),
        ("./dea/remote\n./dea/lambdas\n", "needs dea-raijin: name it too"),
    ],
)
def test_what_cannot_be_is_one_clear_error(make_function: MakeFunction, root: Path, text: str, said: str) -> None:
    function = make_function(requirements=text)
    with pytest.raises(WorkspaceError, match=said) as caught:
        requirements.read(function, root)
    assert "\n" not in str(caught.value)


def test_an_internal_package_may_require_no_address_either(make_function: MakeFunction, root: Path) -> None:
    project = root / "dea" / "raijin" / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace('"paramiko>=5"', '"paramiko @ file:///x.whl"'), "utf-8")
    with pytest.raises(WorkspaceError, match=r"dea/raijin/pyproject\.toml requires an address"):
        requirements.read(make_function(requirements="./dea/remote\n./dea/raijin\n"), root)


def test_a_file_that_is_not_utf8_is_one_clear_error(make_function: MakeFunction, root: Path) -> None:
    function = make_function()
    (function.folder / "requirements.txt").write_bytes("# für\n".encode("latin-1"))
    with pytest.raises(WorkspaceError, match=r"requirements\.txt is not UTF-8 .*save it as UTF-8"):
        requirements.read(function, root)


def test_a_function_without_requirements_says_what_the_file_is_for(make_function: MakeFunction, root: Path) -> None:
    function = make_function()
    (function.folder / "requirements.txt").unlink()
    with pytest.raises(WorkspaceError, match=r"requirements.txt is missing: it names what the function needs"):
        requirements.read(function, root)
