"""Mutual nearest neighbours of many pairs of maps, at the speed of the matrix product: not a plugin itself."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import FeatureMap, Matches
from plugins.mutual_nearest import error_bound, mutual_matches, widen
from plugins.products import largest_int8, product_fp32, product_int8

PAIRS_PER_TASK = 16
"""Pairs that a thread takes at a time: a few milliseconds, so that handing out costs little."""
TASKS_AHEAD = 2
"""Tasks per thread that may be finished or waiting before the next result is asked for."""
INT8_DEVIATIONS = 3.0
"""How many standard deviations of the error of an 8-bit similarity still count as near."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A map made ready for products in float32: [N, D], every value a float16."""

    exact: NDArray[np.float32]

    @classmethod
    def of(cls, features: FeatureMap) -> "Tokens":
        """Widens the descriptors."""
        return cls(widen(features.descriptors))


@dataclass(frozen=True, eq=False)
class Int8Tokens:
    """A map made ready for 8-bit products.

    Attributes:
        exact: [N, D] float32, every value a float16.
        left: [N, D] uint8 with its zero at 128, for the first factor.
        right: [D, N] int8, for the second factor.
        deviation: root of the mean square of what rounding to 8 bits took from a token, as a length.
    """

    exact: NDArray[np.float32]
    left: NDArray[np.uint8]
    right: NDArray[np.int8]
    deviation: float

    @classmethod
    def of(cls, exact: NDArray[np.float32], step: float) -> "Int8Tokens":
        """Rounds tokens to whole multiples of `step`."""
        steps = exact * np.float32(1 / step)
        rounded = np.rint(steps)
        steps -= rounded
        flat = steps.ravel()
        deviation = step * float(np.sqrt(flat @ flat / max(1, len(exact))))
        signed = rounded.astype(np.int8)
        return cls(exact, signed.view(np.uint8) ^ np.uint8(128), np.ascontiguousarray(signed.T), deviation)


def match_exactly(a: Tokens, b: Tokens) -> Matches:
    """The mutual nearest neighbours of two maps."""
    margin = 2 * error_bound(a.exact.shape[1])
    return mutual_matches(lambda rows: product_fp32(a.exact[rows], b.exact), margin, a.exact, b.exact)


def match_by_int8(a: Int8Tokens, b: Int8Tokens, step: float) -> Matches:
    """The same, but a neighbour may be missed that is less near than others after rounding to 8 bits, by far."""
    # What rounding takes from a token lies in no direction more than in another, so its product with a unit vector
    # has 1/sqrt(D) of its length as deviation; two tokens of a product, and two products compared.
    deviation = np.sqrt(2 * (a.deviation**2 + b.deviation**2) / a.exact.shape[1])
    margin = int(np.ceil(INT8_DEVIATIONS * deviation / step**2))
    return mutual_matches(lambda rows: product_int8(a.left[rows], b.right), margin, a.exact, b.exact)


def match_block(
    a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_], precision: str, threads: int
) -> Iterator[tuple[int, int, Matches]]:
    """The mutual nearest neighbours of all wanted pairs; see `engine.BlockMatchFunction`."""
    maps = {id(features): features for features in (*a, *b)}
    exact = {key: Tokens.of(features) for key, features in maps.items()}
    match: Callable[[int, int], Matches]
    if precision == "int8":
        largest = max((float(np.abs(t.exact).max()) for t in exact.values() if t.exact.size), default=1.0)
        step = (largest or 1.0) / largest_int8()
        rounded = {key: Int8Tokens.of(tokens.exact, step) for key, tokens in exact.items()}

        def match(row: int, column: int) -> Matches:
            return match_by_int8(rounded[id(a[row])], rounded[id(b[column])], step)
    else:

        def match(row: int, column: int) -> Matches:
            return match_exactly(exact[id(a[row])], exact[id(b[column])])

    yield from _in_order(match, np.argwhere(wanted), threads)


def _in_order(
    match: Callable[[int, int], Matches], pairs: NDArray[np.intp], threads: int
) -> Iterator[tuple[int, int, Matches]]:
    """Calls `match` for pairs [K, 2] in several threads; a bounded number of results waits."""

    def work(part: NDArray[np.intp]) -> list[tuple[int, int, Matches]]:
        return [(row, column, match(row, column)) for row, column in part.tolist()]

    parts = (pairs[start : start + PAIRS_PER_TASK] for start in range(0, len(pairs), PAIRS_PER_TASK))
    if threads <= 1 or len(pairs) <= 1:
        for part in parts:
            yield from work(part)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="match") as pool:
        waiting: deque[Future[list[tuple[int, int, Matches]]]] = deque()
        try:
            while True:
                for part in itertools.islice(parts, TASKS_AHEAD * threads - len(waiting)):
                    waiting.append(pool.submit(work, part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            for task in waiting:
                task.cancel()
