"""The synthetic data set: what is planned, what lies on disk, what is refused; references on it; curves."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import texture, write_photograph

from engine.coordinates import project
from engine.dataset import scan
from engine.errors import UsageError, WorkError
from engine.evaluate.curves import COLOURS, draw_curves
from engine.evaluate.factors import BASELINE, FACTORS, chosen_factors
from engine.evaluate.measure import Row
from engine.evaluate.metrics import Measured
from engine.evaluate.references import OrbReference, SiftReference, mutual_nearest
from engine.evaluate.synthetic import Source, find_sources, make_pairs, plan_pairs
from engine.evaluate.truth import Case, load_truth
from engine.imaging import read_image
from engine.pairs import Pair


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_photograph(folder / "north" / "one.jpg", texture(1000, 1100, seed=1))
    write_photograph(folder / "two.png", texture(1050, 1000, seed=2))
    write_photograph(folder / "small.jpg", texture(999, 1200, seed=3))
    return folder


def test_sources_are_named_and_small_or_broken_ones_left_out(sources: Path) -> None:
    (sources / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    found = find_sources(sources)
    (sources / "broken.jpg").unlink()
    assert [(source.name, source.size) for source in found.usable] == [
        ("north/one.jpg", (1100, 1000)),
        ("two.png", (1000, 1050)),
    ]
    assert len(found.left_out) == 2
    assert "broken.jpg is truncated" in found.left_out[0]
    assert found.left_out[1] == "small.jpg has 1200 x 999 px"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "there is no such folder"),
        ([], "there is no picture"),
        ([(700, 900)], "none will do.*900 x 700 px.*1000"),
    ],
)
def test_nothing_to_cut_from_is_an_error(files: list[tuple[int, int]] | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    if files is not None:
        folder.mkdir()
        for number, (height, width) in enumerate(files):
            write_photograph(folder / f"{number}.jpg", texture(height, width))
    with pytest.raises(WorkError, match=message):
        find_sources(folder)


SOURCES = [Source(f"{number}.jpg", Path(f"{number}.jpg"), (1080, 1200)) for number in range(5)]


def test_every_level_of_every_factor_is_planned_as_stated() -> None:
    plans = plan_pairs(SOURCES, FACTORS, 1, False, 1)
    counted = {(plan.factor.name, plan.level) for plan in plans}
    assert counted == {(factor.name, level) for factor in FACTORS for level in factor.levels}
    assert len({plan.key_a for plan in plans} | {plan.key_b for plan in plans}) == 2 * len(plans)
    ranges = {factor.name: (min(factor.levels, key=str), len(factor.levels)) for factor in FACTORS}
    assert ranges["rotation"][1] == 13
    for plan in plans:
        geometry, photometry = plan.setting.geometry, plan.setting.photometry
        name, level = plan.factor.name, plan.level
        if name == "rotation":
            assert abs(geometry.rotation_deg) == level
        elif name != "everything":
            assert abs(geometry.rotation_deg) <= BASELINE.rotation_deg[1]
        if name == "scale":
            assert geometry.scale == level
        if name == "overlap":
            assert plan.layout.overlap == pytest.approx(float(level) / 100, abs=1e-6)
        if name == "perspective":
            assert geometry.tilt_deg == level
        if name == "crop":
            assert f"{geometry.size_b[0]}x{geometry.size_b[1]}" == level
        if name in ("brightness", "season", "blur", "noise"):
            field = {"brightness": "stops", "blur": "blur_px"}.get(name, name)
            assert getattr(photometry, field) == level
        assert plan.layout.overlap > 0.19


def test_levels_differ_in_the_factor_alone() -> None:
    plans = [plan for plan in plan_pairs(SOURCES, chosen_factors(["blur"]), 2, False, 1) if plan.number % 2 == 1]
    assert len(plans) == 5
    assert len({plan.source.name for plan in plans}) == 1
    assert len({plan.develop_seed for plan in plans}) == 1
    for plan in plans[1:]:
        assert np.array_equal(plan.layout.a_to_b, plans[0].layout.a_to_b)
        assert plan.setting.photometry.noise == plans[0].setting.photometry.noise


def test_a_plan_depends_on_its_seed_and_not_on_what_else_is_planned() -> None:
    chosen = plan_pairs(SOURCES, chosen_factors(["noise"]), 2, False, 1)
    among_all = [plan for plan in plan_pairs(SOURCES, FACTORS, 2, False, 1) if plan.factor.name == "noise"]
    other_seed = plan_pairs(SOURCES, chosen_factors(["noise"]), 2, False, 2)
    for plan, same, other in zip(chosen, among_all, other_seed, strict=True):
        assert np.array_equal(plan.layout.a_to_b, same.layout.a_to_b)
        assert (plan.source, plan.develop_seed) == (same.source, same.develop_seed)
        assert not np.array_equal(plan.layout.a_to_b, other.layout.a_to_b)


def test_a_quick_run_is_a_part_of_the_levels() -> None:
    quick, full = (plan_pairs(SOURCES, FACTORS, 2, quick, 1) for quick in (True, False))
    assert {(p.factor.name, p.level) for p in quick} <= {(p.factor.name, p.level) for p in full}
    assert len(quick) < len(full) / 2


def test_an_unknown_factor_is_refused_with_a_list() -> None:
    with pytest.raises(UsageError, match="no factor 'rotate'; there are rotation, scale"):
        chosen_factors(["rotate"])


def make(sources: Path, folder: Path, *names: str, seed: int = 1) -> list[Case]:
    return make_pairs(plan_pairs(find_sources(sources).usable, chosen_factors(names), 1, True, seed), folder)


def test_pairs_are_a_data_set_with_a_truth_file_and_the_same_bytes_each_time(sources: Path, tmp_path: Path) -> None:
    cases = make(sources, tmp_path / "first", "crop")
    make(sources, tmp_path / "second", "crop")
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert [str(path) for path in files if "_101_" in path.name] == [
        f"crop_101/crop_101_{number:04d}.jpg" for number in (1, 2, 3)
    ]
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert len(scan(tmp_path / "first")) == 6
    entries = load_truth(tmp_path / "first" / "truth.json")
    for case, entry in zip(cases, entries, strict=True):
        np.testing.assert_allclose(entry.a_to_b, case.a_to_b, rtol=1e-12)
        assert case.points_a_px is not None
        assert case.points_a_px.shape == (81, 2)
        assert case.about["source"] in ("north/one.jpg", "two.png")
    assert [read_image(case.pair.b.path).shape[:2] for case in cases] == [(320, 320), (256, 512), (360, 640)]


def test_an_earlier_run_is_replaced_but_nobody_elses_files(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path, "crop")
    make(sources, tmp_path, "overlap")
    assert not list(tmp_path.rglob("crop_*.jpg"))
    assert len(list(tmp_path.rglob("overlap_*.jpg"))) == 6
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holiday\.jpg.*choose another --out"):
        make(sources, tmp_path, "crop")
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"
    assert len(list(tmp_path.rglob("overlap_*.jpg"))) == 6


def test_sift_and_orb_find_the_exact_truth(sources: Path, tmp_path: Path) -> None:
    """Two methods that know nothing of how the pairs were made agree with the truth to a fraction of a pixel."""
    for case in make(sources, tmp_path, "rotation"):
        size = (512, 512)
        sift = SiftReference()(case.pair.a, case.pair.b)
        error = case.error_pct(sift.matrix, size, size)
        assert error is not None
        assert error < 0.02
        assert sift.points_a_px is not None
        assert sift.points_b_px is not None
        assert sift.inlier_mask is not None
        off = (project(case.a_to_b, sift.points_a_px) - sift.points_b_px)[sift.inlier_mask]
        assert np.abs(np.median(off, axis=0)).max() < 0.05
        orb_error = case.error_pct(OrbReference()(case.pair.a, case.pair.b).matrix, size, size)
        assert orb_error is not None
        assert orb_error < 0.5


def test_references_find_nothing_in_blank_pictures(tmp_path: Path) -> None:
    for name in ("A_1_1", "B_2_1"):
        write_photograph(tmp_path / f"{name}.jpg", np.full((100, 100, 3), 90, np.uint8))
    a, b = scan(tmp_path).entries
    for reference in (SiftReference(), OrbReference()):
        found = reference(a, b)
        assert (found.matches, found.inliers, found.matrix) == (0, 0, None)


def test_mutual_nearest_equals_a_plain_loop() -> None:
    similarity = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    expected = [
        (i, j) for i in range(30) for j in range(20) if similarity[i].argmax() == j and similarity[:, j].argmax() == i
    ]
    rows, columns = mutual_nearest(similarity)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
    assert not len(mutual_nearest(np.zeros((0, 5), np.float32))[0])


def rows_of_noise(errors: dict[str, list[float | None]]) -> list[Row]:
    """One pair per level of the factor noise, with these errors."""
    entry = scan_entry()
    factor = chosen_factors(["noise"])[0]
    return [
        Row(
            Case(Pair(entry, entry), np.eye(3), None, {"factor": "noise", "level": level, "overlap": 1.0}),
            tuple(Measured(name, of_method[place], 9, 5, None, 1.0) for name, of_method in errors.items()),
        )
        for place, level in enumerate(factor.levels)
    ]


def scan_entry() -> object:
    from engine.dataset import file_entry

    return file_entry(Path("/x/y.jpg"))


def test_curves_show_every_method_where_its_figures_are(tmp_path: Path) -> None:
    errors: dict[str, list[float | None]] = {"ours": [0.1] * 5, "SIFT": [0.1, 0.1, 50.0, None, None]}
    files = draw_curves({"vits16": rows_of_noise(errors)}, tmp_path)
    assert [file.name for file in files] == ["noise.png", "success.png"]
    picture = cv2.cvtColor(cv2.imread(str(files[0])), cv2.COLOR_BGR2RGB)
    left = picture[92:612, 32:692]
    ours, sift = ((np.abs(left.astype(int) - colour).sum(axis=2) < 12) for colour in COLOURS[:2])
    # Ours stays at 100 %, near the top; SIFT's last two levels lie at 0 %, near the bottom, at the right.
    assert np.flatnonzero(ours.any(axis=1)).max() < 100
    assert np.flatnonzero(sift[:, 600:].any(axis=1)).min() > 400


def test_truth_file_of_a_run_is_json_with_the_ranges(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path, "season")
    content = json.loads((tmp_path / "truth.json").read_text())
    assert [pair["level"] for pair in content["pairs"]] == [0, 0.5, 1]
    assert content["pairs"][0]["rotation_deg"] == content["pairs"][2]["rotation_deg"]


def test_the_document_states_every_level() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    for factor in FACTORS:
        levels, quick = (", ".join(map(str, some)) for some in (factor.levels, factor.quick_levels))
        unit = f"{factor.unit} " if factor.unit else ""
        assert f"| {factor.name} | {unit}| {levels} | {quick} |" in page
