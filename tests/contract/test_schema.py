"""What a schema lets through, what the command gets of it, and what is said of the rest."""

import pytest

from dea.remote.contract import USAGE, Refusal, bind, words_for
from dea.remote.contract.schema import ANY, HIDDEN, matches

AGE = {"name": "min-age", "type": "integer", "minimum": 1, "maximum": 100, "default": ["72"]}
TEXT = {"name": "text", "type": "string"}
DRY = {"name": "dry-run", "type": "boolean"}
LETTERS = {"name": "letters", "type": "string", "pattern": "[a-z]+", "automaton": [[0, ["az", 1]], [1, ["az", 1]]]}
UNIT = {"name": "unit", "type": "string", "enum": ["GiB", "-", "two words"]}
TAG = {"name": "tag", "type": "string", "repeat": True}
DATA = {"name": "data", "type": "path", "under": ["/g/data", "/scratch"]}
RATIO = {"name": "ratio", "type": "number", "minimum": 0, "maximum": 1.5}
TOKEN = {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"}
PROJECT = {"name": "project", "type": "string", "positional": True, "required": True}
NUMBERS = {"name": "numbers", "type": "integer", "positional": True, "repeat": True}


def problems_of(rules, words):
    with pytest.raises(Refusal) as raised:
        bind(rules, words)
    assert raised.value.status == USAGE
    return raised.value.problems


@pytest.mark.parametrize(
    ("rules", "words", "argv"),
    [
        ([], [], ()),
        ([AGE], [], ("--min-age", "72")),
        ([AGE], ["--min-age", "1"], ("--min-age", "1")),
        ([AGE], ["--min-age=100"], ("--min-age", "100")),
        ([TEXT], ["--text", "a/b.c:d,e=@%+-_"], ("--text", "a/b.c:d,e=@%+-_")),
        ([TEXT], ["--text=a=b"], ("--text", "a=b")),
        ([DRY, AGE], ["--min-age", "5", "--dry-run"], ("--dry-run", "--min-age", "5")),
        ([DRY], ["--dry-run=false"], ()),
        ([{**DRY, "default": ["true"]}], [], ("--dry-run",)),
        ([{**DRY, "default": ["true"]}], ["--dry-run=false"], ()),
        ([LETTERS], ["--letters", "abc"], ("--letters", "abc")),
        ([UNIT], ["--unit", "-"], ("--unit", "-")),
        ([UNIT], ["--unit", "two words"], ("--unit", "two words")),
        ([TAG], ["--tag", "b", "--tag=a"], ("--tag", "b", "--tag", "a")),
        ([DATA], ["--data", "/g/data//v10/./x/"], ("--data", "/g/data/v10/x")),
        ([DATA], ["--data", "/scratch"], ("--data", "/scratch")),
        ([RATIO], ["--ratio", "1e-3"], ("--ratio", "1e-3")),
        ([RATIO], ["--ratio", "-0"], ("--ratio", "-0")),
        ([PROJECT, DRY], ["v10", "--dry-run"], ("--dry-run", "v10")),
        ([PROJECT, NUMBERS], ["v10", "1", "-2"], ("--", "v10", "1", "-2")),
        ([PROJECT, NUMBERS], ["--", "v10"], ("v10",)),
        (ANY, ["--", "-x", "a b"], ("--", "-x", "a b")),
    ],
)
def test_arguments_reach_the_command_in_one_form(rules, words, argv):
    assert bind(rules, words).argv == argv


@pytest.mark.parametrize(
    ("rules", "words", "said"),
    [
        ([], ["a"], "1 words too many ('a'): it takes no arguments"),
        ([], ["--x"], "'--x' is no option of this command: it takes no arguments"),
        ([AGE], ["--min=5"], "'--min' is no option"),
        ([AGE], ["-5"], "too many"),
        ([AGE], ["-m5"], "'-m5' is no option"),
        ([AGE], ["--min-age"], "--min-age has no value: an integer from 1 to 100"),
        ([AGE], ["--min-age", "0"], "--min-age: '0' is less than 1; it must be an integer from 1 to 100"),
        ([AGE], ["--min-age", "101"], "is more than 100"),
        ([AGE], ["--min-age", "5", "--min-age", "6"], "--min-age is given 2 times"),
        ([AGE], ["--dry-run"], "'--dry-run' is no option"),
        ([DRY], ["--dry-run=yes"], "is neither true nor false"),
        ([DRY], ["--dry-run", "x"], "too many"),
        ([TEXT], ["--text", ""], "is empty"),
        ([TEXT], ["--text", "-x"], "begins with -"),
        ([TEXT], ["--text", "a b"], "holds ' '"),
        ([TEXT], ["--text", "a;b$c"], "holds '$' ';'"),
        ([TEXT], ["--text", "a" * 257], "is longer than 256 characters"),
        ([{**TEXT, "maxLength": 3}], ["--text", "abcd"], "is longer than 3"),
        ([LETTERS], ["--letters", "ab1"], "does not match [a-z]+ as a whole"),
        ([LETTERS], ["--letters", "ab\n"], "control character"),
        ([UNIT], ["--unit", "gib"], "is not one of GiB"),
        ([DATA], ["--data", "/etc/passwd"], "is not under /g/data or /scratch"),
        ([DATA], ["--data", "/g/database"], "is not under"),
        ([DATA], ["--data", "/g/data/../../etc"], "has a component `..`"),
        ([DATA], ["--data", "v10"], "is not under"),
        ([RATIO], ["--ratio", "1.6"], "is more than 1.5"),
        ([PROJECT], [], "PROJECT is required"),
        ([PROJECT], ["a", "b"], "1 words too many ('b'): it takes PROJECT"),
    ],
)
def test_what_breaks_the_schema_is_named_with_its_value_and_the_rule(rules, words, said):
    (problem,) = problems_of(rules, words)
    assert said in problem


@pytest.mark.parametrize(
    "value", ["", "+5", "05", "5.0", "5 ", " 5", "0x5", "1_000", "--5", "-", "-0", "1e2", "\u0661", "\u00b2", "9" * 40]
)
def test_an_integer_has_one_spelling(value):
    problems_of([AGE], [f"--min-age={value}"])


@pytest.mark.parametrize(
    "value", ["nan", "inf", "Infinity", ".5", "1.", "1e", "1e1234", "1e999", "0x1", "1,0", "1__0", "01", "1e+"]
)
def test_a_number_is_plain_and_finite(value):
    problems_of([{**RATIO, "maximum": 1e308}], [f"--ratio={value}"])


def test_everything_that_is_wrong_is_said_at_once():
    problems = problems_of([AGE, TEXT, PROJECT], ["--min-age", "x", "--text", "a b", "--unknown"])
    assert len(problems) == 4


def test_a_long_hostile_value_is_shown_shortened_and_escaped():
    (problem,) = problems_of([UNIT], ["--unit", "\u202e" + "x" * 1000])
    (problem,) = problems_of([UNIT], ["--unit", "é" + "x" * 1000])
    assert len(problem) < 250
    assert "'\\xe9xxx" in problem
    assert "(1001 characters)" in problem


def test_a_secret_reaches_the_environment_and_nothing_else():
    bound = bind([TOKEN, TEXT], ["--token", "s3cret", "--text", "a"])
    assert (bound.argv, bound.environment) == (("--text", "a"), {"TOKEN": "s3cret"})
    assert bound.recorded == ("--token", HIDDEN, "--text", "a")
    assert bind([TOKEN], ["--token=s3cret"]).recorded == (f"--token={HIDDEN}",)


@pytest.mark.parametrize(
    "words",
    [
        ["--token", "s3cret value"],
        ["--token", "-s3cret"],
        ["--tokne", "s3cret"],
        ["--tokens3cret"],
        ["--s3cret=x"],
        ["s3cret"],
        ["--token", "s3cret", "--token", "b"],
    ],
)
def test_a_secret_is_in_no_error(words):
    assert "s3cret" not in " ".join(problems_of([TOKEN], words))


def test_a_secret_with_its_files_newline_is_in_no_error():
    with pytest.raises(Refusal) as raised:
        words_for([TOKEN], (), {"token": "s3cret\n"})
    assert "control character" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_paths_are_given_back_to_be_checked_on_the_login_node():
    assert bind([DATA], ["--data=/g/data/x/"]).paths == [("--data", "/g/data/x", ["/g/data", "/scratch"])]


@pytest.mark.parametrize(
    ("rules", "positionals", "options", "words"),
    [
        ([AGE, TEXT], (), {"min_age": 5, "text": "a"}, ["--min-age", "5", "--text", "a"]),
        ([AGE], (), {"min_age": None}, []),
        ([DRY], (), {"dry_run": True}, ["--dry-run"]),
        ([DRY], (), {"dry_run": False}, []),
        ([{**DRY, "default": ["true"]}], (), {"dry_run": False}, ["--dry-run=false"]),
        ([TAG], (), {"tag": ["a", "b"]}, ["--tag", "a", "--tag", "b"]),
        ([RATIO], (), {"ratio": 0.25}, ["--ratio", "0.25"]),
        ([PROJECT, NUMBERS], ("v10", -1), {}, ["--", "v10", "-1"]),
        ([PROJECT, NUMBERS], (), {"numbers": (1, 2), "project": "v10"}, ["v10", "1", "2"]),
        (ANY, ("a b",), {"x_y": 1, "z": True}, ["--x-y", "1", "--z", "a b"]),
    ],
)
def test_python_values_become_words(rules, positionals, options, words):
    assert words_for(rules, positionals, options) == words


@pytest.mark.parametrize(
    ("rules", "options", "said"),
    [
        ([AGE], {"age": 5}, "'age' is no argument of this command: it takes --min-age"),
        ([AGE], {"min_age": "x"}, "--min-age: 'x' is no integer"),
        ([AGE], {"min_age": 5.5}, "--min-age: '5.5' is no integer"),
        ([AGE], {"min_age": {}}, "a dict cannot be an argument"),
        ([TEXT], {"text": b"a"}, "a bytes cannot be an argument"),
        (ANY, {"x": "a\nb"}, "control character"),
        ([PROJECT], {}, "PROJECT is required"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_anything_is_sent(rules, options, said):
    with pytest.raises(Refusal) as raised:
        words_for(rules, (), options)
    assert said in str(raised.value)


def test_matching_takes_time_in_proportion_to_the_text():
    # (a|b)*a(a|b), by its automaton
    automaton = [
        [
            0,
            [
                "aa",
                1,
            ],
            ["bb", 0],
        ],
        [0, ["aa", 2], ["bb", 3]],
        [1, ["aa", 2], ["bb", 3]],
        [1, ["aa", 1], ["bb", 0]],
    ]
    assert matches(automaton, "ab" * 30000 + "aa")
    assert not matches(automaton, "ab" * 30000 + "bb")
