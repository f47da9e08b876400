"""The traffic model: seeded, bounded, and honest about what it expects back."""

import io
import itertools
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from omnishot_ray.load import checks, pictures
from omnishot_ray.load.messages import pack, read_queue_ms
from omnishot_ray.load.pictures import drawn_library, group, numbered, read_library
from omnishot_ray.load.traffic import MIXES, Mix, Traffic, without
from tests.corpus import DATA

LIBRARY = drawn_library()
PICTURES = sorted({one.name: one for some in LIBRARY.values() for one in some}.items())
USUAL = Traffic(LIBRARY, MIXES["usual"])


def first(traffic: Traffic, visitor: int, count: int):
    return list(itertools.islice(traffic.visitor(visitor), count))


@given(seed=st.integers(0, 2**32), visitor=st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_visitor_asks_the_same_again(seed: int, visitor: int) -> None:
    traffic = Traffic(LIBRARY, MIXES["usual"], seed)
    assert first(traffic, visitor, 30) == first(traffic, visitor, 30)


def test_visitors_and_seeds_differ() -> None:
    assert first(USUAL, 1, 30) != first(USUAL, 2, 30)
    assert first(USUAL, 1, 30) != first(replace(USUAL, seed=2), 1, 30)


def test_another_seed_asks_for_other_pictures() -> None:
    hot = Traffic(LIBRARY, replace(MIXES["usual"], catalogue=5))
    one, other = ({ask.number for ask in first(replace(hot, seed=s), 1, 200)} for s in (1, 2))
    assert one
    assert not one & other


def test_kinds_come_as_often_as_the_mix_says() -> None:
    asked = Counter(ask.kind for visitor in range(40) for ask in first(USUAL, visitor, 250))
    weights = MIXES["usual"].weights
    for kind, weight in weights.items():
        share = weight / sum(weights.values())
        # Four standard deviations of a binomial distribution.
        assert asked[kind] / 10_000 == pytest.approx(share, abs=4 * (share / 10_000) ** 0.5)


@given(zipf=st.floats(0.5, 1.5), catalogue=st.integers(50, 500))
@settings(max_examples=10)
def test_ranks_follow_zipf(zipf: float, catalogue: int) -> None:
    mix = Mix({"info": 1}, reuse=1.0, zipf=zipf, catalogue=catalogue, think_s=0.0)
    seen = Counter(ask.number for ask in first(Traffic(LIBRARY, mix), 1, 4000))
    assert 0 <= min(seen) <= max(seen) < catalogue
    shares = np.arange(1, catalogue + 1) ** -zipf
    expected = shares[0] / shares.sum()
    assert seen[0] / 4000 == pytest.approx(expected, abs=5 * (expected / 4000) ** 0.5)


@given(reuse=st.floats(0, 1))
@settings(max_examples=10)
def test_what_is_not_reused_is_never_asked_for_twice(reuse: float) -> None:
    traffic = Traffic(LIBRARY, replace(MIXES["plain"], reuse=reuse))
    asks = [ask for visitor in range(4) for ask in first(traffic, visitor, 300)]
    fresh = [ask.number for ask in asks if ask.number >= traffic.mix.catalogue]
    assert len(fresh) == len(set(fresh))
    assert len(fresh) / 1200 == pytest.approx(1 - reuse, abs=0.08)


def test_a_hot_picture_is_asked_for_in_few_ways() -> None:
    mix = replace(MIXES["usual"], reuse=1.0, catalogue=3)
    ways = {
        (ask.kind, ask.number, ask.path, ask.picture.name)
        for visitor in range(20)
        for ask in first(Traffic(LIBRARY, mix), visitor, 100)
    }
    assert max(Counter((kind, number) for kind, number, *_ in ways).values()) <= 2


@given(think_s=st.floats(0, 5))
@settings(max_examples=10)
def test_thinking_is_bounded(think_s: float) -> None:
    pauses = [
        ask.think_s for ask in first(Traffic(LIBRARY, Mix({"info": 1}, think_s=think_s)), 0, 500)
    ]
    assert all(0 <= pause <= 5 * think_s for pause in pauses)
    assert sum(pauses) / 500 == pytest.approx(think_s, rel=0.25, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {}},
        {"weights": {"thumbnail": 0}},
        {"weights": {"nap": 1}},
        {"weights": {"info": 1}, "reuse": 1.1},
        {"weights": {"info": 1}, "catalogue": 0},
        {"weights": {"info": 1}, "think_s": -1},
    ],
)
def test_impossible_mixes_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"weights|reuse"):
        Mix(**wrong)


