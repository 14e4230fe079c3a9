"""Feature maps in memory: the latest used ones, as many as a budget allows; the rest is encoded or read again."""

from collections import OrderedDict
from collections.abc import Callable

from engine.candidate import Prepared
from engine.dataset import ImageEntry
from engine.encoding import EncodedImage
from engine.errors import ImageReadError
from engine.results import MatchSettings
from engine.selection import select_tokens
from engine.views import UPRIGHT, View

Encode = Callable[[ImageEntry, View], EncodedImage]


class FeatureCache:
    """Views of photographs, reduced to the tokens that take part in matching.

    Attributes:
        budget_bytes: what the maps may take.
        unreadable: photographs that cannot be decoded, by key, with the reason; they are not tried again.
    """

    def __init__(self, encode: Encode, settings: MatchSettings, budget_bytes: int) -> None:
        """Begins empty.

        Args:
            encode: gives a view's feature map, from a store or the graph.
            settings: which tokens are kept.
            budget_bytes: what the maps may take. One map is kept in any case.
        """
        self.unreadable: dict[str, ImageReadError] = {}
        self._encode = encode
        self._settings = settings
        self.budget_bytes = budget_bytes
        self._held = 0
        self._kept: OrderedDict[tuple[str, View], Prepared] = OrderedDict()

    def __call__(self, entry: ImageEntry, view: View = UPRIGHT) -> Prepared:
        """A view of a photograph.

        Raises:
            ImageReadError: the file cannot be decoded; the same error each time.
        """
        if entry.key in self.unreadable:
            raise self.unreadable[entry.key]
        kept = self._kept.get((entry.key, view))
        if kept is not None:
            self._kept.move_to_end((entry.key, view))
            return kept
        try:
            encoded = self._encode(entry, view)
        except ImageReadError as error:
            self.unreadable[entry.key] = error
            raise
        return self.add(entry, encoded, view)

    def add(self, entry: ImageEntry, encoded: EncodedImage, view: View = UPRIGHT) -> Prepared:
        """Takes in a map that was encoded ahead."""
        settings = self._settings
        selected = select_tokens(encoded.features, settings.keypoint_threshold, settings.max_features)
        prepared = Prepared(encoded.image, selected, encoded.forward_ms)
        before = self._kept.pop((entry.key, view), None)
        self._held += prepared.bytes - (before.bytes if before else 0)
        self._kept[entry.key, view] = prepared
        while self._held > self.budget_bytes and len(self._kept) > 1:
            self._held -= self._kept.popitem(last=False)[1].bytes
        return prepared
