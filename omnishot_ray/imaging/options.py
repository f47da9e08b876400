"""What is asked of one rendition, as a value, and how it comes of what was given."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from omnishot_ray.errors import ContradictoryOptions, FieldError, InvalidParameters
from omnishot_ray.imaging.formats import ANIMATED, LOSSLESS, Format
from omnishot_ray.imaging.option_table import OPTIONS
from omnishot_ray.imaging.option_values import read_value
from omnishot_ray.imaging.platforms import Platform


@dataclass(frozen=True, slots=True)
class Options:
    """What one rendition shall be. None means: the default that depends on the others."""

    width: int | None = None
    height: int | None = None
    fit: str | None = None
    gravity: str | None = None
    enlarge: bool = False
    dpr: float = 1.0
    format: str = "auto"
    quality: int | Literal["auto"] | None = None
    target_ssim: float = 0.965
    max_bytes: int | None = None
    effort: int = 4
    progressive: bool | None = None
    lossless: bool = False
    palette: bool = False
    background: str = "ffffff"
    rotate: int = 0
    blur: float = 0.0
    sharpen: float = 0.0
    grayscale: bool = False
    normalize: bool = False
    trim: float = 0.0
    metadata: str = "copyright"
    animated: bool | None = None
    name: str = "image"
    accept: tuple[Format, ...] = ()
    """Formats beyond JPEG and PNG that the client said it can show, best first; for `auto`."""

    @property
    def resolved_fit(self) -> str:
        """`cover` when both sides are given, else `inside`."""
        return self.fit or ("cover" if self.width and self.height else "inside")

    @property
    def resolved_gravity(self) -> str:
        """`attention` when a crop is wanted, else `center`."""
        return self.gravity or ("attention" if self.resolved_fit == "cover" else "center")

    @property
    def box(self) -> tuple[int | None, int | None]:
        """The asked width and height in output pixels, `dpr` applied."""
        return (
            self.width and round(self.width * self.dpr),
            self.height and round(self.height * self.dpr),
        )


def parse_options(given: Mapping[str, object], base: Options | None = None) -> Options:
    """Read one rendition's options from strings or JSON values.

    `base` holds what is already decided (defaults of the caller); a `platform` in `given` is laid
    over it, and every other option over the platform.

    Raises:
        InvalidParameters: a name is unknown or a value out of range; every fault is in `fields`.
        ContradictoryOptions: the options exclude each other.
    """
    return apply_values(read_values(given), base or Options())


def apply_values(read: Mapping[str, Any], base: Options) -> Options:
    """Lay what `read_values` returned over `base`, a platform first.

    Raises `ContradictoryOptions` as `parse_options` does.
    """
    values, options = dict(read), base
    platform = values.pop("platform", None)
    if platform is not None:
        options = replace(options, **platform_values(platform))
    options = replace(options, **values)
    check_consistency(options)
    return options


def read_values(given: Mapping[str, object]) -> dict[str, Any]:
    """Read options one by one, without asking whether they go together.

    Raises `InvalidParameters` as `parse_options` does.
    """
    values: dict[str, Any] = {}
    faults: list[FieldError] = []
    for name, value in given.items():
        spec = OPTIONS.get(name)
        if spec is None:
            faults.append(FieldError(name, unknown_name(name, OPTIONS)))
            continue
        try:
            values[name] = read_value(spec, value)
        except ValueError as fault:
            faults.append(FieldError(name, str(fault)))
    if faults:
        raise InvalidParameters("; ".join(f"{f.name}: {f.detail}" for f in faults), tuple(faults))
    return values


def cheapen(options: Options, highest_effort: int) -> Options:
    """The same with an effort of at most `highest_effort`, and `auto` kept to JPEG or PNG."""
    effort = min(options.effort, highest_effort)
    accept = () if options.format == "auto" else options.accept
    return replace(options, effort=effort, accept=accept)


def platform_values(platform: Platform) -> dict[str, Any]:
    """The options that a preset stands for."""
    values: dict[str, Any] = {
        "width": platform.width,
        "height": platform.height,
        "fit": platform.fit,
        "format": platform.format,
        "enlarge": platform.enlarge,
        "background": platform.background,
        "name": platform.name,
    }
    for name in ("quality", "max_bytes", "gravity"):
        value = getattr(platform, name)
        if value is not None:
            values[name] = value
    return values


def check_consistency(options: Options) -> None:
    """Raise `ContradictoryOptions` where options that are right alone exclude each other."""
    format = options.format
    said = format not in ("auto", "source")
    if options.lossless and said and format not in LOSSLESS:
        raise ContradictoryOptions(
            f"lossless=true and format={format}: {format} cannot be written without loss; "
            "ask for webp or png, or leave lossless out."
        )
    if options.lossless and options.max_bytes:
        raise ContradictoryOptions(
            "lossless=true and max_bytes: a lossless file cannot be made to fit a size; "
            "leave one of them out."
        )
    without_quality = options.lossless or options.palette or (said and format in ("png", "gif"))
    if options.quality == "auto" and without_quality:
        raise ContradictoryOptions(
            "quality=auto and a lossless result or a palette: there is no quality to choose; "
            "ask for jpeg, webp or avif, or leave quality out."
        )
    if options.lossless and options.palette:
        raise ContradictoryOptions(
            "lossless=true and palette=true: reducing colours loses them; leave one of them out."
        )
    if options.palette and said and format not in ("png", "gif"):
        raise ContradictoryOptions(
            f"palette=true and format={format}: only png and gif have a palette; "
            "ask for png, or leave palette out."
        )
    if options.animated and said and format not in ANIMATED:
        raise ContradictoryOptions(
            f"animated=true and format={format}: {format} is written with one frame; "
            "ask for webp or gif, or leave animated out to get the first frame."
        )
    if options.progressive and said and format != "jpeg":
        raise ContradictoryOptions(
            f"progressive=true and format={format}: only jpeg is written progressively; "
            "ask for jpeg, or leave progressive out."
        )
    if options.progressive and options.palette:
        raise ContradictoryOptions(
            "progressive=true and palette=true: the one is for jpeg, the other for png and gif; "
            "leave one of them out."
        )
    if options.dpr != 1 and not (options.width or options.height):
        raise ContradictoryOptions(
            "dpr multiplies width and height, and neither is given; add one, or leave dpr out."
        )
    limit = 8192
    if any(side is not None and side > limit for side in options.box):
        raise ContradictoryOptions(
            f"{options.width or '-'}×{options.height or '-'} at dpr={options.dpr:g} is larger than "
            f"{limit} pixels a side; lower the size or dpr."
        )


def unknown_name(name: str, known: Mapping[str, object]) -> str:
    """The sentence about an unknown name, with the nearest known one."""
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"unknown; did you mean {close[0]}?" if close else f"unknown; known: {', '.join(known)}"
