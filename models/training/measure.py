"""Measures a checkpoint on held-out tiles: `python -m models.training.measure --tiles DIR --checkpoint FILE.pth`."""

import argparse
import sys
from pathlib import Path

import torch

from models.catalogue import BUNDLED_ALIAS, backbone
from models.training.learner import matched_share
from models.training.tiles import read_tiles, split_tiles
from models.training.views import HELD_OUT_VIEWS, SHIFTED_VIEWS
from models.vit import DinoVisionTransformer


def main(arguments: list[str]) -> None:
    """Prints the share of patches matched within 1.5 patches under both kinds of views."""
    parser = argparse.ArgumentParser("python -m models.training.measure", description=__doc__)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of aerial tiles")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint of the bundled architecture")
    parser.add_argument("--size", type=int, default=192, help="side of a view in pixels (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        tiles = read_tiles(split_tiles(options.tiles)[1])
        model = DinoVisionTransformer(backbone(BUNDLED_ALIAS).arch)  # type: ignore[arg-type]
        model.load_state_dict(torch.load(options.checkpoint, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))
    for name, views in (("centred views", HELD_OUT_VIEWS), ("shifted views", SHIFTED_VIEWS)):
        print(f"{name}: {matched_share(model, tiles, options.size, views):.1%} of {len(tiles)} held-out tiles' patches")


if __name__ == "__main__":
    main(sys.argv[1:])
