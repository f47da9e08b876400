"""Results as bytes: what comes back, and what is refused."""

import pickle
import struct
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.cache.codec import (
    decode_outcome,
    decode_result,
    encode_outcome,
    encode_result,
    is_complete,
)
from omnishot_ray.errors import (
    CorruptImage,
    FieldError,
    InvalidParameters,
    OmnishotError,
    Overloaded,
    TaskTimeout,
)
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Crop
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Rendition, Result, Timings, process
from tests.cached import SOURCE, partial_result, result
from tests.pictures import encode, noise

whole = st.integers(0, 2**31)
renditions = st.builds(
    Rendition,
    st.text(),
    st.binary(max_size=200),
    whole,
    whole,
    st.sampled_from(Format),
    st.none() | st.builds(Crop, whole, whole, whole, whole),
    st.none() | st.sampled_from(["face", "attention"]),
    whole,
)


def sealed(header: Any, data: bytes = b"", version: int = 1) -> bytes:
    text = orjson.dumps(header)
    body = text + data
    return struct.pack(">4sB3xII", b"OSRr", version, zlib.crc32(body), len(text)) + body


@given(st.lists(renditions, max_size=4))
def test_results_come_back(made: list[Rendition]) -> None:
    original = Result(SOURCE, tuple(made))
    assert decode_result(encode_result(original)) == original


def test_result_of_the_engine_comes_back_without_timings() -> None:
    wanted = [Options(width=20, format="webp", name="a"), Options(width=10, height=10, name="b")]
    original = process(encode(noise(40, 30)), wanted, Limits())
    again = decode_result(encode_result(original))
    assert again is not None
    assert (again.source, again.renditions) == (original.source, original.renditions)
    assert again.timings == Timings()


def test_partial_result_is_not_kept_but_handed_over() -> None:
    partial = partial_result()
    assert not is_complete(partial)
    with pytest.raises(ValueError, match="failed rendition"):
        encode_result(partial)
    data = encode_outcome(partial)
    assert decode_result(data) is None
    again = decode_outcome(data)
    assert isinstance(again, Result)
    assert again.renditions[0] == partial.renditions[0]
    failed = again.renditions[1]
    assert failed.name == "b"
    assert isinstance(failed.error, CorruptImage)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "error",
    [
        CorruptImage("broken"),
        TaskTimeout("too long"),
        InvalidParameters("no", (FieldError("width", "a number"),)),
        Overloaded("full", 2.5),
    ],
)
def test_errors_are_handed_over(error: OmnishotError) -> None:
    again = decode_outcome(encode_outcome(error))
    assert type(again) is type(error)
    assert again.args == error.args
    assert decode_result(encode_outcome(error)) is None


@given(st.data())
def test_any_damage_is_seen(data: st.DataObject) -> None:
    good = encode_result(result(b"some pixels"))
    at = data.draw(st.integers(0, len(good) - 1).filter(lambda at: not 5 <= at < 8))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    assert decode_result(bytes(bad)) is None
    assert decode_result(good[:at]) is None
    assert decode_result(good + b"x") is None


@given(st.binary(max_size=300))
def test_garbage_is_none(data: bytes) -> None:
    assert decode_result(data) is None
    assert decode_outcome(data) is None


def source_header() -> dict[str, Any]:
    return {"width": 8, "height": 6, "format": "png", "bytes": 99}


def rendition_header(**changes: Any) -> dict[str, Any]:
    base = {"name": "a", "width": 2, "height": 1, "format": "webp", "crop": None}
    return base | {"gravity": None, "frames": 1, "length": 3} | changes


def test_the_written_form_is_read() -> None:
    header = {"source": source_header(), "renditions": [rendition_header()]}
    read = decode_result(sealed(header, b"abc"))
    assert read is not None
    assert read.renditions == (Rendition("a", b"abc", 2, 1, Format.WEBP),)
    assert decode_result(sealed(header, b"abc", version=2)) is None


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"source": source_header()},
        {"source": source_header() | {"width": "8"}, "renditions": [rendition_header()]},
        {"source": source_header() | {"format": "exe"}, "renditions": [rendition_header()]},
        *(
            {"source": source_header(), "renditions": [rendition_header(**{name: value})]}
            for name, value in [
                ("length", 4),
                ("length", 2),
                ("length", -3),
                ("length", 2**63),
                ("width", True),
                ("crop", [1, 2, 3]),
                ("crop", 4),
                ("name", 5),
                ("format", "svg"),
            ]
        ),
        {"error": {"code": "corrupt-image", "detail": 4, "fields": []}},
        {"error": None},
    ],
)
def test_header_that_says_something_else_is_none(header: Any) -> None:
    assert decode_outcome(sealed(header, b"abc")) is None


def test_unknown_error_is_one_of_ours() -> None:
    error = decode_outcome(sealed({"error": {"code": "new", "detail": "?", "fields": []}}))
    assert isinstance(error, OmnishotError)
    assert error.code == "internal"


def test_pickles_are_not_read() -> None:
    assert decode_result(pickle.dumps(result())) is None
