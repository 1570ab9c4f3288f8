"""A power cut at any step of an update does no harm: what served serves, and the next update repairs and succeeds.

Every change that an update makes on disk, and every program that it starts, is a step (`killed_at`). There are some hundred
of them, so each version of Python tries a fifth: together, in `nox -s tests remote`, they try them all.
"""

import re
import subprocess
import sys
from pathlib import Path

DRIVER = Path(__file__).with_name("killed_at.py")
SHARE = sys.version_info[1] % 5
INSTALL = '#!/bin/sh\necho {0} > "$DEA_PREFIX/word"\n'
# A file or folder of the release that is built: any name that this package itself does not make elsewhere.
OF_A_RELEASE = re.compile(r"(open|os\.mkdir) [A-Za-z_]+(\.(py|md|toml|json|typed|yaml|sh))?")
RUN = '#!/bin/sh\n[ "$(cat "$DEA_PREFIX/word")" = {0} ] && echo {0}\n'


class Cut:
    """Updates that are cut off: the update itself, or the process of the new release that checks and installs it."""

    def __init__(self, node, origin, *, inner):
        self.node, self.origin, self.inner = node, origin, inner
        self.file = node.root.parent / "step"
        self.python = node.root / "python"
        self.python.write_text(
            f'#!/bin/sh\ncase "$*" in *--prepare*) exec {sys.executable} {DRIVER} {self.file} "$@" ;; esac\n'
            f'exec {sys.executable} "$@"\n'
        )
        self.python.chmod(0o755)
        self.number = 0
        self.change()
        node.updated()

    def change(self):
        """Commit something new to install; return what the command prints then, and the commit."""
        self.number += 1
        text = f"v{self.number}"
        self.origin.command("needy", RUN.format(text), install_sh=INSTALL.format(text))
        return text, self.origin.commit()

    def update(self, step, *options):
        """Run an update that is killed at a step; return its exit status."""
        self.file.write_text(f"{step}\n")
        python, *rest = [*self.node.program(), *options]
        words = [python, *rest] if self.inner else [python, str(DRIVER), str(self.file), *rest]
        self.node.configure(python=str(self.python) if self.inner else sys.executable)
        status = subprocess.run(words, capture_output=True, check=False, timeout=120).returncode
        self.node.configure(python=sys.executable)
        return status

    def steps(self, *options):
        """Return the steps of an update, by name."""
        self.change()
        if options:
            self.node.updated()
        assert self.update(0, *options) == 0
        return self.file.read_text().split("\n")[1:]

    def check(self, step, name):
        """Cut an update off at a step, look at what serves, and have the next one repair it."""
        old_text, old = f"v{self.number}", self.node.serving()
        text, commit = self.change()
        assert self.update(step) == (1 if self.inner else -9), (step, name)
        serving = self.node.serving()
        assert serving in (old, commit), (step, name)
        answer = self.node.dispatch("needy")
        assert answer.stdout == (old_text if serving == old else text) + "\n", (step, name, answer.stderr)
        report = self.node.updated()
        assert (self.node.serving(), report["problem"]) == (commit, None), (step, name)
        assert self.node.dispatch("needy").stdout == f"{text}\n", (step, name)
        assert self.node.leftovers() == [], (step, name)


def share(steps):
    """Return the numbers of the steps that are tried here: of the many files of a release a few, and of the rest a fifth."""
    files = [number for number, name in enumerate(steps, 1) if OF_A_RELEASE.fullmatch(name)]
    few = {files[len(files) * part // 5] for part in range(5)} if files else set()
    others = [number for number in range(1, len(steps) + 1) if number not in files or number in few]
    return [number for place, number in enumerate(others) if place % 5 == SHARE]


def test_the_update_is_killed_at_each_step(node, origin):
    cut = Cut(node, origin, inner=False)
    steps = cut.steps()
    for number in share(steps):
        cut.check(number, steps[number - 1])


def test_the_release_that_installs_itself_is_killed_at_each_step(node, origin):
    cut = Cut(node, origin, inner=True)
    steps = cut.steps()
    assert any("install.sh" in name for name in steps)
    for number in share(steps):
        cut.check(number, steps[number - 1])


def test_a_kill_right_between_the_record_and_the_switch(node, origin):
    """The one step that is never left out: the next update switches, and going back leads to what served before."""
    cut = Cut(node, origin, inner=False)
    steps = cut.steps()
    before = node.serving()
    number = max(number for number, name in enumerate(steps, 1) if name.startswith("os.rename current.new-"))
    cut.check(number, steps[number - 1])
    assert node.updated("--rollback")["new"] == before
    assert node.serving() == before


def test_going_back_is_killed_at_each_step(node, origin):
    """What was cut off is repaired by the next update, at the beginning of the next round, or by going back once more."""
    cut = Cut(node, origin, inner=False)
    steps = cut.steps("--rollback")
    for number in (*share(steps), None):
        old = node.serving()
        text, new = cut.change()
        node.updated()
        assert (node.serving(), node.dispatch("needy").stdout) == (new, f"{text}\n"), number
        assert node.leftovers() == [], number
        if number is None:
            break
        assert cut.update(number, "--rollback") == -9, steps[number - 1]
        assert node.serving() in (old, new), steps[number - 1]
        assert node.dispatch("needy").returncode == 0, steps[number - 1]
        if node.serving() == new and number % 2:
            assert node.updated("--rollback")["new"] == old, steps[number - 1]


def test_the_first_update_is_killed_at_each_step_of_its_own(node, origin, tmp_path):
    """It has no clone, link or record yet: the steps that later updates do not have are all tried here."""
    file = tmp_path / "first"

    def named(steps):
        return [re.sub("[0-9a-f]{12,}", "TOKEN", name) for name in steps]

    def first_update(step):
        folder = tmp_path / f"node-{step}"
        folder.mkdir()
        fresh = type(node)(folder, origin)
        file.write_text(f"{step}\n")
        python, *rest = fresh.program()
        return fresh, subprocess.run([python, DRIVER, file, *rest], capture_output=True, check=False, timeout=120)

    later = named(Cut(node, origin, inner=False).steps())
    commit = node.serving()
    assert first_update(0)[0].serving() == commit
    steps = named(file.read_text().split("\n")[1:])
    own = [number for number, name in enumerate(steps, 1) if name not in later]
    assert len(own) > 3
    for number in own:
        fresh, done = first_update(number)
        assert done.returncode == -9, steps[number - 1]
        assert fresh.serving() in (None, commit), steps[number - 1]
        assert fresh.updated()["problem"] is None, steps[number - 1]
        assert (fresh.serving(), fresh.leftovers()) == (commit, []), steps[number - 1]
