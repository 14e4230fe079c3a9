"""Mutual nearest neighbours on a GPU: feature maps go there, only matches come back. Not a plugin itself.

The graph is `mutual_block.onnx`, built by `exporters/matcher_graph.py`. Sums are those of the device in float32: where
two neighbours are equally near to within their rounding, it may choose another than the CPU, and similarities may
differ from exact ones in the last digits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import Device, FeatureMap, Matches, OutOfMemory
from plugins.device_maps import DeviceMaps, HeldMaps, failure, open_session

PRODUCT_BYTES = 1 << 30
"""Bytes of similarities on the device at a time."""
DENSE = 0.5
"""From this share of wanted pairs on, all pairs of some rows and columns are computed: that saves copies of maps."""

Pairs = NDArray[np.intp]
"""[P, 2]: row of a and row of b, sorted."""


@dataclass(frozen=True, eq=False)
class _Part:
    """What one run of the graph computes.

    Attributes:
        used_a, used_b: [U] and [V], maps of a and of b that take part.
        rows, columns: [X, S] and [T, Y], numbers in these, as the graph takes them.
        at: where in the graph's [X, Y] outputs each wanted pair stands.
    """

    used_a: NDArray[np.intp]
    used_b: NDArray[np.intp]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    at: tuple[NDArray[np.intp], NDArray[np.intp]]

    def __len__(self) -> int:
        return len(self.at[0])

    @property
    def computed(self) -> int:
        """Pairs that the graph computes, wanted or not."""
        return len(self.rows) * int(self.columns.shape[1])


class DeviceBlockMatcher:
    """Matches blocks of maps on a device of ONNX Runtime."""

    def __init__(self, device: Device) -> None:
        """Opens the graphs.

        Raises:
            WorkError: the provider did not start.
        """
        self._session = open_session("mutual_block", device)
        self._maps = DeviceMaps(device)
        self._room = PRODUCT_BYTES

    def __call__(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, Matches]]:
        """The matches of all wanted pairs, by row of a and then of b.

        Raises:
            OutOfMemory: the device has no room even for one pair.
            WorkError: it failed otherwise.
        """
        if not wanted.any():
            return
        used_a, used_b = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
        try:
            held = self._maps([*(a[row] for row in used_a.tolist()), *(b[row] for row in used_b.tolist())])
        except OutOfMemory:
            if max(len(used_a), len(used_b)) == 1:
                raise
            yield from self._by_quarters(a, b, wanted)
            return
        on_device_a, on_device_b = np.zeros(len(a), np.int64), np.zeros(len(b), np.int64)
        on_device_a[used_a], on_device_b[used_b] = held.at[: len(used_a)], held.at[len(used_a) :]
        pairs = np.argwhere(wanted)
        while len(pairs):
            part = self._next_part(pairs, held)
            try:
                found = self._run(held, on_device_a[part.used_a], on_device_b[part.used_b], part)
            except OutOfMemory:
                if part.computed == 1:
                    raise
                self._room = part.computed // 2 * _product_bytes(held)
                continue
            for (row, column), matches in zip(pairs[: len(part)].tolist(), found, strict=True):
                yield row, column, matches
            pairs = pairs[len(part) :]

    def _by_quarters(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, Matches]]:
        """The same where not all maps have room at once: halves of a with halves of b."""
        half_a, half_b = -(-len(a) // 2), -(-len(b) // 2)
        for top in (0, half_a):
            rows = slice(top, top + half_a)
            found = [
                (top + row, left + column, matches)
                for left in (0, half_b)
                for row, column, matches in self(a[rows], b[left : left + half_b], wanted[rows, left : left + half_b])
            ]
            yield from sorted(found, key=lambda entry: entry[:2])

    def _next_part(self, pairs: Pairs, held: HeldMaps) -> _Part:
        """The next pairs that have room together: rows with all their columns where most are wanted, else pairs."""
        most = max(1, self._room // _product_bytes(held))
        part = pairs[:most]
        if len(part) < len(pairs) and part[0, 0] != part[-1, 0]:
            part = part[: np.searchsorted(part[:, 0], part[-1, 0])]
        used_a, rows = np.unique(part[:, 0], return_inverse=True)
        used_b, columns = np.unique(part[:, 1], return_inverse=True)
        if DENSE * len(used_a) * len(used_b) <= len(part) and len(used_a) * len(used_b) <= most:
            every_a, every_b = np.arange(len(used_a)), np.arange(len(used_b))
            return _Part(used_a, used_b, every_a[:, None], every_b[None], (rows, columns))
        part = pairs[: max(1, self._room // (_product_bytes(held) + _copy_bytes(held)))]
        used_a, rows = np.unique(part[:, 0], return_inverse=True)
        used_b, columns = np.unique(part[:, 1], return_inverse=True)
        return _Part(used_a, used_b, rows[:, None], columns[:, None], (np.arange(len(part)), np.zeros(len(part), int)))

    def _run(self, held: HeldMaps, maps_a: NDArray[np.int64], maps_b: NDArray[np.int64], part: _Part) -> list[Matches]:
        """The matches of the wanted pairs of a part."""
        try:
            binding = self._session.io_binding()
            binding.bind_ortvalue_input("tokens", held.tokens)
            binding.bind_ortvalue_input("fill", held.fill)
            chosen = {"maps_a": maps_a, "maps_b": maps_b, "rows": part.rows, "columns": part.columns}
            for name, numbers in chosen.items():
                binding.bind_cpu_input(name, np.ascontiguousarray(numbers, np.int64))
            for name in ("index_a", "index_b", "similarity", "count"):
                binding.bind_output(name)
            self._session.run_with_iobinding(binding)
            index_a, index_b, similarity, count = binding.copy_outputs_to_cpu()
        except Exception as error:
            raise failure("matching on the device", error) from error
        np.maximum(similarity, -1.0, out=similarity)
        kept = [(row, column, slice(int(count[row, column]))) for row, column in zip(*part.at, strict=True)]
        return [Matches(index_a[at], index_b[at], similarity[at]) for at in kept]


def _product_bytes(held: HeldMaps) -> int:
    """Bytes of a pair's similarities."""
    tokens: int = held.tokens.shape()[1]
    return tokens * tokens * 4


def _copy_bytes(held: HeldMaps) -> int:
    """Bytes of copies of both maps that a pair takes where pairs are computed one by one."""
    _, tokens, dim = held.tokens.shape()
    copies: int = 2 * tokens * (dim + 2) * 4
    return copies
