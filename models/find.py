"""Which files could be a backbone's checkpoint, by name alone. Standard library only."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from models.catalogue import BACKBONES, BUNDLED_ALIAS, Backbone

WEIGHTS_PAGE = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"
"""Where Meta's checkpoints are asked for."""

_NAMED = 4
"""How many files a message names before it only counts the rest."""


def checkpoint_candidates(backbone: Backbone, weights_root: Path) -> list[Path]:
    """Files of the published name anywhere below a folder, letter case ignored; empty where the folder is missing.

    The first file with the published hash in its name stands alone; else all with another hash are given.
    """
    pattern = _name_pattern(backbone)
    found = [(match[1].lower(), path) for path in files_below(weights_root) if (match := pattern.fullmatch(path.name))]
    official = [path for digits, path in found if digits == backbone.sha256_prefix]
    return official[:1] or [path for _, path in found]


def no_checkpoint_text(backbone: Backbone, weights_root: Path) -> str:
    """What is wrong where `checkpoint_candidates` finds nothing, and what to do."""
    if not weights_root.is_dir():
        return f"the weights folder {weights_root} does not exist; set WEIGHTS_ROOT to the folder with the .pth files"
    ask = f"sk Meta for the weights: {WEIGHTS_PAGE}"
    misnamed = [path.name for path in misnamed_checkpoints(weights_root)]
    rest = f" and {len(misnamed) - _NAMED} more" if len(misnamed) > _NAMED else ""
    there = (
        f"There is {', '.join(misnamed[:_NAMED])}{rest}, which is no name of a checkpoint: rename the right file, or a"
    )
    return (
        f"no checkpoint of {backbone.alias} below {weights_root}: expected a file named {backbone.checkpoint_name}. "
        f"{there if misnamed else 'A'}{ask}"
    )


def misnamed_checkpoints(weights_root: Path) -> list[Path]:
    """The .pth files below a folder that are named as no backbone's checkpoint; empty where the folder is missing."""
    patterns = [_name_pattern(entry) for entry in _published()]
    files = (path for path in files_below(weights_root) if path.suffix.lower() == ".pth")
    return [path for path in files if not any(pattern.fullmatch(path.name) for pattern in patterns)]


def likely_names(path: Path) -> list[str]:
    """The published names that a renamed file may have had: that of the hash in its name, else those it begins."""
    name = path.stem.lower()
    hashed = [entry.checkpoint_name for entry in _published() if entry.sha256_prefix in name]
    return hashed or [entry.checkpoint_name for entry in _published() if entry.checkpoint_name.startswith(f"{name}_")]


def _published() -> list[Backbone]:
    return [entry for entry in BACKBONES.values() if entry.alias != BUNDLED_ALIAS]


def _name_pattern(backbone: Backbone) -> re.Pattern[str]:
    """Matches the names of its checkpoints; the first group holds eight digits of a hash."""
    return re.compile(rf"{re.escape(backbone.checkpoint_stem)}-([0-9a-f]{{8}})\.pth", re.IGNORECASE)


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
