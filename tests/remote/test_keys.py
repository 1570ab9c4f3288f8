"""What a key may do is said in authorized_keys, and nowhere else."""

import json

import pytest

from dea.remote.decision import Key


@pytest.fixture
def allowing(gate):
    """Send a request with a key that may run some commands."""
    gate.add("quota", "#!/bin/sh\necho quota\n")
    gate.add("quota_all", "#!/bin/sh\necho all\n")

    def send(request, *patterns):
        options = [word for pattern in patterns for word in ("--allow", pattern)]
        return gate(request, *gate.options, *options)

    return send


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("quota", "quota", True),
        ("quota", "quota_all", False),
        ("quota*", "quota_all", True),
        ("*", "quota", True),
        ("q?ota", "quota", True),
        ("q?ota", "qota", False),
        ("*_all", "quota_all", True),
        ("*a*a*", "quota_all", True),
        ("*x*", "quota", False),
        ("[q]uota", "quota", False),
        ("QUOTA", "quota", False),
        ("quota**", "quota", True),
        ("", "quota", False),
    ],
)
def test_patterns(pattern, name, allowed):
    assert Key("k", (pattern,)).allows(name) is allowed


def test_a_key_runs_only_what_it_is_allowed_to(allowing):
    assert allowing("quota", "quota", "echo_*").stdout == "quota\n"
    assert allowing("echo_args a", "quota", "echo_*").returncode == 0
    done = allowing("quota_all", "quota", "echo_*")
    assert (done.stdout, done.returncode) == ("", 126)
    assert "the key 'test' is not allowed to run quota_all" in done.stderr


def test_patterns_can_stand_one_after_another(gate):
    assert gate("echo_args a", *gate.options, "--allow", "quota", "echo_args").returncode == 0


def test_a_key_does_not_learn_what_else_there_is(allowing):
    assert allowing("nothing_of_that_name", "quota").stderr == allowing("quota_all", "quota").stderr.replace(
        "quota_all", "nothing_of_that_name"
    )
    listed = json.loads(allowing("--list --json", "quota").stdout)
    assert [command["name"] for command in listed["commands"]] == ["quota"]
    assert allowing("--describe quota_all", "quota").returncode == 126


@pytest.mark.parametrize("sent", [None, "", "#cmd is ignored", "echo_args a", "--list", "'", "x" * 70000, "--run-id"])
def test_a_key_for_one_command_runs_it_whatever_is_sent(gate, sent):
    gate.add("git_pull", '#!/bin/sh\necho pulled "$@"\n')
    done = gate(sent, *gate.options, "--only", "git_pull")
    assert (done.stdout, done.returncode) == ("pulled\n", 0)


PULL = """#!/bin/sh
echo x >> "$HOME/starts"
echo pulled "$@"
"""


@pytest.fixture
def pulling(gate):
    """A key for one command, with more of them there."""
    gate.add("git_pull", PULL)
    gate.options += ("--only", "git_pull")
    return gate


@pytest.mark.parametrize("sent", ["git_pull", "git_pull --force", "echo_args 'a b'", "no_such_command"])
def test_a_key_for_one_command_runs_it_durably_and_once_for_each_run_id(pulling, sent):
    first = pulling.ask(f"--run-id run-0001 {sent}")
    again = pulling.ask("--run-id run-0001 --from-stdout 2 something else")
    assert (first.stdout, first.status, first.receipt.outcome) == (b"pulled\n", 0, "exited")
    assert (again.stdout, again.receipt.replayed) == (b"lled\n", True)
    assert pulling.ask("--result run-0001 --from-stdout 2").stdout == b"lled\n"
    assert pulling.ask("--cancel run-0001").receipt.outcome == "exited"
    assert pulling.starts() == 1
    assert pulling.ask(f"--run-id run-0002 {sent}").stdout == b"pulled\n"
    assert pulling.starts() == 2


def test_a_key_for_one_command_runs_it_detached(pulling, until):
    assert pulling.ask("--run-id run-0001 --detach x").stdout == b""
    until(lambda: pulling.ask("--result run-0001 --detach").stdout == b"pulled\n")
    assert pulling.starts() == 1


