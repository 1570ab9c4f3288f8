"""`run` through real login nodes: what is built here is what is accepted there."""

from __future__ import annotations

import pytest

from dea.raijin import RaijinSession, RequestRefused, schemas
from dea.workspace.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _schemas(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The approvals that the login node serves."""
    monkeypatch.setattr(schemas, "_CHECKOUT", box.checkout)


def test_arguments_arrive_normalised(session: RaijinSession) -> None:
    assert session.run("echo_args", "a b", "it's", "$HOME;", "").stdout == "[a b]\n[it's]\n[$HOME;]\n[]\n"


def test_what_the_schema_forbids_is_refused_before_connecting(box: Sandbox) -> None:
    session = box.session()
    with pytest.raises(RequestRefused, match="--min-trash-age-hours: '5' is less than 24"):
        session.run("clean_trash", trash="/g/data/x", min_trash_age_hours=5)
    assert session._connections.count == 0


def test_the_login_node_is_the_authority(session: RaijinSession) -> None:
    result = session.exec_command("clean_trash --trash /g/data/x --min-trash-age-hours 5")
    assert (result.stdout, result.exit_code) == ("", 2)
    assert "is less than 24" in result.stderr
