"""Approving: what is refused, what is shown, what is written, and when it is stale."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dea.workspace import approval
from dea.workspace.errors import WorkspaceError

ROOT = Path(__file__).parents[2]


class Checkout:
    """A git checkout with one command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scripts = root / "raijin_scripts"
        self.folder = self.scripts / "clean"
        self.folder.mkdir(parents=True)
        self.run = self.folder / "run"
        self.run.write_text("#!/bin/sh\necho cleaned\n")
        self.run.chmod(0o755)
        self.describe("summary: Cleans.\n")
        subprocess.run(["git", "init", "-q", root], check=True)
        (root / ".gitignore").write_text("*.log\n__pycache__/\n")

    def describe(self, text: str) -> None:
        (self.folder / "command.yaml").write_text(text)

    def approve(self, name: str = "clean", key: Path | None = None) -> None:
        approval.approve(name, key=key, root=self.root)

    def check(self, allowed_signers: Path | None = None) -> None:
        approval.check_all(allowed_signers=allowed_signers, root=self.root)

    @property
    def approved(self) -> dict:
        return json.loads((self.folder / "approved.json").read_text())

    def refused(self, said: str, name: str = "clean") -> str:
        with pytest.raises(WorkspaceError) as raised:
            self.approve(name)
        assert said in str(raised.value)
        assert not (self.folder / "approved.json").exists()
        return str(raised.value)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_an_approval_holds_the_schema_and_the_hash_of_every_file_that_git_does_not_ignore(checkout: Checkout) -> None:
    (checkout.folder / "lib").mkdir()
    (checkout.folder / "lib" / "näme with spaces").write_text("x")
    (checkout.folder / "debug.log").write_text("ignored")
    checkout.approve()
    approved = checkout.approved
    assert list(approved["files"]) == ["command.yaml", "lib/näme with spaces", "run"]
    assert (approved["format"], approved["command"], approved["summary"]) == (1, "clean", "Cleans.")
    assert approved["arguments"] == []


def test_outside_git_every_file_counts(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / ".git")
    (checkout.folder / "debug.log").write_text("counts")
    checkout.approve()
    assert "debug.log" in checkout.approved["files"]


