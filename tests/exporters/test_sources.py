"""Sources of networks: all give the same tokens for the same weights, and every bad one is told."""

import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_stand_in import write_clone

from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from exporters.export import export_backbone, export_source
from exporters.graph_runs import open_session
from exporters.sources.builtin import load_builtin
from exporters.sources.hf import PERIODS_NOTE, load_hf
from exporters.sources.hf_preprocessing import read_preprocessing
from exporters.sources.hf_repository import HuggingFaceError, find_model
from exporters.sources.hub import HubError, load_hub
from exporters.sources.interpolation import resize_bicubic
from exporters.sources.network import NetworkBlockedError, network_blocked
from exporters.sources.safetensors_file import read_safetensors
from exporters.torchscript import export_torchscript
from models import contract
from models.catalogue import BACKBONES, Backbone, ViTArch
from models.errors import UsageError, WorkError
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


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_torchscript_from_a_clone_is_compared_with_its_code(backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(backbone, random_state(backbone), tmp_path / "weights")
    made = export_torchscript(load_hub(backbone, write_clone(tmp_path / "clone"), checkpoint), tmp_path)
    assert made.graph_path.name == f"{backbone.alias}-hub-fp32.torchscript"
    with torch.inference_mode():
        found = torch.jit.load(str(made.graph_path))(torch.from_numpy(PIXELS))
    for a, b in zip(found, run(export_backbone(backbone, checkpoint, tmp_path).graph_path), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=TOLERANCE)
    other = write_clone(tmp_path / "other", offset=0.05)
    with pytest.raises(WorkError, match="differs from its source model and was not kept"):
        export_torchscript(load_hub(backbone, other, checkpoint), tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_the_graph_is_compared_with_the_code_of_the_clone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path / "weights")
    clone = write_clone(tmp_path / "clone", offset=0.05)
    with pytest.raises(WorkError, match="differs from its source model and was not kept"):
        export_source(load_hub(VIT, clone, checkpoint), tmp_path / "graphs")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("import a_part_that_is_not_installed", r"No module named 'a_part_that_is_not_installed'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "operator torchvision::nms"),
        ("raise AttributeError('partially initialized module')", "partially initialized module"),
        ("raise OSError('libtorch.so: cannot open shared object file')", "libtorch.so: cannot open"),
        ("del dinov3_vits16", "name 'dinov3_vits16' is not defined"),
    ],
)
def test_a_hubconf_that_needs_a_missing_or_broken_part_is_passed_by(before: str, told: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    source = load_hub(VIT, write_clone(tmp_path / "clone", before=before), checkpoint)
    assert re.search(rf"cannot be imported here \({told}.*dinov3\.hub\.backbones", source.notes[0])


def test_a_hubconf_without_its_dependencies_or_the_entry_is_passed_by(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    for name, content, told in (
        ("needs", 'from dinov3.hub.backbones import *\ndependencies = ["torch", "not_there"]', "not_there"),
        ("empty", "", "it has no dinov3_vits16"),
    ):
        clone = write_clone(tmp_path / name)
        (clone / "hubconf.py").write_text(content)
        assert told in load_hub(VIT, clone, checkpoint).notes[0]


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_a_clone_holds_the_mapped_tensors_and_no_copies(backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(backbone, random_state(backbone), tmp_path)
    source = load_hub(backbone, write_clone(tmp_path / "clone"), checkpoint)
    held = source.model._model.state_dict()  # type: ignore[union-attr]
    assert source.state is not None
    assert all(held[key].data_ptr() == value.data_ptr() for key, value in source.state.items())


def test_a_clone_takes_16_bit_weights_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {key: value.bfloat16() for key, value in random_state(VIT).items()}
    checkpoint, clone = write_checkpoint(VIT, halves, tmp_path), write_clone(tmp_path / "clone")
    found = load_hub(VIT, clone, checkpoint).model(torch.zeros(1, 3, 32, 32))[0]
    assert torch.equal(found, load_builtin(VIT, checkpoint).model(torch.zeros(1, 3, 32, 32))[0])
    monkeypatch.setattr("exporters.room.available_memory", lambda: 1_000_000)
    with pytest.raises(WorkError, match=r"widening the weights of vits16 for the code of .* needs 0\.0 GB"):
        load_hub(VIT, clone, checkpoint)


@pytest.mark.parametrize(
    "build",
    ["model.cls_token.tolist()", "model.register_buffer('table', model.cls_token + 1, persistent=False)"],
    ids=["values", "buffer"],
)
def test_a_clone_that_needs_memory_is_refused_where_there_is_none(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    clone = write_clone(tmp_path / "clone", build=build)
    tokens = load_hub(VIT, clone, checkpoint).model(torch.zeros(1, 3, 32, 32))
    plain = load_hub(VIT, write_clone(tmp_path / "plain"), checkpoint).model(torch.zeros(1, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(tokens, plain, strict=True))
    monkeypatch.setattr("exporters.room.available_memory", lambda: 1_000_000)
    with pytest.raises(WorkError, match=r"0\.0 GB of memory are free, and building vits16 by the code of .* needs 0\."):
        load_hub(VIT, clone, checkpoint)


def test_code_of_a_clone_is_kept_off_the_network(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    reach = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=0.2)"
    with pytest.raises(NetworkBlockedError, match="DINOV3_BLOCK_NET=0"):
        load_hub(VIT, write_clone(tmp_path / "loading", extra=reach), checkpoint)
    source = load_hub(VIT, write_clone(tmp_path / "running", hook=reach), checkpoint)
    with pytest.raises(NetworkBlockedError):
        source.model(torch.zeros(1, 3, 32, 32))
    with pytest.raises(HubError, match="gives no dinov3_vits16"):
        load_hub(VIT, write_clone(tmp_path / "open", extra=reach), checkpoint, block_network=False)


def test_the_guard_is_lifted_again() -> None:
    before = socket.socket.connect, socket.getaddrinfo
    with network_blocked("outer"):
        with network_blocked("inner"), pytest.raises(NetworkBlockedError, match="inner"):
            socket.getaddrinfo("example.org", 80)
        with socket.socket() as still, pytest.raises(NetworkBlockedError, match="outer"):
            still.connect(("127.0.0.1", 9))
    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_bad_clones(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    with pytest.raises(UsageError, match="set REPO_DIR"):
        load_hub(VIT, None, checkpoint)
    with pytest.raises(HubError, match="is no clone of facebookresearch/dinov3"):
        load_hub(VIT, tmp_path, checkpoint)
    with pytest.raises(UsageError, match="use --source builtin"):
        load_hub(BACKBONES["vitt16"], tmp_path, checkpoint)
    other = replace(VIT, hub_entry="dinov3_convnext_tiny")
    with pytest.raises(WorkError, match="builds another network than vits16"):
        load_hub(other, write_clone(tmp_path / "clone"), checkpoint)


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


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(7, 9), (3, 2), (5, 5), (1, 16)])
def test_bicubic_resizing_is_that_of_pytorch(size: tuple[int, int], antialias: bool) -> None:
    table = torch.randn((1, 4, 5, 5), generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(table, size=size, mode="bicubic", antialias=antialias)
    assert float((resize_bicubic(table, *size, antialias) - wanted).abs().max()) < 1e-5


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
