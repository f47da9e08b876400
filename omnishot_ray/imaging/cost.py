"""How many core-milliseconds a task will take, from its header and options alone.

The estimate chooses the lane, bounds the queue and computes `Retry-After`; it is never shown as a
promise. A task is counted as amounts of work (megapixels to decode, encodes of a kind), each with
the milliseconds that one unit takes. Those are in `coefficients.py`, which `benchmarks/cost.py`
fits to what the corpus takes; the names here and there are the same.

What a header cannot tell: where a border ends that is to be trimmed, whether alpha hides anything,
what `encode_cost.py` lists.
"""

from collections.abc import Iterable, Iterator, Sequence

from omnishot_ray.imaging.animation import animated_format
from omnishot_ray.imaging.coefficients import MS
from omnishot_ray.imaging.decode import dct_divisor, dct_margin
from omnishot_ray.imaging.encode_cost import (
    MEGA,
    Work,
    count_encode,
    count_film,
    is_stored,
    is_transparent,
    megapixels,
    names,
)
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Plan, Size, plan_rendition, turned
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.info import DECODE_MARGIN, MEASURED
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import choose_format
from omnishot_ray.imaging.unchanged import is_coarser, touches_pixels


def estimate_ms(size_bytes: int, header: Header, wanted: Sequence[Options]) -> float:
    """Core-milliseconds for decoding a source once and making all `wanted` renditions of it."""
    return _priced(count_work(size_bytes, header, wanted))


def estimate_info_ms(size_bytes: int, header: Header) -> float:
    """Core-milliseconds for decoding a source small and describing it."""
    return _priced(count_info_work(size_bytes, header))


def cannot_run_away(header: Header, wanted: Sequence[Options]) -> bool:
    """Whether the time of a task is bounded by its estimate, whatever the file holds.

    Where nothing can end a task, only such ones may run. For every combination of the corpus, its
    hostile files among it, and for noise and plain surfaces, they took at most 3.4 times the
    estimate and 50 ms (3 100 tasks; `tests/unit/test_runaway.py` does some of them). No `wanted`
    is a description, which decodes alike.
    """
    if header.frames > 1 or header.format not in _STEADY_DECODERS:
        return False
    if header.scans > _STEADY_SCANS or header.width * header.height > _STEADY_PIXELS:
        return False
    plans = [plan_rendition(_turned(header, options), options) for options in wanted]
    if sum(plan.output.width * plan.output.height for plan in plans) > _STEADY_PIXELS:
        return False
    return all(
        _encodes_steadily(header, options, plan)
        for options, plan in zip(wanted, plans, strict=True)
    )


_STEADY_DECODERS = frozenset({Format.JPEG, Format.PNG, Format.WEBP})
"""Those of GIF, TIFF and AVIF take as long as the file wants: patches beyond the screen, any of
TIFF's codecs, tiles and films within a still."""
_STEADY_SCANS = 16
"""Of a JPEG; encoders write about ten, and each is a walk over all coefficients."""
_STEADY_PIXELS = 25_000_000
_SMALL_PIXELS = 300_000
"""Of a result that is searched for, in up to fourteen encodes where the estimate may count one, or
that is AVIF. A search for an AVIF of some size took up to 15 times the estimate at any size."""


def _may_exceed(max_bytes: int | None, pixels: int) -> bool:
    """Whether a first encode may be larger than is allowed, so that more of them follow.

    Not where there is room for the pixels as they are, as most presets of platforms have it.
    """
    return max_bytes is not None and max_bytes < _BYTES_A_PIXEL * pixels


_BYTES_A_PIXEL = 4


def _turned(header: Header, options: Options) -> Size:
    upright = Size(header.height, header.width) if header.swaps_sides else Size(*_size(header))
    return turned(upright, options)


def _encodes_steadily(header: Header, options: Options, plan: Plan) -> bool:
    pixels = plan.output.width * plan.output.height
    format = choose_format(options, header, is_transparent(header), plan.output)
    searched = options.quality == "auto" or _may_exceed(options.max_bytes, pixels)
    if searched and pixels > _SMALL_PIXELS:
        return False
    if format is Format.PNG:
        makes_palette = options.palette or _may_exceed(options.max_bytes, pixels)
        return options.effort < _NEAR_OPTIMAL_FROM and not makes_palette
    if format is Format.WEBP:
        return options.effort <= (_STEADY_LOSSLESS if options.lossless else _STEADY_EFFORT)
    if format is Format.AVIF:
        return options.effort <= _STEADY_EFFORT and pixels <= _SMALL_PIXELS and not searched
    return format is Format.JPEG


