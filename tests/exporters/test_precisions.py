"""bf16, fp16 and int8: against plain arithmetic, against the source model, and refused where they are not fit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from large_files import remove_large_files  # noqa: F401
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from engine.sample_photographs import encode_photographs, find_photographs
from exporters.calibration import calibrate
from exporters.check_images import CheckImages, made_up_images
from exporters.checkpoints import load_state
from exporters.export import export_backbone
from exporters.graph_check import GraphCheck, compare_matches, failures, mutual_matches
from exporters.graph_file import write_graph
from exporters.graph_runs import VerificationError, open_session
from exporters.number_formats import channel_scales, int8_range, to_half, to_int8, uint8_scale
from exporters.onnx_graph import build_graph
from exporters.precisions import PRECISIONS
from exporters.verify import check_graph
from models import contract
from models.build import build_with_weights
from models.bundled import bundled_checkpoint
from models.catalogue import BACKBONES, Ffn, ViTArch
from models.errors import UsageError, WorkError
from models.random_checkpoint import random_state, shortened, write_checkpoint, write_random_checkpoint

TINY = shortened(BACKBONES["vitt16"], 2)
GATED = replace(BACKBONES["vit7b16"], arch=ViTArch(256, 3, 2, Ffn.SWIGLU, 512, qkv_bias=False, local_cls_norm=True))
NETWORKS = {"mlp": TINY, "gated, no bias": GATED, "convnext": shortened(BACKBONES["cxTiny"], 1)}


def noise(batch: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def photographs(stride: int) -> CheckImages:
    return CheckImages(((noise(2, 3 * stride, 3 * stride),), (noise(1, 2 * stride, 4 * stride),)), photographs=2)


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_precision_is_close_to_the_source(precision: str, name: str, tmp_path: Path) -> None:
    backbone = NETWORKS[name]
    report = export_backbone(
        backbone,
        write_random_checkpoint(backbone, tmp_path / "weights"),
        tmp_path,
        precision,
        images=photographs(backbone.stride),
    )
    assert report.graph_path.name == f"{backbone.alias}-{precision}.onnx"
    least = {"bf16": 0.9999, "fp16": 0.999999, "int8": 0.998}[precision]
    assert report.smallest_cosine >= least
    assert report.largest_difference > 1e-5, "narrower numbers leave a difference; none would mean fp32 was compared"
    assert report.check.emulated == (precision != "int8")
    stored = open_session_metadata(report.graph_path)
    assert GraphCheck.from_json(stored[contract.KEY_VERIFICATION]) == report.check
    assert stored[contract.KEY_PRECISION] == precision


def open_session_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}


@pytest.mark.parametrize(("precision", "kind"), [("bf16", TensorProto.BFLOAT16), ("fp16", TensorProto.FLOAT16)])
def test_inputs_outputs_and_norms_stay_float(precision: str, kind: int, tmp_path: Path) -> None:
    state = random_state(TINY)
    model = onnx.load(write_graph(build_graph(TINY, state, PRECISIONS[precision]), tmp_path / "g.onnx").path)
    onnx.checker.check_model(model)
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {TensorProto.FLOAT}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    wide = {name for name, element in types.items() if element == TensorProto.FLOAT}
    assert {"patch_embed.proj.weight.normalised", "norm.weight", "blocks.0.norm1.bias", "rope_embed.periods"} <= wide
    products = [node for node in model.graph.node if node.op_type == "Gemm" and node.name != "patch_embed.proj"]
    assert len(products) == 2 * 6
    assert all(types[name] == kind for node in products for name in node.input[1:])


def test_half_weights_are_rounded_to_nearest_even(tmp_path: Path) -> None:
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-7), 3.0e38, 1e-40], np.float32)
    bits = to_half(values, TensorProto.BFLOAT16)
    assert bits.dtype == np.uint16
    back = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(back[:4], np.array([1.0, 1.0, 1 + 2**-6, -(1 + 2**-7)], np.float32))
    np.testing.assert_allclose(back[4], 3.0e38, rtol=2**-8)
    np.testing.assert_array_equal(to_half(values[:4], TensorProto.FLOAT16), values[:4].astype(np.float16))


@pytest.mark.parametrize("largest", [127, 64])
def test_int8_weights_are_within_half_a_step(largest: int) -> None:
    weight = np.random.default_rng(1).normal(size=(7, 11)).astype(np.float32)
    weight[3] = 0.0
    scale, steps = channel_scales(weight, largest), to_int8(weight, largest)
    assert steps.shape == (11, 7)
    assert steps.dtype == np.int8
    assert np.abs(steps.astype(int)).max() == largest
    assert (np.abs(steps.T * scale[:, None] - weight) <= scale[:, None] * 0.5001).all()
    assert (steps.T[3] == 0).all()


def test_the_reduced_range_cannot_saturate_a_pair_of_products() -> None:
    assert 2 * 255 * int8_range("fpu sse4_2 avx avx2 avx512bw").largest <= np.iinfo(np.int16).max
    assert 2 * 255 * int8_range("avx2 avx_vnni").largest > np.iinfo(np.int16).max
    assert int8_range("avx512_vnni").largest == int8_range("fp asimd asimddp").largest == 127
    assert "VNNI" in int8_range("avx2").reason


def test_int8_is_what_the_operator_is_said_to_compute(tmp_path: Path) -> None:
    """One product of an exported graph, written out: dynamic uint8 inputs, a scale per output channel."""
    path = write_graph(build_graph(TINY, random_state(TINY), PRECISIONS["int8"], 64), tmp_path / "g.onnx").path
    model = onnx.load(path)
    probes = ("blocks.0.norm2", "blocks.0.mlp.fc1")
    for name in probes:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "open.onnx")
    value, found = open_session(tmp_path / "open.onnx").run(list(probes), {"image": noise(1, 48, 48)})
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    low, high = min(value.min(), 0.0), max(value.max(), 0.0)
    step = (high - low) / 255
    zero = np.rint(-low / step)
    quantised = np.clip(np.rint(value / step) + zero, 0, 255) - zero
    key = "blocks.0.mlp.fc1"
    wanted = quantised @ weights[f"{key}.weight.int8"].astype(np.float64) * step * weights[f"{key}.weight.scale"]
    np.testing.assert_allclose(found, wanted + weights[f"{key}.bias"], rtol=0, atol=0.02)
    assert np.abs(found - wanted - weights[f"{key}.bias"]).mean() < 5e-4


def test_the_reduced_range_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.number_formats.cpu_flags", lambda: "avx2")
    report = export_backbone(TINY, write_random_checkpoint(TINY, tmp_path / "w"), tmp_path, "int8")
    stored = json.loads(open_session_metadata(report.graph_path)[contract.KEY_QUANTISATION])
    assert (stored["largest_weight"], stored["reduced_range"]) == (64, True)
    assert "±64" in report.summary()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("name", ["mlp", "gated, no bias"])
@pytest.mark.parametrize("single_file_limit_bytes", [1 << 40, 1000])
def test_part_by_part_is_the_whole(precision: str, name: str, single_file_limit_bytes: int, tmp_path: Path) -> None:
    backbone, numbers = NETWORKS[name], PRECISIONS[precision]
    state = random_state(backbone)
    graph = write_graph(build_graph(backbone, state, numbers), tmp_path / "g.onnx", single_file_limit_bytes).path
    model = build_with_weights(backbone, state)
    parts = check_graph(graph, model, backbone, precision=numbers, parts_from_bytes=1)
    whole = check_graph(graph, model, backbone, precision=numbers, parts_from_bytes=1 << 60)
    assert whole.blocks is None
    assert parts.blocks is not None
    assert parts.blocks.blocks == len(model.blocks)  # type: ignore[arg-type,union-attr]
    assert parts.blocks.smallest_cosine > 0.999
    assert parts.smallest_cosine == pytest.approx(whole.smallest_cosine, abs=1e-4)
    assert (parts.largest_activation is None) == (precision != "bf16")
    if parts.largest_activation is not None:
        assert parts.largest_activation == pytest.approx(whole.largest_activation, rel=1e-2)


def test_a_wrong_block_is_found_part_by_part(tmp_path: Path) -> None:
    state = random_state(TINY)
    other = state | {"blocks.1.mlp.fc1.bias": state["blocks.1.mlp.fc1.bias"] + 1.0}
    graph = write_graph(build_graph(TINY, other), tmp_path / "g.onnx").path
    check = check_graph(graph, build_with_weights(TINY, state), TINY, parts_from_bytes=1)
    assert check.blocks is not None
    assert check.blocks.largest_difference > 0.01
    assert failures(check, PRECISIONS["fp32"])


def overflowing(state: dict[str, torch.Tensor], value: float) -> dict[str, torch.Tensor]:
    """One hidden unit far out, as trained networks have some; the next layer ignores it, so fp32 outputs stay."""
    bias, narrow = state["blocks.1.mlp.fc1.bias"].clone(), state["blocks.1.mlp.fc2.weight"].clone()
    bias[5], narrow[:, 5] = value, 0.0
    return state | {"blocks.1.mlp.fc1.bias": bias, "blocks.1.mlp.fc2.weight": narrow}


@pytest.mark.parametrize(("value", "told"), [(30_000.0, r"3\d{4}"), (70_000.0, "inf")])
def test_fp16_is_refused_where_activations_come_near_its_end(value: float, told: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(TINY, overflowing(random_state(TINY), value), tmp_path / "weights")
    graphs = tmp_path / "graphs"
    with pytest.raises(VerificationError, match=rf"'blocks\.1\.mlp\.\w+' reaches {told}.*, and fp16 ends at 65504"):
        export_backbone(TINY, checkpoint, graphs, "fp16", images=photographs(16))
    assert list(graphs.iterdir()) == []
    assert export_backbone(TINY, checkpoint, graphs, "bf16").smallest_cosine > 0.9999


def test_fp16_is_not_judged_by_made_up_images(tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    with pytest.raises(UsageError, match="--images or IMG_ROOT"):
        export_backbone(TINY, checkpoint, tmp_path / "graphs", "fp16")


def test_bounds_of_each_precision(tmp_path: Path) -> None:
    graph = write_graph(build_graph(TINY, random_state(TINY)), tmp_path / "g.onnx").path
    check = check_graph(graph, build_with_weights(TINY, random_state(TINY)), TINY)
    figures = check.outputs["patch_tokens"]

    def problems(precision: str, cosine: float, mean: float, kept: float) -> list[str]:
        outputs = {"patch_tokens": replace(figures, largest_difference=1.0, smallest_cosine=cosine, mean_cosine=mean)}
        matches = compare_matches([]) or type("Kept", (), {"share": kept})()
        return failures(replace(check, outputs=outputs, matches=matches), PRECISIONS[precision])  # type: ignore[arg-type]

    assert problems("bf16", 0.995, 0.999, 0.5) == []
    assert "smallest cosine 0.994" in problems("bf16", 0.994, 0.999, 1.0)[0]
    assert problems("int8", 0.5, 0.98, 0.85) == []
    assert "mean cosine 0.979 (at least 0.98)" in problems("int8", 0.9, 0.979, 1.0)[0]
    assert "share of matches kept 0.84 (at least 0.85)" in problems("int8", 0.9, 0.99, 0.84)[0]
    assert problems("int8", float("nan"), float("nan"), 1.0)


def test_matches_kept_are_counted_by_hand() -> None:
    eye = np.eye(4, dtype=np.float32)
    assert mutual_matches(eye, eye[[2, 0, 1, 3]]) == {(0, 1), (1, 2), (2, 0), (3, 3)}
    changed = eye[[1, 0, 2, 3]]
    found = compare_matches([((eye, eye), (changed, eye))])
    assert found is not None
    assert (found.found, found.kept, found.share) == (4, 2, 0.5)
    assert compare_matches([]) is None


def test_every_two_photographs_of_a_size_are_a_pair() -> None:
    images = CheckImages(((noise(2, 16, 16), noise(1, 16, 32)), (noise(2, 32, 32),)), photographs=3)
    assert list(images.pairs()) == [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 0)), ((2, 0), (2, 1))]
    assert list(replace(images, photographs=0).pairs()) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_calibrated_ranges_are_those_of_the_values_in_the_graph(name: str, tmp_path: Path) -> None:
    """Against the fp32 graph on the same photographs: every value that is quantised, by its smallest and largest."""
    backbone, images = NETWORKS[name], photographs(NETWORKS[name].stride)
    state = random_state(backbone)
    found = calibrate(build_with_weights(backbone, state), backbone, images).ranges
    integer = build_graph(backbone, state, PRECISIONS["int8"], ranges=found)
    assert {node.input[0] for node in integer.nodes if node.op_type == "QuantizeLinear"} == set(found)
    assert not any(node.op_type == "DynamicQuantizeMatMul" for node in integer.nodes)
    model = onnx.load(write_graph(build_graph(backbone, state), tmp_path / "g.onnx").path)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in found)
    onnx.save(model, tmp_path / "open.onnx")
    session = open_session(tmp_path / "open.onnx")
    runs = [session.run(list(found), {"image": batch}) for batch in images.batches]
    for index, (low, high) in enumerate(found.values()):
        assert low == pytest.approx(min(0.0, *(run[index].min() for run in runs)), rel=1e-3, abs=1e-3)
        assert high == pytest.approx(max(0.0, *(run[index].max() for run in runs)), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_calibrated_graph_is_close_and_says_so(name: str, tmp_path: Path) -> None:
    backbone = NETWORKS[name]
    images = photographs(backbone.stride)
    checkpoint = write_random_checkpoint(backbone, tmp_path / "w")
    report = export_backbone(backbone, checkpoint, tmp_path, "int8", images=images, calibration_images=images)
    assert report.check.mean_cosine > 0.998
    assert "activations calibrated on 2 photographs" in report.summary()
    stored = json.loads(open_session_metadata(report.graph_path)[contract.KEY_QUANTISATION])
    assert stored["calibration"]["photographs"] == 2
    assert len(stored["calibration"]["shapes"]) == len(images.batches)
    parts = check_graph(
        report.graph_path,
        build_with_weights(backbone, load_state(backbone, checkpoint)),
        backbone,
        images,
        PRECISIONS["int8"],
        parts_from_bytes=1,
    )
    assert parts.mean_cosine == pytest.approx(report.check.mean_cosine, abs=1e-3)


def test_values_beyond_the_calibrated_range_are_clipped(tmp_path: Path) -> None:
    """Ranges too narrow must show: else the graph would not use them."""
    state = random_state(TINY)
    model = build_with_weights(TINY, state)
    ranges = calibrate(model, TINY, photographs(16)).ranges
    close = []
    for share in (1.0, 0.2):
        narrow = {name: (low * share, high * share) for name, (low, high) in ranges.items()}
        builder = build_graph(TINY, state, PRECISIONS["int8"], int8_range().largest, narrow)
        graph = write_graph(builder, tmp_path / "g.onnx").path
        close.append(check_graph(graph, model, TINY, photographs(16), PRECISIONS["int8"]).mean_cosine)
    assert close[0] > 0.9999
    assert close[1] < 0.99


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    with pytest.raises(UsageError, match="bf16 has no 8-bit activations"):
        export_backbone(TINY, checkpoint, tmp_path / "graphs", "bf16", calibration_images=photographs(16))
    state = random_state(TINY)
    model = build_with_weights(TINY, state)
    with pytest.raises(UsageError, match="calibrated on photographs"):
        calibrate(model, TINY, made_up_images(16))
    state["blocks.0.mlp.fc1.bias"][3] = float("nan")
    with pytest.raises(WorkError, match="values that are not finite"):
        calibrate(build_with_weights(TINY, state), TINY, photographs(16))


@pytest.mark.parametrize(
    ("low", "high", "step", "zero"),
    [(-1.0, 1.55, 0.01, 100), (0.0, 2.55, 0.01, 0), (-2.55, 0.0, 0.01, 255), (0, 0, 1, 0)],
)
def test_uint8_steps_hold_the_range_and_zero(low: float, high: float, step: float, zero: int) -> None:
    found = uint8_scale(low, high)
    assert found == (pytest.approx(step, rel=1e-6), zero)


def test_calibration_reads_every_block_once() -> None:
    """All photographs go through a block before the next one: weights mapped from a large file are read once."""
    model = build_with_weights(TINY, random_state(TINY))
    order: list[int] = []
    for index, block in enumerate(model.blocks):  # type: ignore[arg-type]
        block.register_forward_pre_hook(lambda *_, index=index: order.append(index))
    images = photographs(16)
    steps: list[tuple[int, int]] = []
    calibrate(model, TINY, images, lambda done, total: steps.append((done, total)))
    assert order == sorted(order)
    assert len(order) == 2 * len(images.batches)
    assert steps == [(1, 2), (2, 2)]


AERIAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "aerial"


@pytest.mark.skipif(not AERIAL.is_dir(), reason="no aerial photographs beside the project")
@pytest.mark.parametrize("calibrated", [False, True], ids=["a range per call", "calibrated"])
@pytest.mark.parametrize("largest", [127, 64])
def test_int8_keeps_the_matches_of_the_bundled_backbone(calibrated: bool, largest: int, tmp_path: Path) -> None:
    """Calibrated on one flight, judged on the other, of another date and season."""
    backbone = BACKBONES["vitt16"]
    flights = [
        CheckImages(encode_photographs(find_photographs(folder, 4), backbone.stride, (224,)), 4)
        for folder in sorted(path for path in AERIAL.iterdir() if path.is_dir())
    ]
    state = load_state(backbone, bundled_checkpoint())
    model = build_with_weights(backbone, state)
    ranges = calibrate(model, backbone, flights[0]).ranges if calibrated else None
    graph = write_graph(build_graph(backbone, state, PRECISIONS["int8"], largest, ranges), tmp_path / "g.onnx").path
    check = check_graph(graph, model, backbone, flights[1], PRECISIONS["int8"])
    assert failures(check, PRECISIONS["int8"]) == []
    assert check.matches is not None
    assert check.matches.found > 200
    assert 0.85 <= check.matches.share < 1.0
