"""What is a request, and what each refusal says."""

import pytest

from dea.remote.contract import NOT_FOUND, REFUSED, USAGE, Refusal, Request, is_name, parse_request, shown


def test_a_request_is_a_name_and_arguments():
    assert parse_request(b"execute_clean --search-string 'x y'") == Request("execute_clean", ("--search-string", "x y"))


@pytest.mark.parametrize(
    ("raw", "status", "said"),
    [
        (b"", USAGE, "empty"),
        (b"   ", USAGE, "empty"),
        (b"'' a", USAGE, "empty"),
        (b"clean 'a", USAGE, "not closed"),
        (b"--run x clean", USAGE, "--run"),
        (b"../evil", NOT_FOUND, "../evil"),
        (b"Clean", NOT_FOUND, "Clean"),
        (b"clean-up", NOT_FOUND, "clean-up"),
        (b"a" * 65, NOT_FOUND, "is no name"),
        (b"clean; id", REFUSED, ";"),
        (b"clean $(id)", REFUSED, "$ ( )"),
        (b"clean a\nid", REFUSED, "U+000A"),
        (b"clean 'a\tb'", REFUSED, "U+0009"),
        ("clean \u202eb".encode(), REFUSED, "U+202E"),
        (b"clean \xff", REFUSED, "UTF-8"),
        (b"a" * 65537, REFUSED, "65537 bytes"),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(raw, status, said):
    with pytest.raises(Refusal) as raised:
        parse_request(raw)
    assert raised.value.status == status
    assert said in str(raised.value)


ID = "run-0001"


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (f"--run-id {ID} clean -a", Request("clean", ("-a",), run_id=ID)),
        (f"--run-id={ID} --detach clean", Request("clean", run_id=ID, detach=True)),
        (f"--detach --run-id {ID} clean --detach", Request("clean", ("--detach",), run_id=ID, detach=True)),
        (
            f"--run-id {ID} --from-stdout 12 --from-stderr=0 clean",
            Request("clean", run_id=ID, from_stdout=12),
        ),
        (f"--result {ID}", Request("", run_id=ID, verb="--result")),
        (f"--result={ID} --from-stderr 7 --detach", Request("", run_id=ID, verb="--result", from_stderr=7, detach=True)),
        (f"--cancel {ID}", Request("", run_id=ID, verb="--cancel")),
        (f"--run-id {ID}-a2 --rerun {ID}", Request("", run_id=f"{ID}-a2", verb="--rerun", rerun_of=ID)),
        (f"--rerun {ID} --detach --run-id {ID}-a2", Request("", run_id=f"{ID}-a2", verb="--rerun", rerun_of=ID, detach=True)),
        ("--history", Request("", question="--history")),
        ("--history --json --since 2026-11-24", Request("", question="--history", since="2026-11-24", as_json=True)),
        ("--since 2026-11-24T10:00:00Z --history", Request("", question="--history", since="2026-11-24T10:00:00")),
        ("--json --prune --max-bytes 5", Request("", ("--max-bytes", "5"), question="--prune", as_json=True)),
    ],
)  # fmt: skip
def test_what_can_be_asked_of_runs(text, request_):
    assert parse_request(text.encode()) == request_


@pytest.mark.parametrize(
    "text",
    [
        "--detach clean",
        "--from-stdout 1 clean",
        f"--run-id {ID}",
        f"--run-id {ID} --result {ID}",
        f"--run-id {ID} --cancel {ID}",
        f"--run-id {ID} --list",
        f"--run-id {ID} --rerun {ID}",
        f"--run-id {ID} --run-id {ID} clean",
        f"--run-id {ID} --rerun run-0002 clean",
        f"--run-id {ID} --rerun run-0002 --from-stdout 1",
        f"--run-id {ID} --json clean",
        f"--run-id {ID} --since 2026-11-24 clean",
        f"--run-id {ID} --detach --detach clean",
        f"--run-id {ID} --detach=yes clean",
        f"--rerun {ID}",
        "--rerun short",
        f"--result {ID} clean",
        f"--result {ID} --json",
        f"--result {ID} --cancel {ID}",
        f"--cancel {ID} --detach",
        f"--cancel {ID} --from-stdout 1",
        "--cancel",
        "--result ../../../etc",
        f"--run-id {ID} --from-stdout -1 clean",
        f"--run-id {ID} --from-stdout 1.5 clean",
        f"--run-id {ID} --from-stdout \uff11 clean",
        f"--run-id {ID} --from-stdout '' clean",
        f"--run-id {ID} --from-stdout {2**63} clean",
        f"--run-id {ID} --from-stdout {'9' * 5000} clean",
        "--history --detach",
        "--history clean",
        "--history --since yesterday",
        "--history --since 2026-11-24T10:00:00+11:00",
        "--list --since 2026-11-24",
        "--list --history",
        "--fault started",
        "--lost-after 1 clean",
        "--node a clean",
    ],
)
def test_what_does_not_belong_together_is_refused(text):
    with pytest.raises(Refusal) as raised:
        parse_request(text.encode())
    assert raised.value.status == USAGE


def test_a_refusal_names_the_run_where_it_is_known():
    with pytest.raises(Refusal) as raised:
        parse_request(f"--run-id {ID} --from-stdout x clean".encode())
    assert raised.value.run_id == ID


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(Refusal) as raised:
        parse_request(b"clean a\tb | tee x")
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize("name", ["a", "a" * 64, "execute_clean", "x9_"])
def test_names(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "A", "9a", "_a", "a-b", "a.b", "a/b", "a" * 65, "\uff45xample", "a\n", "é"])
def test_no_names(name):
    assert not is_name(name)


def test_values_from_outside_are_shown_escaped_and_shortened():
    assert shown("a\x1b[31m") == "'a\\x1b[31m'"
    assert shown("a" * 100, limit=3) == "'aaa'... (100 characters)"