_NEAR_OPTIMAL_FROM, _STEADY_EFFORT, _STEADY_LOSSLESS = 7, 4, 1


def _priced(work: Iterable[Work]) -> float:
    return sum(MS[name] * amount for name, amount in work)


def count_work(size_bytes: int, header: Header, wanted: Sequence[Options]) -> Iterator[Work]:
    """All that is to be done for the renditions of one source."""
    yield "task", 1.0
    size_bytes = max(1, size_bytes - header.beside)
    upright = Size(header.height, header.width) if header.swaps_sides else Size(*_size(header))
    plans = [plan_rendition(turned(upright, options), options) for options in wanted]
    scale = max(plan.scale for plan in plans)
    trimmed = any(options.trim for options in wanted)
    effort = max(options.effort for options in wanted)
    divisor = 1 if trimmed else _draft_divisor(header, scale, effort)
    yield from _count_decode(size_bytes, header, divisor)
    films = [animated_format(options, header) for options in wanted]
    if any(films):
        yield from _count_frames_decode(size_bytes, header)
    decoded = header.width * header.height * MEGA / divisor**2
    looks = set()
    for options, plan, film in zip(wanted, plans, films, strict=True):
        frames = header.frames if film else 1
        for name, amount in _count_render(header, options, plan, divisor):
            yield name, amount * frames
        if options.trim:
            yield "render.trim", decoded
        gravity = options.resolved_gravity
        if gravity in ("attention", "face") and plan.crop[2:] != turned(upright, options):
            looks.add((gravity, options.rotate))
        if film:
            yield from count_film(film, size_bytes, header, options, plan)
        else:
            format = choose_format(options, header, is_transparent(header), plan.output)
            if _is_kept(format, size_bytes, header, options, plan):
                yield "encode.kept", 1.0
            else:
                yield from count_encode(format, size_bytes, header, options, plan)
    for gravity, _ in looks:
        yield _LOOKS[gravity], 1.0
        yield "render.gravity.mp", decoded


def _is_kept(format: Format, size_bytes: int, header: Header, options: Options, plan: Plan) -> bool:
    """Whether the source itself is the result, as `unchanged.py` has it."""
    return (
        format is header.format is Format.JPEG
        and plan.output == (header.width, header.height) == plan.crop[2:]
        and not (header.turned or header.profile or options.rotate or touches_pixels(options))
        and (options.max_bytes is None or size_bytes <= options.max_bytes)
        and is_coarser(header, format, options)
    )


_LOOKS = {"attention": "render.attention", "face": "render.face"}


def count_info_work(size_bytes: int, header: Header) -> Iterator[Work]:
    """All that is to be done for the description of one source."""
    yield "task", 1.0
    size_bytes = max(1, size_bytes - header.beside)
    plan = plan_rendition(Size(*_size(header)), MEASURED)
    divisor = _draft_divisor(header, min(1.0, plan.scale * DECODE_MARGIN), effort=0)
    yield from _count_decode(size_bytes, header, divisor)
    yield from _count_render(header, MEASURED, plan, divisor)
    yield "render.info", 1.0
    yield "render.info.mp", megapixels(plan.output)


def _size(header: Header) -> tuple[int, int]:
    return header.width, header.height


