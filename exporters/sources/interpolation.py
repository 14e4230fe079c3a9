"""Cubic resizing of position tables as two matrix products, for tracing.

PyTorch's exporter makes constants of the sizes that `torch.nn.functional.interpolate(mode="bicubic")` is given, so that
the graph would run at one grid only. Written as matrices that are computed from the sizes, the same resizing stays
dynamic, and needs no `Resize` operator.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_PLAIN, _ANTIALIASED = -0.75, -0.5
"""The free parameter of R. Keys' cubic kernel (doi:10.1109/TASSP.1981.1163711), as PyTorch has it."""


@contextlib.contextmanager
def traceable_interpolation(model: nn.Module) -> Iterator[None]:
    """For the time of the block, bicubic `interpolate` to a size, without aligned corners, is computed by matrices.

    Transformers' own `torch_int`, which some models pass sizes through, makes constants of them too: it is passed by.
    """
    original = functional.interpolate

    def interpolate(
        input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **rest: Any
    ) -> Any:
        pair = isinstance(size, tuple | list) and len(size) == 2
        if mode != "bicubic" or not pair or scale_factor is not None or rest.get("align_corners"):
            return original(input, size=size, scale_factor=scale_factor, mode=mode, **rest)
        return resize_bicubic(input, size[0], size[1], bool(rest.get("antialias")))

    modules = {sys.modules[type(part).__module__] for part in model.modules()}
    fixing = {module: module.torch_int for module in modules if hasattr(module, "torch_int")}
    for module, original_int in fixing.items():
        module.torch_int = _keeping_symbols(original_int)  # type: ignore[attr-defined]
    functional.interpolate = interpolate  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.interpolate = original
        for module, original_int in fixing.items():
            module.torch_int = original_int  # type: ignore[attr-defined]


def _keeping_symbols(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, torch.SymInt) else original(value)


def resize_bicubic(table: Tensor, rows: int, cols: int, antialias: bool) -> Tensor:
    """[B, C, h, w] to [B, C, rows, cols], as `torch.nn.functional.interpolate` with half-pixel centres."""
    weights = antialiased_weights if antialias else plain_weights
    down, across = (weights(count, size) for count, size in ((table.shape[2], rows), (table.shape[3], cols)))
    return down.to(table.dtype) @ table @ across.to(table.dtype).T


def plain_weights(count: int, size: int) -> Tensor:
    """[size, count]: four taps about each centre; those beyond the edge count for the edge."""
    centre = (torch.arange(size, dtype=torch.float32) + 0.5) * (count / size) - 0.5
    first = torch.floor(centre)
    share = centre - first
    places = torch.arange(count)
    total = torch.zeros(1)
    for tap in (-1, 0, 1, 2):
        place = torch.clamp(first + tap, 0, count - 1).to(torch.int64)
        weight = _cubic(torch.abs(share - tap), _PLAIN)
        total = total + torch.where(place[:, None] == places[None], weight[:, None], 0.0)
    return total


def antialiased_weights(count: int, size: int) -> Tensor:
    """[size, count]: the kernel widened where the table shrinks, cut at the edges and scaled to a sum of 1."""
    steps = torch.arange(size, dtype=torch.float32) + 0.5
    scale = count / (steps.shape[0] * torch.ones(1))
    reach = torch.clamp(scale, min=1.0)
    distance = torch.abs((torch.arange(count, dtype=torch.float32)[None] + 0.5 - (steps * scale)[:, None]) / reach)
    weights = _cubic(distance, _ANTIALIASED)
    return weights / weights.sum(dim=1, keepdim=True)


def _cubic(distance: Tensor, a: float) -> Tensor:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
