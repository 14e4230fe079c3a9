"""The photographs that a graph is compared with its source model on."""

from pathlib import Path

import pytest
from conftest import texture, write_photograph

from engine.sample_photographs import encode_photographs

pytest.importorskip("torch")

from exporters.check_images import CheckImages


@pytest.mark.parametrize(("count", "batches"), [(1, [1]), (2, [1, 2]), (3, [1, 2]), (4, [1, 2, 1]), (5, [1, 2, 2])])
def test_single_images_and_batches_are_both_compared(count: int, batches: list[int], tmp_path: Path) -> None:
    paths = [write_photograph(tmp_path / f"{seed}.png", texture(64, 96, seed)) for seed in range(count)]
    sizes = encode_photographs(paths, 16, (32, 48))
    assert [[len(batch) for batch in size] for size in sizes] == [batches, batches]
    pairs = list(CheckImages(sizes, count).pairs())
    assert len(pairs) == 2 * count * (count - 1) // 2, "a photograph that is there twice is no pair with itself"
    assert all(a != b for a, b in pairs)
