"""One picture in, N renditions out: the steps, listed where they run.

`process` returns what it measured along with what it made, so whoever calls it needs no metrics
client inside the engine. A rendition that fails is a value in the result; a source that fails
raises, because then there is nothing to return.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.animation import (
    Film,
    animated_format,
    check_film,
    encode_film,
    render_frames,
    share_passes,
)
from omnishot_ray.imaging.decode import Decoded, Source, decode, open_within
from omnishot_ray.imaging.encode import encode
from omnishot_ray.imaging.formats import LOSSLESS, OUTPUT_FORMATS, Format
from omnishot_ray.imaging.geometry import Crop, Orientation, Plan, Size, plan_rendition, turned
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import Limits, check_animation, check_output, output_fits
from omnishot_ray.imaging.metadata import exif_for
from omnishot_ray.imaging.options import Options, check_consistency
from omnishot_ray.imaging.sight import Sight
from omnishot_ray.imaging.transform import Contrast, has_transparency, render
from omnishot_ray.imaging.trim import as_crop, find_content
from omnishot_ray.imaging.unchanged import is_coarser, is_unchanged, source_as_result

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What came in. Sizes are upright, in pixels; `bytes` is the size of the file."""

    width: int
    height: int
    format: Format
    bytes: int


@dataclass(slots=True)
class Timings:
    """Where the time of one task went, in milliseconds of wall clock."""

    queue: float = 0.0
    decode: float = 0.0
    transform: float = 0.0
    encode: float = 0.0
    cache: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.queue + self.decode + self.transform + self.encode + self.cache


@dataclass(frozen=True, slots=True)
class Rendition:
    """One result. `crop` is in pixels of the upright source, None when nothing was cut off.

    `gravity` is what placed the crop after looking at the pixels: `attention`, `face`, or None.
    """

    name: str
    data: bytes
    width: int
    height: int
    format: Format
    crop: Crop | None = None
    gravity: str | None = None
    frames: int = 1
    """As the file holds them: of the same picture twice a WebP makes one, shown twice as long."""


@dataclass(frozen=True, slots=True)
class FailedRendition:
    """One rendition that could not be made while others could."""

    name: str
    error: OmnishotError


@dataclass(frozen=True, slots=True)
class Result:
    """All of one task: renditions in the order they were asked for."""

    source: SourceInfo
    renditions: tuple[Rendition | FailedRendition, ...]
    timings: Timings = field(default_factory=Timings)


def process(
    data: bytes,
    wanted: Sequence[Options],
    limits: Limits,
    beside: Sequence[Options] = (),
    header: Header | None = None,
) -> Result:
    """Make every wanted rendition of one picture from one decode.

    `beside` are renditions that others make of the picture: the decode is as if for all of them.
    `header` is that of the picture where it has been read and has passed `limits`.

    Raises:
        ImageError: the source is of no allowed format, damaged or over a limit.
    """
    timings = Timings()
    started = perf_counter()
    source = open_within(data, limits, header)
    header = source.header
    planned, renditions = _plan_all(source, wanted, limits)
    info = SourceInfo(*source.size, header.format, len(data))
    if not planned:
        return Result(info, _in_order(renditions), timings)
    everybody = [*planned.values(), *_plan_all(source, beside, limits)[0].values()]
    effort = max(options.effort for options, _ in everybody)
    decoded = decode(source, _needed_of_all(source, everybody), effort)
    timings.decode = _ms_since(started)

    sight = Sight(decoded.image, source.orientation, source.icc_profile)
    films: dict[int, Film] = {}
    for index, (options, first_plan) in planned.items():
        try:
            started = perf_counter()
            orientation = source.orientation.then_rotated(options.rotate)
            full = turned(source.size, options)
            content = _content(decoded, source, orientation, options)
            plan = _plan_within(content, options) if content else first_plan
            if content:
                _check_plan(plan, options, header, limits)
            plan, gravity = sight.aim(plan, full, options, content)
            as_wanted = partial(
                render,
                full=full,
                plan=plan,
                orientation=orientation,
                icc_profile=source.icc_profile,
                options=options,
            )
            crop = _upright_crop(plan, full, options)
            moving = animated_format(options, header, limits)
            if moving is not None:
                _check_source_format(options, header, moving)
                as_wanted = partial(as_wanted, contrast=Contrast())
                film = Film(options, moving, plan.output, crop, gravity, as_wanted)
                if moving is header.format and is_unchanged(
                    source, decoded, plan, orientation, options, moving=True
                ):
                    exif = exif_for(source, options.metadata)
                    film.kept = source_as_result(data, moving, options, exif)
                films[index] = film
                continue
            image = as_wanted(decoded)
            timings.transform += _ms_since(started)

            started = perf_counter()
            format = choose_format(options, header, has_transparency(image), plan.output, limits)
            check_output(plan.output, format, header, limits, lossless=options.lossless)
            _check_source_format(options, header, format)
            exif = exif_for(source, options.metadata)
            kept = None
            if format is header.format and is_unchanged(
                source, decoded, plan, orientation, options
            ):
                kept = source_as_result(data, format, options, exif)
            if kept and is_coarser(header, format, options):
                encoded = kept
            else:
                free = replace(options, max_bytes=None) if kept else options
                encoded = encode(image, format, free, exif)
                if kept and len(kept) < len(encoded):
                    encoded = kept
            timings.encode += _ms_since(started)
        except OmnishotError as error:
            renditions[index] = FailedRendition(options.name, error.stripped())
        else:
            made = Rendition(options.name, encoded, *plan.output, format, crop, gravity)
            renditions[index] = made
    renditions |= _make_films(source, data, films, limits, timings)
    return Result(info, _in_order(renditions), timings)


