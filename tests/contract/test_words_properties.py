"""Properties of the request's grammar, over generated words and texts."""

import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from dea.remote.contract import Refusal, join, parse_request, split
from dea.remote.contract.words import QuotingError, controls_in

plain_words = st.lists(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not controls_in(text)))
# Dense in the characters that matter.
texts = st.text(st.sampled_from("ab '\"\\;$`|&<>()*?#~{}[]!=\u00a0é"), max_size=30)


@given(plain_words)
def test_split_is_the_inverse_of_join(words):
    assert split(join(words)) == (words, set())


@given(plain_words)
def test_join_makes_the_same_text_as_shlex(words):
    assert join(words) == shlex.join(words)


# What makes sh do more than remove quotes: expansions, comments, assignments and reserved words before the arguments.
_SH_DOES_MORE = set("*?[~#{}!=")


@settings(max_examples=300)
@given(texts.filter(lambda text: not _SH_DOES_MORE.intersection(text)))
def test_the_words_are_those_of_sh_or_the_text_is_refused(text):
    try:
        words, operators = split(text)
    except QuotingError:
        return
    if operators or "$" in text or "`" in text:
        return
    shell = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' x {text}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, cwd="/"
    )
    assert shell.stdout.decode().split("\0")[1:-1] == words


# Pieces in which sh does nothing but take quotes away, whatever they hold; `set -f` below keeps it from expanding globs.
_inside = st.text(st.sampled_from("ab '\"\\;$`|&<>()*?#~{}[]!=\u00a0é"), max_size=6)
pieces = st.one_of(
    st.sampled_from(
        [" ", "  ", "a", "é", "*", "?", "[a]", "{a,b}", "=", "a=b", "!", "%", "a~", "a#", "\u00a0", "''", '""']
    ),
    _inside.filter(lambda text: "'" not in text).map(lambda text: f"'{text}'"),
    _inside.filter(lambda text: not set(text) & set('"$`\\')).map(lambda text: f'"{text}"'),
    st.sampled_from("ab '\"\\;$`|&<>()*?#~").map(lambda char: f"\\{char}"),
    st.sampled_from("ab'$`\"\\").map(lambda char: f'"\\{char}"'),
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=8).map("".join))
def test_where_sh_only_removes_quotes_the_words_are_the_same_and_nothing_is_refused(text):
    script = f"set -f; printf '%s\\0' x {text}"
    shell = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, cwd="/")
    assert split(text) == (shell.stdout.decode().split("\0")[1:-1], set())


@given(st.text())
def test_every_text_is_words_or_a_refusal(text):
    try:
        request = parse_request(text.encode("utf-8", "surrogatepass"))
    except Refusal as refusal:
        assert refusal.problems
        assert all(problem.isascii() and problem.isprintable() for problem in refusal.problems)
        return
    if request.question is None:
        assert parse_request(join([request.name, *request.arguments]).encode()).arguments == request.arguments
