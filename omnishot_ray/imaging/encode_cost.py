"""What there is to do to encode a rendition, in the units of `cost.py`.

How busy a picture is shows in its bytes per pixel, which is what its encoding depends on beside its
size. What cannot be told from them: how many colours it has, which filter suits a PNG, how many
qualities a search has to try, how soon two frames of an animation differ, whether alpha is used.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import log2, sqrt

from omnishot_ray.imaging.animation import SAMPLED_FRAMES
from omnishot_ray.imaging.coefficients import SIZES
from omnishot_ray.imaging.encode import (
    AVIF_SPEEDS,
    WEBP_ALPHA_METHOD,
    WEBP_METHODS,
    asked_quality,
)
from omnishot_ray.imaging.formats import LOSSY, Format
from omnishot_ray.imaging.geometry import Plan
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.jpeg import JPEGLI_FROM, PROGRESSIVE_FROM
from omnishot_ray.imaging.options import Options

Work = tuple[str, float]
"""The name of a coefficient, and how many of its units there are to do."""

MEGA = 1e-6


@cache
def names(stage: str, kind: str) -> tuple[str, str, str]:
    """A fixed amount, one by bytes (or what stands for them), one by megapixels."""
    return f"{stage}.{kind}", f"{stage}.{kind}.mb", f"{stage}.{kind}.mp"


def is_transparent(header: Header) -> bool:
    """Most animations that name a transparent colour use it between their frames only."""
    return header.alpha and header.frames == 1 and header.format is not Format.GIF


def megapixels(size: tuple[int, int]) -> float:
    """Of a picture of that width and height."""
    return size[0] * size[1] * MEGA


def source_kind(size_bytes: int, header: Header) -> str:
    """What the bytes of a source say of its detail depends on: the format, or its way of coding."""
    if header.format is Format.JPEG:
        return header.format
    if header.format is Format.PNG:
        if header.bits <= 8 < 8 * header.channels:
            return "png.palette"
        return "bmp" if is_stored(size_bytes, header) else "png"
    if header.format is Format.WEBP and header.lossless:
        return "webp.lossless"
    return header.format


def is_stored(size_bytes: int, header: Header) -> bool:
    """Whether a PNG holds its pixels as they are, which takes no time and tells nothing of them."""
    return (
        header.format is Format.PNG
        and size_bytes * 8 > _STORED * header.width * header.height * header.bits
    )


_STORED = 0.98


def source_density(size_bytes: int, header: Header) -> float:
    """Bytes of a pixel as stored; of a PNG as if each pixel had three bytes before its coding."""
    per_pixel = size_bytes / (header.width * header.height * header.frames)
    return per_pixel * 24 / header.bits if header.format is Format.PNG else per_pixel


def _detail(size_bytes: int, header: Header, plan: Plan) -> float:
    """Bytes per pixel of a rendition as a JPEG of quality 80, by those of the source.

    A picture scaled down has more to show in each pixel, and one that was stored with coarse
    steps has more than its bytes tell.
    """
    factor, exponent, growth, coarseness = SIZES[source_kind(size_bytes, header)]
    scaling = (plan.scaled.width * plan.scaled.height) / (plan.crop.width * plan.crop.height)
    density = source_density(size_bytes, header)
    detail = factor * density**exponent * scaling**-growth * header.quantum**coarseness
    return min(max(float(detail), _LEAST_DETAIL), _MOST_DETAIL)


_LEAST_DETAIL, _MOST_DETAIL = 0.005, 0.8


def count_encode(
    format: Format, size_bytes: int, header: Header, options: Options, plan: Plan
) -> Iterator[Work]:
    """All that is to be done to encode a still rendition."""
    pixels = megapixels(plan.output)
    # What pads a picture has no detail.
    busy = _detail(size_bytes, header, plan) * megapixels(plan.scaled)
    encoder = _encoder(format, header, options)
    times, quality = 1.0, asked_quality(format, options)
    if options.quality == "auto" and format in LOSSY and not options.lossless:
        times, quality = _AUTO_TRIES, _AUTO_QUALITY
        yield _AUTO[format], pixels * times
    if is_transparent(header) and not options.lossless:
        if format is Format.AVIF:
            busy *= _WITH_ALPHA
        else:
            yield _alpha(format, options.effort), pixels * times
    likely = busy * 1e6 * _BYTES_TO_JPEG[format] * _growth(format, quality)
    if format is Format.PNG:
        likely *= sqrt(_share_of_colours(size_bytes, header))
    busy *= _growth(format, quality) ** _TIME_GROWTH[format]
    yield from _count_tries(encoder, size_bytes, header, options, plan, times, pixels, busy)
    if options.max_bytes and likely > options.max_bytes and format is not Format.GIF:
        if format is Format.PNG:
            encoder = "png.palette"
        # The qualities tried are around the one that fits.
        busy *= sqrt(options.max_bytes / likely)
        yield from _count_tries(
            encoder, size_bytes, header, options, plan, log2(quality), pixels, busy
        )


def _count_tries(
    encoder: str,
    size_bytes: int,
    header: Header,
    options: Options,
    plan: Plan,
    times: float,
    pixels: float,
    busy: float,
) -> Iterator[Work]:
    """So many encodes of `pixels` megapixels; `busy` are megabytes as a JPEG."""
    base, by_detail, by_pixels = names("encode", encoder)
    grey = header.channels < 3 or options.grayscale
    family = encoder.partition(".")[0]
    bases = 1.0
    if encoder in _PALETTES:
        few = names("encode", f"{family}.few")
        if grey or (_had_palette(header) and plan.scaled == plan.crop[2:]):
            yield few[0], times
            yield few[2], times * pixels
            return
        times *= _share_of_colours(size_bytes, header)
        detail = busy / pixels
        bases = pixels / (pixels + _ALL_DIFFER[family]) * (detail / (detail + _PLAIN)) ** 2
    elif (family == "avif" or options.lossless) and busy < _FLAT * pixels:
        busy *= (busy / pixels / _FLAT) ** _FLATNESS
    if options.lossless and family == "webp":
        bases = sqrt(pixels)
        times *= _share_lossless(size_bytes, header, plan) * (_GREY if grey else 1.0)
        yield "encode.webp.tiles", times * _tiles(options.effort, plan.output)
    elif family == "png" and encoder != "png.palette":
        # A few bands of rows are filtered and compressed in each way first.
        height = plan.output.height
        bands = times * min(8, -(-height // 8))
        yield "encode.png.bands", bands
        if grey:
            pixels, busy = pixels * _GREY, busy * _GREY
        yield "encode.png.bands.mp", bands * pixels / height
        yield "encode.png.large", times * max(0.0, pixels - _LARGE_MP)
        if options.effort >= _PARSES_LONG_FROM:
            yield names("encode", encoder + ".soft")[2], times * pixels * _softness(busy / pixels)
    elif family in ("webp", "avif"):
        bases = sqrt(pixels)
    yield _ONE_ENCODE[family], times
    yield base, times * bases
    yield by_detail, times * pixels * (busy / pixels) ** _DETAIL_POWER[family]
    yield by_pixels, times * pixels


def _tiles(effort: int, size: tuple[int, int]) -> float:
    """Into how many tiles of their own statistics WebP without loss divides a picture.

    Source: `GetHistoBits` of libwebp's src/enc/vp8l_enc.c: the smallest tiles of which there are
    no more than 2 600.
    """
    bits = max(2, 7 - WEBP_METHODS[effort])
    tiles = size[0] * size[1] / (1 << 2 * bits)
    while tiles > _MOST_TILES:
        tiles /= 4
    return tiles


_MOST_TILES = 2600


def _share_lossless(size_bytes: int, header: Header, plan: Plan) -> float:
    """How much of the time of a photo WebP without loss takes for what may be a drawing."""
    if _had_palette(header) and plan.scaled == plan.crop[2:]:
        return _OF_OWN_PALETTE
    return sqrt(_share_of_colours(size_bytes, header))


_OF_OWN_PALETTE = 0.2


def _softness(detail: float) -> float:
    """How long deflate looks for matches: longest where there are many, but none is long."""
    return float(2 / ((detail / _SOFTEST) ** 2.5 + (_SOFTEST / detail) ** 1.5))


_FLAT, _FLATNESS = 0.06, 1.0
"""Detail below which whole blocks hold none, so that the time falls faster."""
_SOFTEST = 0.1
_PARSES_LONG_FROM = 7
_GREY = 0.5
"""What a grey pixel takes of the time of one in colour: a byte of three, but sums for each row."""


def _had_palette(header: Header) -> bool:
    return header.format is Format.GIF or (
        header.format is Format.PNG and header.bits <= 8 < 8 * header.channels
    )


def _share_of_colours(size_bytes: int, header: Header) -> float:
    """How much of the time of a photo's palette a picture takes that may be a drawing."""
    if header.format not in _DRAWN_FORMATS:
        return 1.0
    most = _OF_PALETTE if _had_palette(header) else 1.0
    return most * min(1.0, max(_LEAST_SHARE, source_density(size_bytes, header) / _OF_A_PHOTO))


