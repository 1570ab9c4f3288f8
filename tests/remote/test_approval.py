"""Nothing runs but what was approved, as it was approved, and as nobody else could have changed it."""

import json
import os

import pytest


def refused(gate, said, request="clean"):
    done = gate(request)
    assert (done.stdout, done.returncode) == ("", 126)
    assert said in done.stderr
    return done


@pytest.fixture
def clean(gate):
    """A command of two files, approved."""
    gate.add("clean", "#!/bin/sh\n. ./lib/names.sh\necho $name\n", approve=False)
    library = gate.scripts / "clean" / "lib"
    library.mkdir()
    (library / "names.sh").write_text("name=cleaned\n")
    gate.approve("clean")
    return gate.scripts / "clean"


def test_an_approved_command_runs(gate, clean):
    assert gate("clean").stdout == "cleaned\n"


@pytest.mark.parametrize("name", ["run", "lib/names.sh"])
def test_a_changed_file_is_refused(gate, clean, name):
    with (clean / name).open("a") as file:
        file.write("# one byte more\n")
    refused(gate, f"raijin_scripts/clean/{name} has changed since it was approved")


def test_a_missing_file_is_refused(gate, clean):
    (clean / "lib" / "names.sh").unlink()
    refused(gate, "lib/names.sh is missing")


def test_everything_that_is_wrong_is_said_at_once(gate, clean):
    (clean / "run").chmod(0o775)
    (clean / "lib" / "names.sh").write_text("name=changed\n")
    assert len(refused(gate, "has changed").stderr.splitlines()) == 2


def test_a_command_without_approval_is_refused(gate):
    gate.add("clean", "#!/bin/sh\n", approve=False)
    refused(gate, "it is not approved: clean/approved.json is missing; run inv approve --name clean")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        '{"format": 1}',
        '{"format": 1, "command": "clean", "files": []}',
        '{"format": 1, "command": "clean", "files": {}, "arguments": "any"}',
        '{"format": 1, "command": "clean", "files": {"run": NaN}, "arguments": "any"}',
        '{"format": 1, "command": "clean", "files": {"run": ""}, "arguments": {}}',
        '{"format": 1, "command": "clean", "files": {"run": ""}}',
        "[" * 100000,
        "\ud800",
    ],
)
def test_what_is_no_approval_is_refused(gate, clean, text):
    (clean / "approved.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    refused(gate, "clean/approved.json")


@pytest.mark.parametrize(
    "document",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": False},
        {"timeout": None},
        {"timeout": "60"},
        {"max_parallel": 0},
        {"max_parallel": True},
        {"max_output_bytes": 0},
        {"max_output_bytes": "1"},
        {"stdin": "no"},
        {"summary": None},
        {"environment": []},
        {"environment": {"A": 5}},
        {"files": {"run": None}},
        {"arguments": "all"},
        {"arguments": [{"name": "data", "type": "path", "under": "/g/data"}]},
        {"arguments": [{"name": "unit", "type": "string", "enum": "GiB"}]},
        {"arguments": [{"name": "unit", "type": "string", "enum": [1]}]},
        {"arguments": [{"name": "text", "type": "string", "pattern": "[a-z]"}]},
        {"arguments": [{"name": "text", "type": "string", "automaton": [[1]]}]},
        {"arguments": [{"name": "token", "type": "string", "secret": True}]},
        {"arguments": [{"name": "data", "type": "path", "below": ["/g/data"]}]},
        {"arguments": [{"name": "data", "type": "folder"}]},
        {"arguments": [{"name": "data"}]},
    ],
)
def test_an_approval_that_is_not_wholly_understood_is_refused(gate, clean, document):
    """What was edited by hand, or written for a newer dispatcher, could otherwise allow more than it says."""
    gate.approve("clean", **document)
    refused(gate, "clean/approved.json")


@pytest.mark.parametrize(
    "document",
    [
        {"timeout": 0},
        {"path": ["/bin"]},
        {"environment": {"A": 5}},
        {"max_output_bytes": 0},
        {"stored_days": -1},
        {"stored_bytes": "1"},
        {"request_burst": 0},
        {"requests_per_second": 0},
    ],
)
def test_what_is_said_of_the_site_is_understood_or_refused(gate, clean, document):
    gate.describe_site(**document)
    refused(gate, "raijin_scripts/site.approved.json is not what inv approve writes")


def test_an_approval_of_another_format_is_refused(gate, clean):
    gate.approve("clean", format=2)
    refused(gate, "has format 2, this dispatcher reads 1")


def test_the_approval_of_another_command_is_refused(gate, clean):
    gate.approve("clean", command="echo_args")
    refused(gate, "is the approval of something else")


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize(
    "path",
    [
        "raijin_scripts/clean/run",
        "raijin_scripts/clean/approved.json",
        "raijin_scripts/clean/lib/names.sh",
        "raijin_scripts/clean/lib",
        "raijin_scripts/clean",
        "raijin_scripts",
        ".",
    ],
)
def test_what_others_can_write_is_refused(gate, clean, path, mode):
    victim = gate.checkout / path
    victim.chmod(victim.stat().st_mode | mode)
    done = refused(gate, f"{path} can be written by others (mode ")
    assert "chmod go-w" in done.stderr


