"""Reads a `.env` file: names and values as a person writes them, Windows paths included.

Nothing inside a value is special: no escapes and no `$` substitution, so `C:\\new` stays `C:\\new`.
"""

import codecs
import re
from pathlib import Path

from engine.errors import UsageError

_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_COMMENT = re.compile(r"\s#.*", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\n|\r")


def read_dotenv(path: Path) -> dict[str, str]:
    """Names and values of the file at `path`, in file order; the last of two equal names holds.

    Raises:
        UsageError: the file cannot be read, is not text in UTF-8 (or UTF-16 with a byte order mark), or a line is
            malformed; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file of settings: remove it or replace it with a file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8; save the file with the encoding UTF-8") from None
    return parse_dotenv(text, str(path))


def parse_dotenv(text: str, source: str) -> dict[str, str]:
    """Names and values of `.env` text. Each line is empty, a comment, or `[export ]NAME=value[ # comment]`.

    A value in single or double quotes is taken as it stands between them. Without quotes it ends at the first `#`
    that has a space in front, and loses the spaces at both ends.

    Args:
        source: what an error calls the text, usually the file's path.

    Raises:
        UsageError: a malformed line, with `source` and its number.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(_LINE_END.split(text.removeprefix("\ufeff")), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        where = f"{source}, line {number}"
        match = _NAME.match(stripped)
        if match is None:
            raise UsageError(f"{where}: expected NAME=value, found {_shown(stripped)}")
        values[match[1]] = _value(stripped[match.end() :], where)
    return values


def _value(rest: str, where: str) -> str:
    if "\0" in rest:
        raise UsageError(f"{where}: the value holds a NUL character; save the file as plain UTF-8 text")
    quoted = rest.lstrip()
    if quoted[:1] not in ("'", '"'):
        return _COMMENT.sub("", rest, count=1).strip()
    end = quoted.find(quoted[0], 1)
    if end < 0:
        raise UsageError(f"{where}: the quote {quoted[0]} is never closed in {_shown(quoted)}")
    after = quoted[end + 1 :].strip()
    if after and not after.startswith("#"):
        raise UsageError(f"{where}: unexpected text after the closing quote: {_shown(after)}")
    return quoted[1:end]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
