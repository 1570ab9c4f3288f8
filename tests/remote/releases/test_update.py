"""An update lets the branch's newest commit serve, and says what changed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python


def test_the_first_update_makes_the_branch_serve(node, origin):
    commit = origin.commit()
    report = node.updated()
    assert (report["old"], report["new"], report["switched"], report["problem"]) == (None, commit, True, None)
    assert node.serving() == commit
    assert node.dispatch("greet").stdout == "hello\n"
    assert node.leftovers() == []


def test_the_next_update_says_what_changed_for_each_command(node, origin):
    old = origin.commit()
    node.updated()
    origin.command("greet", "#!/bin/sh\necho goodbye\n")
    origin.command("added", "#!/bin/sh\n")
    origin.git("rm", "-rq", "--cached", "raijin_scripts/example")
    (origin.scripts / "example").rename(origin.tree.parent / "gone")
    new = origin.commit()
    done = node.pull()
    changes = {name: about["change"] for name, about in done.report["commands"].items()}
    assert changes == {"added": "added", "example": "removed", "git_pull": "unchanged", "greet": "changed"}
    assert (done.report["old"], done.report["new"]) == (old, new)
    assert done.report["duration_s"] > 0
    assert "greet: changed" in done.stderr
    assert node.dispatch("greet").stdout == "goodbye\n"
    assert node.dispatch("example").returncode == 127


def test_nothing_new_is_no_failure(node, origin):
    origin.commit()
    node.updated()
    done = node.pull()
    assert (done.returncode, done.report["switched"]) == (0, False)
    assert "nothing is new" in done.stderr


def test_another_branch_can_be_followed(node, origin):
    origin.commit()
    origin.command("greet", "#!/bin/sh\necho staging\n")
    commit = origin.commit(branch="staging/next")
    node.configure(branch="staging/next")
    assert node.updated()["new"] == commit


@pytest.mark.parametrize("umask", [0o002, 0o077, 0])
def test_nobody_else_can_write_a_release_whatever_the_umask(node, origin, umask):
    origin.commit()
    former = os.umask(umask)
    try:
        node.updated()
        os.umask(0)  # as a careless .bashrc sets it for every dispatch
        node.dispatch("--describe greet")
    finally:
        os.umask(former)
    release = (node.root / "releases" / node.serving()).resolve()
    for path in (release, *release.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in ((0o755,) if path.is_dir() else (0o644, 0o755)), path
    assert node.dispatch("greet").returncode == 0


def test_attributes_have_no_say_in_what_a_release_holds(node, origin):
    (origin.tree / ".gitattributes").write_text("*.sh text eol=crlf\ngreet export-ignore\n$Id export-subst\n* ident\n")
    (origin.scripts / "greet" / "lib.sh").write_text("# $Id$ $Format:%H$\n")
    origin.approve("greet")
    origin.commit()
    node.updated()
    assert (node.current / "raijin_scripts" / "greet" / "lib.sh").read_bytes() == b"# $Id$ $Format:%H$\n"


def test_a_release_is_a_plain_tree(node, origin):
    (origin.tree / "latest").symlink_to("raijin_scripts/greet")
    origin.commit()
    node.updated()
    assert not (node.current / ".git").exists()
    assert (node.current / "latest").readlink() == Path("raijin_scripts/greet")


def test_a_submodule_is_refused(node, origin):
    origin.commit()
    node.updated()
    head = origin.git("rev-parse", "HEAD")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{head},module")
    origin.git("commit", "-q", "-m", "A submodule")
    origin.git("push", "-q", origin.bare, "HEAD:refs/heads/production")
    node.refused("a release holds files and links only")


def test_what_python_compiled_is_refused(node, origin):
    """It could be run instead of the source that was reviewed."""
    caches = origin.tree / "dea" / "remote" / "__pycache__"
    caches.mkdir()
    (caches / "dispatcher.cpython-39.pyc").touch()
    origin.commit()
    done = node.pull()
    assert done.returncode == 1
    assert "what Python compiles is not committed" in done.stderr


def test_the_command_behind_the_second_key_ignores_what_it_is_sent(node, origin):
    origin.commit()
    node.updated()
    origin.command("greet", "#!/bin/sh\necho goodbye\n")
    commit = origin.commit()
    done = node.dispatch("#cmd is ignored --rollback; id", "--key", "pull", "--only", "git_pull")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"] == node.serving() == commit


def test_a_command_that_runs_keeps_its_release(node, origin):
    """The switch is between its start and its look at the file beside it."""
    for text in ("old", "new"):
        (origin.scripts / "greet" / "word").write_text(text)
        origin.command("greet", f"#!/bin/sh\n[ $# = 0 ] || {{ echo > {node.root}/began; read x < $1; }}\ncat word\n")
        if text == "old":
            origin.commit()
            node.updated()
    origin.commit()
    gate = node.root / "gate"
    os.mkfifo(gate)
    os.mkfifo(node.root / "began")
    program = [sys.executable, "-I", "-S", str(node.current / "dea" / "remote" / "__main__.py")]
    running = subprocess.Popen(
        [*program, "--key", "test", "--state", str(node.state)],
        env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": f"greet {gate}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    (node.root / "began").read_text()
    node.updated()
    assert node.dispatch("greet").stdout == "new"
    gate.write_text("go\n")
    assert running.communicate(timeout=30)[0] == "old"


def test_a_dry_run_installs_and_switches_nothing(node, origin):
    old = origin.commit()
    node.updated()
    origin.command("greet", "#!/bin/sh\n", install_sh=f"#!/bin/sh\ntouch {node.root}/installed\n")
    new = origin.commit()
    report = node.updated("--dry-run")
    assert (report["old"], report["new"], report["switched"], report["dry_run"]) == (old, new, False, True)
    assert report["commands"]["greet"] == {"change": "changed", "install": "due"}
    assert node.serving() == old
    assert not (node.root / "installed").exists()
    assert node.updated()["commands"]["greet"]["install"] == "installed"


def test_rollback_goes_back_checks_again_and_is_not_undone_by_the_next_update(node, origin):
    first = origin.commit()
    node.updated()
    origin.command("greet", "#!/bin/sh\necho bad\n")
    second = origin.commit()
    node.updated()
    report = node.updated("--rollback")
    assert (report["old"], report["new"], report["rollback"]) == (second, first, True)
    assert node.dispatch("greet").stdout == "hello\n"
    node.refused(f"{second} was taken back by a rollback")
    node.refused("no release before this one", "--rollback")
    origin.command("greet", "#!/bin/sh\necho good\n")
    third = origin.commit()
    assert node.updated()["new"] == third
    assert node.updated("--rollback")["new"] == first


def test_all_that_was_taken_back_one_after_the_other_stays_back(node, origin):
    first = origin.commit()
    node.updated()
    for _ in range(2):
        third = origin.commit()
        node.updated()
    node.updated("--rollback")
    assert node.updated("--rollback")["new"] == first
    node.refused(f"{third} was taken back by a rollback")


def test_what_was_taken_back_can_be_taken_by_force(node, origin):
    origin.commit()
    node.updated()
    second = origin.commit()
    node.updated()
    node.updated("--rollback")
    assert node.updated("--force")["new"] == node.serving() == second


def test_rollback_to_a_release_that_was_changed_is_refused(node, origin):
    first = origin.commit()
    node.updated()
    origin.commit()
    node.updated()
    (node.root / "releases" / first / "raijin_scripts" / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    node.refused("raijin_scripts/greet/run was changed", "--rollback")


def test_a_rewritten_branch_is_refused_unless_forced(node, origin):
    """Who can move the branch could bring an old commit with a known hole back."""
    first = origin.commit()
    second = origin.commit()
    node.updated()
    origin.git("reset", "-q", "--hard", first)
    origin.git("push", "-q", "--force", origin.bare, "HEAD:refs/heads/production")
    node.refused(f"{first} of production does not follow from {second}")
    assert node.updated("--force")["new"] == first


def test_a_checkout_that_serves_in_place_is_left_to_git(node, origin):
    program = [sys.executable, "-I", "-S", str(origin.tree / "dea" / "remote" / "releases" / "__main__.py")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a checkout that serves in place" in done.stderr
