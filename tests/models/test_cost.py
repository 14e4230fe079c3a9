"""Sizes and costs from the catalogue, against the networks themselves."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.build import build, parameter_count
from models.catalogue import BACKBONES
from models.cost import gflops, parameters


@pytest.mark.parametrize("alias", BACKBONES)
def test_parameters_are_those_of_the_network(alias: str) -> None:
    assert parameters(BACKBONES[alias]) == parameter_count(BACKBONES[alias])


@pytest.mark.parametrize("alias", ["vits16", "vits16+", "vitl16", "vit7b16", "cxTiny", "cxLarge"])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (224, 320)])
def test_gflops_are_what_pytorch_counts(alias: str, height: int, width: int) -> None:
    """PyTorch counts the network as it runs, here without values and memory."""
    backbone = BACKBONES[alias]
    with torch.device("meta"):
        model, image = build(backbone), torch.empty(1, 3, height, width)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    assert gflops(backbone, height, width) == pytest.approx(counter.get_total_flops() / 1e9, rel=0.01)


def test_a_published_size() -> None:
    assert parameters(BACKBONES["vit7b16"]) / 1e9 == pytest.approx(6.716, abs=0.001)
