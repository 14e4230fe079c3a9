"""Which graph a command runs."""

from pathlib import Path

import pytest

from engine.errors import GraphError, UsageError, WorkError
from engine.graphs import NoCheckpointError, choose_graphs, graph_path, requested_backbones
from engine.only_graph import exported_graphs
from models.bundled import bundled_graph
from models.catalogue import BACKBONES, Backbone, UnknownBackboneError, backbone


def never(entry: object) -> Path:
    raise AssertionError(f"{entry} must not be exported")


def absent(entry: object) -> Path:
    raise NoCheckpointError(f"nothing of {entry}")


def graphs(tmp_path: Path, *aliases: str) -> Path:
    for alias in aliases:
        (tmp_path / f"{alias}-fp32.onnx").write_bytes(b"graph")
    return tmp_path


def test_without_a_wish_the_only_graph(tmp_path: Path) -> None:
    [choice] = choose_graphs([], False, graphs(tmp_path, "vitl16+"), never)
    assert (choice.alias, choice.path) == ("vitl16+", tmp_path / "vitl16+-fp32.onnx")
    assert "the only exported graph" in choice.said


def test_without_a_wish_and_graphs_the_bundled_one(tmp_path: Path) -> None:
    [choice] = choose_graphs([], False, tmp_path / "none", never)
    assert (choice.alias, choice.path) == ("vitt16", bundled_graph())
    assert "bundled" in choice.said


def test_several_are_listed_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"-w one of vits16, vitl16, cxTiny$"):
        choose_graphs([], False, graphs(tmp_path, "cxTiny", "vitl16", "vits16"), never)
    assert [graph.alias for graph in exported_graphs(tmp_path)] == ["vits16", "vitl16", "cxTiny"]


