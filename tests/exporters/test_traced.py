"""Models of other families than DINOv3: their tokens, and their traced graphs."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.export import export_source
from exporters.graph_runs import open_session
from exporters.sources.hf import load_hf
from exporters.sources.interpolation import resize_bicubic
from models import contract
from models.errors import UsageError, WorkError

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
PROCESSOR = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)


def run(graph: Path, pixels: np.ndarray = PIXELS) -> list[np.ndarray]:
    names = [contract.OUTPUT_PATCH_TOKENS, contract.OUTPUT_GLOBAL_DESCRIPTOR]
    return list(open_session(graph).run(names, {contract.INPUT_IMAGE: pixels}))


SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
IMAGES = {**SMALL, "image_size": 64, "patch_size": 16}
TEXTS = {**SMALL, "vocab_size": 100}
FAMILIES = {
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**IMAGES)), 16, 1, True),
    "clip vision": (lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**IMAGES)), 16, 1, True),
    "clip": (
        lambda: transformers.CLIPModel(transformers.CLIPConfig(vision_config=IMAGES, text_config=TEXTS)),
        16,
        1,
        True,
    ),
    "siglip vision": (lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**IMAGES)), 16, 0, False),
    "siglip": (
        lambda: transformers.SiglipModel(transformers.SiglipConfig(vision_config=IMAGES, text_config=TEXTS)),
        16,
        0,
        False,
    ),
    "ijepa": (lambda: transformers.IJepaModel(transformers.IJepaConfig(**IMAGES)), 16, 0, False),
    "convnext": (
        lambda: transformers.ConvNextModel(
            transformers.ConvNextConfig(hidden_sizes=[16, 32, 64, 64], depths=[1, 1, 1, 1])
        ),
        32,
        0,
        False,
    ),
}
"""How a model is made, its stride, the tokens before its patches, and whether the first describes the image."""


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_other_families(family: str, tmp_path: Path) -> None:
    make, stride, prefix, has_class_token = FAMILIES[family]
    model = make().eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    source = load_hf("other", str(tmp_path), block_network=True)
    assert (source.network.stride, source.network.dim) == (stride, 64)
    image = torch.randn((2, 3, 3 * stride, 5 * stride), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = source.model(image)
        images_alone = model if "input_ids" not in inspect.signature(model.forward).parameters else model.vision_model
        options = {} if family == "convnext" else {"interpolate_pos_encoding": True}
        wanted = images_alone(pixel_values=image, **options).last_hidden_state
    if wanted.ndim == 4:
        wanted = wanted.flatten(2).transpose(1, 2)
    patches = wanted[:, prefix:]
    torch.testing.assert_close(found[0], patches, rtol=0, atol=1e-5)
    assert patches.shape[1] == 15
    torch.testing.assert_close(found[1], wanted[:, 0] if has_class_token else patches.mean(dim=1), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_image_part_of_clip_is_traced(tmp_path: Path) -> None:
    model = FAMILIES["clip"][0]().eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    report = export_source(load_hf("other", str(tmp_path / "model"), block_network=True), tmp_path)
    assert report.largest_difference < TOLERANCE
    texts = sum(value.nbytes for value in model.text_model.state_dict().values())
    images = sum(value.nbytes for value in model.vision_model.state_dict().values())
    assert report.size_bytes < images + texts


@pytest.mark.slow
@pytest.mark.parametrize("registers", [0, 4])
def test_another_family_is_traced_dynamic(registers: int, tmp_path: Path) -> None:
    """DINOv2: patches of 14 px, class and register tokens in front, positions resized to every grid."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 70, "patch_size": 14}
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers)
        model = transformers.Dinov2WithRegistersModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
    model.eval().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    source = load_hf("other", str(tmp_path / "model"), block_network=True)
    report = export_source(source, tmp_path)
    assert (source.network.stride, source.network.dim) == (14, 64)
    for images, rows, cols in ((1, 5, 5), (3, 2, 7)):
        pixels = np.random.default_rng(rows).integers(0, 256, (images, 14 * rows, 14 * cols, 3), dtype=np.uint8)
        mean, std = (np.array(PROCESSOR[name]) for name in ("image_mean", "image_std"))
        values = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            wanted = model(pixel_values=values).last_hidden_state.numpy()
        patches, descriptor = run(report.graph_path, pixels)
        np.testing.assert_allclose(patches, wanted[:, 1 + registers :], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(descriptor, wanted[:, 0], rtol=0, atol=TOLERANCE)
    with pytest.raises(UsageError, match="only --precision fp32"):
        export_source(source, tmp_path, "int8")


def test_a_traced_export_says_first_that_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48)
    transformers.ViTModel(config).eval().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    source = load_hf("other", str(tmp_path / "model"), block_network=True)
    monkeypatch.setattr("exporters.room.available_memory", lambda: 300_000_000)
    with pytest.raises(
        WorkError, match=r"0\.3 GB of memory .* tracing and verifying other-hf-fp32\.onnx needs 0\.5 GB"
    ):
        export_source(source, tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []
    monkeypatch.setattr("exporters.sources.traced.SINGLE_FILE_LIMIT_BYTES", 1000)
    with pytest.raises(WorkError, match=r"other than DINOv3 are exported up to"):
        export_source(source, tmp_path / "graphs")


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(7, 9), (3, 2), (5, 5), (1, 16)])
def test_bicubic_resizing_is_that_of_pytorch(size: tuple[int, int], antialias: bool) -> None:
    table = torch.randn((1, 4, 5, 5), generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(table, size=size, mode="bicubic", antialias=antialias)
    assert float((resize_bicubic(table, *size, antialias) - wanted).abs().max()) < 1e-5