def test_what_was_approved_runs_and_what_changed_since_does_not(checkout: Checkout) -> None:
    """The approval that is written here is the one that the dispatcher reads."""
    checkout.describe("summary: Cleans.\narguments:\n  age: {type: integer, minimum: 1, default: 72}\n")
    checkout.run.write_text('#!/bin/sh\necho "$@"\n')
    checkout.approve()
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dea" / "remote", checkout.root / "dea" / "remote", ignore=ignore)
    for path in (checkout.root, *checkout.root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    program = ["/usr/bin/python3", "-I", "-S", checkout.root / "dea" / "remote" / "__main__.py"]
    gate = [*program, "--key", "test", "--home", checkout.root]

    def send(request: str) -> tuple[str, int]:
        done = subprocess.run(gate, env={"SSH_ORIGINAL_COMMAND": request}, capture_output=True, text=True, check=False)
        return done.stdout, done.returncode

    assert send("clean") == ("--age 72\n", 0)
    assert send("clean --age 0") == ("", 2)
    checkout.run.write_text("#!/bin/sh\necho evil\n")
    assert send("clean") == ("", 126)


def test_it_shows_in_plain_words_what_is_allowed(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.describe(
        "summary: Cleans.\ntimeout: 60\nstdin: true\nenvironment: {LEVEL: high}\narguments:\n"
        "  age: {type: integer, minimum: 1, maximum: 9, required: true, description: in hours}\n"
        "  token: {secret: true, environment: TOKEN}\n"
    )
    checkout.approve()
    said = capsys.readouterr().err
    for line in (
        "--age: an integer from 1 to 9; required - in hours",
        "secret: reaches the command as the variable TOKEN only",
        "time: ended after 60 s",
        "stdin: what the client sends, unchecked",
        "environment: LEVEL=high",
        "files: command.yaml, run",
    ):
        assert line in said


def test_an_install_sh_that_could_not_start_is_refused(checkout: Checkout) -> None:
    (checkout.folder / "install.sh").write_text("set -eu\n")
    said = checkout.refused("install.sh is not executable: chmod +x install.sh")
    assert "install.sh has no interpreter" in said


def test_arguments_any_is_shown_for_what_it_is(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.describe("summary: Cleans.\narguments: any\n")
    checkout.approve()
    assert "ANY ARGUMENTS: whatever a client sends reaches the command unchecked" in capsys.readouterr().err
    assert checkout.approved["arguments"] == "any"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no mapping"),
        ("- a\n", "it is no mapping"),
        ("summary: [\n", "no valid YAML"),
        ("summary: 2020-02-30\n", "no valid YAML: day is out of range"),
        ("summary: a\nsummary: b\n", "the key 'summary' is there twice"),
        ("arguments: {}\n", "summary is missing"),
        ("summary: ''\n", "summary is missing"),
        ("summary: x\nargs: {}\n", "unknown key 'args': the keys are summary, arguments,"),
        ("summary: x\narguments: all\n", "arguments is a mapping"),
        ("summary: x\narguments: [a]\n", "arguments is a mapping"),
        ("summary: x\narguments: {a: 5}\n", "a: its rule is no mapping"),
        ("summary: x\narguments: {a: {kind: integer}}\n", "a: unknown key 'kind'"),
        ("summary: x\narguments: {a: {type: int}}\n", "a: type is one of string, integer"),
        ("summary: x\narguments: {A: {}}\n", "A: a name is"),
        ("summary: x\narguments: {a_: {}}\n", "a_: a name is"),
        ("summary: x\narguments: {5: {}}\n", "5: a name is"),
        ("summary: x\narguments: {a-b: {}, a_b: {}}\n", "a-b and a_b differ in - and _ only"),
        ("summary: x\narguments: {a: {required: 1}}\n", "a: required is true or false"),
        ("summary: x\narguments: {a: {required: true, default: x}}\n", "required and default contradict"),
        ("summary: x\narguments: {a: {type: integer, minimum: 5, maximum: 4}}\n", "no value fits"),
        ("summary: x\narguments: {a: {type: integer, minimum: 1.5}}\n", "minimum is an integer"),
        ("summary: x\narguments: {a: {type: number, maximum: .inf}}\n", "maximum is a finite number"),
        ("summary: x\narguments: {a: {type: integer, minimum: yes}}\n", "minimum is an integer, not True"),
        ("summary: x\narguments: {a: {minimum: 5}}\n", "minimum does not belong to type string"),
        ("summary: x\narguments: {a: {type: integer, pattern: x}}\n", "pattern does not belong to type integer"),
        ("summary: x\narguments: {a: {under: /g}}\n", "under does not belong to type string"),
        ("summary: x\narguments: {a: {type: path, under: g/data}}\n", "under is an absolute folder"),
        ("summary: x\narguments: {a: {type: path, under: /g/../etc}}\n", "under is an absolute folder"),
        ("summary: x\narguments: {a: {enum: []}}\n", "enum is a list of different values"),
        ("summary: x\narguments: {a: {enum: [a, a]}}\n", "enum is a list of different values"),
        ("summary: x\narguments: {a: {enum: [yes, no]}}\n", "True is no string: quote it"),
        ("summary: x\narguments: {a: {enum: [2015]}}\n", "2015 is no string: quote it"),
        ("summary: x\narguments: {a: {enum: [a], pattern: a}}\n", "enum names every value, so pattern contradicts"),
        ("summary: x\narguments: {a: {default: 5}}\n", "5 is no string: quote it"),
        ("summary: x\narguments: {a: {type: integer, default: 5, minimum: 6}}\n", "the default '5' is less than 6"),
        ("summary: x\narguments: {a: {default: 'a b'}}\n", "the default 'a b' holds ' '"),
        ("summary: x\narguments: {a: {default: [a]}}\n", "cannot be repeated"),
        ("summary: x\narguments: {a: {type: boolean, repeat: true}}\n", "repeat does not belong to a flag"),
        ("summary: x\narguments: {a: {type: boolean, positional: true}}\n", "positional does not belong to a flag"),
        ("summary: x\narguments: {a: {maxLength: 0}}\n", "maxLength is a whole number from 1"),
        ("summary: x\narguments: {a: {pattern: '['}}\n", "it is no regular expression"),
        ("summary: x\narguments: {a: {pattern: 5}}\n", "pattern 5"),
        ("summary: x\narguments: {a: {pattern: '(a+)+'}}\n", "exponential time"),
        ("summary: x\narguments: {a: {secret: true}}\n", "a secret needs `environment: NAME`"),
        ("summary: x\narguments: {a: {secret: true, environment: PATH}}\n", "a client must not set PATH"),
        ("summary: x\narguments: {a: {secret: true, environment: LD_PRELOAD}}\n", "a client must not set LD_PRELOAD"),
        ("summary: x\narguments: {a: {secret: true, environment: PYTHONPATH}}\n", "a client must not set PYTHONPATH"),
        ("summary: x\narguments: {a: {secret: true, environment: BASH_ENV}}\n", "a client must not set BASH_ENV"),
        ("summary: x\narguments: {a: {secret: true, environment: DEA_RUN_ID}}\n", "a client must not set DEA_RUN_ID"),
        ("summary: x\narguments: {a: {secret: true, environment: T, default: x}}\n", "a secret cannot have default"),
        ("summary: x\narguments: {a: {environment: T}}\n", "say secret: true"),
        ("summary: x\nenvironment: {T: x}\narguments: {a: {secret: true, environment: T}}\n", "T is set twice"),
        (
            "summary: x\narguments: {a: {positional: true, repeat: true}, b: {positional: true}}\n",
            "only the last positional",
        ),
        (
            "summary: x\narguments: {a: {positional: true}, b: {positional: true, required: true}}\n",
            "so a before it must be",
        ),
        ("summary: x\ntimeout: 0\n", "timeout (seconds) is a whole number"),
        ("summary: x\ntimeout:\n", "timeout (seconds) is a whole number from 1 to 604800, not None"),
        ("summary: x\narguments: {a: {type: integer, minimum: }}\n", "minimum is an integer, not None"),
        ("summary: x\narguments: {a: {type: number, maximum: null}}\n", "maximum is a number, not None"),
        ("summary: x\narguments: {a: {secret: true, environment: MODULEPATH}}\n", "a client must not set MODULEPATH"),
        ("summary: x\narguments: {a: {secret: true, environment: HTTPS_PROXY}}\n", "a client must not set HTTPS_PROXY"),
        ("summary: x\ntimeout: 30m\n", "timeout (seconds) is a whole number"),
        ("summary: x\nmax_parallel: 0\n", "max_parallel is a whole number"),
        ("summary: x\nmax_output_bytes: 1 GiB\n", "max_output_bytes is a whole number"),
        ("summary: x\nstdin: client\n", "stdin is true or false"),
        ("summary: x\nenvironment: [A]\n", "environment is a mapping"),
        ("summary: x\nenvironment: {A: 5}\n", "the value of A is no text: quote it"),
        ("summary: x\nenvironment: {a b: c}\n", "is no name of a variable"),
        ("summary: x\nenvironment: {PATH: /bin}\n", "PATH is set by the dispatcher (use path in site.yaml)"),
        ("summary: x\nenvironment: {DEA_PREFIX: /x}\n", "DEA_PREFIX is set by the dispatcher"),
        ('summary: x\nenvironment: {A: "a\\nb"}\n', "control character"),
    ],
)
def test_a_description_that_is_wrong_is_refused(checkout: Checkout, text: str, said: str) -> None:
    checkout.describe(text)
    checkout.refused(said)


def test_everything_that_is_wrong_is_said_at_once(checkout: Checkout) -> None:
    checkout.describe(
        "summry: x\ntimeout: -1\narguments: {a: {type: int}, b: {minimum: 5, required: true, default: x}}\n"
    )
    checkout.run.chmod(0o644)
    assert len(checkout.refused("cannot be approved:").splitlines()) == 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "run is missing"),
        (b"#!/bin/sh\r\nexit 0\r\n", "CRLF line ends"),
        (b"echo x\n", "run has no interpreter"),
        (b"", "run has no interpreter"),
        (b"#!\n", "run has no interpreter"),
        (b"#!sh\n", "run has no interpreter"),
        (b"#!/nonexistent/sh\n", "interpreter /nonexistent/sh does not exist"),
        (b"#!/bin/nonexistent\n", "interpreter /bin/nonexistent does not exist"),
        (b"#!/usr/bin/env\n", "env needs its name"),
        (b"#!/usr/bin/env nonexistent\n", "run's interpreter nonexistent is in no folder of the path"),
        (b"#!/usr/bin/env sh -e\n", "Linux hands 'sh -e' to env as one word"),
    ],
)
def test_a_run_that_could_not_start_is_refused(checkout: Checkout, content: bytes | None, said: str) -> None:
    if content is None:
        checkout.run.unlink()
        checkout.run.mkdir()
        (checkout.run / "x").write_text("")
        with pytest.raises(WorkspaceError, match="there is no command"):
            checkout.approve()
        return
    checkout.run.write_bytes(content)
    checkout.refused(said)


