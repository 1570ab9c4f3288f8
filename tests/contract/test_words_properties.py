"""Properties of the request's grammar, over generated words and texts."""

import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from dea.remote.contract import join, split
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
