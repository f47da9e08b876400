"""The table of options: every row is read, checked and documented."""

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.errors import ContradictoryOptions, InvalidParameters
from omnishot_ray.imaging.option_table import (
    BACKGROUND_WORDS,
    GRAVITIES,
    OPTIONS,
    SPECS,
    OptionSpec,
)
from omnishot_ray.imaging.option_values import read_focal_point
from omnishot_ray.imaging.options import Options, parse_options, platform_values
from omnishot_ray.imaging.platforms import PLATFORMS, RESPONSIVE

by_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)

# What an option needs beside it, or it makes no sense.
COMPANY: dict[str, dict[str, object]] = {
    "dpr": {"width": 10},
    "palette": {"format": "png"},
    "lossless": {"format": "webp"},
}


def sample_values(spec: OptionSpec) -> list[tuple[object, object]]:
    """What may be given for an option, with what is read of it."""
    if spec.name == "gravity":
        return [*((one, one) for one in GRAVITIES), ("fp:0.25,1", "fp:0.25,1")]
    if spec.name == "background":
        return [("ffffff", "ffffff"), ("#0A0", "00aa00"), ("123abc", "123abc"), ("auto", "auto")]
    if spec.kind == "boolean":
        yes, no = ("true", "1", "yes", "on", "True", True), ("false", "0", "no", "off", False)
        return [*((one, True) for one in yes), *((one, False) for one in no)]
    if spec.choices:
        return [pair for one in spec.choices for pair in ((one, one), (str(one), one))]
    assert spec.minimum is not None
    assert spec.maximum is not None
    numbers: list[Any] = [spec.minimum, spec.maximum, math.ceil(spec.minimum)]
    numbers += [spec.word] if spec.word else []
    if spec.kind == "number":
        numbers.append((spec.minimum + spec.maximum) / 2)
    return [pair for one in numbers for pair in ((one, one), (str(one), one), (f" {one} ", one))]


def wrong_values(spec: OptionSpec) -> list[object]:
    nonsense: list[object] = ["", "nonsense", None, [], {}, "\ud800"]
    if spec.name == "gravity":
        return [*nonsense, "fp:", "fp:0.5", "fp:2,0", "fp:0,-0.1", "fp:nan,0", "fp:0,0,0", 5]
    if spec.name == "background":
        return [*nonsense, "fffff", "gggggg", "##fff", 0]
    if spec.kind == "boolean":
        return [*nonsense, "2", 1.0, 2]
    if spec.kind in ("integer", "number"):
        wrong = [*nonsense, True, "nan", "inf", "1e999", math.nan, math.inf, 10**400, "0x10"]
        if spec.kind == "integer":
            wrong += ["1.5", 1.5]
        if spec.choices:
            return [*wrong, 1, -90, 360]
        assert spec.minimum is not None
        assert spec.maximum is not None
        return [*wrong, spec.minimum - 1, spec.maximum + 1]
    return [*nonsense, 5]


WITHOUT_FIELD = {"platform"}
"""A platform stands for other options."""


@by_spec
def test_what_is_allowed_is_read(spec: OptionSpec) -> None:
    if spec.name in WITHOUT_FIELD:
        return  # a platform's values become other options, see below
    for given_value, value in sample_values(spec):
        options = parse_options({spec.name: given_value, **COMPANY.get(spec.name, {})})
        read = getattr(options, spec.name)
        assert read == value
        assert type(read) is type(value) or spec.kind == "number"


@by_spec
def test_what_is_not_allowed_is_refused(spec: OptionSpec) -> None:
    for value in wrong_values(spec):
        with pytest.raises(InvalidParameters) as caught:
            parse_options({spec.name: value})
        (fault,) = caught.value.fields
        assert fault.name == spec.name
        assert fault.detail in caught.value.detail
        caught.value.detail.encode()  # can be sent


