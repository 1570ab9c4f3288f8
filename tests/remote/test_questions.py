"""Asking instead of running: what there is, how it is called, what would happen."""

import json

import pytest

RULES = [
    {"name": "age", "type": "integer", "minimum": 1, "maximum": 9, "default": ["5"], "description": "in hours"},
    {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
    {"name": "project", "type": "string", "positional": True, "required": True},
]


@pytest.fixture
def quota(gate):
    return gate.add("quota", '#!/bin/sh\ntouch "$HOME/ran"\n', arguments=RULES, summary="Prints quotas.", timeout=30)


def asked(gate, request):
    done = gate(f"{request} --json" if request in ("--list", "--version") else request.replace(" ", " --json ", 1))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_list_names_every_command_and_what_keeps_it_from_running(gate, quota):
    gate.add("broken", "#!/bin/sh\n", approve=False)
    assert asked(gate, "--list") == {
        "commands": [
            {
                "name": "broken",
                "summary": "",
                "problems": ["it is not approved: broken/approved.json is missing; run inv approve --name broken"],
            },
            {"name": "echo_args", "summary": "For a test.", "problems": []},
            {"name": "quota", "summary": "Prints quotas.", "problems": []},
        ]
    }
    assert "quota: Prints quotas.\n" in gate("--list").stdout


def test_describe_shows_how_a_command_is_called(gate, quota):
    text = gate("--describe quota").stdout
    assert "usage: quota [--age INTEGER] [--token STRING] PROJECT\n" in text
    assert "--age: an integer from 1 to 9; default 5 - in hours\n" in text
    found = asked(gate, "--describe quota")
    assert (found["name"], found["timeout"], found["schema"]) == ("quota", 30, "0" * 64)
    assert [rule["name"] for rule in found["arguments"]] == ["age", "token", "project"]


@pytest.mark.parametrize(
    ("automaton", "said"),
    [
        ([[0, ["az", 1]], [1, ["az", 1]]], None),
        ([[0, ["  az", 1]], [1]], "it can hold blanks\n"),
        ([[0, ["--", 1]], [1]], "it can hold - at its beginning\n"),
        ([[0, ["az", 1]], [1, ["--", 1]]], None),
        (
            [[1, ["\0\U0010ffff", 0]]],
            "it can hold blanks, !, \", #, $, &, ', (, ), *, ;, <, >, ?, [, \\, ], ^, `, {, |, }, ~, characters beyond ASCII, - at",
        ),
    ],
)
def test_describe_says_what_is_wider_than_usual(gate, automaton, said):
    rules = [{"name": "text", "type": "string", "pattern": "...", "automaton": automaton}]
    gate.add("pastes", "#!/bin/sh\n", arguments=rules)
    text = gate("--describe pastes").stdout
    assert ("WIDER" in text) is (said is not None)
    assert (said or "") in text


def test_explain_says_what_would_run_and_runs_nothing(gate, quota):
    found = asked(gate, "--explain quota --token s3cret v10")
    assert found["would_run"]
    assert found["program"] == str(quota)
    assert found["arguments"] == ["--age", "5", "v10"]
    assert found["environment"]["TOKEN"] == "***"
    assert found["timeout"] == 30
    text = gate("--explain quota --token s3cret v10").stdout
    assert "s3cret" not in text
    assert f"would run: {quota}\n" in text
    assert not (gate.home / "ran").exists()


@pytest.mark.parametrize(
    ("request_text", "status", "said"),
    [
        ("--explain quota --age 10", 2, "is more than 9"),
        ("--explain nope", 127, "there is no command nope"),
    ],
)
def test_explain_says_why_nothing_would_run(gate, quota, request_text, status, said):
    found = asked(gate, request_text)
    assert (found["would_run"], found["status"]) == (False, status)
    assert said in " ".join(found["problems"])
    assert f"would not run: status {status}\n" in gate(request_text).stdout


def test_explain_and_running_agree(gate, quota):
    for arguments in ("v10", "", "v10 --age 10", "v10 x", "--age 9 v10"):
        assert asked(gate, f"--explain quota {arguments}")["would_run"] is (gate(f"quota {arguments}").returncode == 0)


def test_version(gate):
    found = asked(gate, "--version")
    assert set(found) == {"version", "python", "approval_format", "receipt_format", "client"}
    assert gate("--version").stdout.startswith(f"dea-remote {found['version']}")


def test_the_version_comes_with_the_address_that_the_login_node_sees(gate):
    seen = {"SSH_CONNECTION": "203.0.113.7 50000 192.0.2.1 22"}
    assert json.loads(gate("--version --json", env=seen).stdout)["client"] == "203.0.113.7"
    assert gate("--version", env=seen).stdout.endswith(", asked from 203.0.113.7\n")
    assert json.loads(gate("--version --json", env={"SSH_CONNECTION": "$(id) 1 2 3"}).stdout)["client"] == ""
    assert json.loads(gate.start("--version", "--json").stdout)["client"] is None


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("--describe nope", 127),
        ("--describe", 2),
        ("--describe quota x", 2),
        ("--explain", 2),
        ("--list x", 2),
        ("--list --version", 2),
        ("--list --run-id abcdefgh", 2),
        ("--json", 2),
        ("--json quota v10", 2),
        ("--list=1", 2),
        ("--audit-verify", 126),
        ("--detach quota v10", 2),
    ],
)
def test_what_is_no_question_is_refused(gate, quota, request_text, status):
    done = gate(request_text)
    assert (done.stdout, done.returncode) == ("", status)


def test_questions_are_recorded(gate):
    gate("--list")
    received, ended = gate.audit()
    assert (received["event"], received["request"]) == ("received", "--list")
    assert (ended["event"], ended["question"], ended["status"]) == ("ended", "--list", 0)


def test_by_hand_the_same_is_answered(gate, quota):
    assert json.loads(gate.start("--list", "--json").stdout)["commands"][1]["name"] == "quota"
    assert "would run" in gate.start("--explain", "quota", "v10").stdout


def test_a_checkout_without_commands_is_said_to_be_one(gate):
    gate.scripts.rename(gate.checkout / "elsewhere")
    done = gate("--list")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "raijin_scripts cannot be listed (No such file or directory)" in done.stderr
    assert gate("echo_args a").returncode == 127


def test_a_question_that_cannot_be_recorded_is_not_answered(gate):
    gate.state.write_text("in the way")
    done = gate("--list")
    assert (done.stdout, done.returncode) == ("", 126)
    assert done.stderr.count("the audit log cannot be written") == 1