def test_without_leaves_the_rest() -> None:
    less = without(MIXES["usual"], {"job"})
    assert set(less.weights) == set(MIXES["usual"].weights) - {"job"}
    assert less.zipf == MIXES["usual"].zipf


@pytest.mark.parametrize(
    "picture", [one for _, one in PICTURES], ids=[name for name, _ in PICTURES]
)
def test_a_number_changes_the_bytes_and_no_pixel(picture) -> None:
    made = {numbered(picture, number) for number in (0, 1, 2**60)}
    assert len(made) == 3
    before = np.asarray(Image.open(io.BytesIO(picture.data), formats=[picture.format.plugin]))
    for data in made:
        header = read_header(data)
        assert (header.width, header.height) == (picture.width, picture.height)
        after = np.asarray(Image.open(io.BytesIO(data), formats=[picture.format.plugin]))
        assert np.array_equal(before, after)


def test_drawn_photos_are_as_dense_as_real_ones() -> None:
    for _, one in PICTURES:
        if one.format == "jpeg":
            assert 0.8 < 8 * len(one.data) / (one.width * one.height) < 4.0


def test_a_folder_of_pictures_stands_in_for_the_drawn(tmp_path) -> None:
    for name in ("photo_flower_480x360.jpg", "webp_alpha_300x300.webp"):
        (tmp_path / name).write_bytes((DATA / "valid" / name).read_bytes())
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    library = read_library(tmp_path)
    assert {one.name for one in library["large"]} == {
        "photo_flower_480x360.jpg",
        "webp_alpha_300x300.webp",
    }
    with pytest.raises(ValueError, match="no JPEG"):
        group([])


def test_pictures_that_the_service_would_not_take_are_left_out(tmp_path, monkeypatch) -> None:
    for name in (
        "photo_flower_480x360.jpg",
        "webp_alpha_300x300.webp",
        "apng_blend_over_128x64.png",
    ):
        (tmp_path / name).write_bytes((DATA / "valid" / name).read_bytes())
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 480 * 360 - 1)
    monkeypatch.setattr(
        pictures, "_MOST_BYTES", (tmp_path / "webp_alpha_300x300.webp").stat().st_size - 1
    )
    warnings: list[str] = []
    library = read_library(tmp_path, warnings.append)
    assert {one.name for one in library["large"]} == {"apng_blend_over_128x64.png"}
    (warning,) = warnings
    assert "left out 2 pictures" in warning
    assert "photo_flower_480x360.jpg, webp_alpha_300x300.webp" in warning


def test_a_folder_too_large_for_memory_is_refused(tmp_path, monkeypatch) -> None:
    data = (DATA / "valid" / "photo_flower_480x360.jpg").read_bytes()
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    monkeypatch.setattr(pictures, "_MOST_TOTAL", 3 * len(data))
    assert len(read_library(tmp_path)["small"]) == 3
    monkeypatch.setattr(pictures, "_MOST_TOTAL", 3 * len(data) - 1)
    with pytest.raises(ValueError, match=r"more than \d+ MiB, which is the limit"):
        read_library(tmp_path)


def every_way():
    ways = {}
    for ask in first(USUAL, 0, 3000):
        ways.setdefault((ask.kind, ask.path, ask.picture.name), ask)
    return [ask for ask in ways.values() if ask.expected and not ask.is_json and ask.wrap != "job"]


def test_the_engine_makes_what_the_model_expects() -> None:
    ways = every_way()
    assert len(ways) > 20
    for ask in ways[::3]:
        options = parse_options(dict(parse_qsl(urlsplit(ask.path).query)))
        (made,) = process(ask.picture.data, [options], Limits()).renditions
        assert isinstance(made, Rendition)
        assert checks.judge(ask, 200, made.data, decode=True) == checks.RIGHT, ask


def test_forms_hold_the_picture_and_the_job() -> None:
    asks = {ask.kind: ask for ask in first(USUAL, 0, 3000)}
    kind, body = pack(asks["upload"])
    assert kind.startswith("multipart/form-data; boundary=")
    assert body.count(numbered(asks["upload"].picture, asks["upload"].number)) == 1
    _, body = pack(asks["job"])
    assert b'name="job"' in body
    assert asks["job"].job.encode() in body


@pytest.mark.parametrize(
    ("header", "ms"),
    [
        ("queue;dur=12.5, decode;dur=1", 12.5),
        ("decode;dur=1", 0.0),
        ("", 0.0),
        ("queue;dur=x", 0.0),
    ],
)
def test_queue_time_is_read_off_the_answer(header: str, ms: float) -> None:
    assert read_queue_ms({"server-timing": header}) == ms
