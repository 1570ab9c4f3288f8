"""A login node on which everything is as it should be, for tests to break."""

import json
import pwd
import subprocess
import sys
from dataclasses import asdict

import pytest

from dea.remote.doctor import answer, mounts, node, report

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst"
SHARED = "36 35 98:0 / / rw,noatime master:1 - nfs4 server:/home rw,vers=4.2,local_lock=none\n"


class LoginNode:
    """An account whose keys lead to the gate's checkout."""

    def __init__(self, gate, mounts):
        self.gate = gate
        self.mounts = mounts
        self.ssh = gate.home / ".ssh"
        self.ssh.mkdir(mode=0o700)
        self.authorized_keys = self.ssh / "authorized_keys"
        gate.home.chmod(0o755)
        gate.describe_site(path="/usr/bin:/bin", timeout=60, max_output_bytes=1 << 20)
        gate.add("greet", "#!/bin/sh\necho hello\n")
        self.write_keys(self.line())
        self.mount(SHARED)
        assert gate("greet").stdout == "hello\n"  # so there is a state folder, and an audit log in it

    def command(self, *options, python=sys.executable, flags="-I -S", program="__main__.py", checkout=None):
        """Return a forced command."""
        words = [python, flags, f"{checkout or self.gate.checkout}/dea/remote/{program}".rstrip("/")]
        return " ".join(filter(None, [*words, "--key test", "--home", str(self.gate.home), *options]))

    def line(self, command=None, options="restrict", key=KEY):
        """Return a line of authorized_keys."""
        return f'{options},command="{command or self.command()}" {key} me@example.org'.lstrip(",")

    def write_keys(self, *lines):
        """Write authorized_keys."""
        self.authorized_keys.write_text("".join(f"{line}\n" for line in lines))
        self.authorized_keys.chmod(0o600)

    def mount(self, *lines):
        """Say what is mounted; see proc(5), mountinfo."""
        self.mounts.write_text("".join(lines))

    def checks(self, *options):
        """Return the checks by name."""
        status, found, lines = report(str(self.gate.checkout), ("--home", str(self.gate.home), *options))
        assert len(lines) == len(found)
        assert (status == 0) is all(one["ok"] for one in found)
        return {one["check"]: one for one in found}

    def check(self, name, *, state=None, is_alone=False):
        """Return one check, without doing the others."""
        found = answer.look(str(self.gate.checkout), home=str(self.gate.home), state=state, is_alone=is_alone)
        (check,) = (one(found) for one in answer.CHECKS if one.__name__ == name)
        return asdict(check)

    def ask(self, *options, limit=""):
        """Ask as a person does, under a limit of the shell's `ulimit`; return the checks by name and the exit status."""
        words = [*self.gate.program, "--doctor", "--json", "--home", str(self.gate.home), *options]
        script = f'ulimit {limit} && exec "$@"' if limit else 'exec "$@"'
        done = subprocess.run(["/bin/bash", "-c", script, "sh", *words], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return {one["check"]: one for one in json.loads(done.stdout)}, done.returncode

    def become_release(self, **settings):
        """Have the checkout be a release, with settings; return the folder of the releases."""
        root = self.gate.folder / "root"
        release = root / "releases" / ("a" * 40)
        release.parent.mkdir(parents=True)
        self.gate.checkout.rename(release)
        (root / "current").symlink_to(f"releases/{release.name}")
        self.gate.checkout = release
        self.gate.scripts = release / "raijin_scripts"
        self.write_keys(self.line(self.command(checkout=root / "current")))
        document = {"format": 1, "repository": "/srv/code", "python": sys.executable, **settings}
        (root / "settings.json").write_text(json.dumps(document))
        (root / "settings.json").chmod(0o600)
        return root


@pytest.fixture
def login_node(gate, tmp_path, monkeypatch):
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTS", str(file))
    real = node.look

    def with_bash(*arguments, **options):
        found = real(*arguments, **options)
        account = list(found.site.account)
        account[6] = "/bin/bash"  # whatever the shell of who runs the tests is
        found.site.account = pwd.struct_passwd(account)
        return found

    monkeypatch.setattr(answer, "look", with_bash)
    return LoginNode(gate, file)
