"""What was captured from real OpenPBS servers, as answers to calls; how each file came about is in samples/README.md."""

import re
from pathlib import Path

from dea.remote.schedulers.calls import Answer, hold

SAMPLES = Path(__file__).parent / "samples"
RELEASE, MASTER = SAMPLES / "openpbs-23.06.06", SAMPLES / "openpbs-master"
FILES = sorted(path for path in SAMPLES.rglob("*") if path.is_file() and path.name != "README.md")


def answer(path):
    """Return what a file holds as what a program answered: its own streams, and its status."""
    text = path.read_bytes().decode("utf-8", "replace")
    if "\n--stdout\n" in text:
        head, _, rest = text.partition("\n--stdout\n")
        out, _, err = rest.partition("--stderr\n")
        return Answer(int(re.search(r"^rc=(\d+)", head, re.M)[1]), out, err)
    status = re.search(r"rc=(\d+)\s*$", text)
    if status and path.suffix == ".out":  # what was on one terminal: JSON from the first brace to the last
        begin, end = text.index("{"), text.rindex("}") + 1
        return Answer(int(status[1]), text[begin:end], text[:begin])
    return Answer(0, text, "")


def errors(path):
    """Return the answers in a file with one command after another, by the command's words after `$ `."""
    parts = re.split(r"^\$ (.*)$", path.read_text(), flags=re.M)[1:]
    found = {}
    for at in range(0, len(parts), 2):
        words, text = parts[at : at + 2]
        body, _, status = text.strip().rpartition("rc=")
        status = int(status)
        found[words] = Answer(status, body.strip() if status == 0 else "", "" if status == 0 else body)
    return found


def talk(conversation, *answers, asked=None):
    """Hold a conversation with answers that are there already, all of which it must want; note what was asked."""
    given = list(answers)

    def perform(call):
        if asked is not None:
            asked.append(call.argv)
        return given.pop(0)

    result = hold(conversation, perform)
    assert given == [], "it did not ask for all of this"
    return result
