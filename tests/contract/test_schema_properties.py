"""Properties of argument schemas, over generated values."""

from hypothesis import given
from hypothesis import strategies as st

from dea.remote.contract import Refusal, bind, join, split, words_for
from dea.remote.contract.schema import ANY, problem_with

RULES = [
    {"name": "age", "type": "integer", "minimum": -5, "maximum": 10**9, "default": ["72"]},
    {"name": "ratio", "type": "number"},
    {"name": "text", "type": "string"},
    {"name": "tag", "type": "string", "repeat": True},
    {"name": "dry-run", "type": "boolean"},
    {"name": "data", "type": "path", "under": ["/g/data"]},
    {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
    {"name": "project", "type": "string", "positional": True},
    {"name": "numbers", "type": "integer", "positional": True, "repeat": True},
]
NARROW = st.text(st.sampled_from("abcXYZ059_./:,=@%+-"), min_size=1, max_size=20).filter(lambda text: text[0] != "-")
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "age": st.integers(-5, 10**9),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "text": NARROW,
        "tag": st.lists(NARROW, max_size=3),
        "dry_run": st.booleans(),
        "token": NARROW,
    },
)
# Options, values and what stands between them, dense in what matters.
WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "--age",
                "--age=5",
                "--ratio",
                "--text",
                "--tag",
                "--dry-run",
                "--data",
                "--token",
                "--",
                "-",
                "-5",
                "/g/data/x",
                "--x",
                "5",
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=8,
)


@given(VALUES)
def test_what_run_builds_is_what_the_login_node_accepts(values):
    words = words_for(RULES, (), values)
    assert split(join(words)) == (words, set())
    bound = bind(RULES, words)
    assert bound.environment == ({"TOKEN": values["token"]} if "token" in values else {})
    given_age = values.get("age", 72)
    assert bound.argv[bound.argv.index("--age") + 1] == str(given_age)
    if "ratio" in values:
        assert float(bound.argv[bound.argv.index("--ratio") + 1]) == values["ratio"]


@given(WORDS)
def test_words_are_normalised_once_and_for_all_or_refused(words):
    try:
        bound = bind(RULES, words)
    except Refusal as refusal:
        assert refusal.problems
        return
    # What the command gets is itself allowed, and is its own normal form.
    assert bind(RULES, bound.argv).argv == bound.argv
    assert len(bound.recorded) == len(words)


@given(st.text(max_size=30))
def test_a_narrow_text_is_narrow(value):
    if problem_with({"name": "text", "type": "string"}, value) is None:
        assert value
        assert value.isascii()
        assert not set(value) & set(" \t\n\"'`$;&|<>(){}[]*?!~#\\^")


@given(st.lists(st.text(max_size=5)))
def test_any_means_any(words):
    assert bind(ANY, words).argv == tuple(words)