@pytest.mark.parametrize("first", [b"#!/usr/bin/env sh\n", b"#!/usr/bin/env -S sh -e\n"])
def test_an_interpreter_that_env_finds_is_one(checkout: Checkout, first: bytes) -> None:
    checkout.run.write_bytes(first)
    checkout.approve()


@pytest.mark.parametrize("name", ["run", "command.yaml"])
def test_what_git_ignores_and_the_command_is_made_of_is_refused(checkout: Checkout, name: str) -> None:
    (checkout.folder / ".gitignore").write_text(f"{name}\n")
    checkout.refused(f"{name} is ignored by git")


def test_a_run_that_is_not_executable_is_refused(checkout: Checkout) -> None:
    checkout.run.chmod(0o644)
    checkout.refused("run is not executable: chmod +x run")


def test_an_interpreter_of_the_site_need_not_be_here(checkout: Checkout) -> None:
    (checkout.scripts / "site.yaml").write_text("path: [/apps/python/bin, /usr/bin]\n")
    checkout.run.write_text("#!/apps/python/bin/python3\n")
    checkout.approve()
    checkout.run.write_text("#!/usr/bin/nonexistent\n")
    with pytest.raises(WorkspaceError, match="does not exist here"):
        checkout.approve()


def test_a_symbolic_link_is_refused(checkout: Checkout) -> None:
    (checkout.folder / "passwd").symlink_to("/etc/passwd")
    checkout.refused("passwd is a symbolic link")


