"""Commands of `raijin_scripts` that do more than call `dea.remote`, behind the gate as they are approved."""

import http.server
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TELLS = """#!/bin/sh
printf '{"used_bytes": 1073741824, "granted_bytes": 2147483648}'
"""
TOKEN = "token-of-at-least-16"


def ship(gate, name, **changes):
    """Have a command in the gate's checkout, approved as it is, but for what a test has to have otherwise."""
    shutil.copytree(ROOT / "raijin_scripts" / name, gate.scripts / name)
    approved = json.loads((gate.scripts / name / "approved.json").read_text())
    kept = {key: approved[key] for key in ("arguments", "environment", "schema") if key in approved}
    gate.approve(name, **{**kept, **changes})


@pytest.fixture
def program(gate):
    """The site's program that tells of quotas."""
    path = gate.folder / "account"
    path.write_text(TELLS)
    path.chmod(0o755)
    ship(gate, "quota", environment={"QUOTA_PROGRAM": str(path)})
    return path


def test_quota_tells_of_each_project_and_by_its_status_of_too_much(gate, program):
    done = gate("quota v10 rs0")
    assert (done.stdout, done.stderr, done.returncode) == ("v10 1.0 GiB 50.0 %\nrs0 1.0 GiB 50.0 %\n", "", 0)
    assert gate("quota --unit MiB --warn-above 60 v10").returncode == 0
    done = gate("quota --unit MiB --warn-above 40 v10")
    assert (done.stdout, done.returncode) == ("v10 1024.0 MiB 50.0 %\n", 3)


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho no JSON\n", "#!/bin/sh\necho []\n"])
def test_quota_says_in_one_line_what_it_cannot_tell(gate, program, script):
    program.unlink()
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)
    done = gate("quota v10")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("quota: what v10 uses cannot be told: ")
    assert done.stderr.count("\n") == 1


def test_quota_sends_a_token_nowhere_but_where_the_site_says(gate, program):
    received = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(204 if len(received) == 1 else 500)
            self.end_headers()

        def log_message(self, *_):
            pass

    done = gate(f"quota --accounting-token {TOKEN} v10")
    assert (done.returncode, TOKEN in done.stderr) == (1, False)
    assert "set ACCOUNTING_URL in site.yaml's environment" in done.stderr
    with http.server.HTTPServer(("127.0.0.1", 0), Service) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        gate.describe_site(environment={"ACCOUNTING_URL": f"http://127.0.0.1:{service.server_port}/usage"})
        accepted, failed = (gate(f"quota --accounting-token {TOKEN} v10") for _ in range(2))
        service.shutdown()
        thread.join()
    assert received == [(f"Bearer {TOKEN}", {"v10": 1073741824})] * 2
    assert (accepted.stderr, accepted.returncode) == ("", 0)
    assert (failed.stderr, failed.returncode) == (
        "quota: the accounting service cannot be told: HTTP Error 500: Internal Server Error\n",
        1,
    )


@pytest.fixture
def trash(gate):
    """A trash folder, in which all but one file has been for long enough."""
    folder = gate.folder / "trash"
    (folder / "below").mkdir(parents=True)
    rules = json.loads((ROOT / "raijin_scripts" / "clean_trash" / "approved.json").read_text())["arguments"]
    (where,) = (rule for rule in rules if rule["name"] == "trash")
    where["under"] = [str(gate.folder)]
    ship(gate, "clean_trash", arguments=rules)
    for name in ("old a", "old\nb", "below/old c", "new"):
        (folder / name).write_text("")
    long_ago = time.time() - 73 * 3600
    for path in (*folder.rglob("old*"), folder):
        os.utime(path, (long_ago, long_ago))
    (gate.folder / "kept").write_text("")
    os.utime(gate.folder / "kept", (long_ago, long_ago))
    (folder / "old link").symlink_to(gate.folder / "kept")
    return folder


def test_clean_trash_removes_what_is_old_enough_and_nothing_else(gate, trash):
    done = gate(f"clean_trash --trash {trash}")
    assert (done.stdout, done.stderr, done.returncode) == ("3\n", "", 0)
    assert sorted(path.name for path in trash.rglob("*") if path.is_file()) == ["new", "old link"]
    assert (gate.folder / "kept").exists()


def test_clean_trash_can_look_only_and_for_a_text(gate, trash):
    done = gate(f"clean_trash --trash {trash} --dry-run --report names --search-string 'd c'")
    assert (done.stdout, done.returncode) == (f"{trash}/below/old c\n", 0)
    assert (trash / "below" / "old c").exists()
    assert gate(f"clean_trash --trash {trash} --min-trash-age-hours 74").stdout == "0\n"


def test_clean_trash_needs_a_folder(gate, trash):
    done = gate(f"clean_trash --trash {trash}/none")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "is not a folder" in done.stderr
