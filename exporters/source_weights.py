"""A state dict as a graph builder needs it: arrays, computed when they are asked for."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporters.graph_builder import GraphBuilder

Floats = NDArray[np.float32]


class SourceWeights:
    """Puts the tensors of a state dict, as they are or folded with others, into a graph."""

    def __init__(self, state: Mapping[str, Tensor], graph: GraphBuilder) -> None:
        self._state = state
        self._graph = graph

    def __contains__(self, key: str) -> bool:
        return key in self._state

    def array(self, key: str) -> Floats:
        """The values of a key; a view of the mapped file, not a copy."""
        return np.asarray(self._state[key].numpy())

    def keep(self, key: str) -> str:
        """The tensor of this key, unchanged, under its own name."""
        return self._graph.weight(key, tuple(self._state[key].shape), lambda: self.array(key))

    def fold(self, name: str, shape: tuple[int, ...], produce: Callable[[], NDArray[np.floating]]) -> str:
        """A computed weight. Sums over many terms are best computed in float64; the result is stored in float32."""
        return self._graph.weight(name, shape, lambda: np.ascontiguousarray(produce(), np.float32))

    def keep_rows(self, name: str, key: str, start: int, count: int) -> str:
        """`count` rows of a matrix from row `start` on, unchanged."""
        shape = (count, *self._state[key].shape[1:])
        return self._graph.weight(name, shape, lambda: self.array(key)[start : start + count])

    def masked_bias(self, key: str) -> Floats:
        """The bias of a joint query-key-value projection as the network applies it: `bias * bias_mask`."""
        return self.array(f"{key}.bias") * self.array(f"{key}.bias_mask")

    def scaled_linear(
        self, key: str, gain: str, shape: tuple[int, int], offset: Floats | None = None
    ) -> tuple[str, str]:
        """Weight and bias of `gain * (weight @ (value + offset) + bias)` as one linear layer of `value`."""

        def weight() -> Floats:
            return self.array(f"{key}.weight") * self.array(gain)[:, None]

        def bias() -> NDArray[np.float64]:
            total = self.array(f"{key}.bias").astype(np.float64)
            if offset is not None:
                total = total + self.array(f"{key}.weight").astype(np.float64) @ offset
            return total * self.array(gain)

        return self.fold(f"{key}.weight.scaled", shape, weight), self.fold(f"{key}.bias.scaled", shape[:1], bias)
