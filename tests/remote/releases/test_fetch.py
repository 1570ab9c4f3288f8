"""git and ssh do what the settings say, and nothing that an account's configuration, its environment or the repository says."""

import os
import shlex
import shutil
import stat

import pytest

from dea.remote.releases.fetch import Git, ssh_command
from dea.remote.releases.settings import Settings

SSH = Settings(repository="git@example.org:dea.git", key="/home/dea/.ssh/read", known_hosts="/home/dea/hosts")


def test_ssh_is_given_one_key_one_list_of_hosts_and_no_configuration():
    words = shlex.split(ssh_command(SSH))
    assert words[:3] == ["ssh", "-F", os.devnull]
    for option in (
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "IdentityFile=/home/dea/.ssh/read",
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/home/dea/hosts",
        "GlobalKnownHostsFile=/dev/null",
        "PreferredAuthentications=publickey",
    ):
        assert words[words.index(option) - 1] == "-o"


def test_no_shell_has_a_say_in_a_path():
    settings = Settings(repository="git@example.org:x", key="/k; touch /tmp/x $(id) 'a", known_hosts="/h `id`")
    assert "IdentityFile=/k; touch /tmp/x $(id) 'a" in shlex.split(ssh_command(settings))


def test_the_environment_is_made_from_nothing(monkeypatch):
    for name in (
        "GIT_SSH",
        "GIT_DIR",
        "GIT_CONFIG_COUNT",
        "GIT_EXTERNAL_DIFF",
        "LD_PRELOAD",
        "SSH_AUTH_SOCK",
        "GIT_TRACE",
    ):
        monkeypatch.setenv(name, "/evil")
    assert "/evil" not in Git("/x/repository.git", SSH).environment().values()


@pytest.mark.parametrize(("settings", "allowed"), [(SSH, "ssh"), (Settings(repository="/g/data/dea.git"), "file")])
def test_only_the_configured_way_is_allowed(settings, allowed):
    words = Git("/x/repository.git", settings).command("fetch")
    assert [word for word in words if word.startswith("protocol.")] == [
        "protocol.allow=never",
        f"protocol.{allowed}.allow=always",
    ]


def test_no_hook_and_no_configuration_of_the_accounts_runs(node, origin, tmp_path):
    marker = tmp_path / "ran"
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    for hook in ("reference-transaction", "post-checkout", "pre-auto-gc"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {hooks}\n[uploadpack]\n\tpackObjectsHook = {hooks}/pre-auto-gc\n"
    )
    origin.commit()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    assert node.pull(env=environment).returncode == 0
    shutil.copytree(hooks, node.root / "repository.git" / "hooks", dirs_exist_ok=True)
    origin.commit()
    assert node.pull(env=environment).returncode == 0
    assert not marker.exists()


def test_a_broken_clone_is_made_anew(node, origin):
    origin.commit()
    node.updated()
    for damage in (
        lambda clone: (clone / "HEAD").unlink(),
        lambda clone: (clone / "refs" / "heads" / "fetched.lock").touch(),
        lambda clone: shutil.rmtree(clone / "objects"),
    ):
        damage(node.root / "repository.git")
        commit = origin.commit()
        assert node.updated()["new"] == commit
        assert node.leftovers() == []


def test_a_clone_with_damaged_objects_is_made_anew_by_the_next_update(node, origin):
    """As a power cut leaves them: there by name, without content."""
    origin.commit()
    node.updated()
    for pack in (node.root / "repository.git" / "objects" / "pack").glob("*.pack"):
        pack.chmod(stat.S_IRUSR | stat.S_IWUSR)
        pack.write_bytes(pack.read_bytes()[:40])
    commit = origin.commit()
    for _ in range(2):
        if node.pull().returncode == 0:
            break
    assert node.serving() == commit


def test_a_branch_that_is_not_there_is_said(node, origin):
    origin.commit()
    node.updated()
    node.configure(branch="nowhere")
    node.refused(f"the branch nowhere of {origin.bare} cannot be fetched")


def test_a_release_that_was_half_built_or_changed_is_built_anew(node, origin):
    origin.commit()
    node.updated()
    commit = origin.commit()
    node.updated("--dry-run")
    release = node.root / "releases" / commit
    (release / "raijin_scripts" / "greet" / "run").unlink()
    (release / "raijin_scripts" / "greet" / "evil.sh").touch()
    node.updated()
    assert node.serving() == commit
    assert node.dispatch("greet").stdout == "hello\n"


def test_a_changed_release_that_serves_is_said(node, origin):
    origin.commit()
    node.updated()
    (node.current / "raijin_scripts" / "greet" / "run").chmod(0o775)
    node.refused("is not as its commit any more (raijin_scripts/greet/run was changed)")