_DRAWN_FORMATS = frozenset({Format.GIF, Format.PNG, Format.WEBP})
_OF_PALETTE, _LEAST_SHARE, _OF_A_PHOTO = 0.4, 0.3, 0.15
_PLAIN = 0.04
_ALL_DIFFER = {"gif": 0.016, "png": 0.1}
"""Megapixels of which the most are of a colour of their own."""


_ONE_ENCODE = {format.value: f"encode.{format.value}" for format in Format}
_DETAIL_POWER = {"jpeg": 1.0, "png": 0.5, "webp": 0.5, "avif": 0.5, "gif": 0.5}
"""How the time follows the bytes."""
_PALETTES = frozenset({"png.palette", "gif.best", "gif.quick"})
_LARGE_MP = 0.25
"""From here on the planes of numpy that are filtered do not fit in the processor's cache."""

_AUTO_TRIES, _AUTO_QUALITY = 6.2, 70
_AUTO = {format: f"encode.auto.{format}" for format in LOSSY}
_BYTES_TO_JPEG = {
    Format.JPEG: 1.0,
    Format.WEBP: 0.83,
    Format.AVIF: 0.65,
    Format.PNG: 8.0,
    Format.GIF: 3.0,
}
"""Bytes of a rendition in units of a JPEG's."""


