"""The data set: how many photographs at which altitude, copies of one another, and files that cannot be read."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from engine.dataset import DataSet, ImageEntry, scan
from engine.doctor.finding import Finding, ok, problem, warning
from engine.errors import DataSetError, ImageReadError
from engine.imaging import read_image

DECODED_AT_MOST = 16
"""Photographs that are decoded without `--full`, evenly spread."""

_LISTED = 3
_END_BYTES = 1 << 16


def check_photographs(root: Path, named: bool, full: bool) -> list[Finding]:
    """Scans the folder of the photographs.

    Args:
        root: the folder.
        named: whether a person set it; that the default folder is not there is no problem yet.
        full: decode every photograph, instead of some.
    """
    try:
        data_set = scan(root)
    except DataSetError as error:
        said, _, advice = str(error).partition(". ")
        if not named and not root.exists():
            return [warning("photographs", f"none yet: IMG_ROOT is not set, and there is no {root}", advice)]
        return [problem("photographs", said, advice or "see docs/troubleshooting.md")]
    return [_counts(data_set), *_copies(data_set.entries), _readable(data_set.entries, full)]


def _counts(data_set: DataSet) -> Finding:
    altitudes: dict[int, str] = {}
    counts: Counter[int] = Counter()
    for key in data_set.keys:
        altitudes.setdefault(key.altitude_value, key.altitude)
        counts[key.altitude_value] += 1
    flights = len({key.flight for key in data_set.keys})
    per_altitude = ", ".join(f"{altitudes[value]}: {counts[value]}" for value in sorted(counts))
    text = f"{len(data_set)} below {data_set.root}, {flights} flight(s); by altitude {per_altitude}"
    if len(data_set) < 2:
        return problem("photographs", text, "a pair takes two: add another photograph")
    return ok("photographs", text)


def _copies(entries: Sequence[ImageEntry]) -> list[Finding]:
    """Files of equal content under different names. Sizes first, so that few files need be read."""
    same_size: dict[int, list[ImageEntry]] = defaultdict(list)
    for entry in entries:
        try:
            same_size[entry.path.stat().st_size].append(entry)
        except OSError:
            continue  # `_readable` reports it
    same: dict[tuple[int, str], list[ImageEntry]] = defaultdict(list)
    for size, sharing in same_size.items():
        for entry in sharing if len(sharing) > 1 else ():
            digest = _ends_digest(entry.path, size)
            if digest is not None:
                same[size, digest].append(entry)
    groups = [[entry.key for entry in group] for group in same.values() if len(group) > 1]
    if not groups:
        return [ok("duplicates", "none")]
    shown = "; ".join(" = ".join(group) for group in groups[:_LISTED])
    more = f" and {len(groups) - _LISTED} more" if len(groups) > _LISTED else ""
    return [
        warning(
            "duplicates",
            f"the same picture under several names: {shown}{more}",
            "they match perfectly and say nothing: remove all but one of each",
        )
    ]


def _ends_digest(path: Path, size: int) -> str | None:
    """A digest of the first and the last 64 KiB; photographs of one size that agree there are the same file."""
    try:
        with path.open("rb") as file:
            data = file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            return hashlib.sha256(data + file.read(_END_BYTES)).hexdigest()
    except OSError:
        return None


def _readable(entries: Sequence[ImageEntry], full: bool) -> Finding:
    step = 1 if full else max(1, -(-len(entries) // DECODED_AT_MOST))
    tried = entries[::step]
    empty = [entry for entry in entries if _is_empty(entry.path)]
    failed = {entry.key: "the file is empty" for entry in empty}
    for entry in tried:
        try:
            read_image(entry.path)
        except ImageReadError as error:
            failed.setdefault(entry.key, str(error))
    scope = f"all {len(entries)} decoded" if step == 1 else f"{len(tried)} of {len(entries)} decoded (--full: all)"
    if failed:
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(failed.items())[:_LISTED])
        more = f" and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
        return problem(
            "unreadable",
            f"{len(failed)} ({scope}): {shown}{more}",
            "copy them again from the camera's card; runs leave them out and list them",
        )
    return ok("unreadable", f"none ({scope})")


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
