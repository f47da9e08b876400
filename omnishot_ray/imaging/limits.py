"""What a picture may cost, checked on its header before anything is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for one source picture and its renditions."""

    max_pixels: int = 50_000_000
    """Pixels of the source, all frames summed."""
    max_source_side: int = 32_768
    """Pixels of either side of the source."""
    max_frames: int = 64
    max_scans: int = 100
    """Scans of a progressive JPEG. Encoders write about ten (mozjpeg up to 64 while it searches);
    a 124 KB file with 4 000 scans costs seconds of CPU."""
    max_output_side: int = 8_192
    """Pixels of either side of a rendition."""
    max_task_mb: int = 1_000
    """Megabytes (10⁶) that one task may take: source and one rendition at a time, see
    `most_output_pixels`."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 1:
                raise ValueError(f"{item.name} must be at least 1")


def check_header(header: Header, limits: Limits) -> None:
    """Raise `LimitExceeded` when decoding what `header` describes would cost too much.

    Of an APNG the default image alone is looked at: see `check_animation`.
    """
    width, height = header.width, header.height
    if max(width, height) > limits.max_source_side:
        raise LimitExceeded(
            f"The image says it is {width}×{height} pixels; a side may have at most "
            f"{limits.max_source_side}."
        )
    _check_frames(header, 1 if header.format is Format.PNG else header.frames, limits)
    if header.tiled > limits.max_pixels:
        raise LimitExceeded(
            f"The tiles of the TIFF reach over {header.tiled / 1e6:.1f} megapixels; at most "
            f"{limits.max_pixels / 1e6:g} are accepted. Save it in smaller tiles, or in strips."
        )
    if header.scans > limits.max_scans:
        raise LimitExceeded(
            f"The JPEG has {header.scans} scans; at most {limits.max_scans} are accepted. "
            "Save it as baseline or with a usual progressive script."
        )


def check_animation(header: Header, limits: Limits) -> None:
    """Raise `LimitExceeded` when decoding every frame would cost too much."""
    _check_frames(header, header.frames, limits)


def is_playable(header: Header, limits: Limits) -> bool:
    """Whether `check_animation` has nothing against it."""
    try:
        check_animation(header, limits)
    except LimitExceeded:
        return False
    return True


def _check_frames(header: Header, frames: int, limits: Limits) -> None:
    if frames > limits.max_frames:
        raise LimitExceeded(
            f"The image has more than {limits.max_frames} frames; "
            f"at most {limits.max_frames} are accepted."
        )
    pixels = header.width * header.height * frames
    if pixels > limits.max_pixels:
        counted = f" in {frames} frames" if frames > 1 else ""
        raise LimitExceeded(
            f"The image says it is {header.width}×{header.height} pixels{counted}, "
            f"{pixels / 1e6:.1f} megapixels; at most {limits.max_pixels / 1e6:g} are accepted."
        )


ENCODING_BYTES: Mapping[Format, tuple[int, int]] = {
    Format.JPEG: (14, 17),
    Format.GIF: (14, 27),
    Format.PNG: (19, 21),
    Format.WEBP: (25, 59),
    Format.AVIF: (56, 56),
}
"""Bytes of memory that a rendition takes for each of its pixels while it is made, its own four
among them: of an opaque source, and of one with alpha. The most that photos and noise took of any
encoder, by `python -m benchmarks.memory --outputs`. With filters a small picture takes more, as
pixel memory is kept (64 MiB); 67 megapixels of JPEG turned, blurred and sharpened took 893 MB."""
_LOSSLESS_WEBP_BYTES = 45
_SOURCE_BYTES = 4
"""What Pillow stores a pixel in."""


def most_output_pixels(
    header: Header, format: Format, limits: Limits, *, lossless: bool = False, frames: int = 1
) -> int:
    """How many pixels a rendition (a frame of it) may have for its task to keep `max_task_mb`.

    The source counts as decoded in full, in colour, and twice with alpha, which is multiplied into
    the colours while they are scaled. Of an animation all frames are held, and one is encoded.
    """
    copies = 2 if header.alpha else 1
    pixels = max(header.width * header.height, header.tiled)
    left = limits.max_task_mb * 10**6 - pixels * _SOURCE_BYTES * copies
    most = ENCODING_BYTES[format][header.alpha]
    if lossless and format is Format.WEBP:
        most = max(most, _LOSSLESS_WEBP_BYTES)
    return max(0, left // (most + _SOURCE_BYTES * (frames - 1)))


def check_output(
    size: tuple[int, int],
    format: Format,
    header: Header,
    limits: Limits,
    *,
    lossless: bool = False,
    frames: int = 1,
) -> None:
    """Raise `LimitExceeded` when making a rendition of `size` as `format` would cost too much."""
    width, height = size
    if max(size) > limits.max_output_side:
        raise LimitExceeded(
            f"The result would be {width}×{height} pixels; a side may have "
            f"at most {limits.max_output_side}. Ask for a smaller one."
        )
    most = most_output_pixels(header, format, limits, lossless=lossless, frames=frames)
    if width * height > most:
        moving = f" in {frames} frames" if frames > 1 else ""
        raise LimitExceeded(
            f"The result would be {width}×{height} pixels{moving}; as {format.value} this picture "
            f"may have at most {most / 1e6:.1f} megapixels, for a task to take no more than "
            f"{limits.max_task_mb} MB. Ask for a smaller one, or for jpeg, which may have the most."
        )


def output_fits(
    size: tuple[int, int], format: Format, header: Header, limits: Limits, *, lossless: bool = False
) -> bool:
    """Whether `check_output` has nothing against a still of that size and format."""
    return max(size) <= limits.max_output_side and (
        size[0] * size[1] <= most_output_pixels(header, format, limits, lossless=lossless)
    )
