"""A result in the source's own format and size need not be larger than the source."""

from omnishot_ray.imaging.color import is_srgb
from omnishot_ray.imaging.container import is_png_sound, with_exif, without_metadata
from omnishot_ray.imaging.decode import Decoded, Source
from omnishot_ray.imaging.encode import asked_quality
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Orientation, Plan
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.transform import has_transparency

_AS_IT_IS = Options()
_TOUCHED_BY = ("blur", "sharpen", "grayscale", "normalize", "palette", "progressive")


def is_unchanged(
    source: Source,
    decoded: Decoded,
    plan: Plan,
    orientation: Orientation,
    options: Options,
    *,
    moving: bool = False,
) -> bool:
    """Whether the rendition shows every pixel of the source, and nothing else, in its place.

    A wish for another coding (`palette`, `progressive`) is a change, a wish for a quality is not.
    Nor is a canvas that cannot be seen, as it is of the same size and nothing lets it through.
    `moving`: all of its frames.
    """
    return (
        (moving or source.header.frames == 1)
        and plan.output == plan.crop[2:] == source.size
        and orientation == Orientation()
        and (source.icc_profile is None or is_srgb(source.icc_profile))
        and source.image.mode != "CMYK"
        and not touches_pixels(options)
        and (plan.canvas is None or not (moving or has_transparency(decoded.image)))
    )


def touches_pixels(options: Options) -> bool:
    """Whether more is wanted than a size, a place and a format."""
    return any(getattr(options, name) != getattr(_AS_IT_IS, name) for name in _TOUCHED_BY)


def is_coarser(header: Header, format: Format, options: Options) -> bool:
    """Whether the source is sure to be smaller than what would be encoded, told without encoding.

    Of a JPEG of 4:2:0 whose luma steps are that much coarser than libjpeg's at the quality asked
    for: asked for 80, a result at effort 9 was 2 to 6 % larger at 1.5 times the step, and up to 4 %
    smaller at 1.25 (three photos, sources of libjpeg, baseline and progressive).
    """
    if format is not Format.JPEG or header.bits != _BITS_OF_420 or options.quality == "auto":
        return False
    quality = asked_quality(format, options)
    if quality > _HIGHEST_JUDGED:
        return False
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return header.quantum >= _COARSER * max(1.0, _MEAN_STEP * percent / 100)


_BITS_OF_420 = 12
_COARSER = 1.45
_HIGHEST_JUDGED = 80
"""Asked for 95, a source of 90 was 9 % larger than the result at effort 9."""
_MEAN_STEP = 57.6
"""Of the luma table (ITU-T T.81 table K.1), which libjpeg's `jpeg_quality_scaling` scales."""


def source_as_result(data: bytes, format: Format, options: Options, exif: bytes) -> bytes | None:
    """The source with no metadata but `exif`; None where that cannot be had within `max_bytes`.

    None for a PNG too whose data fails its own checksum: our decoder is content with it, others
    are not. And for an AVIF with `exif`, which is not put into it.
    """
    if format is Format.AVIF and exif:
        return None
    bare = without_metadata(data, format)
    if bare is None or (format is Format.PNG and not is_png_sound(bare)):
        return None
    kept = with_exif(bare, format, exif)
    return kept if options.max_bytes is None or len(kept) <= options.max_bytes else None
