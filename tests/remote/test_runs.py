"""A run with a run id: once, whatever becomes of its connection; replayed, followed, cancelled, run anew."""

import json
import os
import signal
import subprocess
import sys

import pytest

COUNTED = """#!/bin/sh
echo x >> "$HOME/starts"
echo "out $*"
echo "err $*" >&2
exit 3
"""
# Says something, waits for the test, says something more.
GATED = """#!/bin/sh
echo x >> "$HOME/starts"
echo first
while [ ! -e "$HOME/go" ]; do sleep 0.02; done
echo second
"""


@pytest.fixture
def counted(gate):
    gate.add("counted", COUNTED)
    return gate


@pytest.fixture
def gated(gate):
    gate.add("gated", GATED)
    yield gate
    (gate.home / "go").touch()


def test_the_same_id_is_replayed(counted):
    first = counted.ask("--run-id run-0001 counted a b")
    second = counted.ask("--run-id run-0001 counted a b")
    assert first[:2] == second[:2] == (b"out a b\n", b"err a b\n")
    assert first.status == second.status == 3
    assert (first.receipt.replayed, second.receipt.replayed) == (False, True)
    assert first.receipt.ended == second.receipt.ended
    assert counted.starts() == 1


def test_a_result_is_asked_for_without_the_request(counted):
    counted.ask("--run-id run-0001 counted a b")
    answer = counted.ask("--result run-0001")
    assert (answer.stdout, answer.stderr, answer.status) == (b"out a b\n", b"err a b\n", 3)
    assert answer.receipt.replayed


@pytest.mark.parametrize("word", ["--run-id run-0001 {} counted a b", "--result run-0001 {}"])
@pytest.mark.parametrize(("out", "err"), [(0, 0), (3, 0), (0, 5), (8, 8), (100, 2**63 - 1), (2**63 - 1, 3)])
def test_output_comes_from_any_byte_on(counted, word, out, err):
    counted.ask("--run-id run-0001 counted a b")
    answer = counted.ask(word.format(f"--from-stdout {out} --from-stderr {err}"))
    assert (answer.stdout, answer.stderr) == (b"out a b\n"[out:], b"err a b\n"[err:])
    assert (answer.receipt.stdout_bytes, answer.receipt.stderr_bytes) == (8, 8)