def test_what_others_could_write_is_written_for_the_owner_alone(checkout: Checkout) -> None:
    checkout.approve()
    assert (checkout.folder / "approved.json").stat().st_mode & 0o777 == 0o644


def test_all_approves_the_site_and_every_command_or_nothing(checkout: Checkout) -> None:
    shutil.copytree(checkout.folder, checkout.scripts / "other")
    (checkout.scripts / "site.yaml").write_text("path: [/usr/bin, /bin]\ntimeout: 60\n")
    (checkout.scripts / "other" / "command.yaml").write_text("summary: Other.\ntimeout: 61\n")
    checkout.refused("timeout: 61 s is more than this site allows, 60 s", "all")
    assert not (checkout.scripts / "site.approved.json").exists()
    (checkout.scripts / "other" / "command.yaml").write_text("summary: Other.\ntimeout: 60\n")
    checkout.approve("all")
    site = json.loads((checkout.scripts / "site.approved.json").read_text())
    assert (site["path"], site["timeout"]) == ("/usr/bin:/bin", 60)
    checkout.check()


def test_what_a_site_says_of_output_and_requests_is_approved_and_shown(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {
        "max_output_bytes": 1000,
        "stored_days": 3,
        "stored_bytes": 5000,
        "request_burst": 7,
        "requests_per_second": 2,
    }
    (checkout.scripts / "site.yaml").write_text("".join(f"{key}: {value}\n" for key, value in limits.items()))
    checkout.approve("site")
    site = json.loads((checkout.scripts / "site.approved.json").read_text())
    assert {key: site[key] for key in limits} == limits
    shown = capsys.readouterr().err
    assert [f"{key}: {value}" in shown for key, value in limits.items()] == [True] * 5


@pytest.mark.parametrize(
    "text",
    [
        "path: bin\n", "path: [bin]\n", "PATH: /bin\n", "timeout: 0\n", "environment: {HOME: /x}\n", "path: []\n",
        "stored_days: 0\n", "stored_bytes: many\n", "request_burst: -1\n", "requests_per_second: 0.5\n",
    ],
)  # fmt: skip
def test_a_site_that_is_wrong_is_refused(checkout: Checkout, text: str) -> None:
    (checkout.scripts / "site.yaml").write_text(text)
    with pytest.raises(WorkspaceError, match=r"site\.yaml cannot be approved"):
        checkout.approve("site")


def test_check_passes_when_everything_is_approved_as_it_stands(checkout: Checkout) -> None:
    checkout.approve()
    checkout.check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda checkout: checkout.run.write_text("#!/bin/sh\n"),
            "clean has changed since its approval (content, files)",
        ),
        (lambda checkout: checkout.describe("summary: Cleans more.\n"), "content, files, summary"),
        (lambda checkout: (checkout.folder / "new").write_text(""), "clean has changed"),
        (lambda checkout: (checkout.folder / "approved.json").unlink(), "clean is not approved"),
        (lambda checkout: (checkout.folder / "approved.json").write_text("{"), "clean/approved.json cannot be read"),
        (lambda checkout: (checkout.folder / "approved.json").write_text("[]"), "clean has changed since its approval"),
        (lambda checkout: checkout.run.chmod(0o644), "run is not executable"),
        (lambda checkout: (checkout.scripts / "site.yaml").write_text("timeout: 5\n"), "site is not approved"),
        (
            lambda checkout: shutil.copytree(checkout.folder, checkout.scripts / "Stray"),
            "Stray/approved.json approves what is no command",
        ),
    ],
)
def test_check_fails_when_an_approval_is_stale(checkout: Checkout, change, said: str) -> None:
    checkout.approve()
    change(checkout)
    with pytest.raises(WorkspaceError) as raised:
        checkout.check()
    assert said in str(raised.value)


