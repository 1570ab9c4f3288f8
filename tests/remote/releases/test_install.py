"""A command's install.sh runs once for each content of the command, and until it has succeeded the command does not run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

INSTALL = """#!/bin/sh
echo "installing $DEA_COMMAND in $(pwd)"
echo once >> {root}/installs
echo content > "$DEA_PREFIX/word"
"""
RUN = """#!/bin/sh
cat "$DEA_PREFIX/word"
"""


@pytest.fixture
def installed(node, origin):
    """A node with a command that needs what its install.sh makes."""
    origin.command("needy", RUN, install_sh=INSTALL.format(root=node.root))
    origin.commit()
    node.updated()
    return node


def installs(node):
    return len((node.root / "installs").read_text().splitlines())


def prefix_file(node, suffix):
    (path,) = (node.state / "prefix").glob(f"needy-*{suffix}")
    return path


def test_what_it_installs_is_what_run_sees(installed):
    assert installed.dispatch("needy").stdout == "content\n"
    assert "installing needy in " in prefix_file(installed, ".log").read_text()


def test_an_unchanged_command_keeps_its_own(installed, origin):
    origin.command("greet", "#!/bin/sh\n")
    origin.commit()
    assert installed.updated()["commands"]["needy"] == {"change": "unchanged", "install": "kept"}
    assert installs(installed) == 1


def test_a_changed_command_gets_a_prefix_of_its_own(installed, origin):
    origin.command("needy", RUN + "# changed\n")
    origin.commit()
    assert installed.updated()["commands"]["needy"] == {"change": "changed", "install": "installed"}
    assert installs(installed) == 2
    assert len(list((installed.state / "prefix").glob("needy-*.outcome"))) == 2


def test_an_install_that_fails_keeps_the_release_from_serving(installed, origin):
    origin.command("needy", RUN, install_sh="#!/bin/sh\necho no network >&2\nexit 3\n")
    origin.commit()
    said = installed.refused("needy: its install.sh failed: its exit status was 3; what it printed is in ").stderr
    log = said.split("what it printed is in ")[1].split()[0]
    assert Path(log).read_text() == "no network\n"
    assert installed.dispatch("needy").stdout == "content\n"


def test_a_failure_is_seen_whoever_started_the_update(installed, origin):
    """Who ignores SIGCHLD hands that on, and then the kernel keeps no exit status: it would read as 0."""
    origin.command("needy", RUN, install_sh="#!/bin/sh\nexit 3\n")
    origin.commit()
    done = installed.pull(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.returncode == 1
    assert "its exit status was 3" in done.stderr


def test_an_install_that_failed_is_tried_again_with_an_empty_prefix(installed, origin):
    broken = installed.root / "broken"
    broken.touch()
    text = f'#!/bin/sh\n[ -z "$(ls "$DEA_PREFIX")" ] || exit 9\necho new > "$DEA_PREFIX/word"\n[ ! -e {broken} ]\n'
    origin.command("needy", RUN, install_sh=text)
    origin.commit()
    installed.refused("its exit status was 1")
    broken.unlink()
    assert installed.updated()["commands"]["needy"]["install"] == "installed"
    assert installed.dispatch("needy").stdout == "new\n"


def test_an_install_that_takes_too_long_is_ended_with_its_children(installed, origin, until):
    origin.command("needy", RUN, install_sh=f"#!/bin/sh\nsleep 600 & echo $! > {installed.root}/child\nwait\n")
    origin.commit()
    installed.configure(install_timeout_s=1)
    installed.refused("it took longer than 1 s and was ended")
    child = Path("/proc", (installed.root / "child").read_text().strip(), "stat")
    # A zombie has ended: nobody in this container may take it away.
    until(lambda: not child.exists() or child.read_text().rpartition(")")[2].startswith(" Z"))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_install_ends_with_the_update_that_it_belongs_to(installed, origin, signum, until):
    began = installed.root / "began"
    origin.command("needy", RUN, install_sh=f"#!/bin/sh\necho $$ > {began}.new; mv {began}.new {began}\nsleep 600\n")
    origin.commit()
    update = subprocess.Popen(installed.program(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(began.exists)
    update.send_signal(signum)
    report, said = update.communicate(timeout=30)
    if signum != signal.SIGKILL:
        assert update.returncode == 128 + signum
        assert json.loads(report)["problem"] == "it was ended by a signal"
        assert said.endswith(f"git_pull: {installed.serving()} serves\n")
        assert "Traceback" not in said
    pid = int(began.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())
    origin.command("needy", RUN, install_sh=INSTALL.format(root=installed.root))
    origin.commit()
    installed.updated()


def test_what_a_killed_install_left_running_is_waited_for(installed, origin, until):
    """Two of them in one prefix would spoil it."""
    gate, journal = installed.root / "gate", installed.root / "journal"
    text = f"echo begin >> {journal}\nwhile [ ! -e {gate} ]; do sleep 0.05; done\necho end >> {journal}\n"
    origin.command("needy", RUN, install_sh=f"#!/bin/sh\n{text}")
    origin.commit()
    first = subprocess.Popen(installed.program(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(journal.exists)
    # The update and the release's own process that runs install.sh, so that nobody is left to end it.
    for pid in (*children(first.pid), first.pid):
        os.kill(pid, signal.SIGKILL)
    first.wait(30)
    second = subprocess.Popen(installed.program(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: any(has_open(pid, ".log") for pid in children(second.pid)))  # it waits there
    gate.touch()
    assert second.wait(60) == 0
    assert journal.read_text().split() == ["begin", "end", "begin", "end"]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_open(pid, suffix):
    try:
        return any(entry.readlink().name.endswith(suffix) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return False


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda outcome: outcome.unlink(), "has not been run for this content of the command"),
        (lambda outcome: outcome.write_text("installed\n"), "has not been run for this content of the command"),
        (lambda outcome: outcome.write_text(outcome.read_text().replace("\t", "\tx", 1)), "has not been run for this"),
        (
            lambda outcome: outcome.write_text(outcome.read_text().replace("installed", "begun")),
            "has not come to its end",
        ),
        (
            lambda outcome: outcome.write_text(outcome.read_text().replace("installed", "failed")),
            "its install.sh failed",
        ),
    ],
)
def test_a_command_without_a_successful_install_is_refused_and_the_next_update_repairs_it(installed, damage, said):
    damage(prefix_file(installed, ".outcome"))
    done = installed.dispatch("needy")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "needy: its install.sh" in done.stderr
    assert said in done.stderr
    listed = installed.dispatch("--list").stdout
    assert "needy: does not run: its install.sh" in listed
    assert installed.updated()["switched"] is False
    assert installed.dispatch("needy").stdout == "content\n"


def test_a_prefix_that_is_gone_is_installed_again(installed):
    import shutil

    shutil.rmtree(prefix_file(installed, ".outcome").with_suffix(""))
    assert installed.dispatch("needy").returncode == 126
    installed.updated()
    assert installed.dispatch("needy").stdout == "content\n"


def test_by_hand_a_command_that_is_not_installed_runs_with_a_warning(node, origin):
    origin.command("needy", "#!/bin/sh\necho ran $1\n", install_sh="#!/bin/sh\n")
    origin.approve("needy", arguments=[{"name": "age", "type": "integer"}])
    program = [sys.executable, "-I", "-S", str(origin.tree / "dea" / "remote" / "__main__.py"), "needy"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("ran\n", 0)
    assert "warning: its install.sh has not been run" in done.stderr
    assert subprocess.run([*program, "--age", "x"], capture_output=True, check=False).returncode == 2


def test_one_command_is_installed_by_hand_in_ones_own_checkout(node, origin):
    origin.command("needy", RUN, install_sh=INSTALL.format(root=node.root))
    program = [sys.executable, "-I", "-S", str(origin.tree / "dea" / "remote" / "releases" / "__main__.py")]
    options = ["--state", str(node.state), "--install"]
    for _ in range(2):  # asked for, so even if it is done already
        done = subprocess.run([*program, *options, "needy"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert installs(node) == 2
    for name, said in (("greet", "install.sh: none"), ("nope", "there is no command 'nope'"), ("../x", "no command")):
        done = subprocess.run([*program, *options, name], capture_output=True, text=True, check=False)
        assert said in done.stderr
        assert done.returncode == (0 if name == "greet" else 1)
