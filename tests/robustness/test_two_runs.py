"""Two runs at once on one store both finish, and what they leave is what one run leaves."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from robust_runs import SMALL_SHARDS, Run, Workplace, check_complete_files, everything, partial_files

LONGEST_WAIT_S = 120
"""Nothing is decided by time: what does not come about within this is a failure."""

IN_STEP = """
import atexit, time
from pathlib import Path
from engine.pair_matching import PairMatcher
meeting, me, other = Path({meeting!r}), {me}, {other}
original, begun = PairMatcher.complete, []
atexit.register((meeting / f'{{me}}-ended').touch)
def in_step(self, *arguments):
    begun.append(1)
    here, there = (meeting / f'{{run}}-{{len(begun)}}' for run in (me, other))
    here.touch()
    latest = time.monotonic() + {longest_s}
    while not there.exists() and not (meeting / f'{{other}}-ended').exists():
        if time.monotonic() > latest:
            raise TimeoutError(f'the other run did not reach pair {{len(begun)}}')
        time.sleep(0.002)
    return original(self, *arguments)
PairMatcher.complete = in_step
"""
"""Makes two runs overlap: neither goes on with a pair before the other has come as far, or is at its end."""


def in_step(meeting: Path, me: int) -> str:
    return IN_STEP.format(meeting=str(meeting), me=me, other=1 - me, longest_s=LONGEST_WAIT_S)


@pytest.mark.parametrize("arguments", [((), ()), (("-a", "400"), ("-b", "200")), (("-a", "400", "-b", "200"), ())])
def test_two_runs_at_once(arguments: tuple[tuple[str, ...], ...], tmp_path: Path, tiny_graph: Path) -> None:
    workplace = Workplace(tmp_path, tiny_graph, frames=3)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    running = [
        workplace.start(*given, prelude=SMALL_SHARDS + in_step(meeting, me)) for me, given in enumerate(arguments)
    ]
    ended = [(*process.communicate(timeout=2 * LONGEST_WAIT_S), process.returncode) for process in running]
    assert [(err, code) for _, err, code in ended] == [("", 0), ("", 0)]
    # Both were at work on the same pairs, two shards and more, before either had ended.
    assert all((meeting / f"{me}-{pair}").exists() for me in (0, 1) for pair in range(1, 9))
    check_complete_files(workplace.exports)
    assert partial_files(workplace.exports) == []
    # A third run finds everything that either of them was asked for.
    code, out, err = workplace.run(prelude=SMALL_SHARDS)
    assert (code, err) == (0, "")
    assert "already done" in out
    if () in arguments:
        assert "15 pair(s) already done" in out
        assert "0 encoded, 6 reused" in out
    alone = tmp_path / "alone"
    assert workplace.run(prelude=SMALL_SHARDS, exports=alone)[0] == 0
    found, expected = everything(workplace.exports), everything(alone)
    for ours, theirs in zip(found, expected, strict=True):
        # A pair that both sides of one run name may be stored in both orders.
        assert {name: ours[name] for name in theirs} == theirs


HELD = """
import time
from pathlib import Path
import engine.store.atomic as atomic
sync_file, synced = atomic._sync_file, []
def held(partial):
    if partial.name.startswith('.matches-'):
        synced.append(partial)
        if len(synced) == {shard}:
            Path({told!r}).write_text(partial.name)
            latest = time.monotonic() + {longest_s}
            while not Path({let_go!r}).exists():
                if time.monotonic() > latest:
                    raise TimeoutError('never let go')
                time.sleep(0.002)
    sync_file(partial)
atomic._sync_file = held
"""
"""Holds a run in the middle of writing a shard of matches, until a file allows it to go on."""


def held_at(shard: int, told: Path, let_go: Path) -> str:
    return HELD.format(shard=shard, told=str(told), let_go=str(let_go), longest_s=5 * LONGEST_WAIT_S)


def wait_for(happened: Callable[[], bool], process: Run) -> None:
    latest = time.monotonic() + LONGEST_WAIT_S
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < latest
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_run_beside_ones_that_are_killed(tmp_path: Path, tiny_graph: Path) -> None:
    """What the living run is writing is not taken for a leftover of the dead ones, nor the other way round."""
    workplace = Workplace(tmp_path, tiny_graph, frames=3)
    alone = tmp_path / "alone"
    assert workplace.run(prelude=SMALL_SHARDS, exports=alone)[0] == 0

    def partials() -> set[str]:
        return {path.name for path in partial_files(workplace.exports)}

    def shards() -> int:
        return len(list((workplace.exports / "pair_match").glob("*_matches/*/matches-*.h5")))

    told, let_go, never = tmp_path / "living", tmp_path / "go", tmp_path / "never"
    living = workplace.start(prelude=SMALL_SHARDS + held_at(1, told, let_go))
    wait_for(lambda: told.exists() and told.read_text() != "", living)
    in_progress = told.read_text()
    assert partials() == {in_progress}
    for number in range(3):
        told = tmp_path / f"dying-{number}"
        dying = workplace.start(prelude=SMALL_SHARDS + held_at(2, told, never))
        # It has completed a shard of its own, and is in the middle of the next, as the living run still is.
        wait_for(lambda told=told: told.exists() and told.read_text() != "", dying)
        assert shards() == number + 1
        # It removed what the one before it left, and only that.
        assert partials() == {in_progress, told.read_text()}
        assert living.poll() is None
        dying.send_signal(signal.SIGKILL)
        dying.communicate(timeout=LONGEST_WAIT_S)
        assert dying.returncode == -signal.SIGKILL
        assert partials() == {in_progress, told.read_text()}
    let_go.touch()
    _, err = living.communicate(timeout=LONGEST_WAIT_S)
    assert (living.returncode, err) == (0, "")
    assert workplace.run(prelude=SMALL_SHARDS)[0] == 0
    assert everything(workplace.exports) == everything(alone)
    assert partial_files(workplace.exports) == []
