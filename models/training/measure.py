"""Measures a checkpoint on held-out tiles: `python -m models.training.measure --tiles DIR --checkpoint FILE.pth`."""

import argparse
import sys
from pathlib import Path

import torch

from models.catalogue import BUNDLED_ALIAS, backbone
from models.training.learner import matched_share
from models.training.tiles import read_tiles, split_tiles
from models.training.views import HELD_OUT_VIEWS, SHIFTED_VIEWS, ViewRanges
from models.vit import DinoVisionTransformer


def measure(checkpoint: Path, tiles_folder: Path, *views: ViewRanges, size: int = 192) -> tuple[float, ...]:
    """The share of held-out tiles' patches matched within 1.5 patches, for each kind of views.

    Args:
        size: side of a view in pixels.

    Raises:
        OSError: tiles or checkpoint cannot be read.
        RuntimeError: the checkpoint is of another architecture.
    """
    tiles = read_tiles(split_tiles(tiles_folder)[1])
    model = DinoVisionTransformer(backbone(BUNDLED_ALIAS).arch)  # type: ignore[arg-type]
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    return tuple(matched_share(model, tiles, size, ranges) for ranges in views)


def main(arguments: list[str]) -> None:
    """Prints the share of patches matched within 1.5 patches under both kinds of views."""
    parser = argparse.ArgumentParser("python -m models.training.measure", description=__doc__)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of aerial tiles")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint of the bundled architecture")
    parser.add_argument("--size", type=int, default=192, help="side of a view in pixels (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        shares = measure(options.checkpoint, options.tiles, HELD_OUT_VIEWS, SHIFTED_VIEWS, size=options.size)
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))
    for name, share in zip(("centred views", "shifted views"), shares, strict=True):
        print(f"{name}: {share:.1%} of held-out tiles' patches")


if __name__ == "__main__":
    main(sys.argv[1:])
