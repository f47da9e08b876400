"""The catalogue of platforms holds what it promises."""

import dataclasses
import re
from urllib.parse import urlsplit

import pytest

from omnishot_ray.imaging import platforms
from omnishot_ray.imaging.platforms import (
    GROUPS,
    PLATFORMS,
    RESPONSIVE,
    Platform,
    find,
    in_group,
    nearest,
)

ALL = pytest.mark.parametrize("platform", PLATFORMS.values(), ids=lambda platform: platform.name)

# Written out again, so that a size does not change by accident.
SIZES = {
    "instagram-post": (1080, 1080),
    "instagram-portrait": (1080, 1350),
    "instagram-tall": (1080, 1440),
    "instagram-landscape": (1080, 566),
    "instagram-story": (1080, 1920),
    "instagram-reel-cover": (1080, 1920),
    "facebook-post": (1080, 1350),
    "facebook-cover": (851, 315),
    "facebook-group-cover": (1640, 856),
    "facebook-event-cover": (1920, 1005),
    "facebook-story": (1080, 1920),
    "threads-post": (1080, 1350),
    "x-post": (1200, 675),
    "x-header": (1500, 500),
    "x-card": (1200, 600),
    "linkedin-post": (1200, 627),
    "linkedin-square": (1200, 1200),
    "linkedin-banner": (1584, 396),
    "linkedin-company-cover": (1512, 256),
    "linkedin-article-cover": (1920, 1080),
    "linkedin-event-cover": (1280, 720),
    "pinterest-pin": (1000, 1500),
    "youtube-thumbnail": (1280, 720),
    "youtube-thumbnail-4k": (3840, 2160),
    "youtube-short": (2160, 3840),
    "youtube-banner": (2560, 1440),
    "tiktok": (1080, 1920),
    "snapchat": (1080, 1920),
    "whatsapp-status": (1080, 1920),
    "whatsapp-sticker": (512, 512),
    "telegram-sticker": (512, 512),
    "bluesky-post": (1200, 675),
    "bluesky-banner": (1500, 500),
    "mastodon-header": (1500, 500),
    "discord-server-banner": (960, 540),
    "discord-profile-banner": (600, 240),
    "twitch-banner": (1200, 480),
    "open-graph": (1200, 630),
    "github-preview": (1280, 640),
    "amazon-main": (2000, 2000),
    "ebay": (1600, 1600),
    "etsy": (2000, 2000),
    "shopify": (2048, 2048),
    "walmart": (2200, 2200),
    "google-shopping": (1500, 1500),
    "mercado-libre": (1200, 1200),
    "zalando": (1801, 2600),
    "google-discover": (1200, 675),
    "apple-touch-icon": (180, 180),
    "pwa-icon": (512, 512),
    "pwa-icon-small": (192, 192),
}

RATIOS = {
    "instagram-portrait": 4 / 5,
    "instagram-tall": 3 / 4,
    "instagram-landscape": 1.91,
    "instagram-story": 9 / 16,
    "x-post": 16 / 9,
    "x-header": 3,
    "x-card": 2,
    "linkedin-banner": 4,
    "pinterest-pin": 2 / 3,
    "youtube-thumbnail": 16 / 9,
    "youtube-banner": 16 / 9,
    "open-graph": 1.91,
    "zalando": 1 / 1.44,
}


@ALL
def test_an_entry_is_well_formed(platform: Platform) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", platform.name)
    assert platform.title.strip() == platform.title != ""
    assert 1 <= platform.width <= 8192
    assert 1 <= platform.height <= 8192
    assert platform.fit in {"cover", "contain", "inside"}
    assert platform.format in {"jpeg", "png", "webp", "avif"}
    assert re.fullmatch(r"[0-9a-f]{6}", platform.background)
    assert platform.quality is None or 1 <= platform.quality <= 100
    assert platform.max_bytes is None or 10_000 <= platform.max_bytes <= 50_000_000


@ALL
def test_an_entry_names_its_source(platform: Platform) -> None:
    source = urlsplit(platform.source)
    assert source.scheme == "https"
    assert "." in source.netloc
    assert not re.search(r"\s", platform.source)
    assert 2023 <= platform.year <= 2100


@ALL
def test_an_entry_belongs_to_known_groups(platform: Platform) -> None:
    assert platform.groups
    assert set(platform.groups) <= set(GROUPS)
    assert len(set(platform.groups)) == len(platform.groups)


@ALL
def test_a_note_is_one_short_sentence(platform: Platform) -> None:
    assert len(platform.note) <= 100
    assert platform.note == "" or platform.note.endswith(".")


