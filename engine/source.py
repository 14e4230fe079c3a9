"""What matching a pair needs of its photographs."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.candidate import Prepared
from engine.pairs import Pair
from engine.refine.local_features import Keypoints
from engine.views import View


class Source(Protocol):
    """Gives what a pair's photographs hold; raises ImageReadError where one cannot be decoded."""

    def __call__(self, pair: Pair, side: str, view: View, /) -> Prepared:
        """The prepared view of a side, `a` or `b`."""
        ...

    def photograph(self, pair: Pair, side: str, /) -> NDArray[np.uint8]:
        """The photograph of a side, [H, W, 3] uint8 RGB in original pixels."""
        ...

    def keypoints(self, pair: Pair, side: str, /) -> Keypoints:
        """The keypoints of a side, found once."""
        ...

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture [H, W, 3] whose sides are multiples of the stride."""
        ...
