import hashlib
from pathlib import Path

import pytest
import torch

from models.catalogue import backbone
from models.random_checkpoint import write_random_checkpoint
from models.training.blend import blend


def test_the_mean_of_two_checkpoints_is_named_by_its_own_hash(tmp_path: Path) -> None:
    first = write_random_checkpoint(backbone("vitt16"), tmp_path / "a", seed=0)
    second = write_random_checkpoint(backbone("vitt16"), tmp_path / "b", seed=1)
    path = blend(first, second, 0.25, tmp_path / "out")
    a, b, mean = (torch.load(entry, weights_only=True) for entry in (first, second, path))
    name = "blocks.3.mlp.fc1.weight"
    assert torch.allclose(mean[name], 0.75 * a[name] + 0.25 * b[name], atol=1e-6)
    assert path.stem.endswith(hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def test_other_weights_and_shares_are_refused(tmp_path: Path) -> None:
    first = write_random_checkpoint(backbone("vitt16"), tmp_path / "a", seed=0)
    with pytest.raises(ValueError, match="give 0 to 1"):
        blend(first, first, 1.5, tmp_path)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="do not hold the same weights"):
        blend(first, tmp_path / "other.pth", 0.5, tmp_path)
