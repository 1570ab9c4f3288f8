"""What is not right does not serve: whatever is wrong with the new release, the old one goes on."""

import os
import shutil
import subprocess

import pytest

from tests.remote.releases.conftest import Node, Origin, usual_umask

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python


@pytest.fixture(scope="module")
def updated(tmp_path_factory):
    """A folder with a repository and a login node that has its first release: made once, and copied for each test."""
    folder = tmp_path_factory.mktemp("updated")
    with usual_umask():
        origin = Origin(folder)
        origin.commit()
        Node(folder, origin).updated()
    return folder


@pytest.fixture
def origin(tmp_path, updated):
    shutil.copytree(updated, tmp_path, symlinks=True, dirs_exist_ok=True)
    with usual_umask():
        yield Origin(tmp_path)


@pytest.fixture
def serving(node):
    return node


def still_serves(node):
    assert node.dispatch("greet").stdout == "hello\n"


def test_a_stale_approval(serving, origin):
    (origin.scripts / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    origin.commit()
    serving.refused("raijin_scripts/greet/run has changed since it was approved")
    still_serves(serving)


def test_a_missing_approval(serving, origin):
    origin.command("new", "#!/bin/sh\n", approve=False)
    origin.commit()
    serving.refused("new: it is not approved: new/approved.json is missing")


def test_a_file_that_was_added_since_the_approval(serving, origin):
    (origin.scripts / "greet" / "lib.sh").write_text("echo\n")
    origin.commit()
    serving.refused("greet: 'lib.sh' was added since it was approved")


def test_an_approval_with_the_content_of_another(serving, origin):
    """Else it would run with the prefix that was installed for the other."""
    origin.approve("greet", content="0" * 64)
    origin.commit()
    serving.refused("the content that its approval names is not that of its files")


def test_all_that_is_wrong_is_said_at_once(serving, origin):
    origin.command("new", "#!/bin/sh\n", approve=False)
    origin.approve("greet", format=9)
    origin.commit()
    said = serving.refused("new: it is not approved").stderr
    assert "greet/approved.json has format 9" in said


def test_a_dispatcher_that_does_not_start(serving, origin):
    (origin.tree / "dea" / "remote" / "dispatcher.py").write_text("import nothing_of_that_name\n")
    origin.commit()
    serving.refused("its dispatcher does not start")
    still_serves(serving)


def test_a_dispatcher_that_starts_and_runs_nothing(serving, origin):
    path = origin.tree / "dea" / "remote" / "launch.py"
    path.write_text(path.read_text() + "\n\ndef launch(*_, **__):\n    raise OSError(5, 'broken')\n")
    origin.commit()
    serving.refused("its dispatcher does not run example (status ")
    still_serves(serving)


def test_a_release_that_cannot_check_itself(serving, origin):
    (origin.tree / "dea" / "remote" / "releases" / "prepare.py").write_text("raise SystemExit(3)\n")
    origin.commit()
    serving.refused("it cannot check itself: status 3")


def test_a_new_release_is_checked_by_its_own_code(serving, origin):
    """A format of approvals that the one that serves cannot read does not keep an update from coming."""
    path = origin.tree / "dea" / "remote" / "approval.py"
    path.write_text(path.read_text().replace("\nFORMAT = 1\n", "\nFORMAT = 2\n"))
    for name in ("example", "greet"):
        origin.approve(name, format=2)
    document = (origin.scripts / "git_pull" / "approved.json").read_text()
    (origin.scripts / "git_pull" / "approved.json").write_text(document.replace('"format": 1', '"format": 2'))
    commit = origin.commit()
    assert serving.updated()["new"] == serving.serving() == commit
    assert serving.dispatch("greet").stdout == "hello\n"


def test_a_commit_that_is_not_signed_by_an_allowed_signer(serving, origin, signer):
    key, stranger = signer("releaser", listed_in="commit_signers"), signer("stranger")
    serving.configure(commit_signers=str(signer.folder / "commit_signers"))

    def commit(key):
        return origin.commit("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true")

    origin.commit()
    serving.refused("is not signed by one of the allowed signers: it has no signature")
    commit(stranger)
    serving.refused("is not signed by one of the allowed signers")
    still_serves(serving)
    new = commit(key)
    assert serving.updated()["new"] == serving.serving() == new


def test_a_signature_by_a_keyring_of_the_accounts_does_not_count(serving, origin, signer, tmp_path):
    """Git verify-commit asks gpg for a commit that is signed by PGP; whoever is in a keyring must not be able to vouch."""
    signer("releaser", listed_in="commit_signers")
    serving.configure(commit_signers=str(signer.folder / "commit_signers"))
    gpg = tmp_path / "bin" / "gpg"
    gpg.parent.mkdir()
    gpg.write_text(
        "#!/bin/sh\ncat >/dev/null\n"
        "echo '[GNUPG:] SIG_CREATED ' >&2\necho '[GNUPG:] GOODSIG 0 x'\necho '[GNUPG:] TRUST_ULTIMATE 0'\n"
        "echo '-----BEGIN PGP SIGNATURE-----'\necho\necho AAAA\necho '-----END PGP SIGNATURE-----'\n"
    )
    gpg.chmod(0o755)
    origin.commit("-c", f"gpg.program={gpg}", "-c", "commit.gpgsign=true", "-c", "user.signingkey=x")
    assert "PGP SIGNATURE" in origin.git("cat-file", "commit", "HEAD")
    path = f"{gpg.parent}:{os.environ['PATH']}"
    done = serving.pull(env={"PATH": path, "HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "is not signed by one of the allowed signers" in done.stderr


def test_approvals_that_are_not_signed_by_an_approver(serving, origin, signer):
    key, stranger = signer("approver", listed_in="approvers"), signer("stranger")
    serving.configure(approvers=str(signer.folder / "approvers"))

    def sign(name, key):
        path = origin.scripts / name / "approved.json"
        path.with_name("approved.json.sig").unlink(missing_ok=True)
        options = ["-q", "-Y", "sign", "-f", key, "-n", "dea-approval", path]
        subprocess.run(["ssh-keygen", *options], check=True, capture_output=True)

    sign("example", key)
    sign("git_pull", key)
    sign("greet", stranger)
    origin.commit()
    serving.refused("greet/approved.json: its approval is signed by nobody who may approve")
    sign("greet", key)
    origin.approve("greet", summary="Another.")
    origin.commit()
    serving.refused("greet/approved.json: its approval has changed since it was signed")
    (origin.scripts / "greet" / "approved.json.sig").unlink()
    origin.commit()
    serving.refused("greet/approved.json: its approval is not signed")
    sign("greet", key)
    commit = origin.commit()
    assert serving.updated()["new"] == commit


def test_a_site_whose_approval_is_not_signed(serving, origin, signer):
    """The site's approval sets PATH and environment of every command."""
    import hashlib
    import json

    key = signer("approver", listed_in="approvers")
    serving.configure(approvers=str(signer.folder / "approvers"))
    for name in ("example", "greet", "git_pull"):
        options = ["-q", "-Y", "sign", "-f", key, "-n", "dea-approval", origin.scripts / name / "approved.json"]
        subprocess.run(["ssh-keygen", *options], check=True, capture_output=True)
    (origin.scripts / "site.yaml").write_text("# for a test\n")
    digest = hashlib.sha256(b"# for a test\n").hexdigest()
    document = {"format": 1, "site": "site", "environment": {}, "files": {"site.yaml": digest}}
    (origin.scripts / "site.approved.json").write_text(json.dumps(document))
    origin.commit()
    serving.refused("site.approved.json: its approval is not signed")


@pytest.mark.parametrize("victim", ["settings.json", ".", "releases"])
def test_a_place_that_others_can_write_is_refused(serving, origin, victim):
    origin.commit()
    path = serving.root / victim
    path.chmod(path.stat().st_mode | 0o020)
    serving.refused("can be written by others")


def test_a_list_of_signers_that_others_can_write_is_refused(serving, origin, signer):
    signer("releaser", listed_in="commit_signers")
    (signer.folder / "commit_signers").chmod(0o666)
    serving.configure(commit_signers=str(signer.folder / "commit_signers"))
    serving.refused("commit_signers can be written by others")


def test_a_release_cannot_vouch_for_itself(serving, origin):
    inside = serving.current.resolve() / "dea" / "remote" / "README.md"
    serving.configure(commit_signers=str(inside))
    serving.refused("is inside a release, which cannot vouch for itself")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("repository", "https://example.org/x.git"),
        ("repository", "ext::sh -c id"),
        ("repository", "-oProxyCommand=id"),
        ("repository", "git@-oProxyCommand=id:x"),
        ("repository", "git@host:x;id"),
        ("repository", "relative/path"),
        ("branch", "--upload-pack=id"),
        ("branch", "a..b"),
        ("branch", "a b"),
        ("branch", ""),
        ("key", "/tmp/key;id"),
        ("key", "/tmp/%h"),
        ("key", "~/key"),
        ("known_hosts", "/tmp/a b"),
        ("python", "python3"),
        ("keep_days", 0),
        ("keep_days", True),
        ("keep_releases", "5"),
        ("unknown", "x"),
        ("format", 2),
    ],
)
def test_a_setting_that_could_mean_something_else_is_refused(serving, setting, value):
    serving.configure(**{setting: value})
    serving.refused("settings.json: ")


def test_ssh_needs_a_key_and_pinned_host_keys(serving):
    serving.configure(repository="git@example.org:x.git")
    said = serving.refused("key is missing").stderr
    assert "known_hosts is missing" in said
