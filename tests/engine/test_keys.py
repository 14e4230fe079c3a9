"""Image keys compare by value; selectors read what people type."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.keys import ImageKey, Selector, looks_like_selector, parse_selector

_DIGITS = st.text("0123456789", min_size=1, max_size=40)
_FLIGHTS = st.text("0123456789abcXYZ", min_size=1, max_size=14)


def test_a_key_keeps_its_digits_and_compares_by_value() -> None:
    key = ImageKey("250912150549", "0400", "0001")
    assert str(key) == "250912150549:0400.0001"
    assert key.short == "0400.0001"
    assert (key.altitude_value, key.frame_value) == (400, 1)
    assert key == ImageKey("250912150549", "400", "1")
    assert hash(key) == hash(ImageKey("250912150549", "400", "1"))
    assert key != ImageKey("250912161658", "0400", "0001")


def test_keys_sort_by_flight_then_values() -> None:
    ordered = [("A", "80", "0010"), ("A", "100", "2"), ("A", "100", "0010"), ("A", "100", "100"), ("B", "9", "1")]
    keys = [ImageKey(*parts) for parts in ordered]
    shuffled = random.Random(0).sample(keys, len(keys))
    assert [(k.flight, k.altitude, k.frame) for k in sorted(shuffled)] == ordered


@pytest.mark.parametrize(
    "parts", [("", "1", "1"), ("A", "", "1"), ("A", "x", "1"), ("A", "1", "²"), ("A", "1" * 256, "1")]
)
def test_a_key_needs_a_flight_and_numbers(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=r"flight|digits"):
        ImageKey(*parts)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("400.0001", Selector(None, 400, 1)),
        ("400", Selector(None, 400, None)),
        ("0400.1", Selector(None, 400, 1)),
        (" 400.1 ", Selector(None, 400, 1)),
        ("250912150549:400.0001", Selector("250912150549", 400, 1)),
        ("250912150549:400", Selector("250912150549", 400, None)),
        ("비행 1:400", Selector("비행 1", 400, None)),
        ("a:b:400", Selector("a:b", 400, None)),
    ],
)
def test_selectors(text: str, selector: Selector) -> None:
    assert looks_like_selector(text)
    assert parse_selector(text) == selector


@pytest.mark.parametrize(
    "text", ["", ".", "400.", ".1", "400.1.2", "a", "-400", "400,1", r"C:\data\400.1", "٤٠٠", "x/1"]
)
def test_other_text_is_no_selector(text: str) -> None:
    assert not looks_like_selector(text)
    with pytest.raises(UsageError, match=r"names no image: expected ALT\.FRAME"):
        parse_selector(text)


def test_what_is_wrong_with_a_selector_is_said() -> None:
    with pytest.raises(UsageError, match="no flight in front"):
        parse_selector(":400.1")
    with pytest.raises(UsageError, match="more than 255 digits"):
        parse_selector("9" * 5000)
    with pytest.raises(UsageError, match="more than 255 digits"):
        parse_selector("1." + "9" * 5000)


@given(st.text() | st.from_regex(r"[0-9:.]*", fullmatch=True))
def test_any_text_is_read_or_refused_clearly(text: str) -> None:
    with suppress(UsageError):
        selector = parse_selector(text)
        assert looks_like_selector(text)
        assert selector.altitude >= 0


def test_thousands_of_texts_near_to_keys() -> None:
    rng, read = random.Random(0), 0
    for _ in range(10_000):
        text = "".join(rng.choices("0123456789:.-,/\\ \0٤²aZ", (6,) * 10 + (3, 6) + (1,) * 10, k=rng.randrange(12)))
        with suppress(UsageError):
            assert parse_selector(text).altitude >= 0
            read += 1
        assert looks_like_selector(text) in (True, False)
    assert 1000 < read < 9000


@given(_FLIGHTS, _DIGITS, _DIGITS, st.integers(0, 3))
def test_a_key_is_found_by_its_own_text_and_by_value(flight: str, altitude: str, frame: str, zeros: int) -> None:
    key = ImageKey(flight, altitude, frame)
    padded = f"{'0' * zeros}{altitude}.{'0' * zeros}{int(frame)}"
    for text in (str(key), key.short, padded, altitude, f"{flight}:{altitude}"):
        assert parse_selector(text).fits(key)
    assert not parse_selector(f"{altitude}.{int(frame) + 1}").fits(key)
    assert not parse_selector(f"{int(altitude) + 1}").fits(key)
    assert not parse_selector(f"{flight}x:{altitude}").fits(key)