def _draft_divisor(header: Header, scale: float, effort: int) -> int:
    """What libjpeg divides the sides by while it decodes; 1 for every other format."""
    if header.format is not Format.JPEG or scale > 0.5:
        return 1
    width, height = _size(header)
    needed = Size(max(1, -int(-width * scale // 1)), max(1, -int(-height * scale // 1)))
    return dct_divisor(Size(width, height), needed, dct_margin(effort))


# Decoding.


def _count_decode(size_bytes: int, header: Header, divisor: int) -> Iterator[Work]:
    kind = _decoder(header)
    mega_bytes = size_bytes * MEGA
    pixels = header.width * header.height * MEGA
    fixed, by_bytes, by_pixels = names("decode", kind)
    yield fixed, 1.0
    if header.format is Format.PNG and is_stored(size_bytes, header):
        mega_bytes *= _COPIED
    # Of an animation the first frame is decoded by itself, whatever comes after.
    yield by_bytes, mega_bytes / header.frames
    if header.format is Format.JPEG:
        samples = pixels * header.bits / 24
        yield by_pixels, pixels
        yield _IDCT[divisor], samples
        if header.scans > 1:
            yield "decode.jpeg.scans", pixels * header.scans
        yield "decode.jpeg.out", pixels / divisor**2
    elif kind == "png.other":
        yield by_pixels, pixels
        yield "decode.png.samples", pixels * header.bits / 24
    elif header.format is Format.AVIF and header.alpha:
        yield by_pixels, 2 * pixels  # alpha is a picture of its own
    else:
        yield by_pixels, pixels
    if header.profile:
        yield "decode.profile", 1.0


_COPIED = 0.2
"""What stored bytes take of the time of compressed ones: they are copied, and summed twice."""
_IDCT = {divisor: f"decode.jpeg.idct.{divisor}" for divisor in (1, 2, 4, 8)}


def _decoder(header: Header) -> str:
    """The name of the decoder, or of its branch, that reads the source."""
    if header.format is Format.JPEG:
        return "jpeg.progressive" if header.scans > 1 else "jpeg"
    if header.format is Format.PNG:
        by_image_rs = header.bits == 8 * header.channels >= 24
        return (
            "png.plain" if by_image_rs and header.alpha == (header.channels == 4) else "png.other"
        )
    if header.format is Format.WEBP and header.lossless:
        return "webp.lossless"
    return header.format.value


def _count_frames_decode(size_bytes: int, header: Header) -> Iterator[Work]:
    fixed, by_bytes, by_pixels = names("decode.film", header.format.value)
    yield fixed, float(header.frames)
    yield by_bytes, size_bytes * MEGA
    yield by_pixels, header.width * header.height * header.frames * MEGA


# Pixels to pixels.


def _count_render(header: Header, options: Options, plan: Plan, divisor: int) -> Iterator[Work]:
    yield "render", 1.0
    scaled = megapixels(plan.scaled)
    if divisor == 1 and plan.crop[2:] == plan.scaled:
        yield "render.crop", scaled
    else:
        yield from _count_resize(header, plan, divisor)
    if header.channels == 4 and header.format is Format.JPEG:
        yield "render.cmyk.profile" if header.profile else "render.cmyk", scaled
    elif header.profile:
        yield "render.profile", scaled
    if header.swaps_sides or options.rotate:
        yield "render.turn", scaled
        yield "render.turn.large", max(0.0, scaled - _LARGE_TURN_MP)
    elif header.turned:
        yield "render.flip", scaled
    for name in ("grayscale", "normalize", "blur", "sharpen"):
        if getattr(options, name):
            yield _FILTERS[name], scaled * (2 if is_transparent(header) else 1)
    if plan.canvas is not None:
        yield "render.pad", megapixels(plan.canvas)
        if options.background == "blur":
            yield "render.pad.blur", megapixels(plan.canvas)


_LARGE_TURN_MP = 1.0
_FILTERS = {name: f"render.{name}" for name in ("grayscale", "normalize", "blur", "sharpen")}


def _count_resize(header: Header, plan: Plan, divisor: int) -> Iterator[Work]:
    """Lanczos in two passes: each reads as much as the longer of what comes in and goes out."""
    width, height = plan.crop.width / divisor, plan.crop.height / divisor
    across = max(width, plan.scaled.width) * height * MEGA
    down = max(height, plan.scaled.height) * plan.scaled.width * MEGA
    if header.channels == 1 and not header.alpha:
        yield "render.grey.across", across
        yield "render.grey.down", down
    else:
        yield "render.across", across
        yield "render.down", down
    if is_transparent(header):
        yield "render.alpha", 1.0
        yield "render.alpha.in", header.width * header.height * MEGA
        yield "render.alpha.out", megapixels(plan.scaled)