def test_a_new_attempt_by_a_key_for_one_command_is_a_run_like_any_other(pulling):
    for _ in range(2):
        answer = pulling.ask("--run-id run-0002 --rerun run-0001")
        assert (answer.stdout, answer.receipt.attempt) == (b"pulled\n", 1)
    assert pulling.starts() == 1


@pytest.mark.parametrize("sent", ["--result run-0001", "--cancel run-0001", "--result run-0009"])
def test_a_key_for_one_command_learns_nothing_of_anothers_runs(gate, sent):
    gate.add("git_pull", PULL)
    gate.ask("--run-id run-0001 echo_args secret")
    answer = gate.ask(sent, "--only", "git_pull")
    assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 127, "refused")
    other = gate.ask("--run-id run-0001 echo_args secret", "--only", "git_pull")
    assert (other.stdout, other.status) == (b"", 126)
    assert b"secret" not in other.stderr
    assert gate.starts() == 0


@pytest.mark.parametrize(
    "sent",
    [
        "--run-id run-0001",
        "--run-id run-0001 'a",
        "--run-id run-0001 a; b",
        "--run-id run-0001 --of-a-newer-client a",
        "--result run-0001 x",
    ],
)
def test_a_key_for_one_command_runs_it_once_for_each_run_id_of_requests_that_cannot_be_read(pulling, sent):
    for replayed in (False, True):
        answer = pulling.ask(sent)
        assert (answer.stdout, answer.status, answer.receipt.replayed) == (b"pulled\n", 0, replayed)
    assert pulling.starts() == 1


def test_a_key_for_one_command_answers_no_question(pulling):
    done = pulling("--history")
    assert (done.stdout, done.stderr, done.returncode) == ("pulled\n", "", 0)


@pytest.mark.parametrize(
    "options",
    [
        ("--only", "../x"),
        ("--only", "a", "--only", "b"),
        ("--only",),
        ("--allow",),
        ("--allow", ""),
        ("--key", "other"),
        ("--state", "relative"),
        ("x",),
    ],
)
def test_a_mistake_in_the_forced_command_refuses_everything(gate, options):
    done = gate("echo_args a", *gate.options, *options)
    assert (done.stdout, done.returncode) == ("", 126)


def test_a_key_for_a_command_that_it_is_not_allowed_runs_nothing(gate):
    assert gate("echo_args", *gate.options, "--only", "echo_args", "--allow", "quota").returncode == 126


def test_the_audit_names_the_key(gate):
    gate("echo_args a", "--key", "lambda-prod", "--home", str(gate.home))
    assert {line["key"] for line in gate.audit()} == {"lambda-prod"}


@pytest.mark.parametrize(
    ("connection", "client"),
    [
        ("192.0.2.7 50000 192.0.2.1 22", "192.0.2.7"),
        ("fe80::1%eth0 1 ::1 22", "fe80::1%eth0"),
        ("\x1b[31m 1 2 3", ""),
        ("", ""),
    ],
)
def test_the_audit_names_the_client(gate, connection, client):
    gate("echo_args a", env={"SSH_CONNECTION": connection})
    assert gate.audit()[0]["client"] == client


@pytest.mark.parametrize("options", [[], ["--allow", "*"], ["--allow", "git_*"], ["--only", "echo_args"]])
def test_what_changes_all_commands_is_not_covered_by_a_wildcard(gate, options):
    """The key that runs commands must not be able to update them."""
    gate.add("git_pull", "#!/bin/sh\necho pulled\n")
    assert "pulled" not in gate("git_pull", *gate.options, *options).stdout
    assert "git_pull" not in gate("--list", *gate.options, *options).stdout


def test_what_changes_all_commands_can_be_allowed_by_its_name(gate):
    gate.add("git_pull", "#!/bin/sh\necho pulled\n")
    assert gate("git_pull", *gate.options, "--allow", "*", "git_pull").stdout == "pulled\n"
    assert gate.start("git_pull").stdout == "pulled\n"
