"""Finding, judging and loading checkpoints: each bad file has its own clear error."""

import os
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from large_files import remove_large_files  # noqa: F401

from exporters.checkpoints import (
    CheckpointError,
    file_sha256,
    find_checkpoint,
    judge_checkpoint,
    load_state,
)
from models.catalogue import BACKBONES, Backbone
from models.contract import CheckpointStatus
from models.random_checkpoint import random_state, shortened, write_checkpoint, write_random_checkpoint

TINY = shortened(BACKBONES["vits16"], 1)
OFFICIAL_NAME = "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_the_published_name_is_found_anywhere_below_the_root(tmp_path: Path) -> None:
    touch(tmp_path / "03_ViT_SAT-493M" / "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth")
    touch(tmp_path / "dinov3_vits16plus_pretrain_lvd1689m-4057cbaa.pth")
    wanted = touch(tmp_path / "02_ConvNeXT_LVD-1689M" / "새 폴더" / OFFICIAL_NAME)
    assert find_checkpoint(BACKBONES["vits16"], tmp_path) == wanted


def test_letter_case_does_not_matter(tmp_path: Path) -> None:
    wanted = touch(tmp_path / OFFICIAL_NAME.upper())
    assert find_checkpoint(BACKBONES["vits16"], tmp_path) == wanted


def test_the_published_hash_goes_before_others(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "dinov3_vits16_pretrain_lvd1689m-00000001.pth")
    wanted = touch(tmp_path / "b" / OFFICIAL_NAME)
    touch(tmp_path / "c" / "dinov3_vits16_pretrain_lvd1689m-00000002.pth")
    assert find_checkpoint(BACKBONES["vits16"], tmp_path) == wanted


def test_one_file_with_another_hash_is_taken(tmp_path: Path) -> None:
    wanted = touch(tmp_path / "dinov3_vits16_pretrain_lvd1689m-0123abcd.pth")
    assert find_checkpoint(BACKBONES["vits16"], tmp_path) == wanted


def test_several_files_with_other_hashes_are_listed(tmp_path: Path) -> None:
    names = ["dinov3_vits16_pretrain_lvd1689m-00000001.pth", "dinov3_vits16_pretrain_lvd1689m-00000002.pth"]
    for name in names:
        touch(tmp_path / name)
    with pytest.raises(CheckpointError, match="move all but the one to use out of that folder") as error:
        find_checkpoint(BACKBONES["vits16"], tmp_path)
    assert all(name in str(error.value) for name in names)


def test_of_several_the_only_whole_one_is_taken(tmp_path: Path) -> None:
    cut = write_random_checkpoint(TINY, tmp_path / "a")
    cut.write_bytes(cut.read_bytes()[:-10])
    wanted = write_random_checkpoint(TINY, tmp_path / "b", seed=1)
    assert find_checkpoint(TINY, tmp_path) == wanted
    write_random_checkpoint(TINY, tmp_path / "c", seed=2)
    with pytest.raises(CheckpointError, match="several files"):
        find_checkpoint(TINY, tmp_path)


def test_a_missing_checkpoint_names_what_was_expected_and_what_is_like_it(tmp_path: Path) -> None:
    touch(tmp_path / "dinov3_vits16_pretrain_lvd1689m-08c60483 (1).pth")
    with pytest.raises(CheckpointError, match=r"expected a file named dinov3_vits16_.*08c60483\.pth.*\(1\)\.pth"):
        find_checkpoint(BACKBONES["vits16"], tmp_path)


def test_a_missing_checkpoint_names_the_files_that_were_renamed_and_where_weights_come_from(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\. Ask Meta for the weights: https://ai\.meta\.com/"):
        find_checkpoint(BACKBONES["vitl16"], tmp_path)
    touch(tmp_path / "some" / "large.pth")
    touch(tmp_path / OFFICIAL_NAME)
    with pytest.raises(CheckpointError) as raised:
        find_checkpoint(BACKBONES["vitl16"], tmp_path)
    assert "There is large.pth, which is no name of a checkpoint: rename the right file, or ask" in str(raised.value)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere does not exist; set WEIGHTS_ROOT"):
        find_checkpoint(BACKBONES["vits16"], tmp_path / "nowhere")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    wanted = touch(tmp_path / "disk" / OFFICIAL_NAME)
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root)
    (root / "elsewhere").symlink_to(tmp_path / "disk")
    assert find_checkpoint(BACKBONES["vits16"], root).resolve() == wanted


def official(path: Path) -> Backbone:
    """The catalogue entry as it would be if this file were the published one."""
    return replace(TINY, sha256_prefix=file_sha256(path)[:8])


