"""How many core-milliseconds a task will take, from its header and options alone.

The estimate chooses the lane, bounds the queue and computes `Retry-After`; it is never shown as a
promise. Coefficients: milliseconds on one core of an AMD EPYC (AVX2 build of Pillow-SIMD 12.1),
read off `benchmarks/engine.py`; only their ratios matter to the dispatch.
"""

from collections.abc import Sequence

from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Size, plan_rendition
from omnishot_ray.imaging.header import Header
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

_LOOK_MS = {"attention": 3.0, "face": 14.0}
"""Once a task, however large the picture: what `gravity` looks at is a small copy."""

_ENCODE_PER_MP: dict[Format, tuple[tuple[int, float], ...]] = {
    # (from this effort on, milliseconds per megapixel), rising
    Format.JPEG: ((0, 4.0), (3, 19.0)),
    Format.PNG: ((0, 45.0), (3, 120.0), (5, 200.0), (7, 400.0)),
    Format.WEBP: ((0, 35.0), (2, 70.0), (4, 130.0), (5, 170.0), (6, 230.0)),
    Format.AVIF: ((0, 150.0), (3, 500.0), (4, 750.0), (6, 2_000.0), (8, 6_000.0)),
    Format.GIF: ((0, 1_400.0),),
}
_PALETTE_PER_MP = 2_800.0
_LOSSLESS_WEBP_PER_MP = 1_200.0
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
    decoded = source.width * source.height * _MEGA / _draft_divisor(header, scale) ** 2
    total = _OVERHEAD_MS
    total += _DECODE_PER_MB.get(header.format, 0.0) * size_bytes * _MEGA
    total += _DECODE_PER_MP[header.format] * decoded
    if header.scans > 1:
        total *= _PROGRESSIVE_FACTOR
    looks = {
        options.resolved_gravity
        for options, plan in zip(wanted, plans, strict=True)
        if (plan.crop.width, plan.crop.height) != source
    }
    total += sum(_LOOK_MS.get(gravity, 0.0) for gravity in looks)
    for options, plan in zip(wanted, plans, strict=True):
        share = plan.crop.width * plan.crop.height / (source.width * source.height)
        output = plan.output.width * plan.output.height * _MEGA
        total += _RESIZE_PER_INPUT_MP * decoded * share + _RESIZE_PER_OUTPUT_MP * output
        total += _encode_per_mp(_likely_format(options, header), options) * output
    return total


def _draft_divisor(header: Header, scale: float) -> int:
    if header.format is not Format.JPEG:
        return 1
    return next((divisor for divisor in (8, 4, 2) if scale * divisor <= 1), 1)


def _likely_format(options: Options, header: Header) -> Format:
    if options.format == "source":
        return header.format if header.format in _ENCODE_PER_MP else Format.PNG
    if options.format != "auto":
        return Format(options.format)
    if options.accept:
        return options.accept[0]
    return Format.PNG if header.alpha else Format.JPEG


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
