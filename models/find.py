"""Which files could be a backbone's checkpoint, by name alone. Standard library only."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from models.catalogue import Backbone


def checkpoint_candidates(backbone: Backbone, weights_root: Path) -> list[Path]:
    """Files of the published name anywhere below a folder, letter case ignored; empty where the folder is missing.

    The first file with the published hash in its name stands alone; else all with another hash are given.
    """
    pattern = re.compile(rf"{re.escape(backbone.checkpoint_stem)}-([0-9a-f]{{8}})\.pth", re.IGNORECASE)
    found = [(match[1].lower(), path) for path in files_below(weights_root) if (match := pattern.fullmatch(path.name))]
    official = [path for digits, path in found if digits == backbone.sha256_prefix]
    return official[:1] or [path for _, path in found]


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root` in sorted order; linked folders are followed, each real folder once."""
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names))
