"""One export in a process of its own, for `measure.py`: prints a line of JSON.

python benchmarks/export/export_once.py ALIAS PRECISION CHECKPOINT GRAPH_FOLDER [PHOTOGRAPHS]
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.sample_photographs import encode_photographs, find_photographs
from exporters.check_images import CheckImages
from exporters.export import export_backbone
from models.catalogue import backbone

_LARGE_DIM = 4096
_SIZES_OF_LARGE_PX = (112, 144)
"""Networks of that width take minutes for a photograph on a CPU, more than once."""


def main(alias: str, precision: str, checkpoint: str, graphs: str, photographs: str = "") -> None:
    entry = backbone(alias)
    images = None
    if photographs:
        paths = find_photographs(Path(photographs), 2)
        sizes_px = _SIZES_OF_LARGE_PX if entry.dim >= _LARGE_DIM else ()
        images = CheckImages(encode_photographs(paths, entry.stride, sizes_px), len(paths))
    report = export_backbone(entry, Path(checkpoint), Path(graphs), precision, images=images)
    check = report.check
    print(
        json.dumps(
            {
                "alias": alias,
                "precision": precision,
                "seconds": round(report.seconds, 1),
                "file_bytes": report.size_bytes,
                "largest_difference": check.largest_difference,
                "smallest_cosine": check.smallest_cosine,
                "mean_cosine": check.mean_cosine,
                "photographs": check.photographs,
                "emulated": check.emulated,
                "blocks": check.blocks and vars(check.blocks),
                "largest_activation": check.largest_activation,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
