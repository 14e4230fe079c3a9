"""Preprocessing read from a repository's file, beside Transformers' own processor, which needs torchvision."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.imaging import resize
from exporters.check_images import normalise
from exporters.sources.hf_preprocessing import read_preprocessing

pytest.importorskip("torchvision")
transformers = pytest.importorskip("transformers")

PLAIN = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("resample", [2, 3], ids=["bilinear", "bicubic"])
@pytest.mark.parametrize("rescale", [{}, {"rescale_factor": 1 / 127.5}, {"do_rescale": False}], ids=str)
def test_the_input_is_that_of_the_image_processor(resample: int, rescale: dict[str, object], tmp_path: Path) -> None:
    config = {**PLAIN, **rescale, "resample": resample, "size": {"height": 64, "width": 96}, "do_center_crop": False}
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_processor_type": "DINOv3ViTImageProcessorFast", **config}))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    rows, cols = np.mgrid[0:160, 0:224]
    waves = np.stack([127.5 + 120 * np.sin(rows / 9 + phase) * np.cos(cols / 13) for phase in range(3)], axis=-1)
    photograph = waves.astype(np.uint8)
    wanted = processor(images=photograph, return_tensors="pt")["pixel_values"]

    ours = read_preprocessing(config, path)
    pixels = resize(photograph, (96, 64), kernel=ours.resampling)
    found = normalise(pixels[None], ours.as_pretraining("own"))
    # One grey level, as resizing rounds to whole ones here and may not there.
    level = 1 / 255 / torch.tensor(ours.std)[:, None, None]
    assert float(((found - wanted).abs() / level).max()) <= 1.01
