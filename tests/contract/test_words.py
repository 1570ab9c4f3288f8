"""The request's grammar: by hand-picked examples here, by properties beside it."""

import shlex

import pytest

from dea.remote.contract import join, split
from dea.remote.contract.words import QuotingError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("   ", []),
        ("  a   b ", ["a", "b"]),
        ("a '' b", ["a", "", "b"]),
        ("a''b", ["ab"]),
        ("\"a b\" 'c d' e\\ f", ["a b", "c d", "e f"]),
        ('"a\\nb"', ["a\\nb"]),
        ('"\\$HOME \\` \\" \\\\"', ['$HOME ` " \\']),
        ("'$HOME' '`id`' '\\'", ["$HOME", "`id`", "\\"]),
        ("\\* ~ {a,b} [x] ? # !!", ["*", "~", "{a,b}", "[x]", "?", "#", "!!"]),
        ("a\u00a0b \u3000", ["a\u00a0b", "\u3000"]),
    ],
)
def test_splits_by_quoting_rules_alone(text, words):
    assert split(text) == (words, set())


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", "'a' \"b' c", '"\\'])
def test_what_is_not_closed_is_an_error(text):
    with pytest.raises(QuotingError):
        split(text)


@pytest.mark.parametrize("operator", list(";&|<>()$`"))
def test_operators_are_found_outside_quotes_only(operator):
    assert split(f"a{operator}b")[1] == {operator}
    assert split(f"'a{operator}b' \"{operator}\" \\{operator}") == ([f"a{operator}b", operator, operator], set())


@pytest.mark.parametrize("words", [["a b", "", "it's", '"', "\\", "$x", "~", "*"], ["execute_clean", "--days=3"]])
def test_join_makes_the_same_text_as_shlex(words):
    assert join(words) == shlex.join(words)
    assert split(join(words)) == (words, set())


@pytest.mark.parametrize("char", ["\n", "\0", "\x1b", "\x7f", "\x9b", "\u202e", "\u2028"])
def test_join_refuses_control_characters(char):
    with pytest.raises(ValueError, match="control character"):
        join([f"a{char}b"])