_TIME_GROWTH = {format: 0.5 if format is Format.AVIF else 1.0 for format in Format}
"""How the time of an encoder follows its bytes when the quality changes: as their power."""


_WITH_ALPHA = 2.2
"""AVIF codes alpha as a second picture, as hard as the first."""


@cache
def _alpha(format: Format, effort: int) -> str:
    """The name of what transparency costs more: WebP compresses it as hard as it was told to."""
    name = f"encode.alpha.{format}"
    return f"{name}.{WEBP_METHODS[effort]}" if format is Format.WEBP else name


def _growth(format: Format, quality: int) -> float:
    """Bytes at a quality in units of those at the default."""
    if format not in LOSSY:
        return 1.0
    return 45.0 / (125.0 - quality) if format is not Format.AVIF else 2.0 ** ((quality - 60) / 18)


def _encoder(format: Format, header: Header, options: Options) -> str:
    """The name of the encoder and its step, of which there are fewer than efforts."""
    effort = options.effort
    if format is Format.JPEG:
        if effort < JPEGLI_FROM:
            return "jpeg.turbo.progressive" if options.progressive else "jpeg.turbo"
        grey = options.grayscale or header.channels == 1 or header.channels == 2
        progressive = options.progressive
        if grey:
            return "jpeg.turbo.progressive" if progressive else "jpeg.turbo.optimized"
        if progressive or (progressive is None and effort >= PROGRESSIVE_FROM):
            return "jpeg.transcoded"
        return "jpeg.jpegli"
    if format is Format.WEBP and not options.lossless and is_transparent(header):
        return f"webp.{min(WEBP_METHODS[effort], WEBP_ALPHA_METHOD)}"
    return _encoder_step(format, effort, options.palette, options.lossless)


@cache
def _encoder_step(format: Format, effort: int, palette: bool, lossless: bool) -> str:
    if format is Format.PNG:
        return "png.palette" if palette else f"png.{effort}"
    if format is Format.WEBP:
        if lossless:
            return f"webp.lossless.{effort}"
        return f"webp.{WEBP_METHODS[effort]}"
    if format is Format.AVIF:
        return f"avif.{AVIF_SPEEDS[effort]}"
    return "gif.best" if effort > 2 else "gif.quick"


# Animations.


def _busyness(size_bytes: int, header: Header) -> float:
    """From 0, frames that are all alike, to 1, frames that share nothing."""
    pixels = header.width * header.height * header.frames
    return min(1.0, size_bytes / pixels / _BUSY_BYTES_PER_PX[header.format])


_BUSY_BYTES_PER_PX = {Format.GIF: 0.4, Format.PNG: 1.0, Format.WEBP: 0.12, Format.AVIF: 0.08}
"""Size of an animation in which every pixel of every frame changes, as in a panned photo. Most are
far smaller, and their frames are encoded in a tenth of the time."""


def count_film(
    format: Format, size_bytes: int, header: Header, options: Options, plan: Plan
) -> Iterator[Work]:
    """All that is to be done to encode all frames of a rendition."""
    busy, frames = _busyness(size_bytes, header), header.frames
    if format is Format.GIF:
        encoder = "gif.best" if options.effort > 2 else "gif.quick"
        if _had_palette(header) and plan.scaled == plan.crop[2:]:
            encoder = "gif.few"
    elif options.lossless:
        encoder = f"webp.lossless.{options.effort}"
    else:
        encoder = f"webp.{min(7, options.effort)}"
    fixed, by_busyness, by_pixels = names("encode.film", encoder)
    pixels = megapixels(plan.output) * frames
    times = 1.0
    if options.max_bytes and format is not Format.GIF:
        likely = pixels * 1e6 * _FILM_BYTES_PER_PX * busy
        if likely > options.max_bytes:
            times += log2(asked_quality(format, options))
    if options.quality == "auto" and format in LOSSY and not options.lossless:
        for _ in range(min(frames, SAMPLED_FRAMES)):
            still = replace(options, max_bytes=None)
            yield from count_encode(format, size_bytes, header, still, plan)
    yield "encode.film", 1.0
    yield fixed, times * frames
    yield by_busyness, times * pixels * busy
    yield by_pixels, times * pixels


_FILM_BYTES_PER_PX = 0.15
