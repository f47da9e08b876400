"""How many core-milliseconds a task will take, from its header and options alone.

The estimate chooses the lane, bounds the queue and computes `Retry-After`; it is never shown as a
promise. Coefficients: milliseconds on one core of an AMD EPYC (AVX2 build of Pillow-SIMD 12.1),
read off `benchmarks/engine.py`; only their ratios matter to the dispatch.
"""

from collections.abc import Sequence

from omnishot_ray.imaging.animation import animated_format
from omnishot_ray.imaging.decode import dct_margin
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Size, plan_rendition
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.info import DECODE_MARGIN, MEASURED
from omnishot_ray.imaging.options import Options

_MEGA = 1e-6

_DECODE_PER_MB = {Format.JPEG: 14.0, Format.PNG: 10.0}
_DECODE_PER_MP = {
    Format.JPEG: 2.2,
    Format.PNG: 10.0,
    Format.WEBP: 13.0,
    Format.AVIF: 40.0,
    Format.GIF: 8.0,
    Format.TIFF: 6.0,
    Format.BMP: 3.0,
}
_PROGRESSIVE_FACTOR = 2.3

_RESIZE_PER_INPUT_MP = 0.6
_RESIZE_PER_OUTPUT_MP = 5.3

_GRAVITY_MS = {"attention": 3.0, "face": 14.0}
"""Once a task, however large the picture: what `gravity` looks at is a small copy."""

_ENCODE_PER_MP: dict[Format, tuple[tuple[int, float], ...]] = {
    # (from this effort on, milliseconds per megapixel), rising
    Format.JPEG: ((0, 4.0), (3, 19.0)),
    Format.PNG: ((0, 45.0), (3, 120.0), (5, 200.0), (7, 400.0)),
    Format.WEBP: ((0, 35.0), (2, 70.0), (4, 130.0), (5, 170.0), (6, 230.0)),
    Format.AVIF: ((0, 150.0), (3, 500.0), (4, 750.0), (6, 2_000.0), (8, 6_000.0)),
    Format.GIF: ((0, 500.0),),
}
_PALETTE_PER_MP = 2_800.0
_LOSSLESS_WEBP_PER_MP = 1_200.0
_FILM_PER_MP: dict[Format, tuple[tuple[int, float], ...]] = {
    # Each frame is written as its difference from the one before, and tried in more than one way.
    Format.WEBP: ((0, 50.0), (2, 80.0), (4, 140.0), (5, 200.0), (6, 260.0), (7, 400.0)),
    Format.GIF: ((0, 550.0),),
}
_GIF_PALETTE_MS = 80.0
"""A palette is made of a sample, so it takes as long for few pixels as for many."""
_BUSY_BYTES_PER_PX = {Format.GIF: 0.4, Format.PNG: 1.0, Format.WEBP: 0.12, Format.AVIF: 0.08}
"""Size of an animation in which every pixel of every frame changes, as in a panned photo. Most are
far smaller, and their frames are encoded in a tenth of the time."""
_FIT_BYTES_FACTOR = 7.0
"""`max_bytes` searches the quality by bisection: up to seven further encodes."""

_OVERHEAD_MS = 0.2


def estimate_ms(size_bytes: int, header: Header, wanted: Sequence[Options]) -> float:
    """Core-milliseconds for decoding a source once and making all `wanted` renditions of it."""
    source = Size(header.width, header.height)
    plans = [plan_rendition(source, options) for options in wanted]
    scale = max(
        max(plan.scaled.width / plan.crop.width, plan.scaled.height / plan.crop.height)
        for plan in plans
    )
    effort = max(options.effort for options in wanted)
    decoding, decoded = _estimate_decode(size_bytes, header, scale, effort)
    total = _OVERHEAD_MS + decoding
    films = [animated_format(options, header) for options in wanted]
    if any(films):
        total += _DECODE_PER_MP[header.format] * decoded * header.frames
    looks = {
        options.resolved_gravity
        for options, plan in zip(wanted, plans, strict=True)
        if (plan.crop.width, plan.crop.height) != source
    }
    total += sum(_GRAVITY_MS.get(gravity, 0.0) for gravity in looks)
    for options, plan, film in zip(wanted, plans, films, strict=True):
        frames = header.frames if film else 1
        share = plan.crop.width * plan.crop.height / (source.width * source.height)
        output = plan.output.width * plan.output.height * _MEGA
        resize = _RESIZE_PER_INPUT_MP * decoded * share + _RESIZE_PER_OUTPUT_MP * output
        total += resize * frames
        if film:
            busy = _busyness(size_bytes, header)
            total += _film_per_mp(film, options, busy) * output * frames
        else:
            total += _encode_per_mp(_likely_format(options, header), options) * output
        if (film or _likely_format(options, header)) is Format.GIF and options.effort > 2:
            total += _GIF_PALETTE_MS
    return total


