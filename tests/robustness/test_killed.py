"""`engine match` killed by SIGKILL: the next run goes on, and the end is as if nothing had happened."""

import random
import signal
import sys
import time
from pathlib import Path

import pytest
from robust_runs import SMALL_SHARDS, Workplace, check_complete_files, everything, json_results, partial_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

KILLS = 60
SLOW_WRITES = """
import os, time
import engine.store.atomic as atomic
def slowly(call):
    def wrapped(*arguments, **keywords):
        time.sleep(0.004)
        result = call(*arguments, **keywords)
        time.sleep(0.004)
        return result
    return wrapped
for name in ('replace', 'link', 'fsync'):
    setattr(os, name, slowly(getattr(os, name)))
"""
"""Widens the moments between the steps of a write, so that kills hit them."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, tiny_graph: Path) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("killed"), tiny_graph)


@pytest.fixture(scope="module")
def expected(workplace: Workplace) -> tuple[dict, dict, dict]:
    """What an undisturbed run leaves."""
    undisturbed = workplace.folder / "undisturbed"
    assert workplace.run(prelude=SMALL_SHARDS, exports=undisturbed)[0] == 0
    found = everything(undisturbed)
    assert tuple(map(len, found)) == (15, 15, 6)
    return found


@pytest.mark.slow
def test_sixty_kills_at_random_moments(workplace: Workplace, expected: tuple[dict, dict, dict], tmp_path: Path) -> None:

    prelude = SMALL_SHARDS + SLOW_WRITES
    started = time.monotonic()
    assert workplace.run(prelude=prelude, exports=tmp_path / "timed")[0] == 0
    whole_s = time.monotonic() - started
    rng = random.Random(20250912)
    kills, rounds, kept_of_rounds = 0, 0, []
    while kills < KILLS:
        exports = tmp_path / f"round{rounds}"
        kept: list[int] = []
        while kills < KILLS + 10:
            process = workplace.start(prelude=prelude, exports=exports)
            # Start-up writes nothing: most kills fall into the time after it.
            time.sleep(rng.uniform(0.25, 1.0) * whole_s)
            process.send_signal(signal.SIGKILL)
            _, err = process.communicate()
            finished = process.returncode == 0  # it may end between any look at it and the signal
            assert finished or process.returncode == -signal.SIGKILL
            assert "Traceback" not in err
            check_complete_files(exports)
            present = json_results(exports)
            assert len(present) >= (kept[-1] if kept else 0)
            assert all(document == expected[0][name] for name, document in present.items())
            kept.append(len(present))
            if finished:
                break
            kills += 1
        rounds += 1
        code, _, err = workplace.run(prelude=SMALL_SHARDS, exports=exports)
        assert (code, err) == (0, "")
        assert everything(exports) == expected
        kept_of_rounds.append(kept)
    assert kills >= 50
    assert any(0 < count < 15 for kept in kept_of_rounds for count in kept), "no kill fell into the work itself"


def test_a_kill_loses_at_most_the_shard_in_progress(workplace: Workplace, tmp_path: Path) -> None:
    """Killed after exactly two shards of three pairs: those six are kept, the seventh and eighth pair are not."""
    stop = """
import os, signal
from engine.pair_matching import PairMatcher
original, done = PairMatcher.complete, []
def counted(self, *arguments):
    done.append(1)
    if len(done) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)
PairMatcher.complete = counted
"""
    exports = tmp_path / "exports"
    process = workplace.start(prelude=SMALL_SHARDS + stop, exports=exports)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    check_complete_files(exports)
    assert len(json_results(exports)) == 6
    code, out, _ = workplace.run(prelude=SMALL_SHARDS, exports=exports)
    assert code == 0
    assert "6 pair(s) already done" in out
    assert "9 JSON files" in out


STEPS = [("os.fsync", 3, False), ("os.link", 1, True), ("os.replace", 1, False)]
MORE_STEPS = [
    pytest.param(call, at, after, marks=pytest.mark.slow)
    for call in ("os.fsync", "os.link", "os.replace")
    for at in (0, 1, 2, 4, 7)
    for after in (False, True)
    if (call, at, after) not in STEPS
]


@pytest.mark.parametrize(("call", "at", "after"), [*STEPS, *MORE_STEPS])
def test_killed_at_one_step_of_a_write(
    call: str, at: int, after: bool, workplace: Workplace, expected: tuple[dict, dict, dict], tmp_path: Path
) -> None:
    stop = f"""
import os, signal
original, seen = {call}, []
def counted(*arguments, **keywords):
    seen.append(1)
    if len(seen) == {at + 1} and not {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **keywords)
    if len(seen) == {at + 1}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
{call} = counted
"""
    exports = tmp_path / "exports"
    process = workplace.start(prelude=SMALL_SHARDS + stop, exports=exports)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    check_complete_files(exports)
    code, _, err = workplace.run(prelude=SMALL_SHARDS, exports=exports)
    assert (code, err) == (0, "")
    assert everything(exports) == expected
    assert partial_files(exports) == []
