"""Patterns: the automaton means what the pattern says, and what could be slow is refused."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dea.remote.contract.schema import matches
from dea.workspace.approval.patterns import PatternError, compile_pattern

# Patterns over few characters, so that texts over the same ones often match.
ATOMS = st.sampled_from(["a", "b", "ab", "[ab]", "[^a]", ".", r"\d", r"\w", r"\S", "0", "-", r"\."])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{0,2}", "*?", "{2,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("ab0-. é\n"), max_size=10)


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(PATTERNS, st.lists(TEXTS, min_size=5, max_size=20))
def test_the_automaton_matches_what_the_pattern_matches(pattern: str, texts: list[str]) -> None:
    try:
        automaton = compile_pattern(pattern)
    except PatternError:
        return
    for text in texts:
        assert matches(automaton, text) == bool(re.fullmatch(pattern, text, re.ASCII)), (pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a*)*", "(a+)*b", "(a|a)*", "(a|aa)+", "(a|b|ab)*c", "(x+x+)+y", r"(\w+\s?)*", "(.*a)+", "([a-z]+)*", "(a?)*",
        "(a|a?)+", "((ab)*)*", "(a{1,2}){2,}", "(a+){10,}", r"([a-zA-Z0-9]+\.?)+", "(ab|a|b)*", "(a+b?)*", "(.+)*x",
        "(a?){30}a{30}", "(a|aa){1,300}", "(.*a){50}", "((a?){10}){10}", "(a{0,30}){0,30}", "(){1000000000}", "(){1000000000,}",
        "(?:a{0}){0,99999999}",
    ],
)  # fmt: skip
def test_what_can_take_exponential_time_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match="exponential"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "[a-z]+", "[a-z0-9_]+_[0-9]{8}", r".*\.nc", "[^,]+(,[^,]+)*", "[A-Z]{2}[0-9]{1,3}(,[A-Z]{2}[0-9]{1,3})*", r"\d{4}-\d{2}-\d{2}",
        "(a|b)*", "(ab|cd)+", "a*a*a*b", "^[a-z]{1,256}$", "", "(a?){3}", "(){5}a", "(-?[0-9]{1,3}){2}", "([a-z]{1,20}/)*[a-z]{1,20}",
    ],
)  # fmt: skip
def test_what_people_write_is_accepted(pattern: str) -> None:
    compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a*a*a*a*a*b", "a?" * 40 + "a{40}", ".*.*.*x"])
def test_a_hostile_value_is_matched_in_no_time_whatever_the_pattern(pattern: str) -> None:
    automaton = compile_pattern(pattern)
    begin = time.process_time()
    assert not matches(automaton, "a" * 64 * 1024 + "!")
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        ("a(?=b)", "lookaround"),
        ("(?<!b)a", "lookaround"),
        (r"(a)\1", "back reference"),
        ("a++", "possessive"),
        ("(?>a)", "atomic"),
        ("^a|b$", "anchor"),
        (r"\ba", "anchor"),
        ("a{1000}", "longer than 600"),
        ("([a-z]{1,30}-){0,30}", "longer than 600"),
        ("(a|b)*a(a|b){12}", "more than 600 states"),
        ("[", "no regular expression"),
        ("a{99999999999}", "no regular expression"),
        ("[[a]", "no regular expression"),
    ],
)
def test_what_is_more_than_can_be_approved_is_named(pattern: str, said: str) -> None:
    with pytest.raises(PatternError, match=said):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("a|b", "[ab]"),
        ("(a)", "a"),
        ("aa*", "a+"),
        ("a{2,3}", "aaa?"),
        ("(ab|ac)", "a[bc]"),
        (r"\d", "[0-9]"),
        ("^a$", "a"),
    ],
)
def test_the_same_language_has_the_same_automaton(one: str, same: str) -> None:
    assert compile_pattern(one) == compile_pattern(same)
