"""One image through one graph in a process of its own, for `measure.py`: prints a line of JSON.

python benchmarks/export/run_once.py GRAPH [IMAGE_SIDE_PX]
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.runtime import open_graph


def main(graph: str, side_px: str = "336") -> None:
    start = time.perf_counter()
    runtime = open_graph(Path(graph), "cpu")
    opened = time.perf_counter()
    side = max(1, round(int(side_px) / runtime.graph.stride)) * runtime.graph.stride
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    tokens, _ = runtime(image)
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "open_seconds": round(opened - start, 1),
                "image_seconds": round(done - opened, 1),
                "finite": bool(np.isfinite(tokens).all()),
                "tokens": list(tokens.shape),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