def test_every_size_is_the_sourced_one() -> None:
    listed = {name: (one.width, one.height) for name, one in PLATFORMS.items()}
    responsive = {one.name for one in RESPONSIVE}
    assert {name: size for name, size in listed.items() if name not in responsive} == SIZES


@pytest.mark.parametrize(("name", "ratio"), RATIOS.items())
def test_a_size_has_the_shape_the_platform_states(name: str, ratio: float) -> None:
    platform = PLATFORMS[name]
    assert platform.width / platform.height == pytest.approx(ratio, rel=0.005)


def test_the_catalogue_is_keyed_by_name_and_read_only() -> None:
    assert all(name == platform.name for name, platform in PLATFORMS.items())
    with pytest.raises(TypeError):
        PLATFORMS["new"] = PLATFORMS["etsy"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLATFORMS["etsy"].width = 1  # type: ignore[misc]


def test_a_name_cannot_be_given_twice() -> None:
    etsy = PLATFORMS["etsy"]
    with pytest.raises(ValueError, match="etsy"):
        platforms._catalogue((etsy, etsy))


def test_titles_are_distinct() -> None:
    titles = [platform.title for platform in PLATFORMS.values()]
    assert len(set(titles)) == len(titles)


def test_social_presets_cover_their_box() -> None:
    kept_whole = {platform.name for platform in in_group("social") if platform.fit != "cover"}
    assert kept_whole == {"telegram-sticker"}


def test_products_are_never_cropped_and_stand_on_white() -> None:
    for platform in in_group("marketplace"):
        assert platform.fit == "contain"
        assert platform.background == "ffffff"
        assert platform.format == "jpeg"
        assert platform.note


def test_products_are_large_enough_for_zoom() -> None:
    assert min(PLATFORMS["amazon-main"].width, PLATFORMS["amazon-main"].height) >= 1600
    assert PLATFORMS["walmart"].width >= 1500
    assert PLATFORMS["mercado-libre"].width > 800


def test_only_the_platform_that_asks_for_a_quality_has_one() -> None:
    asked = {name: one.quality for name, one in PLATFORMS.items() if one.quality is not None}
    assert asked == {"ebay": 90}


def test_the_responsive_set_is_complete() -> None:
    sizes = ((640, 480), (1280, 720), (1920, 1080))
    expected = [
        (f"web-{width}-{format}", width, height, format)
        for width, height in sizes
        for format in ("avif", "webp", "jpeg")
    ]
    assert [(one.name, one.width, one.height, one.format) for one in RESPONSIVE] == expected
    for one in RESPONSIVE:
        assert one.fit == "inside"
        assert one.enlarge is False
        assert one.groups == ("web",)
        assert PLATFORMS[one.name] is one


def test_only_the_responsive_set_is_not_enlarged() -> None:
    kept_small = [platform for platform in PLATFORMS.values() if not platform.enlarge]
    assert kept_small == list(RESPONSIVE)


def test_groups_hold_their_platforms_in_order() -> None:
    order = list(PLATFORMS)
    for group in GROUPS:
        names = [platform.name for platform in in_group(group)]
        assert names
        assert names == sorted(names, key=order.index)
    assert {one.name for group in GROUPS for one in in_group(group)} == set(order)
    assert in_group("nowhere") == ()


def test_link_previews_are_social_and_web() -> None:
    both = {one.name for one in in_group("social")} & {one.name for one in in_group("web")}
    assert both == {"open-graph", "x-card", "github-preview"}


def test_find_returns_a_platform_or_none() -> None:
    assert find("etsy") is PLATFORMS["etsy"]
    assert find("no-such-platform") is None
    assert find("") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("instagram-pst", "instagram-post"),
        ("Instagram_Story", "instagram-story"),
        ("open graph", "open-graph"),
        ("opengraph", "open-graph"),
        ("instagram", "instagram-post"),
        ("amazon", "amazon-main"),
        ("shopfy", "shopify"),
        ("web-640-avi", "web-640-avif"),
        ("linkedin-baner", "linkedin-banner"),
        ("etsy", "etsy"),
    ],
)
def test_nearest_suggests_what_was_meant(typed: str, meant: str) -> None:
    assert nearest(typed) == meant


@pytest.mark.parametrize("typed", ["", "  ", "-", "qqqqqq", "0123456789"])
def test_nearest_suggests_nothing_far_fetched(typed: str) -> None:
    assert nearest(typed) is None
