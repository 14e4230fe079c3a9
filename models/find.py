"""Which files could be a backbone's checkpoint, by name alone. Standard library only."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from models.catalogue import Backbone

_NAMED = 4
"""How many files a message names before it only counts the rest."""


def checkpoint_candidates(backbone: Backbone, weights_root: Path) -> list[Path]:
    """Files of the published name anywhere below a folder, letter case ignored; empty where the folder is missing.

    The first file with the published hash in its name stands alone; else all with another hash are given.
    """
    pattern = re.compile(rf"{re.escape(backbone.checkpoint_stem)}-([0-9a-f]{{8}})\.pth", re.IGNORECASE)
    found = [(match[1].lower(), path) for path in files_below(weights_root) if (match := pattern.fullmatch(path.name))]
    official = [path for digits, path in found if digits == backbone.sha256_prefix]
    return official[:1] or [path for _, path in found]


def no_checkpoint_text(backbone: Backbone, weights_root: Path) -> str:
    """What is wrong where `checkpoint_candidates` finds nothing, and what to do."""
    if not weights_root.is_dir():
        return f"the weights folder {weights_root} does not exist; set WEIGHTS_ROOT to the folder with the .pth files"
    stem = backbone.checkpoint_stem.lower()
    near = [path.name for path in files_below(weights_root) if path.name.lower().startswith(stem)]
    rest = f" and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
    there = f". There is {', '.join(near[:_NAMED])}{rest}, which does not follow that name" if near else ""
    return (
        f"no checkpoint of {backbone.alias} below {weights_root}: expected a file named "
        f"{backbone.checkpoint_name}{there}"
    )


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
