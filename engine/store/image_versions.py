"""What the images of stored pairs were: each image under a number per content, known by its file's time or digest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.store.facts import FileFacts

ImageVersion = tuple[str, int, int]
"""An image's name, and its file's size and modification time: what a stored pair is known by."""


class _Content(NamedTuple):
    """What a version of an image is, whenever its file was written."""

    name: str
    bytes: int
    sha256: str


class ImageVersions:
    """Numbers versions of images, from 0 on. Files of one name and content share a number, whatever their times."""

    def __init__(self) -> None:
        self._numbers: dict[ImageVersion, int] = {}
        self._contents: list[_Content] = []
        self._of_name: dict[str, list[int]] = {}

    def add(self, version: ImageVersion, sha256: str) -> int:
        """The number of a version, given one now if it had none."""
        at = self._numbers.get(version)
        if at is None:
            content = _Content(version[0], version[1], sha256)
            at = self._same(content)
            if at < 0:
                at = len(self._contents)
                self._contents.append(content)
                self._of_name.setdefault(content.name, []).append(at)
            self._numbers[version] = at
        return at

    def find(self, name: str, facts: FileFacts) -> int:
        """The number of the version that a file is: by its time, or else its digest; -1 where it is none."""
        at = self._numbers.get((name, facts.bytes, facts.modified_ns), -1)
        return at if at >= 0 else self._same(_Content(name, facts.bytes, facts.sha256))

    def sha256(self, name: str, facts: FileFacts) -> str:
        """The digest of a file known by its time; empty where it is not known so."""
        at = self._numbers.get((name, facts.bytes, facts.modified_ns))
        return "" if at is None else self._contents[at].sha256

    def may_be_known(self, name: str, facts: FileFacts) -> bool:
        """Whether a file of a new time may have a known content, which its digest would tell."""
        if (name, facts.bytes, facts.modified_ns) in self._numbers:
            return False
        known = (self._contents[at] for at in self.of(name))
        return any(content.bytes == facts.bytes and content.sha256 for content in known)

    def of(self, name: str) -> Sequence[int]:
        """Numbers of all versions of an image."""
        return self._of_name.get(name, ())

    @property
    def names(self) -> list[str]:
        """All images, each once."""
        return list(self._of_name)

    @property
    def name_of_each(self) -> list[str]:
        """The image of each number."""
        return [content.name for content in self._contents]

    def table(self) -> tuple[list[ImageVersion], list[str], NDArray[np.int32]]:
        """All versions with their digests, and the first row of each number: read in order, they get it again."""
        digests = [self._contents[at].sha256 for at in self._numbers.values()]
        first = {at: row for row, at in reversed(list(enumerate(self._numbers.values())))}
        return list(self._numbers), digests, np.asarray([first[at] for at in range(len(first))], np.int32)

    def _same(self, content: _Content) -> int:
        """The number of this content; -1 where there is none, or its digest is not known."""
        known = self.of(content.name) if content.sha256 else ()
        return max((at for at in known if self._contents[at] == content), default=-1)
