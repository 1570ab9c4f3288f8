"""One update at a time, over all login nodes; a holder that is gone is no obstacle."""

import os
import subprocess
import sys
import threading

import pytest

from dea.remote.releases import ReleaseError
from dea.remote.releases.turn import Turn


def refused(folder):
    with pytest.raises(ReleaseError) as raised, Turn(folder):
        pass
    assert raised.value.status == 75
    return str(raised.value)


def test_a_second_one_is_told_who_has_it(tmp_path):
    with Turn(tmp_path):
        assert f"process '{os.getpid()}'" in refused(tmp_path)
    with Turn(tmp_path):
        pass
    assert len(list(tmp_path.iterdir())) == 1


def test_many_at_once_of_whom_one_has_it(tmp_path):
    held, busy = [], []
    barrier = threading.Barrier(8)

    def take():
        barrier.wait()
        try:
            with Turn(tmp_path) as turn:
                held.append(turn)
                while len(held) + len(busy) < 8:
                    threading.Event().wait(0.005)
        except ReleaseError as error:
            busy.append(error.status)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(held), busy) == (1, [75] * 7)


def test_a_killed_holder_on_this_node_is_noticed_at_once(tmp_path):
    code = "import os, sys; from dea.remote.releases.turn import Turn; Turn(sys.argv[1]).__enter__(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, tmp_path], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    with Turn(tmp_path):
        pass


def on_another_node(tmp_path, lost_after_s):
    path = tmp_path / "0.3"
    path.write_text(f"{lost_after_s} another-node 0-0-0 1 1")
    return path


def test_a_holder_on_another_node_counts_while_its_heart_beats(tmp_path):
    path = on_another_node(tmp_path, 120.0)
    assert "on 'another-node', process '1', heard of 0 s ago" in refused(tmp_path)
    stamp = path.stat().st_mtime
    os.utime(path, (stamp - 119, stamp - 119))
    refused(tmp_path)
    os.utime(path, (stamp - 130, stamp - 130))
    with Turn(tmp_path) as turn:
        turn.check()
    assert not path.exists()


def test_a_turn_that_nobody_can_read_counts_by_its_heartbeat(tmp_path):
    path = tmp_path / "0.0"
    path.write_text("?")
    refused(tmp_path)
    os.utime(path, (1, 1))
    with Turn(tmp_path):
        pass


def test_who_stood_still_for_too_long_notices_that_the_turn_is_anothers(tmp_path):
    with Turn(tmp_path) as turn:
        turn.check()
        on_another_node(tmp_path, 120.0)
        with pytest.raises(ReleaseError, match="another took its turn"):
            turn.check()


def test_the_heart_beats_while_it_is_held(tmp_path, until):
    with Turn(tmp_path, lost_after_s=0.3):
        (path,) = tmp_path.glob("0.*")
        first = path.stat().st_mtime_ns
        until(lambda: path.stat().st_mtime_ns > first)
    assert path.stat().st_mtime == 0


def test_an_update_while_another_goes_on_is_refused_as_busy(node, origin):
    origin.commit()
    with Turn(node.state / "git_pull"):
        node.refused("another update is going on", status=75)
    node.updated()
