"""Places: never more at once than there are, whoever takes them, dies, or is late."""

import os
import threading
import time

import pytest

from dea.remote.places import take_place


def test_a_place_that_is_given_back_can_be_taken(tmp_path):
    place = take_place(str(tmp_path / "p"), 1, 60)
    assert take_place(str(tmp_path / "p"), 1, 60) is None
    place.give_back()
    assert take_place(str(tmp_path / "p"), 1, 60) is not None


def test_a_holder_without_a_heartbeat_frees_its_place_and_one_with_does_not(tmp_path):
    folder = str(tmp_path)
    place = take_place(folder, 1, 60)
    (file,) = tmp_path.iterdir()
    os.utime(file, (time.time() - 61, time.time() - 61))
    place.beat()
    assert take_place(folder, 1, 60) is None
    os.utime(file, (time.time() - 61, time.time() - 61))
    # How long a holder may be silent is the holder's own word.
    assert take_place(folder, 1, 1e6) is not None
    place.beat()
    place.give_back()  # the former holder, woken up: the place is no longer its to give
    assert take_place(folder, 1, 60) is None


def test_a_taker_that_was_slow_does_not_take_a_place_that_is_taken_again(tmp_path, monkeypatch):
    folder = str(tmp_path)
    take_place(folder, 1, 60).give_back()
    link = os.link
    others = []

    def slow(source, target):
        # While this process sleeps before its link(2), the place is taken, given back and taken again.
        monkeypatch.setattr(os, "link", link)
        take_place(folder, 1, 60).give_back()
        others.append(take_place(folder, 1, 60))
        link(source, target)

    monkeypatch.setattr(os, "link", slow)
    assert take_place(folder, 1, 60) is None
    assert others != [None]
    assert take_place(folder, 1, 60) is None


def test_a_link_that_worked_and_was_repeated_is_ones_own(tmp_path, monkeypatch):
    link = os.link

    def repeated(source, target):
        link(source, target)
        raise FileExistsError  # NFS: the answer to the first call was lost

    monkeypatch.setattr(os, "link", repeated)
    assert take_place(str(tmp_path), 1, 60) is not None
    monkeypatch.setattr(os, "link", link)
    assert take_place(str(tmp_path), 1, 60) is None


def test_a_place_whose_file_a_power_cut_emptied_is_free_one_day(tmp_path):
    take_place(str(tmp_path), 1, 60)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"")
    assert take_place(str(tmp_path), 1, 60) is None
    os.utime(file, (time.time() - 121, time.time() - 121))
    assert take_place(str(tmp_path), 1, 60) is not None


def test_who_lost_a_place_can_know_it(tmp_path):
    place = take_place(str(tmp_path), 1, 60)
    assert place.is_held()
    (file,) = tmp_path.iterdir()
    os.utime(file, (time.time() - 61, time.time() - 61))
    other = take_place(str(tmp_path), 1, 60)
    assert (place.is_held(), other.is_held()) == (False, True)


def test_a_holder_that_is_known_to_be_gone_frees_its_place_at_once(tmp_path):
    seen = []

    def is_gone(holder, silent_s):
        seen.append(holder)
        return holder == "somebody" and silent_s < 60

    take_place(str(tmp_path), 1, 60, "somebody")
    assert take_place(str(tmp_path), 1, 60) is None
    assert take_place(str(tmp_path), 1, 60, "somebody else", is_gone) is not None
    assert take_place(str(tmp_path), 1, 60, "a third", is_gone) is None
    assert seen == ["somebody", "somebody else"]


def test_nothing_is_left_but_the_places(tmp_path):
    for _ in range(20):
        take_place(str(tmp_path), 2, 60).give_back()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("places", [1, 3])
def test_many_at_once_never_hold_more_than_there_are(tmp_path, places):
    folder = str(tmp_path / "places")
    now = most = taken = 0
    lock = threading.Lock()
    failures = []

    def work():
        nonlocal now, most, taken
        try:
            for _ in range(60):
                place = take_place(folder, places, 60)
                if place is None:
                    os.sched_yield()
                    continue
                with lock:
                    now, taken = now + 1, taken + 1
                    most = max(most, now)
                os.sched_yield()
                with lock:
                    now -= 1
                place.give_back()
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert most <= places
    assert taken > 20
