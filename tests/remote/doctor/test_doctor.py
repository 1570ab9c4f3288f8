"""`--doctor`: on a login node as it should be every check passes, and each is seen failing for what it is there for."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dea.remote.doctor import CHECKS, file_system, mounts, surroundings

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "doctor.md"
NAMES = [check.__name__ for check in CHECKS]


def test_everything_is_as_it_should_be(login_node):
    checks = login_node.checks()
    assert {name: one["detail"] for name, one in checks.items() if not one["ok"]} == {}
    assert not any(one["remedy"] for one in checks.values())


def test_it_leaves_nothing_behind(login_node):
    before = sorted(login_node.gate.folder.rglob("*"))
    login_node.checks()
    assert sorted(login_node.gate.folder.rglob("*")) == before


def test_a_person_gets_a_line_for_each_check_and_a_program_a_list(login_node):
    found, status = login_node.ask("--one-node")
    assert list(found) == NAMES
    assert all(set(one) == {"check", "ok", "detail", "remedy"} for one in found.values())
    assert status == (0 if all(one["ok"] for one in found.values()) else 1)
    login_node.write_keys()
    done = login_node.gate.start("--doctor", "--home", str(login_node.gate.home))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line[11:].split()[0] for line in lines] == NAMES
    assert re.search(
        r"^failed +forced_commands +no key leads to this checkout; add a line: ", done.stdout, re.MULTILINE
    )


def test_json_may_stand_before_it_and_behind_it(login_node):
    home = ("--home", str(login_node.gate.home))
    for words in (("--json", "--doctor", *home), ("--doctor", *home, "--json"), ("--doctor", "--json", *home)):
        done = login_node.gate.start(*words)
        assert [one["check"] for one in json.loads(done.stdout)] == NAMES


@pytest.mark.parametrize("words", [("--stat",), ("--state",), ("--home", "relative"), ("x",)])
def test_an_option_that_there_is_not_is_one_clear_line(login_node, words):
    done = login_node.gate.start("--doctor", *words)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "--doctor takes --state DIR, --home DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_is_not_answered(login_node):
    done = login_node.gate("--doctor --json")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "answered to who is logged in" in done.stderr


def test_every_check_is_in_the_reference():
    page = PAGE.read_text("utf-8").partition("## On a developer's machine")[0]
    assert re.findall(r"^\| `([a-z_]+)` \| ", page, re.MULTILINE) == NAMES


def test_a_check_that_fails_in_itself_is_no_pass_and_hides_no_other(login_node, monkeypatch):
    def broken(_node):
        raise RuntimeError("of its own")

    monkeypatch.setattr("dea.remote.doctor.answer.CHECKS", (broken, *CHECKS))
    checks = login_node.checks()
    assert checks["broken"]["ok"] is None
    assert "RuntimeError: 'of its own'" in checks["broken"]["detail"]
    assert len(checks) == len(CHECKS) + 1


# What breaks each check: the name of the test's own function, by the check's name.


def python(login_node, _monkeypatch):
    login_node.write_keys(login_node.line(login_node.command(python="/nowhere/python3")))
    return "/nowhere/python3 cannot be started"


def shell_startup(login_node, _monkeypatch):
    (login_node.gate.home / ".bashrc").write_text("echo welcome\n")
    return "/bin/bash writes to stdout by itself: 'welcome"


def site_limits(login_node, _monkeypatch):
    login_node.gate.describe_site(timeout=60, max_output_bytes=2**62)
    return "of output are to be kept"


def checkout(login_node, _monkeypatch):
    (login_node.gate.checkout / "dea" / "remote" / "dispatcher.py").chmod(0o664)
    return "dispatcher.py can be written by others (mode 0664)"


def ssh_files(login_node, _monkeypatch):
    login_node.ssh.chmod(0o770)
    return ".ssh can be written by others (mode 0770)"


def forced_commands(login_node, _monkeypatch):
    login_node.write_keys(login_node.line(options=""))
    return "authorized_keys line 1: it lacks restrict"


def state_folder(login_node, _monkeypatch):
    login_node.gate.state.chmod(0o770)
    return ".dea-orchestration can be written by others (mode 0770)"


def shared_file_system(login_node, _monkeypatch):
    login_node.mount("36 35 98:0 / / rw - ext4 /dev/sda1 rw\n")
    return "is on ext4 (/): other login nodes do not see the runs there"


def rename(_login_node, monkeypatch):
    def replacing(source, target):
        shutil.rmtree(target)
        Path(source).replace(target)

    monkeypatch.setattr(os, "rename", replacing)
    return "renamed onto one that held something"


def link(_login_node, monkeypatch):
    def replacing(source, target):
        Path(target).unlink(missing_ok=True)
        Path(target).symlink_to(source)

    monkeypatch.setattr(os, "link", replacing)
    return "took the first one's place"


def flock(_login_node, monkeypatch):
    monkeypatch.setattr(file_system.fcntl, "flock", lambda *_: None)
    return "two had the same lock at once"


def fsync(_login_node, monkeypatch):
    def refused(_descriptor):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    return "fsync(2) does not work there: Invalid argument"


def clock(login_node, _monkeypatch):
    (log,) = login_node.gate.logs()
    os.utime(log, (time.time() + 60, time.time() + 60))
    return "another login node's clock is ahead"


def free_space(login_node, _monkeypatch):
    login_node.gate.describe_site(max_output_bytes=2**62)
    return "and one run may leave"


def settings(login_node, _monkeypatch):
    login_node.become_release(branch="../evil")
    return "is no plain name of a branch"


def approvals(login_node, _monkeypatch):
    (login_node.gate.scripts / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    return "greet: raijin_scripts/greet/run has changed since it was approved"


def signatures(login_node, _monkeypatch):
    approvers = login_node.gate.folder / "approvers"
    approvers.write_text("")
    login_node.become_release(approvers=str(approvers))
    return "greet/approved.json: its approval is not signed"


def installs(login_node, _monkeypatch):
    install = login_node.gate.scripts / "greet" / "install.sh"
    install.write_text("#!/bin/sh\n")
    install.chmod(0o755)
    login_node.gate.approve("greet")
    return "greet: its install.sh has not been run"


def audit(login_node, _monkeypatch):
    (log,) = login_node.gate.logs()
    log.write_text(log.read_text().replace('"command": "greet"', '"command": "other"', 1))
    return "does not follow from the line before it"


BREAKS = (python, shell_startup, site_limits, checkout, ssh_files, forced_commands, state_folder, shared_file_system, rename,
          link, flock, fsync, clock, free_space, settings, approvals, signatures, installs, audit)  # fmt: skip


def test_each_check_is_broken_here():
    assert [break_.__name__ for break_ in BREAKS] == NAMES


@pytest.mark.parametrize("break_", BREAKS, ids=lambda break_: break_.__name__)
def test_what_a_check_is_for_is_noticed(login_node, monkeypatch, break_):
    name = break_.__name__
    assert login_node.check(name)["ok"]
    said = break_(login_node, monkeypatch)
    # A limit is one that this process itself does not have.
    check = login_node.ask(limit="-f 1000")[0][name] if name == "site_limits" else login_node.check(name)
    assert check["ok"] is False, check
    assert said in check["detail"]
    assert check["remedy"]


class TestPython:
    """The check `python`."""

    @pytest.mark.parametrize(
        ("script", "mode", "said"),
        [
            ("echo 3.8.1 cpython", 0o755, "is 3.8.1: 3.9 is the oldest"),
            ("echo 3.11.1 cpython", 0o755, "is a script that starts one (3.11.1)"),
            ("echo 3.11.1 cpython", 0o777, "can be written by others (mode 0777)"),
            ("exit 3", 0o755, "does not answer as Python (status 3)"),
            ("exec sleep 20", 0o755, "cannot be started"),
        ],
    )
    def test_what_is_no_interpreter_to_dispatch_with(self, login_node, tmp_path, monkeypatch, script, mode, said):
        fake = tmp_path / "python3"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(mode)
        monkeypatch.setattr(surroundings, "TIME_LIMIT_S", 1.0 if "sleep" in script else 20.0)
        login_node.write_keys(login_node.line(login_node.command(python=str(fake))))
        check = login_node.check("python")
        assert check["ok"] is False
        assert said in check["detail"]

    def test_a_name_without_a_path(self, login_node):
        login_node.write_keys(login_node.line(login_node.command(python="python3")))
        assert "python3 is no absolute path" in login_node.check("python")["detail"]

    def test_that_of_the_settings_counts_too(self, login_node):
        root = login_node.become_release(python="/nowhere/python3")
        assert "/nowhere/python3" in login_node.check("python")["detail"]
        assert (
            f"python is /nowhere/python3, and the forced commands name {sys.executable}"
            in login_node.check("settings")["detail"]
        )
        assert root.is_dir()


class TestShellStartup:
    """The check `shell_startup`."""

    @pytest.mark.parametrize(
        ("bashrc", "said"),
        [
            ("exit 3\n", "ended with status 3 before it ran the command"),
            ("trap 'echo bye' EXIT\n", "writes to stdout by itself: 'bye"),
            ("exec sleep 20\n", "does not run a command"),
            ("printf '\\033[2J'\n", r"writes to stdout by itself: '\x1b[2J'"),
        ],
    )
    def test_what_comes_between_sshd_and_the_command(self, login_node, monkeypatch, bashrc, said):
        (login_node.gate.home / ".bashrc").write_text(bashrc)
        monkeypatch.setattr(surroundings, "TIME_LIMIT_S", 1.0 if "sleep" in bashrc else 20.0)
        check = login_node.check("shell_startup")
        assert check["ok"] is False
        assert said in check["detail"]

    def test_what_goes_to_stderr_or_is_for_people_only_does_no_harm(self, login_node):
        (login_node.gate.home / ".bashrc").write_text(
            "echo noted >&2\ncase $- in *i*) ;; *) return ;; esac\necho welcome\n"
        )
        check = login_node.check("shell_startup")
        assert check["ok"]
        assert "to stderr: 'noted" in check["detail"]


class TestSiteLimits:
    """The check `site_limits`; the limits are real ones, of a shell."""

    @pytest.mark.parametrize(
        ("limit", "site", "said"),
        [
            ("-t 30", {"timeout": 60}, "may use 30 s of CPU time, and commands may run for 60 s"),
            ("-t 30", {}, "may use 30 s of CPU time, and commands may run for any time"),
            ("-n 40", {"timeout": 60}, "may have 40 files open"),
        ],
    )
    def test_less_than_the_approvals_allow(self, login_node, limit, site, said):
        login_node.gate.describe_site(**site)
        check = login_node.ask(limit=limit)[0]["site_limits"]
        assert check["ok"] is False
        assert said in check["detail"]

    def test_a_limit_that_leaves_enough(self, login_node):
        check = login_node.ask(limit="-t 100")[0]["site_limits"]
        assert check["ok"]
        assert "commands are ended after 60 s; the node's own limits: CPU s 100" in check["detail"]

    def test_a_site_that_is_not_approved_is_not_judged(self, login_node):
        (login_node.gate.scripts / "site.approved.json").unlink()
        assert login_node.check("site_limits")["ok"] is None


class TestPermissions:
    """The checks `checkout`, `state_folder` and `ssh_files`."""

    def test_a_folder_far_above_that_others_can_write(self, login_node):
        login_node.gate.folder.chmod(0o777)
        for name in ("checkout", "state_folder"):
            assert f"{login_node.gate.folder} can be written by others" in login_node.check(name)["detail"]
        login_node.gate.folder.chmod(0o1777)  # where others cannot rename what is ours
        assert login_node.check("checkout")["ok"]
        login_node.gate.folder.chmod(0o755)

    def test_a_link_in_the_dispatcher(self, login_node):
        (login_node.gate.checkout / "dea" / "remote" / "more.py").symlink_to("/tmp/more.py")
        assert "more.py is a symbolic link" in login_node.check("checkout")["detail"]

    def test_a_log_that_others_can_write(self, login_node):
        login_node.gate.logs()[0].chmod(0o666)
        assert login_node.check("state_folder")["ok"] is False

    def test_a_state_folder_that_is_not_there_yet(self, login_node):
        check = login_node.check("state_folder", state=str(login_node.gate.folder / "new" / "state"))
        assert check["ok"]
        assert "is not there yet" in check["detail"]

    def test_no_keys_at_all(self, login_node):
        login_node.authorized_keys.unlink()
        assert "there is no" in login_node.check("ssh_files")["detail"]


class TestFileSystem:
    """The checks of the state folder's file system."""

    @pytest.mark.parametrize(
        ("kind", "options", "ok", "said"),
        [
            ("nfs4", "rw,local_lock=all", True, "locks hold on one node only (local_lock=all)"),
            ("lustre", "rw,localflock", True, "locks hold on one node only (localflock)"),
            ("lustre", "rw,flock", True, "is on lustre"),
            ("fuse.sshfs", "rw", None, "whether login nodes share it is not known"),
            ("tmpfs", "rw", False, "a restart loses all runs"),
            ("xfs", "rw", False, "other login nodes do not see the runs there"),
        ],
    )
    def test_which_file_systems_login_nodes_share(self, login_node, kind, options, ok, said):
        login_node.mount(
            "1 0 8:0 / / rw - ext4 /dev/sda rw\n", f"2 1 9:0 / {login_node.gate.home} rw - {kind} server {options}\n"
        )
        check = login_node.check("shared_file_system")
        assert (check["ok"], said in check["detail"]) == (ok, True), check

    def test_one_login_node_needs_no_shared_one(self, login_node):
        login_node.mount("1 0 8:0 / / rw - ext4 /dev/sda rw\n")
        assert login_node.check("shared_file_system", is_alone=True)["ok"]
        login_node.mount("1 0 8:0 / / rw - tmpfs tmpfs rw\n")
        assert login_node.check("shared_file_system", is_alone=True)["ok"] is False

    def test_the_last_mount_of_a_place_counts_and_blanks_are_read(self, login_node):
        folder = login_node.gate.folder / "with blank"
        folder.mkdir()
        mount = str(folder).replace(" ", "\\040")
        login_node.mount(
            f"1 0 8:0 / {mount} rw - ext4 a rw\n", f"2 1 9:0 / {mount} rw - nfs b rw\n", "3 0 8:1 / / rw - xfs c rw\n"
        )
        check = login_node.check("shared_file_system", state=str(folder / "state"))
        assert f"is on nfs ({folder})" in check["detail"]

    def test_this_machines_own_mounts_are_read(self, tmp_path):
        said = subprocess.run(["df", "--output=target,fstype", tmp_path], capture_output=True, text=True, check=True)
        target, kind = said.stdout.splitlines()[1].split()
        assert mounts.mount_of(str(tmp_path.resolve()))[:2] == (target, kind)

    @pytest.mark.parametrize(("name", "call"), [("rename", "replace"), ("link", "link")])
    def test_a_call_that_does_not_work_there(self, login_node, monkeypatch, name, call):
        def refused(*_):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, call, refused)
        check = login_node.check(name)
        assert check["ok"] is False
        assert "Operation not supported" in check["detail"]

    def test_locks_that_do_not_work_there(self, login_node, monkeypatch):
        def refused(*_):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(file_system.fcntl, "flock", refused)
        assert "flock(2) does not work there: Function not implemented" in login_node.check("flock")["detail"]

    def test_a_clock_that_is_wrong(self, login_node, monkeypatch):
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 60)
        check = login_node.check("clock")
        assert check["ok"] is False
        assert "this node is 60.0 s from the clock" in check["detail"]

    def test_room_that_cannot_be_had(self, login_node):
        """A limit on the size of files stands for a quota: both are seen by asking for room."""
        check = login_node.ask(limit="-f 1000")[0]["free_space"]
        assert check["ok"] is False
        assert "16 MiB cannot be had there" in check["detail"]

    def test_a_quota_that_is_exceeded(self, login_node, tmp_path, monkeypatch):
        program = tmp_path / "bin" / "quota"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho 'Over block quota on /home'\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        check = login_node.check("free_space")
        assert check["ok"] is False
        assert "Over block quota on /home" in check["detail"]

    def test_what_cannot_be_tried_is_no_pass(self, login_node):
        checks = login_node.checks("--state", "/proc/nothing/there")
        assert {checks[name]["ok"] for name in ("rename", "link", "flock", "fsync", "clock", "free_space")} == {None}


