"""Names inside stores and of result files: valid on Windows and Linux, reversible, never two for one.

In file names `%` and what Windows forbids (`<>:"/\\|?*`, control characters) are written as `%XX` of their UTF-8 bytes,
as in URLs; letters of every script, spaces, `+` and dots stay. A name too long for a file system is cut and ends with a
hash of the whole.
"""

import hashlib
import os
import re
import urllib.parse
from pathlib import Path

_UNSAFE = re.compile(r'[%<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_TRAILING = re.compile(r"[ .]+$")
_LONGEST_BYTES = 200


def escape(text: str) -> str:
    """The text as a part of a file name. See `unescape`."""
    return _UNSAFE.sub(_percent, text)


def unescape(part: str) -> str:
    """The text that `escape` was given."""
    return urllib.parse.unquote(part, errors="surrogatepass")


def folder_name(escaped: str) -> str:
    """Escaped text as the whole name of a folder; dots and spaces at its end, which Windows drops, are escaped too."""
    return shorten(_TRAILING.sub(_percent, escaped))


def shorten(name: str) -> str:
    """The name, or its first bytes, `~` and a hash where it is longer than file systems allow."""
    encoded = name.encode("utf-8")
    if len(encoded) <= _LONGEST_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: _LONGEST_BYTES - 17].decode('utf-8', 'ignore')}~{digest}"


def image_name(path: Path, image_root: Path) -> str:
    """What an image is called in stores: its POSIX path relative to the image root, as hloc names images.

    An image outside the root begins with `../`, so that it is never confused with one inside; one on another Windows
    drive is called `../<drive>:/...`. Links are not followed: a linked image keeps the name it has below the root.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
    try:
        relative = Path(os.path.relpath(absolute, image_root)).as_posix()
    except ValueError:
        relative = "../" + Path(absolute).as_posix()
    return relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