@by_spec
def test_the_refusal_says_what_would_be_right(spec: OptionSpec) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_options({spec.name: "nonsense"})
    right = "GET /api/platforms" if spec.name == "platform" else spec.allowed
    assert right in caught.value.detail
    assert "nonsense" in caught.value.detail


@by_spec
def test_every_row_is_a_field_with_a_help_text(spec: OptionSpec) -> None:
    names = {item.name for item in fields(Options)}
    assert spec.name in names | WITHOUT_FIELD
    assert spec.help.endswith(".")
    assert spec.default
    assert spec.allowed
    assert OPTIONS[spec.name] is spec


def test_every_field_has_its_row() -> None:
    not_asked_for = {"name", "accept"}  # filled in by the caller
    assert {item.name for item in fields(Options)} - not_asked_for == set(OPTIONS) - WITHOUT_FIELD


@pytest.mark.parametrize("text", ["1_000", "１２８", "0b11", "1 0", "+-5", "5px", "٣"], ids=ascii)
def test_a_number_is_written_with_plain_digits(text: str) -> None:
    """Python reads more than a number's usual forms, other clients and caches do not."""
    with pytest.raises(InvalidParameters):
        parse_options({"width": text})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_options({"width": "0", "fit": "crop", "heigth": "5", "quality": "80"})
    assert [fault.name for fault in caught.value.fields] == ["width", "fit", "heigth"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("widht", "width"),
        ("Width", "width"),
        ("heigth", "height"),
        ("qualty", "quality"),
        ("maxbytes", "max_bytes"),
        ("max-bytes", "max_bytes"),
        ("greyscale", "grayscale"),
        ("backgroud", "background"),
        ("plattform", "platform"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(InvalidParameters, match=f"did you mean {meant}"):
        parse_options({typed: "1"})


def test_a_far_fetched_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_options({"zzzzzzzz": "1"})
    assert all(name in caught.value.detail for name in OPTIONS)


@pytest.mark.parametrize("name", ["name", "accept", "__class__"])
def test_inner_fields_cannot_be_given(name: str) -> None:
    with pytest.raises(InvalidParameters):
        parse_options({name: "x"})


@pytest.mark.parametrize(
    "together",
    [
        *({"lossless": True, "format": format} for format in ("jpeg", "gif")),
        {"lossless": True, "max_bytes": 5000},
        {"lossless": True, "palette": True},
        {"quality": "auto", "palette": True},
        {"progressive": True, "palette": True},
        *({"palette": True, "format": format} for format in ("jpeg", "webp", "avif")),
        *({"progressive": True, "format": one} for one in ("png", "webp", "avif", "gif")),
        {"lossless": True, "format": "avif"},
        {"dpr": 2},
        {"dpr": 2, "width": 4097},
        {"dpr": 4, "width": 10, "height": 2049},
        {"platform": "youtube-thumbnail-4k", "dpr": 3},
        {"platform": "instagram-post", "lossless": True},
    ],
    ids=str,
)
def test_contradictions(together: dict[str, object]) -> None:
    with pytest.raises(ContradictoryOptions) as caught:
        parse_options(together)
    named = [name for name in together if name not in ("platform", "format")]
    assert any(name in caught.value.detail for name in named)
    for name in together:  # each for itself is right
        alone = {name: together[name], **({"width": 10} if name == "dpr" else {})}
        parse_options(alone)


@pytest.mark.parametrize(
    "together",
    [
        {"lossless": True},
        {"lossless": True, "format": "auto"},
        {"palette": True, "format": "source"},
        {"progressive": True, "format": "jpeg"},
        {"progressive": False, "format": "png"},
        {"dpr": 1},
        {"dpr": 2, "height": 4096},
        {"dpr": 2, "platform": "x-post"},
    ],
    ids=str,
)
def test_what_goes_together(together: dict[str, object]) -> None:
    assert isinstance(parse_options(together), Options)


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=lambda platform: platform.name)
def test_a_platform_stands_for_its_options(platform: Any) -> None:
    options = parse_options({"platform": platform.name})
    for name, value in platform_values(platform).items():
        assert getattr(options, name) == value
    assert options.box == (platform.width, platform.height)
    assert options.enlarge is (platform not in RESPONSIVE)


def test_explicit_options_override_the_platform() -> None:
    given_options = {"width": 50, "enlarge": "false", "platform": "x-post", "format": "webp"}
    options = parse_options(given_options, Options(quality=33, format="png", width=7))
    assert (options.width, options.height) == (50, 675)
    assert (options.enlarge, options.format, options.quality) == (False, "webp", 33)


def test_an_unknown_platform_suggests_the_nearest() -> None:
    with pytest.raises(InvalidParameters, match="did you mean instagram-post"):
        parse_options({"platform": "instagram-pst"})


@pytest.mark.parametrize(
    ("options", "fit"),
    [
        ({}, "inside"),
        ({"width": 5}, "inside"),
        ({"height": 5}, "inside"),
        ({"width": 5, "height": 5}, "cover"),
        ({"width": 5, "height": 5, "fit": "fill"}, "fill"),
    ],
)
def test_the_default_fit(options: dict[str, object], fit: str) -> None:
    assert parse_options(options).resolved_fit == fit


def test_dpr_multiplies_both_sides() -> None:
    assert parse_options({"width": 100, "dpr": "1.5"}).box == (150, None)
    assert parse_options({"width": 333, "height": 10, "dpr": 2.5}).box == (832, 25)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["0", "1", "90", "true", "no", "cover", "fp:0.1,0.9", "webp", "x-post", "fff"]),
    st.integers(-5, 9000).map(str),
)


