"""What is measured: each row is one piece of work, asked of both servers in their own words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from benchmarks.peers.images import Photo

Options = Mapping[str, str | int]

PLATFORMS = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")


@dataclass(frozen=True)
class Platform:
    """A preset of ours and its size in pixels."""

    name: str
    width: int
    height: int

    @property
    def size(self) -> str:
        """The same as the peer is asked for it."""
        return f"{self.width}x{self.height}"


# Stands in for `GET /api/platforms` when the peer is measured alone.
ASSUMED_PLATFORMS = (
    Platform("instagram-post", 1080, 1080),
    Platform("facebook-post", 1200, 630),
    Platform("x-post", 1600, 900),
    Platform("pinterest-pin", 1000, 1500),
)


@dataclass(frozen=True)
class Expected:
    """One rendition that an answer must hold; its names in a /variants answer, none elsewhere."""

    width: int
    height: int
    format: str
    ours_name: str = ""
    peer_name: str = ""


@dataclass(frozen=True)
class Target:
    """The least ratio ours/peer of requests per second, or the highest p50 of ours."""

    least_ratio: float | None = None
    most_p50_ms: float | None = None

    def __str__(self) -> str:
        if self.least_ratio is not None:
            return f"≥ {self.least_ratio:g}"
        return f"p50 ≤ {self.most_p50_ms:g} ms"


@dataclass(frozen=True)
class Row:
    """`ours` and `peer` are path and query, of a POST of the photo, or of a GET without one."""

    name: str
    title: str
    ours: str
    peer: str
    photo: Photo | None = None
    expected: tuple[Expected, ...] = ()
    connections: int | None = None
    target: Target | None = None


def read_platforms(body: bytes) -> tuple[Platform, ...]:
    """PLATFORMS with the sizes in the answer of `GET /api/platforms`.

    It holds a list, bare or under "platforms"; else ValueError, KeyError or TypeError.
    """
    listed = json.loads(body)
    if isinstance(listed, dict):
        listed = listed["platforms"]
    entries = {entry["name"]: entry for entry in listed}
    missing = [name for name in PLATFORMS if name not in entries]
    if missing:
        raise ValueError(f"GET /api/platforms does not name {', '.join(missing)}")
    return tuple(
        Platform(name, int(entries[name]["width"]), int(entries[name]["height"]))
        for name in PLATFORMS
    )


def catalogue(
    photos: Mapping[str, Photo], platforms: Sequence[Platform], connections: int
) -> list[Row]:
    """All rows in the order of the table. The JPEG rows come twice, as `_in_both_ways` tells."""
    width_only: Options = {"width": 200, "format": "jpeg", "quality": 80}
    box: Options = {"width": 720, "height": 588, "fit": "cover", "format": "jpeg", "quality": 80}
    webp: Options = {"width": 300, "format": "webp", "quality": 80}
    return [
        Row("health", f"/health, {connections} connections", "/health", "/health"),
        Row(
            "health-idle",
            "/health, 1 connection",
            "/health",
            "/health",
            connections=1,
            target=Target(most_p50_ms=1.0),
        ),
        *_in_both_ways(
            _one_image("400-jpeg", photos["400"], width_only, (200, 200)), Target(least_ratio=2.5)
        ),
        *_in_both_ways(
            _one_image("sharp-jpeg", photos["sharp"], box, (720, 588)), Target(least_ratio=1.2)
        ),
        _one_image("800-webp", photos["800"], webp, (300, 300)),
        _with_clones(
            _variants("1600-variants", photos["1600"], platforms), Target(least_ratio=2.2)
        ),
        *_in_both_ways(_variants("1600-variants", photos["1600"], platforms), None),
        _with_clones(_variants("3200-variants", photos["3200"], platforms), None),
        *_in_both_ways(_variants("3200-variants", photos["3200"], platforms), None),
    ]


def _one_image(name: str, photo: Photo, options: Options, size: tuple[int, int]) -> Row:
    # Where both sides are given ours would look for the interesting part; sharp takes the middle.
    ours: Options = {**options, "gravity": "center"} if "height" in options else options
    form = str(options["format"])
    return Row(
        name=name,
        title=f"{photo.label} → {size[0]}x{size[1]} {form.upper()} q{options['quality']}",
        ours=f"/api/optimize?{urlencode(ours)}",
        peer=f"/optimize?{urlencode(options)}",
        photo=photo,
        expected=(Expected(*size, form),),
    )


def _variants(name: str, photo: Photo, platforms: Sequence[Platform]) -> Row:
    ours = {
        "platforms": ",".join(platform.name for platform in platforms),
        "format": "jpeg",
        "fit": "cover",
        "gravity": "center",
        "enlarge": "true",
        "quality": 85,
    }
    peer = {"sizes": ",".join(platform.size for platform in platforms), "quality": 85}
    return Row(
        name=name,
        title=f"{photo.label} → {len(platforms)} platforms JPEG q85",
        ours=f"/api/variants?{urlencode(ours, safe=',')}",
        peer=f"/variants?{urlencode(peer, safe=',')}",
        photo=photo,
        expected=tuple(
            Expected(platform.width, platform.height, "jpeg", platform.name, platform.size)
            for platform in platforms
        ),
    )


def _with_clones(row: Row, target: Target | None) -> Row:
    """Plain, against a peer that clones its input for each size, as sharp's documentation does.

    The other rows of variants stand against the faster way, one decode to raw pixels.
    """
    return Row(
        name=f"{row.name}-clones",
        title=f"{row.title}, plain, sharp clone() per size",
        ours=f"{row.ours}&effort=2",
        peer=f"{row.peer}&each=1",
        photo=row.photo,
        expected=row.expected,
        target=target,
    )


def _in_both_ways(row: Row, plain_target: Target | None) -> list[Row]:
    """The row twice: like for like, and with what each side has for small files.

    Plain is baseline 4:2:0 on both sides. The other is our default
    effort against sharp's mozjpeg.
    """
    return [
        Row(
            name=f"{row.name}-plain",
            title=f"{row.title}, plain",
            ours=f"{row.ours}&effort=2",
            peer=row.peer,
            photo=row.photo,
            expected=row.expected,
            target=plain_target,
        ),
        Row(
            name=f"{row.name}-mozjpeg",
            title=f"{row.title}, default vs mozjpeg",
            ours=row.ours,
            peer=f"{row.peer}&mozjpeg=1",
            photo=row.photo,
            expected=row.expected,
        ),
    ]
