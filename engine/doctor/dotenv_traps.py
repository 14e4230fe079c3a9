"""Traps of a `.env` file that this program's own reader passes over, but docker compose, shells or people do not."""

import codecs
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from engine.doctor.finding import Finding, problem, warning
from engine.dotenv import parse_dotenv

_PATHS = ("_ROOT", "_HOST", "_DIR")
_QUOTED_BACKSLASH = re.compile(r'^\s*(?:export\s+)?(\w+)\s*=\s*"[^"\n]*\\', re.MULTILINE)
_DRIVE_RELATIVE = re.compile(r"[A-Za-z]:[^\\/]")
_COMMENT_FOR_VALUE = re.compile(r"^\s*(\w+)\s*=[ \t]+#", re.MULTILINE)


def dotenv_traps(path: Path, data: bytes) -> Iterator[Finding]:
    """What may be wrong with a `.env` file that can be read.

    Args:
        path: what the findings call the file.
        data: its content.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8-sig", "replace")
    if wide:
        yield _trap(f"{path} is UTF-16: docker compose cannot read it", "save it as UTF-8 (Notepad: Save as)")
    elif data.startswith(codecs.BOM_UTF8):
        yield _trap(f"{path} begins with a byte order mark", "save it as UTF-8 without BOM, for other readers")
    if "\r\n" in text and sys.platform != "win32":
        yield _trap(
            f"{path} has Windows line ends (CRLF)",
            "harmless here and in docker compose; before a shell sources it: sed -i 's/\\r$//' .env",
        )
    for name in dict.fromkeys(_QUOTED_BACKSLASH.findall(text)):
        yield _trap(
            f'{name} has a backslash inside "...", where docker compose reads \\n, \\t and the like as escapes',
            "write it without quotes, or with slashes: D:/drone/photos",
        )
    for name in dict.fromkeys(_COMMENT_FOR_VALUE.findall(text)):
        yield _trap(
            f"{name} is empty and a comment follows, which docker compose takes for the value",
            "put the comment on a line of its own",
        )
    for name, value in parse_dotenv(text, str(path)).items():
        if name.endswith(_PATHS) and _DRIVE_RELATIVE.match(value):
            said = f"{name} is {value}: no slash after the drive's colon, as if a backslash was lost"
            yield problem(".env", said, "write it like D:/drone/photos")


def _trap(text: str, advice: str) -> Finding:
    return warning(".env", text, advice)
