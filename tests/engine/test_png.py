import cv2
import numpy as np
import pytest

from engine import imaging
from engine.errors import ImageReadError
from engine.png import is_png, png_chunks_fit

WHOLE = cv2.imencode(".png", np.arange(600, dtype=np.uint8).reshape(10, 20, 3))[1].tobytes()


def test_a_whole_file_fits_whatever_follows_it() -> None:
    assert is_png(WHOLE)
    assert png_chunks_fit(WHOLE)
    assert png_chunks_fit(WHOLE + b"\xff" * 30)


@pytest.mark.parametrize("end", [40, len(WHOLE) // 2, len(WHOLE) - 14])
def test_a_file_cut_within_a_chunk_does_not(end: int) -> None:
    assert not png_chunks_fit(WHOLE[:end])


def test_a_chunk_that_claims_gigabytes_never_reaches_the_decoder(tmp_path, monkeypatch) -> None:
    at = WHOLE.index(b"IDAT") - 4
    path = tmp_path / "a.png"
    path.write_bytes(WHOLE[:at] + (0x7FFFFFF0).to_bytes(4, "big") + WHOLE[at + 4 :])
    monkeypatch.setattr(imaging.cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageReadError, match=r"a\.png cannot be decoded\. It begins as a PNG file but is truncated"):
        imaging.read_image(path)
