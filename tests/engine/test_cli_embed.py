"""`engine embed`: encodes only."""

from pathlib import Path

import h5py


def shards(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "exports" / "dinov3_embeds").rglob("features-*.h5"))


def test_encodes_only(command, tmp_path: Path) -> None:
    ran = command("embed", "--exts", "png")
    assert (ran.code, ran.err) == (0, "")
    assert "4 photographs" in ran.out
    assert "feature maps: 4 encoded, 0 reused" in ran.out
    assert len(shards(tmp_path)) == 1
    assert not (tmp_path / "exports" / "pair_match").exists()


def test_match_takes_what_embed_stored(command, match, tmp_path: Path) -> None:
    command("embed", "--exts", "png")
    assert "feature maps: 0 encoded, 4 reused" in match("-e").out
    assert "feature maps: 0 encoded, 4 reused" in command("embed", "--exts", "png").out


def test_some_photographs_and_another_size(command, tmp_path: Path) -> None:
    assert "1 photographs" in command("embed", "--exts", "png", "-a", "400.2", "-i", "64").out
    [path] = shards(tmp_path)
    assert "64px" in path.parent.name
    with h5py.File(path) as file:
        assert file["A1_400/A1_400_0002.png/keypoints"].shape == (4 * 5, 2)
        assert "B2_200" not in file


def test_an_unreadable_photograph_does_not_stop_it(command, data_set: Path) -> None:
    (data_set / "B2_200" / "B2_200_0003.png").write_bytes(b"")
    ran = command("embed", "--exts", "png")
    assert ran.code == 1
    assert "4 encoded" in ran.out
    assert "1 photograph(s) could not be read" in ran.err
    assert "B2_200_0003.png" in ran.err


def test_device_is_another_name_of_provider(command) -> None:
    assert "on CPUExecutionProvider" in command("embed", "--exts", "png", "--device", "cpu").out