def estimate_info_ms(size_bytes: int, header: Header) -> float:
    """Core-milliseconds for decoding a source small and describing it."""
    source = Size(header.width, header.height)
    measured = plan_rendition(source, MEASURED).output
    scale = min(1.0, DECODE_MARGIN * max(measured) / max(source))
    decoding, decoded = _estimate_decode(size_bytes, header, scale, 0)
    pixels = measured.width * measured.height * _MEGA
    resizing = _RESIZE_PER_INPUT_MP * decoded + _RESIZE_PER_OUTPUT_MP * pixels
    return _OVERHEAD_MS + decoding + resizing + _LOOK_MS + _LOOK_PER_MP * pixels


_LOOK_MS = 2.0
_LOOK_PER_MP = 25.0


def _estimate_decode(
    size_bytes: int, header: Header, scale: float, effort: int
) -> tuple[float, float]:
    """Milliseconds of a decode for renditions of at most `scale`, and its megapixels."""
    decoded = (
        header.width
        * header.height
        * _MEGA
        / _draft_divisor(header, scale, dct_margin(effort)) ** 2
    )
    ms = _DECODE_PER_MB.get(header.format, 0.0) * size_bytes * _MEGA
    ms += _DECODE_PER_MP[header.format] * decoded
    return ms * (_PROGRESSIVE_FACTOR if header.scans > 1 else 1.0), decoded


def _draft_divisor(header: Header, scale: float, margin: float) -> int:
    if header.format is not Format.JPEG:
        return 1
    for divisor in (8, 4, 2):
        if scale * divisor * margin <= 1 or abs(scale * divisor - 1) < 1e-6:
            return divisor
    return 1


def _likely_format(options: Options, header: Header) -> Format:
    if options.format == "source":
        return header.format if header.format in _ENCODE_PER_MP else Format.PNG
    if options.format != "auto":
        return Format(options.format)
    if options.accept:
        return options.accept[0]
    return Format.PNG if header.alpha else Format.JPEG


def _busyness(size_bytes: int, header: Header) -> float:
    """From 0, frames that are all alike, to 1, frames that share nothing."""
    pixels = header.width * header.height * header.frames
    return min(1.0, size_bytes / pixels / _BUSY_BYTES_PER_PX[header.format]) ** 2


def _film_per_mp(format: Format, options: Options, busy: float) -> float:
    per_mp = [ms for effort, ms in _FILM_PER_MP[format] if options.effort >= effort][-1]
    tight = options.max_bytes is not None and options.max_bytes < _TIGHT_BYTES
    if format is Format.WEBP and options.lossless:
        per_mp = max(per_mp, _LOSSLESS_WEBP_PER_MP)
    if options.effort < _TRIES_ALL_FROM:
        per_mp *= 0.1 + 0.9 * busy
    return per_mp * (_FIT_BYTES_FACTOR if tight else 1.0)


_TRIES_ALL_FROM = 7
"""Effort from which on an animated WebP tries every way for every frame, busy or not."""


def _encode_per_mp(format: Format, options: Options) -> float:
    per_mp = [ms for effort, ms in _ENCODE_PER_MP[format] if options.effort >= effort][-1]
    # Presets carry limits of megabytes that are hardly ever met; only a tight one is a search.
    tight = options.max_bytes is not None and options.max_bytes < _TIGHT_BYTES
    if format is Format.PNG and (options.palette or tight):
        per_mp += _PALETTE_PER_MP
    if format is Format.WEBP and options.lossless:
        per_mp = max(per_mp, _LOSSLESS_WEBP_PER_MP)
    return per_mp * (_FIT_BYTES_FACTOR if tight else 1.0)


_TIGHT_BYTES = 1_000_000