def test_foreign_and_unfinished_files_do_not_count(tmp_path: Path) -> None:
    graphs(tmp_path, "vits16")
    for name in ("vitb16-fp32.onnx.partial", "something.onnx", "vitb16.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "vitl16-fp32.onnx").mkdir()
    assert [graph.path.name for graph in exported_graphs(tmp_path)] == ["vits16-fp32.onnx"]


def test_the_bundled_graph_gives_way_to_an_exported_one(tmp_path: Path) -> None:
    assert graph_path(tmp_path, "vitt16") == bundled_graph()
    graphs(tmp_path, "vitt16")
    assert graph_path(tmp_path, "vitt16") == tmp_path / "vitt16-fp32.onnx"


def test_a_missing_graph_is_exported_and_said(tmp_path: Path) -> None:
    made = []

    def export(entry):
        made.append(entry.alias)
        return tmp_path / "made.onnx"

    choices = choose_graphs([backbone("vits16"), backbone("vitb16")], False, graphs(tmp_path, "vits16"), export)
    assert made == ["vitb16"]
    assert [choice.path for choice in choices] == [tmp_path / "vits16-fp32.onnx", tmp_path / "made.onnx"]
    assert "first" in choices[1].said


def test_what_is_not_there(tmp_path: Path) -> None:
    graphs(tmp_path, "vits16")
    with pytest.raises(GraphError, match="nothing of"):
        choose_graphs([backbone("vits16"), backbone("vitb16")], False, tmp_path, absent)
    [only] = choose_graphs(list(BACKBONES.values())[:5], True, tmp_path, absent)
    assert only.alias == "vits16"
    with pytest.raises(GraphError, match="none of 2 backbones"):
        choose_graphs([backbone("cxTiny"), backbone("cxBase")], True, tmp_path, absent)


def test_requests() -> None:
    assert requested_backbones([], None, False) == []
    assert [entry.alias for entry in requested_backbones(["vitb16", "vits16", "vitb16"], None, False)] == [
        "vitb16",
        "vits16",
    ]
    assert [entry.alias for entry in requested_backbones([], "vit_sat493m", False)] == ["vitl16sat", "vit7b16sat"]
    assert len(requested_backbones([], None, True)) == 13
    with pytest.raises(UnknownBackboneError, match="Did you mean 'vits16'"):
        requested_backbones(["vits61"], None, False)
    with pytest.raises(UsageError, match="Known: ViT_LVD1689M, ConvNeXT_LVD1689M, ViT_SAT493M"):
        requested_backbones([], "ViT", False)
    for wrong in ((["vits16"], "ViT_SAT493M", False), (["vits16"], None, True), ([], "ViT_SAT493M", True)):
        with pytest.raises(UsageError, match="exclude each other"):
            requested_backbones(*wrong)


def test_graphs_of_a_precision_are_chosen_among_themselves(tmp_path: Path) -> None:
    root = graphs(tmp_path, "vits16", "vitb16")
    (root / "vitb16-int8.onnx").touch()
    [only] = choose_graphs([], False, root, never, "int8")
    assert only.path == root / "vitb16-int8.onnx"
    [named] = choose_graphs([backbone("vitb16")], False, root, never, "int8")
    assert named.path == only.path
    with pytest.raises(GraphError, match=r"no bf16 graph is in .*engine export --precision bf16"):
        choose_graphs([], False, root, never, "bf16")


@pytest.mark.parametrize(
    ("name", "alias", "typed"),
    [
        ("vitl16-bf16.onnx", "vitl16", "-w vitl16 --precision bf16"),
        ("vits16+-int8.onnx", "vits16+", "-w vits16+ --precision int8"),
        ("vits16-hub-fp32.onnx", "vits16", "-w vits16 --source hub"),
        ("facebook--dinov2-base-hf-fp32.onnx", "facebook--dinov2-base", "--source hf"),
    ],
)
def test_without_a_wish_the_only_graph_of_another_kind(tmp_path: Path, name: str, alias: str, typed: str) -> None:
    (tmp_path / name).touch()
    [choice] = choose_graphs([], False, tmp_path, never)
    assert (choice.alias, choice.path) == (alias, tmp_path / name)
    assert choice.said == f"{alias}: the only exported graph ({typed})"


def test_graphs_of_several_other_kinds_are_listed_with_what_to_type(tmp_path: Path) -> None:
    for name in ("vitl16-bf16.onnx", "vitl16-int8.onnx", "cxTiny-hub-fp32.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="no fp32 graph") as stopped:
        choose_graphs([], False, tmp_path, never)
    for typed in ("-w vitl16 --precision bf16", "-w vitl16 --precision int8", "-w cxTiny --source hub"):
        assert f"({typed})" in str(stopped.value)
    with pytest.raises(
        GraphError, match=r"no fp16 graph .*; there is vitl16-bf16\.onnx \(-w vitl16 --precision bf16\)"
    ):
        choose_graphs([], False, tmp_path, never, "fp16")


def test_a_graph_that_this_machine_cannot_run_is_not_taken_and_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "vitl16-bf16.onnx").touch()
    with pytest.raises(GraphError, match=r"the only graph in .* is vitl16-bf16\.onnx, and bf16 needs a GPU.*-w vitt16"):
        choose_graphs([], False, tmp_path, never, can_run=lambda precision: precision != "bf16")


def test_a_backbone_of_a_group_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def export(entry: Backbone) -> Path:
        if entry.alias == "vitb16":
            raise WorkError("altered")
        return absent(entry)

    graphs(tmp_path, "vits16")
    told: list[tuple[str, str]] = []

    def tell(alias: str, error: WorkError) -> None:
        told.append((alias, str(error)))

    [only] = choose_graphs(list(BACKBONES.values())[:5], True, tmp_path, export, on_failure=tell)
    assert only.alias == "vits16"
    assert told == [("vitb16", "altered")], "that there is neither graph nor checkpoint is no failure"
    with pytest.raises(WorkError, match="no graph is left to run: 1 of 2 backbones failed"):
        choose_graphs([backbone("vitb16"), backbone("cxTiny")], True, tmp_path, export, on_failure=tell)