def test_the_repositorys_own_approvals_are_up_to_date() -> None:
    approval.check_all(root=ROOT)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """Two approvers' keys, and a list that has the first."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("ada", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    (folder / "allowed_signers").write_text(f"ada@example.org {(folder / 'ada.pub').read_text()}")
    return {name: folder / name for name in ("ada", "eve", "allowed_signers")}


def test_a_signature_of_an_allowed_signer_is_accepted(checkout: Checkout, keys: dict[str, Path]) -> None:
    checkout.approve(key=keys["ada"])
    checkout.check(keys["allowed_signers"])


def test_a_signature_of_anyone_else_is_not(checkout: Checkout, keys: dict[str, Path]) -> None:
    checkout.approve(key=keys["eve"])
    with pytest.raises(WorkspaceError, match="signed by nobody who may approve"):
        checkout.check(keys["allowed_signers"])


def test_an_approval_that_changed_since_it_was_signed_is_not(checkout: Checkout, keys: dict[str, Path]) -> None:
    checkout.approve(key=keys["ada"])
    approved = checkout.folder / "approved.json"
    approved.write_text(approved.read_text() + "\n")
    with pytest.raises(WorkspaceError, match="has changed since it was signed"):
        checkout.check(keys["allowed_signers"])


def test_a_signature_for_another_purpose_is_not(checkout: Checkout, keys: dict[str, Path]) -> None:
    checkout.approve()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", keys["ada"], "-n", "file", checkout.folder / "approved.json"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(WorkspaceError, match="the signature is for something else"):
        checkout.check(keys["allowed_signers"])


def test_approving_anew_removes_the_former_signature(checkout: Checkout, keys: dict[str, Path]) -> None:
    checkout.approve(key=keys["ada"])
    checkout.approve()
    with pytest.raises(WorkspaceError, match="is not signed"):
        checkout.check(keys["allowed_signers"])


@pytest.mark.parametrize(
    "options",
    [
        {"name": "", "sign": "", "check": False, "allowed_signers": ""},
        {"name": "x", "sign": "", "check": True, "allowed_signers": ""},
        {"name": "", "sign": "k", "check": True, "allowed_signers": ""},
        {"name": "x", "sign": "", "check": False, "allowed_signers": "f"},
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict) -> None:
    with pytest.raises(WorkspaceError, match="say what to approve"):
        approval.run(**options)
