"""Which frames of the overlap refinement looks at, and how far it looks in each."""

from dataclasses import dataclass

import numpy as np

from engine.refine.structure import Blocks


@dataclass(frozen=True)
class Attempt:
    """One step on a frame of the whole overlap.

    Attributes:
        name: `dense` or `structure`.
        shorter_px: the frame's shorter side in pixels.
        threshold_px: largest error of an inlier in pixels of the frame.
        reach: of dense steps, how far to look, in tokens.
        blocks: of structure steps.
    """

    name: str
    shorter_px: int
    threshold_px: float
    reach: int = 0
    blocks: Blocks | None = None

    @property
    def label(self) -> str:
        return f"{self.name}_{self.shorter_px}px"


def attempts(image_size: int, stride: int) -> tuple[Attempt, ...]:
    """The steps in order, each looking less far than the one before.

    The dense one looks about a quarter of the overlap far, at the size of matching, within 16 to 32 tokens a side.
    """
    side = int(np.clip(image_size, 16 * stride, 32 * stride))
    return (
        Attempt("dense", side, 0.75 * stride, reach=max(3, round(0.24 * side / stride))),
        Attempt("structure", 288, 4.0, blocks=Blocks(48, 16, 20)),
        Attempt("structure", 480, 3.0, blocks=Blocks(48, 10, 24)),
        Attempt("structure", 800, 2.5, blocks=Blocks(48, 8, 28)),
    )
