"""What a handler returns of a result: all of it where it fits, and always below the limit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dea.lambdas.answer import MIN_BYTES, answer_of, answers_in, cut
from dea.raijin import CommandResult
from dea.remote.contract import Receipt


def result(stdout: str, stderr: str = "", run_id: str | None = "clean-0123456789", **more: Any) -> CommandResult:
    fields = {"duration_s": 1.23456, "stdout_bytes": len(stdout.encode("utf-8", "replace"))}
    fields |= {"stderr_bytes": len(stderr.encode("utf-8", "replace")), "command": "example", **more}
    receipt = run_id and Receipt(run_id, "exited", 3, received="2026-01-01T00:00:00.000Z", version="1")
    return CommandResult(stdout, stderr, 3, receipt=receipt or None, **fields)


def longest(value: Any) -> int:
    """Return the bytes of the longer of the two ways to write JSON."""
    escaped = json.dumps(value)
    return max(len(escaped), len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")))


def test_a_short_result_is_whole() -> None:
    assert answer_of(result("out\n", "err\n")) == {
        "run_id": "clean-0123456789",
        "outcome": "exited",
        "exit_code": 3,
        "duration_s": 1.235,
        "stdout": "out\n",
        "stderr": "err\n",
        "stdout_bytes": 4,
        "stderr_bytes": 4,
        "truncated": False,
        "rest": None,
    }


def test_a_long_result_has_head_tail_and_where_the_rest_is() -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    answer = answer_of(result(text, "short\n"), 4096)
    assert answer["stdout"].startswith("line 0\nline 1\n")
    assert answer["stdout"].endswith("line 99998\nline 99999\n")
    assert "cut here; all of it: inv result clean-0123456789" in answer["stdout"]
    assert answer["stderr"] == "short\n"
    assert (answer["truncated"], answer["stdout_bytes"]) == (True, len(text))
    assert answer["rest"] == "inv result clean-0123456789"
    assert 4000 < longest(answer) <= 4096


def test_what_the_session_has_left_out_already_is_said_too() -> None:
    answer = answer_of(result("head ... tail", truncated=True, stdout_bytes=10**9))
    assert (answer["truncated"], answer["rest"]) == (True, "inv result clean-0123456789")


def test_a_result_without_a_run_id_promises_no_rest() -> None:
    answer = answer_of(result("x" * 10_000, run_id=None), 2000)
    assert (answer["truncated"], answer["rest"]) == (True, None)
    assert "cut here ..." in answer["stdout"]


def test_the_smallest_limit_is_said() -> None:
    with pytest.raises(ValueError, match="needs 1024 bytes or more, not 1023"):
        answer_of(result("x"), MIN_BYTES - 1)


# Every kind of character that JSON writes in a way of its own.
characters = st.one_of(st.characters(), st.sampled_from('\0\n"\\\x7f\u2028é\U0001f600'))
outputs = st.builds(lambda text, times: text * times, st.text(characters, max_size=30), st.integers(0, 200))


@settings(deadline=None)
@given(outputs, outputs, st.integers(MIN_BYTES, 8192), st.text("ab-_", min_size=8, max_size=128))
@example("\U0001f600" * 3000, '"' * 3000, MIN_BYTES, "r" * 128)
@example("x" * 3000, "", MIN_BYTES, "r" * 128)
def test_no_answer_is_longer_than_its_limit(stdout: str, stderr: str, max_bytes: int, run_id: str) -> None:
    whole = result(stdout, stderr, run_id)
    answer = answer_of(whole, max_bytes)
    assert longest(answer) <= max_bytes
    assert answer["truncated"] == (answer["stdout"] != stdout or answer["stderr"] != stderr)
    if not answer["truncated"]:
        assert (answer["stdout"], answer["stderr"]) == (stdout, stderr)


@settings(deadline=None)
@given(outputs, st.integers(0, 4000))
def test_a_cut_text_is_head_and_tail_as_long_as_they_can_be(text: str, max_bytes: int) -> None:
    shown = cut(text, max_bytes, "R")
    assert longest(shown) - 2 <= max_bytes
    if shown not in (text, ""):
        head, tail = shown.split("\n[... cut here; all of it: R ...]\n", maxsplit=1)
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head) + len(tail) < len(text)
        assert longest(shown) - 2 > max_bytes - 24  # less than a character is left of each half


def test_results_are_made_answers_and_other_values_are_left_alone() -> None:
    one = result("out\n")
    assert answers_in(one, 6000) == answer_of(one)
    assert answers_in([one, one], 6000) == [answer_of(one), answer_of(one)]
    for value in (None, {}, [], {"result": 1}, [1, (2, {"a": [3]})], "text"):
        assert answers_in(value, 6000) is value


def test_a_result_deep_in_a_value_is_made_an_answer_too() -> None:
    one = result("out\n")
    value = {"scenes": [{"id": 1, "result": one}, {"id": 2, "result": None}], "all": ({"last": one},)}
    assert answers_in(value, 6000) == {
        "scenes": [{"id": 1, "result": answer_of(one)}, {"id": 2, "result": None}],
        "all": [{"last": answer_of(one)}],
    }
    assert value["scenes"][0]["result"] is one  # type: ignore[index] - the command's own value stays as it was


nested = st.recursive(
    st.sampled_from([None, 1, "text", "é", "RESULT", "RESULT"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters, max_size=5), inner, max_size=4),
    max_leaves=12,
)


def with_results(value: Any, made: CommandResult) -> Any:
    if isinstance(value, dict):
        return {key: with_results(one, made) for key, one in value.items()}
    if isinstance(value, list):
        return [with_results(one, made) for one in value]
    return made if value == "RESULT" else value


@settings(deadline=None)
@given(nested, st.integers(0, 5000))
@example(["RESULT"] * 20, 5000)
@example({"result": "RESULT"}, 30_000)
def test_all_that_is_returned_shares_the_limit(value: Any, length: int) -> None:
    answers = answers_in(with_results(value, result("x" * length)), 24_000)
    assert longest(answers) <= 24_000
    if json.dumps(value).count('"RESULT"') == 1 and length > 24_000:
        assert longest(answers) > 23_000  # a single one has all the room


@pytest.mark.parametrize("value", [[result("x")] * 24, {"result": result("x"), "more": "y" * 24_000}])
def test_results_that_cannot_all_be_told_are_an_error_that_says_so(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"of 24000 bytes the answer has \d+ for each of its \d+ results, and a result needs 1024"
    ):
        answers_in(value, 24_000)