class TestServing:
    """The checks `settings`, `signatures`, `installs` and `audit`."""

    def test_a_release_with_settings(self, login_node):
        root = login_node.become_release()
        checks = login_node.checks()
        assert {name: one["detail"] for name, one in checks.items() if not one["ok"]} == {}
        assert "production of /srv/code; this release serves" in checks["settings"]["detail"]
        (root / "current").unlink()
        (root / "current").symlink_to("releases/" + "b" * 40)
        assert f"and {'b' * 40} serves" in login_node.check("settings")["detail"]

    def test_settings_that_name_another_state_folder(self, login_node):
        login_node.become_release(state="/g/data/state")
        assert "state is /g/data/state, and the forced commands have" in login_node.check("settings")["detail"]

    def test_a_line_that_names_one_release(self, login_node):
        login_node.become_release()
        login_node.write_keys(login_node.line())
        assert "it names one release" in login_node.check("forced_commands")["detail"]

    def test_signed_approvals(self, login_node, tmp_path, monkeypatch):
        key, approvers = tmp_path / "approver", tmp_path / "approvers"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        approvers.write_text(f"approver@example.org {key.with_suffix('.pub').read_text()}")
        approvers.chmod(0o644)
        login_node.become_release(approvers=str(approvers))
        for approval in (
            *login_node.gate.scripts.glob("*/approved.json"),
            login_node.gate.scripts / "site.approved.json",
        ):
            subprocess.run(
                ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "dea-approval", approval],
                check=True,
                capture_output=True,
            )
        check = login_node.check("signatures")
        assert check["ok"], check
        assert f"all are signed by somebody in {approvers}" in check["detail"]
        monkeypatch.setenv("PATH", "/nowhere")
        check = login_node.check("signatures")
        assert check["ok"] is None
        assert "ssh-keygen is not there" in check["detail"]

    def test_without_approvers_it_is_said_that_the_account_approves_itself(self, login_node):
        assert login_node.check("signatures")["detail"].startswith("self-approved")

    def test_the_site_that_has_changed(self, login_node):
        (login_node.gate.scripts / "site.yaml").write_text("timeout: 99999\n")
        assert "site.yaml has changed since it was approved" in login_node.check("approvals")["detail"]

    def test_where_requests_came_from(self, login_node):
        login_node.gate("greet", env={"SSH_CONNECTION": "203.0.113.7 5 192.0.2.1 22"})
        assert "requests came with 'test' from '203.0.113.7'" in login_node.check("audit")["detail"]

    def test_a_long_log_is_read_from_its_end(self, login_node, monkeypatch):
        monkeypatch.setattr("dea.remote.audit_check.TAIL_BYTES", 2000)
        for _ in range(5):
            login_node.gate("greet")
        (log,) = login_node.gate.logs()
        check = login_node.check("audit")
        assert check["ok"]
        lines = int(re.search(r"the last (\d+) lines", check["detail"]).group(1))
        assert 0 < lines < len(log.read_text().splitlines())
        log.write_text(log.read_text() + "damaged\n")
        assert "is no audit line" in login_node.check("audit")["detail"]

    def test_nothing_recorded_yet(self, login_node):
        assert (
            "nothing has been recorded"
            in login_node.check("audit", state=str(login_node.gate.folder / "new"))["detail"]
        )
