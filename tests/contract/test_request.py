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
