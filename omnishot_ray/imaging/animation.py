"""Renditions that move: which ones do, and how all their frames are made from one pass of decoding.

Frames are decoded and scaled one by one, so that only the small ones are held until they are
encoded.
"""

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from PIL import Image

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.decode import Decoded, Source
from omnishot_ray.imaging.encode import (
    WEBP_ALPHA_METHOD,
    asked_quality,
    encode,
    gif_palette_method,
)
from omnishot_ray.imaging.formats import ANIMATED, LOSSY, Format
from omnishot_ray.imaging.frames import count_plays, read_frames
from omnishot_ray.imaging.geometry import Crop, Size
from omnishot_ray.imaging.gif import write_gif
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.limits import Limits, is_playable
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.search import lowest_similar
from omnishot_ray.imaging.transform import has_transparency

_DEFAULT_LIMITS = Limits()


def animated_format(
    options: Options, header: Header, limits: Limits = _DEFAULT_LIMITS
) -> Format | None:
    """The format in which all frames are kept; None when the rendition shows one picture.

    An APNG over the limits shows its default image unless `animated` is asked for: that is what
    its authors put there for whoever does not play the rest.
    """
    if header.frames < 2 or options.animated is False:
        return None
    if header.format is Format.PNG and not options.animated and not is_playable(header, limits):
        return None
    if options.format == "auto":
        return Format.GIF if options.palette else Format.WEBP
    format = header.format if options.format == "source" else Format(options.format)
    return format if format in ANIMATED else None


def check_film(output: Size, frames: int, limits: Limits) -> None:
    """Raise `LimitExceeded` when all frames of a rendition together are too large."""
    pixels = output.width * output.height * frames
    if pixels > limits.max_pixels:
        raise LimitExceeded(
            f"The result would be {output.width}×{output.height} pixels in {frames} frames, "
            f"{pixels / 1e6:.1f} megapixels; at most {limits.max_pixels / 1e6:g} are made. "
            "Ask for a smaller one, or for the first frame with animated=false."
        )


@dataclass(slots=True)
class Film:
    """One moving rendition in the making."""

    options: Options
    format: Format
    output: Size
    crop: Crop | None
    gravity: str | None
    render: Callable[[Decoded], Image.Image]
    """From the decoded pixels of a frame to those of the rendition."""
    images: list[Image.Image] = field(default_factory=list)
    durations_ms: list[float] = field(default_factory=list)
    plays: int = 0
    kept: bytes | None = None
    """The source itself, where it is what is wanted."""


def share_passes(
    films: Mapping[int, Film], frames: int, limits: Limits
) -> Iterator[dict[int, Film]]:
    """The films in groups, each of which holds no more pixels at once than a source may have."""
    group: dict[int, Film] = {}
    held = 0
    for index, film in films.items():
        pixels = film.output.width * film.output.height * frames
        if group and held + pixels > limits.max_pixels:
            yield group
            group, held = {}, 0
        group[index] = film
        held += pixels
    if group:
        yield group


def render_frames(source: Source, data: bytes, films: Collection[Film]) -> tuple[float, float]:
    """Fill all `films` in one pass over the frames.

    Returns the milliseconds of decoding and of transforming. Raises `CorruptImage`.
    """
    plays = count_plays(source, data)
    for film in films:
        film.plays = plays
    decode_ms = transform_ms = 0.0
    started = perf_counter()
    for frame in read_frames(source, data):
        decoded = Decoded(frame.image, *(float(side) for side in frame.image.size))
        rendering = perf_counter()
        decode_ms += (rendering - started) * 1000.0
        for film in films:
            image = film.render(decoded)
            film.images.append(image.copy() if image is decoded.image else image)  # it is drawn on
            film.durations_ms.append(frame.duration_ms)
        started = perf_counter()
        transform_ms += (started - rendering) * 1000.0
    return decode_ms, transform_ms


def encode_film(film: Film, exif: bytes) -> bytes:
    """Encode the frames of a film, or hand out its source where that is smaller.

    Raises:
        LimitExceeded: not even the lowest quality comes below `max_bytes`.
    """
    quality = _wanted_quality(film)
    data = _write(film, quality, exif)
    if film.kept and len(film.kept) < len(data):
        return film.kept
    limit = film.options.max_bytes
    if limit is None or len(data) <= limit:
        return data
    best: bytes | None = None
    low, high = 1, quality - 1
    while film.format is not Format.GIF and low <= high:
        middle = (low + high) // 2
        data = _write(film, middle, exif)
        if len(data) <= limit:
            best, low = data, middle + 1
        else:
            high = middle - 1
    if best is None:
        raise LimitExceeded(
            f"The animated {film.format.value} does not fit in {limit} bytes at any quality; ask "
            "for fewer pixels, a larger max_bytes, or for the first frame with animated=false."
        )
    return best


SAMPLED_FRAMES = 3
"""By which `quality=auto` is found: the first and two more, each by itself."""


def _wanted_quality(film: Film) -> int:
    """That of the sampled frame that needs the most, where it has to be found."""
    options = film.options
    if options.quality != "auto" or options.lossless or film.format not in LOSSY:
        return asked_quality(film.format, options)
    still = replace(options, max_bytes=None)
    found = []
    for frame in film.images[:: -(-len(film.images) // SAMPLED_FRAMES)]:

        def write(quality: int, frame: Image.Image = frame) -> bytes:
            return encode(frame, film.format, replace(still, quality=quality), b"")

        found.append(lowest_similar(write, frame, film.format, options.target_ssim)[1])
    return max(found)


def _write(film: Film, quality: int, exif: bytes) -> bytes:
    if film.format is Format.GIF:
        method = gif_palette_method(film.options)
        return write_gif(film.images, film.durations_ms, film.plays, method)
    return _write_webp(film, quality, exif)


_MOST_WEBP_MS = 0xFFFFFF
"""A frame's duration has 24 bits (RFC 9649 §2.7.1.2); what a broken AVIF claims may have more."""


def _write_webp(film: Film, quality: int, exif: bytes) -> bytes:
    """Key frames beyond the first only serve seeking: without any the file is a third smaller.

    The container counts showings in 16 bits (WebP container specification, ANIM chunk).
    """
    effort = film.options.effort
    settings: dict[str, Any] = {
        "quality": quality,
        "lossless": film.options.lossless,
        "method": min(WEBP_ALPHA_METHOD, effort),
        "minimize_size": effort > 6,
        "kmin": 0,
        "kmax": 0,
        "loop": min(film.plays, 0xFFFF),
        "duration": [min(max(0.0, ms), _MOST_WEBP_MS) for ms in film.durations_ms],
        "background": (0, 0, 0, 0),
        "exif": exif.removeprefix(b"Exif\0\0"),
    }
    first, *others = film.images
    sink = io.BytesIO()
    try:
        first.save(sink, "WEBP", save_all=True, append_images=others, **settings)
    except (ValueError, OSError):
        raise LimitExceeded(
            f"The webp encoder cannot write {first.width}×{first.height} pixels; "
            "ask for a smaller picture or another format."
        ) from None
    written = bytearray(sink.getvalue())
    if written[12:16] == b"VP8X" and any(map(has_transparency, film.images)):
        # libwebp forgets it where only the rest of the canvas is transparent, not the frames on it
        written[20] |= _WEBP_ALPHA
    return bytes(written)


_WEBP_ALPHA = 0x10
"""The flag of an extended WebP that says that it has transparency (RFC 9649 §2.7)."""
