"""Matcher `mutual_knn`: tokens that are among each other's k nearest by cosine similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import BlockMatchFunction, Device, DeviceMatchFunction, FeatureMap, MatcherRecord, Matches, hookimpl, option
from plugins.nearest import cosine_of_pairs, nearest_both_ways


@dataclass(frozen=True)
class MutualKnnOptions:
    """Options of `mutual_knn`."""

    k: int = option(1, minimum=1, maximum=100, help="nearest neighbours looked at from each side")


def match(a: FeatureMap, b: FeatureMap, options: MutualKnnOptions) -> Matches:
    """Matches (i, j) where j is among the k nearest of i, and i among the k nearest of j; ties to the lowest index.

    With k above 1 a token may take part in several matches.
    """
    if options.k == 1:
        from plugins.mutual_block import Tokens, match_exactly

        return match_exactly(Tokens.of(a), Tokens.of(b))
    nearest_of_a, nearest_of_b = nearest_both_ways(a.descriptors, b.descriptors, options.k)
    index_a = np.repeat(np.arange(len(a)), nearest_of_a.shape[1])
    index_b = nearest_of_a.reshape(-1)
    back = nearest_of_b[index_b] if len(index_b) else nearest_of_b[:0]
    mutual = (back == index_a[:, None]).any(axis=1)
    index_a, index_b = index_a[mutual], index_b[mutual]
    return Matches.best_first(index_a, index_b, cosine_of_pairs(a.descriptors, b.descriptors, index_a, index_b))


def block() -> BlockMatchFunction:
    """The fast form for k = 1; with more neighbours, pairs are matched one by one, in float32."""
    from plugins.mutual_block import match_block

    def blocks(
        a: Sequence[FeatureMap],
        b: Sequence[FeatureMap],
        wanted: NDArray[np.bool_],
        options: MutualKnnOptions,
        /,
        precision: str = "fp32",
        threads: int = 1,
    ) -> Iterator[tuple[int, int, Matches]]:
        if options.k == 1:
            return match_block(a, b, wanted, precision, threads)
        return ((i, j, match(a[i], b[j], options)) for i, j in np.argwhere(wanted).tolist())

    return blocks


def on_device(device: Device, options: MutualKnnOptions) -> DeviceMatchFunction | None:
    """The form for a GPU, for k = 1."""
    from plugins.mutual_device import DeviceBlockMatcher

    return DeviceBlockMatcher(device) if options.k == 1 else None


@hookimpl
def engine_matchers() -> list[MatcherRecord]:
    """The matcher of this module."""
    return [
        MatcherRecord(
            name="mutual_knn",
            help="tokens among each other's k nearest neighbours",
            options=MutualKnnOptions,
            factory=lambda: match,
            mode=lambda options: f"mutual_knn_k{options.k}_unique",
            block=block,
            precisions=("fp32", "int8"),
            device=on_device,
        )
    ]
