"""A graph that wants bicubic or lanczos resizing gets it everywhere, and its stored feature maps are found again."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import onnxruntime
import pytest
from conftest import texture, write_photograph, write_tiny_graph
from PIL import Image

from engine.convert.runs import stored_runs
from engine.convert.source import Source
from engine.dataset import file_entry
from engine.encoding import EXACT, FAST, preprocessing_word, read_upright
from engine.errors import GraphError
from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from engine.matcher import Matcher
from engine.photographs import Photographs
from engine.report.source import RunDescription, StoreSource
from engine.report.tokens import TokenSource
from engine.sample_photographs import encode_photographs
from engine.settings import load_roots
from engine.views import UPRIGHT
from engine.vis_pairs import pair_of_file
from engine.vis_tokens import TokenFinder
from models import contract

SIZE = (384, 320)  # of the photographs in `data_set`; encoded at 160: 192 x 160
KERNELS = ("bicubic", "lanczos")


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command) -> str:
    """`command` and `match` run a graph that wants this kernel."""
    word: str = request.param
    path = tmp_path / "graphs" / "vits16-fp32.onnx"
    write_tiny_graph(path, **{contract.KEY_RESAMPLING: word})
    monkeypatch.setenv("GRAPH_ROOT", str(path.parent))
    return word


def tokens_of(picture: Path, kernel: str, graph: Path) -> np.ndarray:
    """[N, D] unit tokens of a photograph that Pillow resized."""
    small = np.asarray(Image.open(picture).resize((192, 160), Image.Resampling[kernel.upper()]))
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    [tokens], _ = session.run(None, {"image": small[None]})
    return np.asarray(tokens / np.linalg.norm(tokens, axis=1)[:, None])


def test_tokens_are_those_of_the_kernel(match, kernel: str, data_set: Path, tmp_path: Path) -> None:
    assert match("-e", "-i", "160", "-a", "400.1", "-b", "200.1", "--decode", "exact").code == 0
    [shard] = (tmp_path / "exports" / "dinov3_embeds").rglob("features-*.h5")
    assert f"_160px_{kernel}_" in shard.parent.name
    picture, graph = data_set / "A1_400" / "A1_400_0001.png", tmp_path / "graphs" / "vits16-fp32.onnx"
    with h5py.File(shard) as file:
        stored = file["A1_400/A1_400_0001.png"]["descriptors"][()].T.astype(np.float32)
    assert np.abs(stored - tokens_of(picture, kernel, graph)).max() < 2e-3
    assert np.abs(stored - tokens_of(picture, "bilinear", graph)).max() > 1e-2
    with Matcher(graph, image_size=160, decode="exact") as matcher:
        assert matcher.settings.resampling == kernel
        from_file = matcher.embed(picture)
        in_memory = matcher.embed(np.asarray(Image.open(picture)))
    assert np.array_equal(from_file.descriptors.astype(np.float32), stored)
    assert np.array_equal(in_memory.descriptors.astype(np.float32), stored)


@pytest.mark.parametrize("decode", [FAST, EXACT])
def test_everything_that_reads_feature_maps_finds_them(
    match, kernel: str, decode: str, data_set: Path, tmp_path: Path
) -> None:
    exports = tmp_path / "exports"
    assert match("-e", "-i", "160", "-a", "400", "-b", "200", "--decode", decode).code == 0
    folders = {path.parent.name for path in (exports / "dinov3_embeds").rglob("features-*.h5")}
    assert len(folders) == 1
    assert f"_160px_{preprocessing_word(decode, kernel)}_upright" in folders.pop()
    assert "0 encoded, 4 reused" in match("-e", "-i", "160", "-a", "400", "-b", "200", "--decode", decode).out

    [run] = stored_runs(exports / "pair_match")
    source = Source(run.folder, run.settings, exports / "dinov3_embeds")
    assert source.has_features()

    report = StoreSource(run.folder, exports / "pair_match")
    image = next(report.pairs()).result.image_a
    assert TokenSource(exports / "dinov3_embeds", report.description).find(image, UPRIGHT) is not None
    settings = {**report.description.settings, "resampling": "bilinear"}
    other: RunDescription = replace(report.description, settings=settings)
    assert TokenSource(exports / "dinov3_embeds", other).find(image, UPRIGHT) is None

    file = next((exports / "pair_match").rglob("*.json"))
    assert json.loads(file.read_text("utf-8"))["settings"]["resampling"] == kernel
    pair = pair_of_file(file, Photographs(data_set).locate)
    told: list[str] = []
    paths = (pair.stored.image_a.path, pair.stored.image_b.path)
    places = {"IMG_ROOT": str(data_set), "EXPORT_ROOT": str(exports), "GRAPH_ROOT": os.environ["GRAPH_ROOT"]}
    found = TokenFinder(load_roots(places), "cpu", told.append).scene(pair, *paths, None)
    assert told == []
    fresh = TokenFinder(load_roots({**places, "EMBED_ROOT": "none"}), "cpu", told.append).scene(pair, *paths, None)
    assert len(told) == 1
    assert np.array_equal(found.a.descriptors, fresh.a.descriptors)


def test_runs_of_bilinear_graphs_keep_their_digest(match, tmp_path: Path) -> None:
    """What the graph says about resizing is no setting of its own: runs that did not record it stay valid."""
    assert match("-i", "160", "-a", "400.1", "-b", "200.1").code == 0
    [run] = stored_runs(tmp_path / "exports" / "pair_match")
    assert run.settings.resampling == "bilinear"
    assert replace(run.settings, resampling="bicubic").digest() == run.settings.digest()
    assert replace(run.settings, decode="exact").digest() != run.settings.digest()
    assert run.settings.digest().startswith(run.name)


@pytest.mark.parametrize("kernel", KERNELS)
def test_reduced_decoding_hardly_changes_the_picture(kernel: str, tmp_path: Path) -> None:

    path = write_photograph(tmp_path / "a.jpg", texture(1600, 2000))
    entry = file_entry(path)
    fast, exact = (read_upright(entry, 336, 1.0, 16, decode, kernel).pixels for decode in (FAST, EXACT))
    assert np.abs(fast.astype(int) - exact).mean() < 1
    assert not np.array_equal(exact, read_upright(entry, 336, 1.0, 16).pixels)


@pytest.mark.parametrize("kernel", KERNELS)
def test_graphs_are_compared_on_photographs_resized_for_them(kernel: str, tmp_path: Path) -> None:
    path = write_photograph(tmp_path / "a.png", texture(320, 384))
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    wanted = np.asarray(Image.fromarray(pixels).resize((192, 160), Image.Resampling[kernel.upper()])).astype(int)
    [[batch]] = encode_photographs([path], 16, (160,), kernel)
    assert np.abs(batch[0] - wanted).max() <= 1


def test_graphs_without_the_word_are_bilinear_and_unknown_words_refused(tmp_path: Path) -> None:
    path = write_tiny_graph(tmp_path / "vits16-fp32.onnx")
    assert GraphInfo.from_metadata(path, read_metadata(path)).resampling == "bilinear"
    write_tiny_graph(path, **{contract.KEY_RESAMPLING: "box"})
    with pytest.raises(GraphError, match=r"resized by 'box'; this version knows bilinear, bicubic, lanczos"):
        GraphInfo.from_metadata(path, read_metadata(path))
