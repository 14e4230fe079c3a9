"""What is known of an image file without reading it: enough to see that it has changed."""

from dataclasses import dataclass

from engine.results import ImageRef


@dataclass(frozen=True)
class FileFacts:
    """Size and time of a file when it was read, and its content's digest where it was computed.

    Attributes:
        bytes: size in bytes.
        modified_ns: modification time in nanoseconds since the epoch.
        sha256: SHA-256 (hex) of the content, or empty.
    """

    bytes: int
    modified_ns: int
    sha256: str = ""

    @classmethod
    def of(cls, image: ImageRef) -> "FileFacts":
        """The facts that a photograph's reference carries."""
        return cls(image.bytes, image.modified_ns, image.sha256)

    def same_content(self, other: "FileFacts") -> bool:
        """Whether both describe the same content: equal size, and equal time or (where both are known) equal digest."""
        if self.bytes != other.bytes:
            return False
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return self.modified_ns == other.modified_ns
