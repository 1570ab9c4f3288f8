"""A full disk: before the claim nothing is claimed; in mid-run, how the command ended is still recorded."""

import os
import subprocess

import pytest

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python

SIZE_BYTES = 1 << 20


@pytest.fixture
def small(gate, tmp_path):
    """A state folder on a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        reason = "a file system of one's own needs root: run the tests as root in a container"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    gate.options += ("--state", str(folder / "state"))
    gate.state = folder / "state"
    yield gate
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(gate, but_bytes):
    """Leave so much room and no more."""
    status = os.statvfs(gate.state)
    blocks = status.f_bavail - but_bytes // status.f_frsize
    with (gate.state / "filler").open("ab") as file:
        file.write(b"\0" * (blocks * status.f_frsize))


def test_a_full_disk_claims_nothing_and_says_why(small):
    small.ask("--run-id run-0001 echo_args a")
    fill(small, 0)
    answer = small.ask("--run-id run-0002 echo_args a")
    assert (answer.stdout, answer.status, answer.receipt.outcome) == (b"", 126, "refused")
    assert b"No space left on device" in answer.stderr
    assert b"nothing was claimed" in answer.stderr
    assert [path.name for path in (small.state / "runs" / "key-test").iterdir()] == ["run-0001"]
    (small.state / "filler").unlink()
    assert small.ask("--run-id run-0002 echo_args a").stdout == b"a|"


def test_a_disk_that_fills_up_in_mid_run_keeps_the_outcome(small):
    small.add("loud", "#!/bin/sh\nhead -c 5000000 /dev/zero; exit 3\n")
    answer = small.ask("--run-id run-0001 loud")
    assert (answer.status, answer.receipt.outcome, answer.receipt.stdout_bytes) == (3, "exited", 5_000_000)
    assert 0 < answer.receipt.stdout_stored == len(answer.stdout) < SIZE_BYTES
    again = small.ask("--result run-0001")
    assert again.status in (3, 125)  # 125 where not even the line that somebody asks can be recorded
    (small.run_folder("run-0001") / "stdout").unlink()
    again = small.ask("--result run-0001")
    assert (again.status, again.receipt.outcome, again.receipt.stdout_bytes) == (3, "exited", 5_000_000)


def test_a_run_that_fills_the_disk_can_be_cancelled(small, until):
    small.options += ("--lost-after", "3")
    small.add("fills", "#!/bin/sh\ncat /dev/zero\n", max_output_bytes=1 << 40)
    small.ask("--run-id run-0001 --detach fills")
    until(lambda: os.statvfs(small.state).f_bavail == 0)
    answer = small.ask("--cancel run-0001")
    assert (answer.status, answer.receipt.outcome, answer.receipt.status) == (0, "cancelled", 143)


def test_a_disk_that_is_full_at_the_start_runs_nothing_and_says_so(small):
    small.add("counted", '#!/bin/sh\necho x >> "$HOME/starts"\n')
    small.ask("--run-id run-0000 echo_args a")
    # Room for the claim and what is taken with it; the log then needs a block that is not there.
    with (small.state / "audit" / small.logs()[0].name).open("rb") as log:
        rest = -os.fstat(log.fileno()).st_size % 4096
    outcomes = set()
    for number, room in enumerate(range(0, 60_000, 4096)):
        (small.state / "filler").unlink(missing_ok=True)
        fill(small, room)
        answer = small.ask(f"--run-id run-{number:04d}x counted")
        outcomes.add(answer.receipt.outcome)
        started = small.starts()
        ran = answer.receipt.outcome == "exited"
        assert answer.status == (0 if ran else 126), (room, rest)
        assert ran or b"No space left on device" in answer.stderr or b"no room for a whole line" in answer.stderr
        (small.home / "starts").unlink(missing_ok=True)
        assert started == ran
    assert outcomes == {"refused", "exited"}