def test_what_is_above_the_checkout_is_its_administrators_business(gate, clean):
    gate.folder.chmod(0o777)
    assert gate("clean").returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("path", ["raijin_scripts/clean/run", "raijin_scripts/clean", "raijin_scripts", "."])
def test_what_belongs_to_another_user_is_refused(gate, clean, path):
    os.chown(gate.checkout / path, 12345, 12345)
    refused(gate, "belongs to user 12345")


@pytest.mark.parametrize("path", ["run", "lib/names.sh", "lib", "approved.json"])
def test_a_symbolic_link_is_refused_even_to_the_same_content(gate, clean, path):
    real = gate.folder / "elsewhere"
    (clean / path).rename(real)
    (clean / path).symlink_to(real)
    done = gate("clean")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "symbolic link" in done.stderr


def test_a_named_pipe_in_a_files_place_does_not_hang(gate, clean):
    for name in ("lib/names.sh", "approved.json"):
        (clean / name).unlink()
        os.mkfifo(clean / name)
        assert gate("clean").returncode == 126


def test_a_folder_that_leads_to_itself_is_refused(gate, clean):
    for path in (clean / "run", clean / "lib" / "names.sh", clean / "lib"):
        kept = gate.folder / "kept"
        path.rename(kept)
        path.symlink_to(path)
        done = gate("clean")
        assert (done.stdout, done.returncode) == ("", 126)
        path.unlink()
        kept.rename(path)
    assert gate("clean").returncode == 0


def test_the_checkout_can_be_reached_by_a_link_that_is_resolved_once(gate, clean):
    current = gate.folder / "current"
    current.symlink_to(gate.checkout)
    gate.program = (*gate.program[:3], str(current / "dea" / "remote" / "__main__.py"))
    assert gate("clean").stdout == "cleaned\n"


def test_a_changed_argument_schema_is_no_way_around(gate):
    rules = [{"name": "age", "type": "integer", "required": True}]
    gate.add("aged", "#!/bin/sh\necho $*\n", arguments=rules)
    assert gate("aged --age 5").stdout == "--age 5\n"
    assert gate("aged --age x").returncode == 2
    assert gate("aged").returncode == 2


def test_what_is_true_of_the_site_reaches_commands_once_it_is_approved(gate):
    gate.add("show", '#!/bin/sh\necho "$PATH $PROJECT"\n', environment={"PROJECT": "own"})
    gate.describe_site(path="/opt/site/bin:/bin", environment={"PROJECT": "v10"})
    assert gate("show").stdout == "/opt/site/bin:/bin own\n"


def test_a_site_that_is_not_approved_refuses_every_command(gate):
    gate.describe_site()
    (gate.scripts / "site.yaml").write_text("path: /tmp/evil\n")
    refused(gate, "raijin_scripts/site.yaml has changed", "echo_args")
    (gate.scripts / "site.approved.json").unlink()
    refused(gate, "site.approved.json is missing", "echo_args")


def test_an_approved_site_that_is_gone_refuses_every_command(gate):
    gate.describe_site()
    (gate.scripts / "site.yaml").unlink()
    refused(gate, "site.yaml is missing", "echo_args")


def test_a_path_must_not_lead_out_by_a_symbolic_link(gate):
    data = gate.folder / "data"
    data.mkdir()
    rules = [{"name": "data", "type": "path", "under": [str(data)]}]
    gate.add("show", "#!/bin/sh\necho $2\n", arguments=rules)
    (data / "inside").symlink_to(data)
    (data / "out").symlink_to("/etc")
    assert gate(f"show --data {data}/inside/new").stdout == f"{data}/inside/new\n"
    refused(gate, "leads out of", f"show --data {data}/out/passwd")


def test_by_hand_an_unapproved_command_runs_with_a_warning(gate):
    gate.add("mine", "#!/bin/sh\necho $1\n", approve=False)
    done = gate.start("mine", "x")
    assert (done.stdout, done.returncode) == ("x\n", 0)
    assert "warning: it is not approved" in done.stderr


def test_by_hand_an_approved_command_is_held_to_its_schema(gate):
    gate.add("aged", "#!/bin/sh\necho $*\n", arguments=[{"name": "age", "type": "integer"}])
    assert gate.start("aged", "--age", "x").returncode == 2
    assert gate.start("aged", "--age", "5").stdout == "--age 5\n"


def test_every_refusal_is_recorded_with_its_reasons(gate, clean):
    (clean / "run").chmod(0o777)
    gate("clean")
    assert gate.audit()[-1]["event"] == "refused"
    assert "can be written by others" in gate.audit()[-1]["problems"][0]


def test_the_cost_does_not_grow_with_what_is_not_asked_for(gate):
    """Another command's broken approval is not even read."""
    gate.add("broken", "#!/bin/sh\n", approve=False)
    (gate.scripts / "broken" / "approved.json").write_text("{")
    assert gate("echo_args a").returncode == 0


def test_an_approval_is_read_as_json_and_nothing_more(gate):
    document = json.loads((gate.scripts / "echo_args" / "approved.json").read_text())
    document["summary"] = '\u00e9\U0001f600 \\ " \u2028'
    gate.approve("echo_args", **document)
    assert json.loads(gate("--list --json").stdout)["commands"][0]["summary"] == document["summary"]
