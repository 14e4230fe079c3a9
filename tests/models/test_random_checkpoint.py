import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from models.build import expected_shapes
from models.catalogue import BACKBONES
from models.errors import WorkError
from models.random_checkpoint import random_state, shortened, write_large_checkpoint, write_random_checkpoint

TINY = shortened(BACKBONES["vits16"], 1)


def test_a_random_checkpoint_is_named_with_its_own_hash(tmp_path: Path) -> None:
    path = write_random_checkpoint(TINY, tmp_path / "weights")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"dinov3_vits16_pretrain_lvd1689m-{digest[:8]}.pth"
    assert list(path.parent.iterdir()) == [path]
    loaded = torch.load(path, weights_only=True)
    assert {key: tuple(value.shape) for key, value in loaded.items()} == expected_shapes(TINY)


def test_the_seed_decides_the_file(tmp_path: Path) -> None:
    first, again, other = (write_random_checkpoint(TINY, tmp_path / str(i), seed) for i, seed in enumerate((5, 5, 6)))
    assert first.read_bytes() == again.read_bytes()
    assert first.name != other.name


def test_every_term_counts() -> None:
    state = random_state(TINY)
    gains = state["blocks.0.ls1.gamma"]
    assert float(gains.min()) >= 0.1
    assert float(gains.max()) <= 0.6
    assert all(float(value.abs().min()) > 0.0 for key, value in state.items() if key.endswith(".bias"))
    assert state["blocks.0.attn.qkv.bias_mask"].reshape(3, -1).mean(dim=1).tolist() == [1.0, 0.0, 1.0]
    assert torch.equal(state["rope_embed.periods"], state["rope_embed.periods"].bfloat16().float())


def test_both_names_of_the_convnext_norm_hold_one_tensor() -> None:
    state = random_state(shortened(BACKBONES["cxTiny"], 1))
    assert torch.equal(state["norm.weight"], state["norms.3.weight"])


@pytest.mark.parametrize("alias", ["vits16", "cxTiny"])
def test_a_large_checkpoint_is_written_tensor_by_tensor(alias: str, tmp_path: Path) -> None:
    backbone = shortened(BACKBONES[alias], 1)
    path = write_large_checkpoint(backbone, tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"{backbone.checkpoint_stem}-{digest[:8]}.pth"
    assert list(tmp_path.iterdir()) == [path]
    loaded = torch.load(path, weights_only=True)
    assert {key: tuple(value.shape) for key, value in loaded.items()} == expected_shapes(backbone)
    for key, value in loaded.items():
        assert torch.isfinite(value).all()
        assert value.numel() < 10 or value.std() > 0.01 or "bias_mask" in key
    if alias == "cxTiny":
        assert torch.equal(loaded["norm.weight"], loaded["norms.3.weight"])


def test_a_disk_too_small_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000_000))
    with pytest.raises(WorkError, match=r"1\.0 GB free and the checkpoint needs 26\.9 GB"):
        write_large_checkpoint(BACKBONES["vit7b16"], tmp_path)
    assert list(tmp_path.iterdir()) == []
