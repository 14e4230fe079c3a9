"""Two runs at once on one store both finish, and what they leave is what one run leaves."""

from pathlib import Path

import pytest
from robust_runs import SMALL_SHARDS, Workplace, check_complete_files, everything, partial_files

SLOW_PAIRS = """
import time
import engine.pipeline as pipeline
original_match = pipeline.PairMatcher.__call__
def slowly(self, *arguments):
    time.sleep(0.05)
    return original_match(self, *arguments)
pipeline.PairMatcher.__call__ = slowly
"""
"""Makes the runs overlap."""


@pytest.mark.parametrize("arguments", [((), ()), (("-a", "400"), ("-b", "200")), (("-a", "400", "-b", "200"), ())])
def test_two_runs_at_once(arguments: tuple[tuple[str, ...], ...], tmp_path: Path, tiny_graph: Path) -> None:
    workplace = Workplace(tmp_path, tiny_graph, frames=3)
    running = [workplace.start(*given, prelude=SMALL_SHARDS + SLOW_PAIRS) for given in arguments]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert [(err, code) for _, err, code in ended] == [("", 0), ("", 0)]
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


DIE_SOON = """
import os, signal, threading
threading.Timer(0.9, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
"""


def test_a_run_beside_one_that_is_killed(tmp_path: Path, tiny_graph: Path) -> None:
    """What the living run is writing is not taken for a leftover of the dead one, nor the other way round."""
    workplace = Workplace(tmp_path, tiny_graph, frames=3)
    alone = tmp_path / "alone"
    assert workplace.run(prelude=SMALL_SHARDS, exports=alone)[0] == 0
    living = workplace.start(prelude=SMALL_SHARDS + SLOW_PAIRS)
    for _ in range(3):
        dying = workplace.start(prelude=SMALL_SHARDS + SLOW_PAIRS + DIE_SOON)
        dying.communicate(timeout=120)
    _, err = living.communicate(timeout=120)
    assert (living.returncode, err) == (0, "")
    assert workplace.run(prelude=SMALL_SHARDS)[0] == 0
    assert everything(workplace.exports) == everything(alone)
    assert partial_files(workplace.exports) == []
