"""`inv install-command`: a command's install.sh in one's own checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from dea.remote.decision import prefix_of
from dea.workspace import approval, command_installation
from dea.workspace.errors import WorkspaceError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a command that installs what it is told to."""
    root = tmp_path / "checkout"
    folder = root / "raijin_scripts" / "needy"
    folder.mkdir(parents=True)
    (folder / "command.yaml").write_text("summary: For a test.\n")
    for name, text in (
        ("run", "#!/bin/sh\n"),
        ("install.sh", f'#!/bin/sh\n. {tmp_path}/does; touch "$DEA_PREFIX/it"\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "does").write_text("true\n")
    approval.approve("needy", root=root)
    return root


def install(root: Path) -> None:
    command_installation.run("needy", state=str(root.parent / "state"), timeout_s="30", root=root)


def test_what_it_installs_is_in_the_commands_prefix(root: Path) -> None:
    install(root)
    approved = approval.document_for("needy", root)
    assert Path(prefix_of(str(root.parent / "state"), "needy", approved), "it").is_file()


def test_a_failure_is_one_line_with_the_log(root: Path) -> None:
    (root.parent / "does").write_text("echo no network; exit 3\n")
    with pytest.raises(
        WorkspaceError, match=r"needy: its install\.sh failed: its exit status was 3; .*\.log$"
    ) as raised:
        install(root)
    assert Path(str(raised.value).split()[-1]).read_text() == "no network\n"


def test_without_approval_there_is_nothing_to_name_the_prefix_by(root: Path) -> None:
    (root / "raijin_scripts" / "needy" / "approved.json").unlink()
    with pytest.raises(WorkspaceError, match="it is not approved"):
        install(root)


def test_a_command_without_install_sh_is_said(root: Path) -> None:
    (root / "raijin_scripts" / "needy" / "install.sh").unlink()
    approval.approve("needy", root=root)
    with pytest.raises(WorkspaceError, match=r"needy has no install\.sh"):
        install(root)