@given(st.dictionaries(st.sampled_from([*OPTIONS, "widht"]), scalars, max_size=6))
def test_whatever_is_given_comes_out_in_range_or_is_refused(given: dict[str, object]) -> None:
    try:
        options = parse_options(given)
    except (InvalidParameters, ContradictoryOptions):
        return
    assert in_range(options)


def legal_values(spec: OptionSpec) -> st.SearchStrategy[object]:
    if spec.name == "platform":
        return st.sampled_from(list(PLATFORMS))
    if spec.name == "gravity":
        fraction = st.floats(0, 1).map(lambda number: f"{number:.3f}")
        return st.sampled_from(GRAVITIES) | st.tuples(fraction, fraction).map(
            lambda pair: f"fp:{pair[0]},{pair[1]}"
        )
    if spec.name == "background":
        return st.from_regex(r"\A(#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})|auto|blur)\Z")
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.kind == "boolean":
        return st.booleans()
    assert spec.minimum is not None
    assert spec.maximum is not None
    if spec.kind == "integer":
        numbers = st.integers(int(spec.minimum), int(spec.maximum))
        return numbers | st.just(spec.word) if spec.word else numbers
    return st.floats(spec.minimum, spec.maximum)


@given(st.fixed_dictionaries({}, optional={spec.name: legal_values(spec) for spec in SPECS}))
def test_legal_values_are_only_refused_for_contradicting(given: dict[str, object]) -> None:
    try:
        options = parse_options(given)
    except ContradictoryOptions:
        return
    assert in_range(options)
    assert parse_options({name: str(value) for name, value in given.items()}) == options


def in_range(options: Options) -> bool:
    """Whether every value is one that its row in the table allows."""
    for spec in SPECS:
        value = getattr(options, spec.name, None)
        if value is None or (spec.word and value == spec.word):
            continue
        if spec.choices and value not in spec.choices:
            return False
        if spec.minimum is not None and not spec.minimum <= value <= (spec.maximum or 0):
            return False
        if spec.kind == "integer" and type(value) is not int:
            return False
    sides = [side for side in options.box if side is not None]
    if options.resolved_gravity not in GRAVITIES:
        read_focal_point(options.resolved_gravity)
    if options.background not in BACKGROUND_WORDS:
        int(options.background, 16)
        assert len(options.background) == 6
    return all(1 <= side <= 8192 for side in sides)
