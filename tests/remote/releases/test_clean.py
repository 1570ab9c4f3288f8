"""What nothing can be using any more goes; what could be in use stays."""

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

DAY_S = 86400
INSTALL = '#!/bin/sh\ntouch "$DEA_PREFIX/it"\n'


@pytest.fixture
def aged(node, origin):
    """A node whose releases each served one day after the other, a long time ago, and a function that ages it so."""
    node.configure(keep_releases=2, keep_days=3)
    commits = []
    for number in range(5):
        origin.command("needy", f"#!/bin/sh\n# {number}\n", install_sh=INSTALL)
        commits.append(origin.commit())
        node.updated()

    def age():
        path = node.root / "switches.json"
        document = json.loads(path.read_text())
        for number, switch in enumerate(document["switches"]):
            switch["time"] = f"2020-01-{number + 1:02d}T00:00:00.000Z"
        path.write_text(json.dumps(document))
        for path in (*(node.root / "releases").iterdir(), *(node.state / "prefix").glob("*.outcome")):
            os.utime(path, (DAY_S, DAY_S))

    node.commits, node.age = commits, age
    return node


def releases(node):
    return sorted(path.name for path in (node.root / "releases").iterdir())


def prefixes(node):
    return [path for path in (node.state / "prefix").iterdir() if path.is_dir()]


def test_what_served_lately_stays(aged):
    assert releases(aged) == sorted(aged.commits)


def test_what_has_not_served_for_long_goes_with_its_prefix(aged):
    aged.age()
    removed = aged.updated()["removed"]
    assert set(aged.commits[:3]) < set(removed)
    assert releases(aged) == sorted(aged.commits[3:])
    assert len(prefixes(aged)) == 2
    assert len(list((aged.state / "prefix").iterdir())) == 6
    assert aged.dispatch("needy").returncode == 0
    assert aged.updated("--rollback")["new"] == aged.commits[3]
    assert aged.dispatch("needy").returncode == 0


def test_the_newest_stay_however_old(aged):
    aged.configure(keep_releases=5)
    aged.age()
    assert aged.updated()["removed"] == []


def test_what_a_process_on_this_node_is_in_stays(aged):
    aged.age()
    folder = aged.root / "releases" / aged.commits[0] / "raijin_scripts" / "greet"
    with subprocess.Popen(["sleep", "600"], cwd=folder) as inside:
        aged.updated()
        inside.kill()
    assert releases(aged) == sorted([aged.commits[0], *aged.commits[3:]])


def test_a_prefix_of_somebodys_own_checkout_stays(aged):
    aged.age()
    paths = sorted((aged.state / "prefix").glob("*.outcome"))
    needed = [path for path in paths if path.with_suffix("").name.split("-")[1] in current_contents(aged)]
    own = next(path for path in paths if path not in needed)
    fields = own.read_text().split("\t")
    own.write_text("\t".join([*fields[:3], "/home/dea/my-checkout", fields[4]]))
    os.utime(own, (DAY_S, DAY_S))
    aged.updated()
    assert own.with_suffix("").is_dir()


def current_contents(node):
    found = []
    for commit in node.commits[3:]:
        path = node.root / "releases" / commit / "raijin_scripts" / "needy" / "approved.json"
        found.append(json.loads(path.read_text())["content"][:16])
    return found


def test_what_an_update_that_was_cut_off_left_is_removed(node, origin):
    origin.commit()
    node.updated()
    for path in ("repository.git.new-x", "repository.git.old-x", "releases/.new-x", "releases/.old-x"):
        (node.root / path / "refs").mkdir(parents=True)
    for path in ("current.new-x", "switches.json.new-x"):
        (node.root / path).touch()
    (node.state / "git_pull" / "self-test-x").mkdir()
    node.updated()
    assert node.leftovers() == []


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "switches": []}', '{"format": 1, "switches": [{}]}'])
def test_a_record_of_switches_that_cannot_be_read_is_said(node, origin, text):
    origin.commit()
    node.updated()
    (node.root / "switches.json").write_text(text)
    node.refused("switches.json cannot be read")