def _in_order(
    renditions: Mapping[int, Rendition | FailedRendition],
) -> tuple[Rendition | FailedRendition, ...]:
    return tuple(renditions[index] for index in sorted(renditions))


def _plan_all(
    source: Source, wanted: Sequence[Options], limits: Limits
) -> tuple[dict[int, tuple[Options, Plan]], dict[int, Rendition | FailedRendition]]:
    """What can be made with its plan, and what cannot, each by its place in the order."""
    planned: dict[int, tuple[Options, Plan]] = {}
    failed: dict[int, Rendition | FailedRendition] = {}
    for index, options in enumerate(wanted):
        try:
            plan = _plan(source.size, options)
            _check_plan(plan, options, source.header, limits)
        except OmnishotError as error:
            failed[index] = FailedRendition(options.name, error.stripped())
        else:
            planned[index] = options, plan
    return planned, failed


def _make_films(
    source: Source, data: bytes, films: Mapping[int, Film], limits: Limits, timings: Timings
) -> Iterator[tuple[int, Rendition | FailedRendition]]:
    """The moving renditions: last of all, because their frames take over the decoder's pixels."""
    for group in share_passes(films, source.header.frames, limits):
        failure: OmnishotError | None = None
        try:
            decode_ms, transform_ms = render_frames(source, data, group.values())
            timings.decode += decode_ms
            timings.transform += transform_ms
        except OmnishotError as error:
            failure = error.stripped()
        for index, film in group.items():
            name = film.options.name
            try:
                if failure:
                    raise failure
                started = perf_counter()
                encoded = encode_film(film, exif_for(source, film.options.metadata))
                timings.encode += _ms_since(started)
            except OmnishotError as error:
                yield index, FailedRendition(name, error.stripped())
            else:
                frames = read_header(encoded).frames
                made = Rendition(
                    name, encoded, *film.output, film.format, film.crop, film.gravity, frames
                )
                yield index, made
            film.images.clear()


def choose_format(
    options: Options,
    header: Header,
    transparent: bool,
    output: tuple[int, int],
    limits: Limits = _DEFAULT_LIMITS,
) -> Format:
    """The format of a result: the one asked for, the source's, or by what the client can show.

    Of the latter the first in which a picture of the `output` size keeps the limits and the wishes
    (`lossless`, `palette`, `progressive`).
    """
    if options.format == "source":
        return header.format if header.format in OUTPUT_FORMATS else Format.PNG
    if options.format != "auto":
        return Format(options.format)
    if options.palette:
        return Format.PNG
    for format in options.accept:
        suits = not options.lossless or format in LOSSLESS
        if options.progressive and not transparent:
            suits = False  # a JPEG alone can be
        if suits and output_fits(output, format, header, limits, lossless=options.lossless):
            return format
    return Format.PNG if transparent or options.lossless else Format.JPEG


def _check_source_format(options: Options, header: Header, format: Format) -> None:
    """Raise `ContradictoryOptions` where the source's format lacks what is asked for beside it."""
    if options.format == "source":
        animated = options.animated if header.frames > 1 else None  # a still loses nothing
        check_consistency(replace(options, format=format.value, animated=animated))


def _check_plan(plan: Plan, options: Options, header: Header, limits: Limits) -> None:
    """Raise `LimitExceeded` where it can be told before anything is decoded.

    Whether `auto` has to keep transparency cannot, so it is judged once more when it is known.
    """
    moving = animated_format(options, header, limits)
    if moving is not None:
        check_animation(header, limits)
        check_film(plan.output, header.frames, limits)
    format = moving or choose_format(options, header, False, plan.output, limits)
    frames = header.frames if moving else 1
    check_output(plan.output, format, header, limits, lossless=options.lossless, frames=frames)


def _plan(upright: Size, options: Options) -> Plan:
    return plan_rendition(turned(upright, options), options)


def _content(
    decoded: Decoded, source: Source, orientation: Orientation, options: Options
) -> Crop | None:
    """What `trim` leaves of the upright, turned picture; None where nothing is to be trimmed."""
    if not options.trim:
        return None
    stored = Size(source.header.width, source.header.height)
    return as_crop(find_content(decoded, stored, options.trim), orientation, stored)


def _plan_within(content: Crop, options: Options) -> Plan:
    plan = plan_rendition(Size(content.width, content.height), options)
    x, y, width, height = plan.crop
    return replace(plan, crop=Crop(content.x + x, content.y + y, width, height))


def _needed_of_all(source: Source, planned: Collection[tuple[Options, Plan]]) -> Size:
    """How large the stored picture has to be decoded: in full where borders are looked for."""
    upright = source.size
    if any(options.trim for options, _ in planned):
        return source.orientation.applied_to(upright)
    needed = (source.orientation.applied_to(_needed(upright, plan)) for _, plan in planned)
    widths, heights = zip(*needed, strict=True)
    return Size(max(widths), max(heights))


def _needed(upright: Size, plan: Plan) -> Size:
    """The size that the whole upright picture has to have so that the crop is not scaled up."""
    scale = plan.scale
    return Size(
        min(upright.width, -int(-upright.width * scale // 1)),
        min(upright.height, -int(-upright.height * scale // 1)),
    )


def _upright_crop(plan: Plan, full: Size, options: Options) -> Crop | None:
    if plan.crop == (0, 0, *full):
        return None
    turn = Orientation().then_rotated(options.rotate)
    left, top, right, bottom = turn.box_before(plan.crop.box, full)
    return Crop(round(left), round(top), round(right - left), round(bottom - top))


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000.0
