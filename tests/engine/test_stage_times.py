"""Where the time of a run went."""

import threading
import time

import pytest

from engine.stage_times import StageTimes


def test_seconds_of_all_threads_add_up() -> None:
    times = StageTimes()

    def work() -> None:
        for _ in range(100):
            times.add("decode", 0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times.seconds("decode") == pytest.approx(400)
    assert times.seconds("match") == 0


def test_a_block_is_timed_also_when_it_fails() -> None:
    times = StageTimes()

    def fail() -> None:
        with times("write"):
            time.sleep(0.02)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert 0.02 <= times.seconds("write") < 1


def test_the_table_names_stages_in_the_order_of_the_work() -> None:
    times = StageTimes()
    times.add("verify", 1.0, count=100)
    times.add("decode", 3.0, count=10)
    head, decode, verify, clock = times.table()
    assert head.split() == ["stage", "seconds", "share", "each"]
    assert decode.split() == ["decode", "3.0", "75%", "300.0", "ms"]
    assert verify.split() == ["verify", "1.0", "25%", "10.0", "ms"]
    assert clock.startswith("on the clock")
    assert float(clock.split()[-1]) < 60
