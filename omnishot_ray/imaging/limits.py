"""What a picture may cost, checked on its header before anything is decoded."""

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
