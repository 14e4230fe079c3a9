"""Averages two checkpoints of one training: `python -m models.training.blend A.pth B.pth --share 0.5 --out DIR`.

Weights of networks that were trained on from the same state lie in one basin, so their mean joins what each is good at
(M. Wortsman et al., "Model soups", ICML 2022). The bundled backbone is the mean of its two stages: views that share
their centre, and views shifted by up to half their side.
"""

import argparse
import sys
from pathlib import Path

import torch

from models.training.__main__ import write_checkpoint


def blend(first: Path, second: Path, share: float, out: Path) -> Path:
    """Writes `(1 - share) * first + share * second` in the official format, and returns its path.

    Raises:
        ValueError: the checkpoints hold other weights, or the share is not 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"--share {share}: give 0 to 1")
    a, b = (torch.load(path, map_location="cpu", weights_only=True) for path in (first, second))
    if {name: value.shape for name, value in a.items()} != {name: value.shape for name, value in b.items()}:
        raise ValueError(f"{first} and {second} do not hold the same weights")
    out.mkdir(parents=True, exist_ok=True)
    return write_checkpoint({name: torch.lerp(a[name], b[name], share) for name in a}, out)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser("python -m models.training.blend", description=__doc__)
    parser.add_argument("first", type=Path, help="checkpoint of the first stage")
    parser.add_argument("second", type=Path, help="checkpoint of the second stage")
    parser.add_argument("--share", type=float, default=0.5, help="share of the second (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    options = parser.parse_args(arguments)
    try:
        print(f"wrote {blend(options.first, options.second, options.share, options.out)}")
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
