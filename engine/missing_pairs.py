"""What a run still has to do: the pairs whose results are not there yet."""

import numpy as np
from numpy.typing import NDArray

from engine.pairs import Pair, PairIndexList
from engine.progress import progress_bar
from engine.result_writer import ResultWriter

_LOOKED_UP = 1 << 14
"""Pairs looked up in the store at a time."""


def missing_pairs(
    writer: ResultWriter, pairs: PairIndexList, json_step: int, anew: bool, both_directions: bool
) -> tuple[NDArray[np.bool_], int]:
    """The pairs to match; of the others, JSON files that are missing are written from what is stored.

    Args:
        json_step: every so many pairs have a JSON file.
        anew: all are to be matched.
        both_directions: neither may be missing.

    Returns:
        [P] bool, true where a pair has to be matched, and how many pairs need nothing at all.

    Raises:
        WriteError: a JSON file cannot be written.
    """
    missing = np.ones(len(pairs), np.bool_)
    if anew:
        return missing, 0
    starts = range(0, len(pairs), _LOOKED_UP)
    for start in progress_bar(starts, len(starts), f"{_LOOKED_UP:,} pairs", "look up stored pairs"):
        part = slice(start, start + _LOOKED_UP)
        first, second = pairs.numbers(part)
        stored = writer.stored_pairs(pairs.entries, first, second)
        if both_directions:
            stored &= writer.stored_pairs(pairs.entries, second, first)
        missing[part] = ~stored
    with_json = np.flatnonzero(~missing[::json_step]) * json_step
    renewed = 0
    asked = zip(with_json.tolist(), pairs.take(with_json), strict=True)
    for number, pair in progress_bar(asked, len(with_json), "pair", "look for results"):
        restored = writer.restored
        done = writer.is_done(pair) and (not both_directions or writer.is_done(Pair(pair.b, pair.a)))
        missing[number] = not done
        renewed += done and writer.restored > restored
    return missing, int(len(pairs) - missing.sum()) - renewed
