"""The estimate orders tasks rightly; how good its milliseconds are, the benchmarks tell."""

import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.imaging.cost import estimate_info_ms, estimate_ms
from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.serving.dispatch import DispatchConfig
from tests import corpus
from tests.corpus import VALID, Picture

PHOTO = Header(Format.JPEG, 2000, 1250, bits=12, quantum=10.0)
PHOTO_BYTES = 700_000


def cost(header: Header = PHOTO, size: int = PHOTO_BYTES, *wanted: Options) -> float:
    return estimate_ms(size, header, wanted or (Options(width=600),))


@pytest.mark.parametrize("format", Format)
def test_larger_sources_cost_more(format: Format) -> None:
    by_size = [
        cost(Header(format, side, side), side * side // 4, Options(width=200, format="jpeg"))
        for side in (400, 1000, 2500, 6000)
    ]
    assert by_size == sorted(set(by_size))


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_larger_renditions_cost_more(format: Format) -> None:
    by_width = [
        cost(PHOTO, PHOTO_BYTES, Options(width=width, format=format))
        for width in (100, 240, 400, 900, 2000)
    ]
    assert by_width == sorted(set(by_width))


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_effort_never_costs_less(format: Format) -> None:
    by_effort = [
        cost(PHOTO, PHOTO_BYTES, Options(width=500, format=format, effort=effort))
        for effort in range(10)
    ]
    assert by_effort == sorted(by_effort)
    if format is not Format.GIF:
        assert by_effort[9] > by_effort[0]


@given(
    st.lists(
        st.builds(
            Options,
            width=st.none() | st.integers(1, 3000),
            height=st.none() | st.integers(1, 3000),
            format=st.sampled_from(["auto", "source", "jpeg", "png", "webp", "avif", "gif"]),
            effort=st.integers(0, 9),
            enlarge=st.booleans(),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_one_rendition_more_costs_more(wanted: list[Options]) -> None:
    growing = [estimate_ms(PHOTO_BYTES, PHOTO, wanted[:count]) for count in range(1, len(wanted))]
    growing.append(estimate_ms(PHOTO_BYTES, PHOTO, wanted))
    assert all(0 < less < more for less, more in itertools.pairwise(growing))


def test_one_decode_for_all_is_cheaper_than_one_for_each() -> None:
    wanted = [Options(width=width, format="jpeg") for width in (500, 600, 700)]
    assert cost(PHOTO, PHOTO_BYTES, *wanted) < sum(cost(PHOTO, PHOTO_BYTES, one) for one in wanted)


def test_a_progressive_source_costs_more() -> None:
    assert cost(replace(PHOTO, scans=10)) > cost(PHOTO) * 1.3


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        ({"format": "jpeg"}, {"format": "webp"}),
        ({"format": "webp"}, {"format": "avif"}),
        ({"format": "auto"}, {"format": "auto", "accept": (Format.AVIF,)}),
        ({"format": "source"}, {"format": "png"}),
    ],
)
def test_formats_that_take_longer_cost_more(cheap: dict[str, Any], dear: dict[str, Any]) -> None:
    assert cost(PHOTO, PHOTO_BYTES, Options(width=500, **cheap)) < cost(
        PHOTO, PHOTO_BYTES, Options(width=500, **dear)
    )


# Measured on a photo of 480 × 360: a palette takes twenty times as long as full colours, fitting a
# size up to eight encodes, WebP without loss eight times as long as with it.
@pytest.mark.parametrize(
    ("plain", "dear", "times"),
    [
        ({"format": "png"}, {"format": "png", "palette": True}, 4),
        ({"format": "jpeg"}, {"format": "jpeg", "max_bytes": 5000}, 2),
        ({"format": "avif"}, {"format": "avif", "max_bytes": 5000}, 2),
        ({"format": "png"}, {"format": "png", "max_bytes": 5000}, 4),
        ({"format": "webp"}, {"format": "webp", "lossless": True}, 1.5),
    ],
    ids=str,
)
def test_options_that_take_longer_cost_more(
    plain: dict[str, Any], dear: dict[str, Any], times: float
) -> None:
    """What the estimate does not know of lands on the event loop and stops everybody."""
    data = corpus.read("photo_flower_480x360")
    header = read_header(data)
    encoding, dearer = (
        estimate_ms(len(data), header, [Options(width=300, **options)]) for options in (plain, dear)
    )
    assert dearer >= encoding * times


MOVING = Header(Format.GIF, 300, 200, frames=20)


@pytest.mark.parametrize("format", ["webp", "gif"])
def test_every_frame_costs(format: str) -> None:
    by_frames = [
        cost(replace(MOVING, frames=frames), 40_000 * frames, Options(width=200, format=format))
        for frames in (1, 2, 8, 32)
    ]
    assert by_frames == sorted(set(by_frames))
    assert by_frames[3] > by_frames[2] * 1.5


def test_a_first_frame_costs_as_little_as_a_picture() -> None:
    still = Options(width=200, format="webp", animated=False)
    assert cost(MOVING, 500_000, still) == cost(replace(MOVING, frames=1), 25_000, still)
    assert cost(MOVING, 500_000, Options(width=200, format="webp")) > 4 * cost(
        MOVING, 500_000, still
    )


def test_frames_that_change_all_over_cost_more() -> None:
    """Told from the size of the file."""
    wanted = Options(width=200, format="webp")
    assert cost(MOVING, 500_000, wanted) > 2 * cost(MOVING, 20_000, wanted)


def test_an_apng_that_will_not_be_played_costs_one_picture() -> None:
    many = Header(Format.PNG, 128, 64, frames=1024)
    wanted = Options(format="webp")
    first = cost(replace(many, frames=1), 30_000 // 1024, wanted)
    assert cost(many, 30_000, wanted) == pytest.approx(first, rel=0.05)


def test_a_palette_is_not_made_on_the_event_loop() -> None:
    """It takes 70 ms for these 150 × 112 pixels."""
    data = corpus.read("photo_flower_480x360")
    wanted = Options(width=150, format="png", palette=True)
    assert estimate_ms(len(data), read_header(data), [wanted]) > DispatchConfig().loop_ms


@pytest.mark.parametrize(
    "name", ["photo_flower_480x360", "gif_animated_chi_320x240", "png_palette_transparent_300x225"]
)
def test_a_thumbnail_of_a_small_picture_stays_inline(name: str) -> None:
    data = corpus.read(name)
    estimate = estimate_ms(len(data), read_header(data), [Options(width=100, format="jpeg")])
    assert estimate < 5
    assert estimate < DispatchConfig().inline_ms


def test_four_platforms_of_a_camera_photo_go_to_the_pool() -> None:
    names = ("instagram-post", "x-post", "open-graph", "pinterest-pin")
    wanted = [parse_options({"platform": name}) for name in names]
    assert cost(PHOTO, PHOTO_BYTES, *wanted) > 40
    photo = replace(PHOTO, width=4032, height=3024)
    assert cost(photo, 3_300_000, *wanted) > DispatchConfig().inline_ms


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_every_source_has_an_estimate(picture: Picture) -> None:
    data = picture.data
    for format in ("auto", "source", *OUTPUT_FORMATS):
        assert 0 < estimate_ms(len(data), read_header(data), [Options(format=format)]) < 120_000


MOVING_FORMATS = (Format.PNG, Format.WEBP, Format.AVIF, Format.GIF)
SPREAD = [
    Options(width=width, format=format, effort=effort, progressive=progressive)
    for width in (20, 300)
    for format in OUTPUT_FORMATS
    for effort in range(10)
    for progressive in (None, True)
] + [
    Options(width=20, height=20, gravity="face", format="png", palette=True, trim=5),
    Options(width=20, format="webp", lossless=True),
    Options(width=200, enlarge=True, quality="auto", blur=1, sharpen=1, normalize=True),
    Options(width=90, height=90, fit="contain", background="blur", rotate=90, grayscale=True),
    Options(max_bytes=100),
    Options(format="png", max_bytes=100),
]


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_work_has_a_coefficient(format: Format, channels: int) -> None:
    """A name that the coefficients lack would be an error of the service."""
    for alpha, frames, lossless in ((False, 1, False), (True, 1, True), (True, 3, False)):
        frames = frames if format in MOVING_FORMATS else 1
        header = Header(
            format, 60, 40, frames, alpha, channels, frames, 8 * channels, lossless, profile=alpha
        )
        assert estimate_info_ms(500, header) > 0
        for options in SPREAD:
            assert estimate_ms(500, header, [options]) > 0


@pytest.mark.parametrize("quality", [1, 40, 90, 100])
def test_quality_only_matters_where_there_is_one(quality: int) -> None:
    by_format = {
        format: cost(PHOTO, PHOTO_BYTES, Options(width=500, format=format, quality=quality))
        / cost(PHOTO, PHOTO_BYTES, Options(width=500, format=format))
        for format in OUTPUT_FORMATS
    }
    assert by_format["png"] == by_format["gif"] == 1
    assert all(0.5 < ratio < 3 for ratio in by_format.values())


def test_a_picture_that_lies_on_its_side_is_planned_upright() -> None:
    wanted = Options(width=400, format="webp")
    lying = replace(PHOTO, swaps_sides=True)
    upright = replace(PHOTO, width=PHOTO.height, height=PHOTO.width)
    assert cost(lying, PHOTO_BYTES, wanted) == pytest.approx(
        cost(upright, PHOTO_BYTES, wanted), rel=0.05
    )
    assert cost(lying, PHOTO_BYTES, wanted) > 1.5 * cost(PHOTO, PHOTO_BYTES, wanted)


def test_coarse_steps_tell_of_more_detail() -> None:
    wanted = Options(width=500, format="avif")
    assert cost(replace(PHOTO, quantum=30.0), PHOTO_BYTES, wanted) > 1.1 * cost(
        replace(PHOTO, quantum=3.0), PHOTO_BYTES, wanted
    )


@pytest.mark.parametrize("effort", [4, 7])
def test_transparency_costs_more_as_webp(effort: int) -> None:
    """Alpha is coded without loss."""
    wanted = Options(width=400, format="webp", effort=effort)
    logo = Header(Format.PNG, 1000, 800, alpha=True, channels=4, bits=32)
    assert cost(logo, 200_000, wanted) > 1.2 * cost(
        replace(logo, alpha=False, channels=3), 200_000, wanted
    )


def test_an_estimate_takes_no_time() -> None:
    """It is made on the event loop, for every request: 15 µs where it was measured."""
    wanted = [Options(width=600)]
    best = float("inf")
    for _ in range(10):
        started = time.process_time()
        for _ in range(100):
            estimate_ms(PHOTO_BYTES, PHOTO, wanted)
        best = min(best, (time.process_time() - started) / 100)
    assert best < 100e-6


def test_a_source_that_is_the_result_is_not_encoded() -> None:
    """As `unchanged.py` has it: coarser steps than the result would have, nothing to be done."""
    coarse, same = replace(PHOTO, quantum=60.0), Options(format="jpeg")
    kept = cost(coarse, PHOTO_BYTES, same)
    assert kept < cost(replace(PHOTO, quantum=3.0), PHOTO_BYTES, same) * 0.9
    for header, options in (
        (replace(coarse, turned=True), same),
        (replace(coarse, profile=True), same),
        (coarse, replace(same, sharpen=1.0)),
        (coarse, replace(same, max_bytes=PHOTO_BYTES - 1)),
    ):
        assert cost(header, PHOTO_BYTES, options) > kept * 1.1


def test_a_profile_is_no_detail() -> None:
    wanted = Options(width=500, format="webp")
    assert cost(replace(PHOTO, beside=500_000), PHOTO_BYTES + 500_000, wanted) == cost(
        PHOTO, PHOTO_BYTES, wanted
    )
    assert cost(replace(PHOTO, beside=2 * PHOTO_BYTES), PHOTO_BYTES, wanted) > 0


def test_the_palette_that_a_picture_has_is_found_at_once() -> None:
    drawing = Header(Format.PNG, 400, 300, bits=8)
    photo = replace(drawing, bits=24)
    for wanted in (Options(format="gif"), Options(format="png", palette=True)):
        assert cost(photo, 60_000, wanted) > 3 * cost(drawing, 60_000, wanted)


# Describing a picture.


@pytest.mark.parametrize("format", Format)
def test_larger_sources_cost_more_to_describe(format: Format) -> None:
    by_size = [
        estimate_info_ms(side * side // 4, Header(format, side, side))
        for side in (1, 40, 400, 1000, 2500, 6000)
    ]
    assert by_size == sorted(set(by_size))


def test_a_large_source_is_decoded_small_for_the_look() -> None:
    small, large = replace(PHOTO, width=1000), replace(PHOTO, width=8000, height=10_000)
    in_full = estimate_ms(100_000, large, [Options(format="jpeg")])
    assert estimate_info_ms(100_000, large) < 10 * estimate_info_ms(100_000, small)
    assert estimate_info_ms(100_000, large) < in_full / 5


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_every_source_has_an_estimate_of_its_description(picture: Picture) -> None:
    data = picture.data
    looked_at = estimate_info_ms(len(data), read_header(data))
    copy = Options(width=512, height=512, fit="inside", format="jpeg", effort=0)
    assert estimate_ms(len(data), read_header(data), [copy]) < looked_at < 500


def test_a_photo_is_described_in_the_gateway_but_not_on_its_event_loop() -> None:
    data = corpus.read("photo_flower_480x360")
    config = DispatchConfig()
    assert config.loop_ms < estimate_info_ms(len(data), read_header(data)) < config.inline_ms