def test_official_own_and_mismatch(tmp_path: Path) -> None:
    path = write_random_checkpoint(TINY, tmp_path)
    assert judge_checkpoint(TINY, path).status is CheckpointStatus.OWN
    assert judge_checkpoint(official(path), path).status is CheckpointStatus.OFFICIAL
    assert judge_checkpoint(official(path), path.rename(tmp_path / "any.pth")).status is CheckpointStatus.OFFICIAL
    with pytest.raises(CheckpointError, match=r"any\.pth is truncated or altered.*Download it again.*--unofficial"):
        judge_checkpoint(TINY, tmp_path / "any.pth")
    assert judge_checkpoint(TINY, tmp_path / "any.pth", unofficial=True).status is CheckpointStatus.MISMATCH


def test_a_truncated_official_file_is_told_its_hash_once(tmp_path: Path) -> None:
    path = touch(tmp_path / OFFICIAL_NAME)
    with pytest.raises(CheckpointError, match=r"expected 08c60483, as in its name\. Download"):
        judge_checkpoint(BACKBONES["vits16"], path)


def test_hashing_reports_progress(tmp_path: Path) -> None:
    path, seen = write_random_checkpoint(TINY, tmp_path), []
    judge_checkpoint(TINY, path, progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert len(seen) > 1


def test_a_truncated_file_is_a_mismatch_and_then_unreadable(tmp_path: Path) -> None:
    path = write_random_checkpoint(TINY, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        judge_checkpoint(TINY, path)
    with pytest.raises(CheckpointError, match="not a whole PyTorch checkpoint"):
        load_state(TINY, path)


def test_the_old_format_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(random_state(TINY), path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"old\.pth is of PyTorch's old format .*save its state dict again"):
        load_state(TINY, path)


def test_an_empty_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / OFFICIAL_NAME
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="not a whole PyTorch checkpoint"):
        load_state(TINY, path)


def test_another_architecture_names_some_keys(tmp_path: Path) -> None:
    path = write_random_checkpoint(shortened(BACKBONES["vits16+"], 1), tmp_path)
    with pytest.raises(CheckpointError) as error:
        load_state(TINY, path)
    message = str(error.value)
    assert "is no checkpoint of vits16" in message
    assert "4 missing: blocks.0.mlp.fc1.weight" in message
    assert "6 unexpected: blocks.0.mlp.w1.weight" in message
    assert "and 2 more" in message


def test_another_width_names_both_shapes(tmp_path: Path) -> None:
    path = write_random_checkpoint(shortened(BACKBONES["vitb16"], 1), tmp_path)
    with pytest.raises(CheckpointError, match=r"of another shape: cls_token \[1, 1, 768\] for \[1, 1, 384\]"):
        load_state(TINY, path)


class Exploit:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.victim,))


def test_a_pickle_exploit_does_not_run(tmp_path: Path) -> None:
    victim, zipped, bare = tmp_path / "victim", tmp_path / "zipped.pth", tmp_path / "bare.pth"
    state: dict[str, Any] = dict(random_state(TINY))
    torch.save(state | {"mask_token": Exploit(victim)}, zipped)
    bare.write_bytes(pickle.dumps({"mask_token": Exploit(victim)}))
    with pytest.raises(CheckpointError, match=r"zipped\.pth was not read: it asks for more than tensors") as refused:
        load_state(TINY, zipped)
    assert re.search(r"tensors \([\w.]+\), which", str(refused.value))
    for advice in ("weights_only", "torch.load", "add_safe_globals", "Re-running"):
        assert advice not in str(refused.value), "the program does not advise to run the file"
    with pytest.raises(CheckpointError, match=r"bare\.pth is not a whole PyTorch checkpoint"):
        load_state(TINY, bare)
    assert not victim.exists()
    torch.load(zipped, weights_only=False)
    assert victim.exists(), "the exploit works where nothing stops it"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    state = random_state(TINY)
    state["blocks.0.mlp.fc2.weight"][3, 5] = value
    with pytest.raises(CheckpointError, match=r"not finite .* in 'blocks\.0\.mlp\.fc2\.weight'"):
        load_state(TINY, write_checkpoint(TINY, state, tmp_path))


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nested.pth"
    torch.save({"teacher": random_state(TINY)}, path)
    with pytest.raises(CheckpointError, match="no plain state dict"):
        load_state(TINY, path)


def test_integers_are_refused(tmp_path: Path) -> None:
    state = random_state(TINY)
    state["mask_token"] = state["mask_token"].long()
    with pytest.raises(CheckpointError, match="not of floating point: mask_token"):
        load_state(TINY, write_checkpoint(TINY, state, tmp_path))


def test_tensors_are_mapped_and_half_precision_is_widened(tmp_path: Path) -> None:
    state = random_state(TINY)
    path = write_checkpoint(TINY, state | {"norm.weight": state["norm.weight"].bfloat16()}, tmp_path)
    loaded = load_state(TINY, path)
    assert loaded.keys() == state.keys()
    assert all(value.dtype is torch.float32 for value in loaded.values())
    assert torch.equal(loaded["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])
    assert torch.equal(loaded["norm.weight"], state["norm.weight"].bfloat16().float())
