"""How many bytes of tensors made on request are alive: the memory of a large model, counted on a small one."""

import weakref
from collections.abc import Iterator, Mapping

from torch import Tensor, from_numpy

from models.build import expected_shapes
from models.catalogue import Backbone


class LiveBytes:
    """`peak` and `now` count the bytes of all tensors that went through `track` and are still held somewhere."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def track(self, tensor: Tensor) -> Tensor:
        """A copy with memory of its own, counted until the last view of it is gone."""
        values = tensor.numpy().copy()
        self.now += values.nbytes
        self.peak = max(self.peak, self.now)
        weakref.finalize(values, self._freed, values.nbytes)
        return from_numpy(values)

    def _freed(self, count: int) -> None:
        self.now -= count


class CountedWeights(Mapping[str, Tensor]):
    """A state dict whose tensors are made when they are asked for, and counted."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state
        self.live = LiveBytes()

    def __getitem__(self, key: str) -> Tensor:
        return self.live.track(self._state[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


def block_and_rest_bytes(backbone: Backbone) -> tuple[int, int]:
    """Bytes of the largest block, and of all that is in no block, in float32."""
    blocks: dict[str, int] = {}
    rest = 0
    for key, shape in expected_shapes(backbone).items():
        count = 4
        for side in shape:
            count *= side
        first, *places = key.split(".")
        depth = {"blocks": 1, "stages": 2}.get(first, 0)
        if depth:
            name = ".".join([first, *places[:depth]])
            blocks[name] = blocks.get(name, 0) + count
        else:
            rest += count
    return max(blocks.values()), rest