def test_a_running_run_is_followed_to_its_end(gated):
    first = gated.popen("--run-id run-0001 gated", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdout.readline() == b"first\n"
    second = gated.popen("--run-id run-0001 --from-stdout 2 gated", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    third = gated.popen("--result run-0001", "--node", "other", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert second.stdout.readline() == b"rst\n"
    assert third.stdout.readline() == b"first\n"
    (gated.home / "go").touch()
    for process in (first, second, third):
        assert process.communicate(timeout=20)[0] == b"second\n"
        assert process.returncode == 0
    assert gated.starts() == 1


def test_a_command_outlives_its_connection(gated, until):
    process = gated.popen("--run-id run-0001 gated", stdout=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    process.communicate()
    (gated.home / "go").touch()
    answer = gated.ask("--result run-0001")
    assert (answer.stdout, answer.status) == (b"first\nsecond\n", 0)
    assert [line["event"] for line in gated.audit()].count("ended") == 1


def test_a_front_process_ends_when_its_client_is_gone(gated):
    process = gated.popen("--run-id run-0001 gated", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    process.wait(20)
    assert gated.ask("--result run-0001 --detach").receipt.outcome == "running"


def test_a_detached_run_answers_at_once_and_says_nothing(gated, until):
    answer = gated.ask("--run-id run-0001 --detach gated")
    assert (answer.stdout, answer.stderr, answer.status) == (b"", b"", 0)
    assert (answer.receipt.outcome, answer.receipt.status, answer.receipt.ended) == ("running", None, None)
    assert answer.receipt.started is not None
    until(lambda: gated.ask("--result run-0001 --detach").stdout == b"first\n")
    again = gated.ask("--run-id run-0001 --detach gated")
    assert (again.receipt.outcome, again.receipt.replayed) == ("running", True)
    (gated.home / "go").touch()
    until(lambda: gated.ask("--run-id run-0001 --detach gated").receipt.outcome == "exited")
    over = gated.ask("--result run-0001 --detach --from-stdout 6")
    assert (over.stdout, over.status, over.receipt.status) == (b"second\n", 0, 0)
    assert gated.starts() == 1


def test_the_connection_ends_though_the_run_goes_on(gated):
    # Were a descriptor of it left open anywhere, the pipe would not end.
    done = subprocess.run(
        [*gated.program, *gated.options],
        env=gated.environment("--run-id run-0001 --detach gated"),
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == b""
    assert gated.ask("--result run-0001 --detach").receipt.outcome == "running"


@pytest.mark.parametrize(
    ("request_text", "difference"),
    [
        ("echo_args a b", "claimed for counted, and this asks for echo_args"),
        ("counted a c", "with 'b' as word 2 after the name, and this has 'c'"),
        ("counted a", "with 2 words after the name, and this has 1"),
        ("counted a b c", "with 2 words after the name, and this has 3"),
    ],
)
def test_the_same_id_for_another_request_is_refused_naming_the_difference(counted, request_text, difference):
    counted.ask("--run-id run-0001 counted a b")
    answer = counted.ask(f"--run-id run-0001 {request_text}")
    assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 126, "refused")
    assert difference in answer.stderr.decode()
    assert counted.starts() == 1


def test_words_that_come_to_the_same_arguments_are_the_same_request(counted):
    counted.approve("counted", arguments=[{"name": "age", "type": "integer"}, {"name": "path", "type": "path"}])
    counted.ask("--run-id run-0001 counted --age=5 --path a/b")
    same = counted.ask("--run-id run-0001 counted --path a//b --age 5")
    assert (same.stdout, same.receipt.replayed) == (b"out --age 5 --path a/b\n", True)
    assert counted.ask("--run-id run-0001 counted --path a//b --age 6").status == 126


def test_a_replay_needs_no_approval_that_still_holds(counted):
    counted.ask("--run-id run-0001 counted a")
    (counted.scripts / "counted" / "run").write_text("#!/bin/sh\necho changed\n")
    assert counted.ask("--run-id run-0001 counted a").stdout == b"out a\n"
    assert counted.ask("--run-id run-0002 counted a").status == 126


SECRET = [
    {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
    {"name": "age", "type": "integer"},
]


def test_a_secret_reaches_the_command_and_no_file(gate):
    gate.add("asks", '#!/bin/sh\necho "${#TOKEN} $*"\n', arguments=SECRET)
    assert gate.ask("--run-id run-0001 asks --token Hunter2x --age 5").stdout == b"8 --age 5\n"
    assert gate.ask("--run-id run-0001 asks --token Hunter2x --age 5").receipt.replayed
    other = gate.ask("--run-id run-0001 asks --token Hunter3x --age 5")
    assert (other.status, b"with another secret" in other.stderr) == (126, True)
    aged = gate.ask("--run-id run-0001 asks --token Hunter2x --age 6")
    assert (aged.status, b"'5'" in aged.stderr, b"Hunter" in aged.stderr) == (126, True, False)
    again = gate.ask("--run-id run-0002 --rerun run-0001")
    assert (again.status, b"secret" in again.stderr) == (126, True)
    assert json.loads(gate("--history --json").stdout)["runs"][0]["arguments"] == ["--token", "***", "--age", "5"]
    # Neither as it is nor as anything that a table of hashes would find.
    import hashlib

    needles = [b"Hunter2x", hashlib.sha256(b"Hunter2x").hexdigest().encode()]
    files = [path for path in gate.state.rglob("*") if path.is_file()]
    assert [path for path in files for needle in needles if needle in path.read_bytes()] == []
    assert {path.stat().st_mode & 0o077 for path in gate.state.rglob("*")} == {0}


def test_equal_requests_have_different_hashes(counted):
    counted.ask("--run-id run-0001 counted a")
    counted.ask("--run-id run-0002 counted a")
    claims = [json.loads((counted.run_folder(run_id) / "claim").read_text()) for run_id in ("run-0001", "run-0002")]
    assert claims[0]["sent"] != claims[1]["sent"]
    assert claims[0]["bound"] != claims[1]["bound"]


@pytest.mark.parametrize(
    "request_text", ["--result run-0001", "--cancel run-0001", "--run-id run-0002 --rerun run-0001"]
)
def test_a_key_sees_only_the_runs_of_its_own_label(counted, request_text):
    counted.ask("--run-id run-0001 counted a b")
    counted.options = ("--key", "other", "--home", str(counted.home))
    answer = counted.ask(request_text)
    assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 127, "refused")
    assert b"there is no run run-0001 of this key" in answer.stderr
    assert json.loads(counted("--history --json").stdout) == {"runs": []}
    # The same id with another key is another run.
    assert not counted.ask("--run-id run-0001 counted c").receipt.replayed
    assert counted.starts() == 2


@pytest.mark.parametrize("label", ["../../x", "a b", "key-test", "by-hand", "é", ".", "x" * 128])
def test_every_label_has_a_folder_of_its_own(counted, label):
    counted.ask("--run-id run-0001 counted mine")
    counted.options = ("--key", label, "--home", str(counted.home))
    assert not counted.ask("--run-id run-0001 counted others").receipt.replayed
    folders = [path.name for path in (counted.state / "runs").iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert (counted.state / "runs") == next(counted.state.rglob("run-0001")).parents[1]


def test_an_unknown_run_is_127_and_its_receipt_says_so(gate):
    for request_text in ("--result run-0001", "--cancel run-0001"):
        answer = gate.ask(request_text)
        assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 127, "refused")


def test_a_command_that_reads_stdin_cannot_run_durably(gate):
    gate.add("reads", "#!/bin/sh\nexec cat\n", stdin=True)
    answer = gate.ask("--run-id run-0001 reads", input=b"sent")
    assert (answer.stdout, answer.status) == (b"", 126)
    assert b"leave out --run-id" in answer.stderr
    assert not gate.run_folder("run-0001").exists()


@pytest.mark.parametrize(
    ("request_text", "status"), [("nope", 127), ("counted; id", 126), ("aged", 2), ("unapproved", 126)]
)
def test_a_refusal_claims_nothing(counted, request_text, status):
    counted.add("aged", "#!/bin/sh\n", arguments=[{"name": "age", "type": "integer", "required": True}])
    counted.add("unapproved", "#!/bin/sh\n", approve=False)
    assert counted.ask(f"--run-id run-0001 {request_text}").status == status
    assert not counted.run_folder("run-0001").exists()
    assert counted.ask("--run-id run-0001 counted a").receipt.outcome == "exited"


def test_a_program_that_cannot_be_started_stays_refused(gate):
    gate.add("bad", "#!/nonexistent/sh\n")
    for _ in range(2):
        answer = gate.ask("--run-id run-0001 bad")
        assert (answer.status, answer.receipt.outcome, answer.receipt.started) == (126, "refused", None)
        assert b"bad cannot be started" in answer.stderr


def test_what_cannot_be_recorded_claims_nothing(counted):
    counted.state.mkdir(parents=True)
    (counted.state / "audit").write_text("in the way")
    answer = counted.ask("--run-id run-0001 counted a")
    assert (answer.status, counted.starts()) == (126, 0)
    assert b"the audit log cannot be written" in answer.stderr
    assert not counted.run_folder("run-0001").exists()
    (counted.state / "audit").unlink()
    assert counted.ask("--run-id run-0001 counted a").receipt.outcome == "exited"


@pytest.mark.parametrize(("program", "outcome", "status"), [("sh", "exited", 7), ("nonexistent", "refused", 126)])
def test_what_could_not_be_recorded_at_its_end_has_its_receipt_and_says_so(gate, program, outcome, status):
    supervisor = gate.checkout / "dea" / "remote" / "runs" / "supervisor.py"
    line = "ended = run_captured("
    assert supervisor.read_text().count(line) == 1
    supervisor.write_text(supervisor.read_text().replace(line, f"os.chmod(self._exchange.site.state, 0o777); {line}"))
    gate.add("ends", f"#!/bin/{program}\nexit 7\n")
    answer = gate.ask("--run-id run-0001 ends")
    assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (status, outcome, status)
    assert b"the audit log cannot be written" in answer.stderr
    assert len(answer.stderr) == answer.receipt.stderr_bytes
    assert [line["event"] for line in gate.audit()] == ["received", "started"]


def test_a_timeout_holds_when_nobody_is_connected(gate, until):
    gate.add("slow", "#!/bin/sh\necho begun\nexec sleep 600\n", timeout=1)
    gate.ask("--run-id run-0001 --detach slow")
    until(lambda: gate.ask("--result run-0001 --detach").receipt.outcome == "timed_out")
    answer = gate.ask("--result run-0001")
    assert (answer.stdout, answer.status) == (b"begun\n", 124)
    assert b"slow was ended: it ran longer than 1 s" in answer.stderr
    assert answer.receipt.stderr_bytes == len(answer.stderr)


def test_a_command_that_ignores_term_is_killed_after_the_grace(gate):
    shorten_grace(gate)
    gate.add("stubborn", "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n", timeout=1)
    assert gate.ask("--run-id run-0001 stubborn").status == 124


def test_children_left_behind_live_on_are_counted_and_may_go_on_writing(gate, until):
    child = 'while [ ! -e "$HOME/go" ]; do sleep 0.02; done; echo late; echo late >&2; touch "$HOME/done"'
    gate.add("leaves", f"#!/bin/sh\necho said\n({child}) &\n")
    answer = gate.ask("--run-id run-0001 leaves")
    assert (answer.stdout, answer.status) == (b"said\n", 0)
    assert answer.receipt.children >= 1  # it has children of its own, by turns
    (gate.home / "go").touch()
    until((gate.home / "done").exists)  # no SIGPIPE for it
    assert gate.ask("--result run-0001").stdout == b"said\n"


def test_output_beyond_the_limit_is_counted_and_dropped(gate):
    gate.add("loud", "#!/bin/sh\nhead -c 3000000 /dev/zero; echo end >&2\n", max_output_bytes=1_000_000)
    answer = gate.ask("--run-id run-0001 loud")
    assert answer.stdout == b"\0" * 1_000_000
    assert (answer.receipt.stdout_bytes, answer.receipt.stdout_stored) == (3_000_000, 1_000_000)
    assert (answer.stderr, answer.receipt.stderr_bytes, answer.receipt.stderr_stored) == (b"", 4, 0)
    assert (answer.status, answer.receipt.outcome) == (0, "exited")


def test_the_sites_limit_of_output_holds_too(gate):
    gate.describe_site(max_output_bytes=10)
    gate.add("loud", "#!/bin/sh\necho 0123456789abcdef\n", max_output_bytes=12)
    assert gate.ask("--run-id run-0001 loud").stdout == b"0123456789"


def test_a_large_output_is_whole(gate):
    gate.add("large", "#!/bin/sh\nseq 1 2000000; seq 1 300000 >&2\n")
    answer = gate.ask("--run-id run-0001 large")
    assert answer.stdout == b"".join(b"%d\n" % number for number in range(1, 2_000_001))
    assert answer.stderr == b"".join(b"%d\n" % number for number in range(1, 300_001))


def test_cancel_ends_a_running_run_with_its_group(gated, until):
    gated.options += ("--lost-after", "3")
    gated.ask("--run-id run-0001 --detach gated")
    answer = gated.ask("--cancel run-0001")
    assert (answer.stdout, answer.status, answer.receipt.outcome, answer.receipt.status) == (b"", 0, "cancelled", 143)
    result = gated.ask("--result run-0001")
    assert (result.stdout, result.status) == (b"first\n", 143)
    assert [line["event"] for line in gated.audit()].count("cancelled") == 1


def test_cancel_from_another_login_node(gated):
    gated.options += ("--lost-after", "3")
    gated.ask("--run-id run-0001 --detach gated")
    assert gated.ask("--cancel run-0001", "--node", "other").receipt.outcome == "cancelled"


def test_cancel_tells_the_outcome_that_was_there_first(counted):
    counted.ask("--run-id run-0001 counted a")
    answer = counted.ask("--cancel run-0001")
    assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (0, "exited", 3)


def test_cancel_kills_what_ignores_it(gate):
    shorten_grace(gate)
    gate.options += ("--lost-after", "3")
    gate.add("stubborn", "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    process = gate.popen("--run-id run-0001 stubborn", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    assert gate.ask("--cancel run-0001").receipt.outcome == "cancelled"
    process.communicate()
    assert process.returncode == 143


def test_a_claim_that_never_started_is_cancelled_for_good(counted):
    counted.options += ("--lost-after", "3")
    counted.ask("--run-id run-0001 counted a", "--fault", "claim-renamed")
    answer = counted.ask("--cancel run-0001")
    assert (answer.receipt.outcome, answer.receipt.status, answer.receipt.started) == ("cancelled", 143, None)
    again = counted.ask("--run-id run-0001 counted a")
    assert (again.stdout, again.status, again.receipt.outcome) == (b"", 143, "cancelled")
    assert counted.starts() == 0


def test_a_new_attempt_runs_what_was_asked_for(counted):
    counted.ask("--run-id run-0001 counted a 'b c'")
    assert counted.ask("--result run-0001 --detach").receipt.attempts == 1
    second = counted.ask("--run-id run-0001-a2 --rerun run-0001")
    assert (second.stdout, second.status) == (b"out a b c\n", 3)
    assert (second.receipt.attempt, second.receipt.attempts, second.receipt.replayed) == (2, 2, False)
    again = counted.ask("--run-id run-0001-a2 --rerun run-0001")
    assert (again.stdout, again.receipt.attempt, again.receipt.replayed) == (b"out a b c\n", 2, True)
    # An attempt of an attempt is an attempt of the first.
    third = counted.ask("--run-id run-0001-a3 --rerun run-0001-a2")
    assert (third.receipt.attempt, third.receipt.attempts) == (3, 3)
    first = counted.ask("--result run-0001 --detach").receipt
    assert (first.attempt, first.attempts) == (1, 3)
    listed = json.loads(counted("--history --json").stdout)["runs"]
    assert [(run["run_id"], run["attempt"], run["attempt_of"]) for run in listed] == [
        ("run-0001-a3", 3, "run-0001"),
        ("run-0001-a2", 2, "run-0001"),
        ("run-0001", 1, None),
    ]
    assert counted.starts() == 3


def test_a_further_attempt_is_told_the_first_ones_id(gate):
    gate.add("show", '#!/bin/sh\necho "${DEA_RUN_ID} ${DEA_ATTEMPT_OF-none}"\n')
    assert gate.ask("--run-id run-0001 show").stdout == b"run-0001 none\n"
    assert gate.ask("--run-id run-0001-a2 --rerun run-0001").stdout == b"run-0001-a2 run-0001\n"
    assert gate.ask("--run-id run-0001-a3 --rerun run-0001-a2").stdout == b"run-0001-a3 run-0001\n"


def test_an_id_is_not_taken_for_an_attempt_of_something_else(counted):
    counted.ask("--run-id run-0001 counted a")
    counted.ask("--run-id run-0002 counted a")
    counted.ask("--run-id run-0003 --rerun run-0001")
    for request_text in (
        "--run-id run-0003 --rerun run-0002",
        "--run-id run-0002 --rerun run-0001",
        "--run-id run-0003 counted a",
    ):
        answer = counted.ask(request_text)
        assert (answer.status, b"was claimed as attempt of" in answer.stderr) == (126, True)


def test_a_new_attempt_is_checked_as_if_it_had_been_sent(counted):
    counted.ask("--run-id run-0001 counted a")
    answer = counted.ask("--run-id run-0002 --rerun run-0001", "--allow", "other")
    assert (answer.status, b"is not allowed to run counted" in answer.stderr) == (126, True)
    (counted.scripts / "counted" / "run").write_text("#!/bin/sh\necho changed\n")
    assert counted.ask("--run-id run-0002 --rerun run-0001").status == 126
    assert counted.ask("--run-id run-0002 --rerun run-0009").status == 127
    assert counted.starts() == 1


def test_by_hand_runs_are_durable_too_and_nothing_is_recorded(counted, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            BY_HAND,
            str(counted.checkout),
            str(counted.home),
            "--run-id",
            "run-0001",
            "counted",
            "a",
        ],
        capture_output=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (b"out a\n", 3)
    assert (counted.state / "runs" / "by-hand" / "run-0001" / "outcome").exists()
    assert counted.ask("--result run-0001").status == 127
    assert [line["run_id"] for line in counted.audit()] == ["run-0001", "run-0001"]


def test_what_only_a_person_can_type_is_listed_on_one_line(counted):
    by_hand = [sys.executable, "-c", BY_HAND, str(counted.checkout), str(counted.home)]
    words = ["--run-id", "run-0001", "counted", "a\nb\x1b[2J", b"\xff"]
    done = subprocess.run([*by_hand, *words], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"out a\nb\x1b[2J \xff\n", 3)
    done = subprocess.run([*by_hand, "--history"], capture_output=True, check=True)
    assert done.stdout.endswith(b"'counted' 'a\\nb\\x1b[2J' '\\udcff'\n")
    assert done.stdout.count(b"\n") == 1


def test_a_supervisor_that_is_told_to_end_tells_the_command_and_records_its_end(gated, until):
    """As when the login node goes down."""
    gated.ask("--run-id run-0001 --detach gated")
    until(lambda: gated.ask("--result run-0001 --detach").stdout)
    supervisor = json.loads((gated.run_folder("run-0001") / "started").read_text())["pid"]
    os.kill(supervisor, signal.SIGHUP)  # the terminal of whoever logged in is gone: not its business
    assert gated.ask("--result run-0001 --detach").receipt.outcome == "running"
    os.kill(supervisor, signal.SIGTERM)
    answer = gated.ask("--result run-0001")
    assert (answer.receipt.outcome, answer.status) == ("signaled", 143)


BY_HAND = """
import os, pwd, sys
checkout, home, *words = sys.argv[1:]
sys.path.insert(0, checkout)
entry = pwd.getpwuid(os.getuid())
pwd.getpwuid = lambda uid: pwd.struct_passwd((*entry[:5], home, *entry[6:]))
from dea.remote.dispatcher import main
os._exit(main(checkout, words))
"""


def shorten_grace(gate):
    launch = gate.checkout / "dea" / "remote" / "launch.py"
    launch.write_text(launch.read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.5"))


def test_history_is_newest_first_and_from_a_time_on(counted, until):
    for number in (1, 2, 3):
        counted.ask(f"--run-id run-000{number} counted {number}")
    runs = json.loads(counted("--history --json").stdout)["runs"]
    assert [run["run_id"] for run in runs] == ["run-0003", "run-0002", "run-0001"]
    assert set(runs[0]) == {
        "run_id", "attempt", "attempt_of", "key", "command", "arguments", "outcome", "status", "received", "started", "ended",
        "duration_s", "stdout_bytes", "stderr_bytes",
    }  # fmt: skip
    assert (runs[0]["outcome"], runs[0]["status"], runs[0]["stdout_bytes"], runs[0]["key"]) == ("exited", 3, 6, "test")
    assert 0 <= runs[0]["duration_s"] < 10
    later = json.loads(counted(f"--history --json --since {runs[1]['received']}").stdout)["runs"]
    assert [run["run_id"] for run in later] == ["run-0003", "run-0002"]
    assert json.loads(counted("--history --json --since 2999-01-01").stdout) == {"runs": []}
    text = counted("--history").stdout
    assert "run-0003  exited 3" in text
    assert counted("--history --since 2999-01-01").stdout == "no runs\n"


def test_history_shows_what_runs_and_what_is_lost(gated, until):
    gated.options += ("--lost-after", "1")
    gated.ask("--run-id run-0001 --detach gated")
    (run,) = json.loads(gated("--history --json").stdout)["runs"]
    assert (run["outcome"], run["status"], run["ended"], run["duration_s"]) == ("running", None, None, None)
    os.kill(json.loads((gated.run_folder("run-0001") / "started").read_text())["pid"], signal.SIGKILL)
    until(lambda: json.loads(gated("--history --json").stdout)["runs"][0]["outcome"] == "lost")


def test_no_option_of_the_client_reaches_the_forced_commands_own(gate):
    for request_text in ("--fault claim-renamed echo_args a", "--lost-after 1 echo_args a", "--node x echo_args a"):
        assert gate(request_text).returncode == 2
    done = gate("echo_args a", env={"DEA_FAULT": "claim-renamed", "SSH_CONNECTION": "--fault claim-renamed"})
    assert done.returncode == 0


@pytest.mark.parametrize(
    "options", [("--fault", "nope"), ("--fault", "start-linked:burn"), ("--fault",), ("--lost-after", "0"), ("--lost-after", "x"),
                ("--lost-after", "nan"), ("--node",)]
)  # fmt: skip
def test_a_mistake_in_the_forced_commands_options_refuses_everything(gate, options):
    done = gate("echo_args a", *gate.options, *options)
    assert (done.stdout, done.returncode) == ("", 126)


def test_following_is_no_busy_waiting(gate):
    gate.add("sleeps", "#!/bin/sh\nsleep 2\n")
    gate.ask("--run-id run-0001 --detach sleeps")
    follower = gate.popen("--result run-0001", "--node", "b", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(follower.pid, 0)
    follower.returncode = os.waitstatus_to_exitcode(status)
    assert follower.returncode == 0
    assert usage.ru_utime + usage.ru_stime < 0.4  # starting Python is most of it
    assert usage.ru_nvcsw < 100
