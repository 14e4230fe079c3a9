"""Sources of networks: all give the same tokens for the same weights, and every bad one is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_stand_in import write_clone

from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from exporters.export import export_backbone, export_source
from exporters.graph_runs import open_session
from exporters.sources.hf import PERIODS_NOTE, load_hf
from exporters.sources.hf_preprocessing import read_preprocessing
from exporters.sources.hf_repository import HuggingFaceError, find_model
from exporters.sources.hub import load_hub
from exporters.sources.safetensors_file import read_safetensors
from models import contract
from models.catalogue import BACKBONES, Backbone, ViTArch
from models.errors import WorkError
from models.random_checkpoint import random_state, shortened, write_checkpoint

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
VIT, CONVNEXT = shortened(BACKBONES["vits16"], 1), shortened(BACKBONES["cxTiny"], 1)
PROCESSOR = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)


def run(graph: Path, pixels: np.ndarray = PIXELS) -> list[np.ndarray]:
    names = [contract.OUTPUT_PATCH_TOKENS, contract.OUTPUT_GLOBAL_DESCRIPTOR]
    return list(open_session(graph).run(names, {contract.INPUT_IMAGE: pixels}))


def write_hf(backbone: Backbone, folder: Path, **processor: object) -> Path:
    """The same weights as `random_state` gives, as Transformers saves them."""
    from test_against_transformers import transformers_convnext, transformers_vit

    state = random_state(backbone)
    make = transformers_vit if isinstance(backbone.arch, ViTArch) else transformers_convnext
    make(backbone.arch, state).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return folder


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "models"))


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_all_sources_give_the_same_tokens(backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(backbone, random_state(backbone), tmp_path / "weights")
    wanted = run(export_backbone(backbone, checkpoint, tmp_path).graph_path)
    clone = write_clone(tmp_path / "clone")
    hub = export_source(load_hub(backbone, clone, checkpoint), tmp_path)
    model = load_hf(backbone.alias, str(write_hf(backbone, tmp_path / "hf")), block_network=True)
    hf = export_source(model, tmp_path)
    assert [hub.graph_path.name, hf.graph_path.name] == [f"{backbone.alias}-{s}-fp32.onnx" for s in ("hub", "hf")]
    for report, source in ((hub, "hub"), (hf, "hf")):
        for found, right in zip(run(report.graph_path), wanted, strict=True):
            np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE)
        metadata = read_metadata(report.graph_path)
        assert metadata[contract.KEY_SOURCE] == source
    assert read_metadata(hf.graph_path)[contract.KEY_MODEL] == str(tmp_path / "hf")
    assert (PERIODS_NOTE in hf.notes) == (backbone is VIT)


def test_preprocessing_in_terms_of_pixels_from_0_to_1() -> None:
    path = Path("preprocessor_config.json")
    plain = read_preprocessing(PROCESSOR, path)
    assert plain.mean == pytest.approx((0.485, 0.456, 0.406))
    for config in ({**PROCESSOR, "rescale_factor": 1 / 127.5}, {**PROCESSOR, "do_rescale": False}):
        factor = config.get("rescale_factor", 1.0)
        found = read_preprocessing(config, path)
        for pixel in (0.0, 200.0):
            wanted = (pixel * factor - 0.485) / 0.229
            assert (pixel / 255 - found.mean[0]) / found.std[0] == pytest.approx(wanted)
    unscaled = read_preprocessing({"do_normalize": False}, path)
    assert (unscaled.mean, unscaled.std) == ((0, 0, 0), (1, 1, 1))
    for wrong, told in (
        ({"image_std": [1, 1, 1]}, "image_mean is None"),
        ({**PROCESSOR, "image_std": [1, 0, 1]}, "above 0"),
        ({**PROCESSOR, "resample": 4}, r"resample 4 \(box\)"),
        ({**PROCESSOR, "rescale_factor": "x"}, "not a number"),
    ):
        with pytest.raises(HuggingFaceError, match=told):
            read_preprocessing(wrong, path)


def test_statistics_are_those_of_the_repository(tmp_path: Path) -> None:
    folder = write_hf(
        VIT, tmp_path / "hf", image_mean=[0.43, 0.411, 0.296], image_std=[0.213, 0.156, 0.143], resample=3
    )
    source = load_hf("own", str(folder), block_network=True)
    assert source.network.pretraining.mean == pytest.approx((0.43, 0.411, 0.296))
    graph = export_source(source, tmp_path).graph_path
    info = GraphInfo.from_metadata(graph, read_metadata(graph))
    assert (source.resampling, info.resampling) == ("bicubic", "bicubic")
    assert json.loads(info.metadata[contract.KEY_INPUT])["resampling"] == "antialiased bicubic"
    assert read_preprocessing({**PROCESSOR, "resample": 1}, folder).resampling == "lanczos"


def test_bad_folders(tmp_path: Path) -> None:
    folder = write_hf(VIT, tmp_path / "hf")

    def refused(told: str, backbone: Backbone | None = None) -> None:
        with pytest.raises(WorkError, match=told):
            load_hf("x", str(folder), backbone=backbone, block_network=True)

    refused("is not x: its config.json describes", BACKBONES["vitb16"])
    (folder / "preprocessor_config.json").rename(folder / "away")
    refused("has no preprocessor_config.json")
    (folder / "away").rename(folder / "preprocessor_config.json")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    refused("is not a whole safetensors file")
    (folder / "model.safetensors").unlink()
    refused("only safetensors are read")
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{")
    refused("is no JSON")
    (folder / "config.json").unlink()
    refused("has no config.json")


def test_what_is_not_in_the_cache_and_may_not_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HuggingFaceError, match="DINOV3_BLOCK_NET=0"):
        find_model("facebook/dinov3-vits16-pretrain-lvd1689m", None, block_network=True)


@pytest.mark.parametrize(("token", "told"), [(None, "no token of an account"), ("secret", "has no access")])
def test_a_gated_repository_says_how_to_ask(token: str | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = pytest.importorskip("huggingface_hub.errors")

    def gated(repository: str, **options: object) -> str:
        if options.get("local_files_only"):
            raise errors.LocalEntryNotFoundError("not here")
        raise errors.GatedRepoError.__new__(errors.GatedRepoError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    with pytest.raises(HuggingFaceError) as caught:
        find_model("facebook/dinov3-vitl16-pretrain-lvd1689m", token, block_network=False)
    message = str(caught.value)
    assert told in message
    for part in ("https://huggingface.co/facebook/dinov3-vitl16-pretrain-lvd1689m", "--hf-token or HF_TOKEN"):
        assert part in message
    assert "secret" not in message


def test_a_repository_that_is_not_there_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = pytest.importorskip("huggingface_hub.errors")

    def absent(repository: str, **options: object) -> str:
        kind = errors.LocalEntryNotFoundError if options.get("local_files_only") else errors.RepositoryNotFoundError
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", absent)
    with pytest.raises(
        HuggingFaceError, match=r"no repository 'a/b', .*another repository or a folder.*--source builtin"
    ):
        find_model("a/b", None, block_network=False)


def test_safetensors_are_read_as_their_writer_wrote_them(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = {
        "a": torch.randn(3, 5),
        "b": torch.randn(7).bfloat16(),
        "c": torch.zeros(0, 2),
        "d": torch.randn(2).half(),
    }
    safetensors.save_file(tensors, tmp_path / "x.safetensors")
    found = read_safetensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
