"""What can be asked of one rendition: one table of options, and the value that comes of it.

The table is the single source of names, ranges and help texts: query strings, JSON, multipart
fields, the command line, the OpenAPI document and the reference in `docs/` are read from it.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from omnishot_ray.errors import ContradictoryOptions, FieldError, InvalidParameters
from omnishot_ray.imaging.formats import ANIMATED, LOSSLESS, OUTPUT_FORMATS, Format
from omnishot_ray.imaging.platforms import PLATFORMS, Platform, nearest

FITS = ("cover", "contain", "inside", "outside", "fill")
COMPASS = (
    "center",
    "north",
    "northeast",
    "east",
    "southeast",
    "south",
    "southwest",
    "west",
    "northwest",
)
GRAVITIES = (*COMPASS, "attention", "face")
FORMAT_CHOICES = ("auto", *(f.value for f in OUTPUT_FORMATS), "source")
METADATA_CHOICES = ("strip", "copyright", "keep")
BACKGROUND_WORDS = ("blur", "auto")


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


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One row of the table: how an option is read, and what is said of it."""

    name: str
    help: str
    default: str
    kind: str
    """`integer`, `number`, `boolean` or `string`."""
    choices: tuple[str | int, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    word: str = ""
    """A word that is allowed where a number is expected."""
    example: str = ""

    @property
    def allowed(self) -> str:
        """What would be right, as words: the second half of an error's sentence."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices).lower()
        if self.kind == "boolean":
            return "true or false"
        if self.minimum is not None:
            unit = "a whole number" if self.kind == "integer" else "a number"
            further = f", or {self.word}" if self.word else ""
            return f"{unit} from {self.minimum:g} to {self.maximum:g}{further}"
        return self.example


SPECS: tuple[OptionSpec, ...] = (
    OptionSpec(
        "width",
        "Width in pixels; one side may be left out.",
        "source width",
        "integer",
        minimum=1,
        maximum=8192,
    ),
    OptionSpec(
        "height",
        "Height in pixels; one side may be left out.",
        "source height",
        "integer",
        minimum=1,
        maximum=8192,
    ),
    OptionSpec(
        "fit",
        "How the picture meets the box: `cover` crops, `contain` pads, `inside` and `outside` "
        "keep all of it, `fill` stretches.",
        "cover with both sides, else inside",
        "string",
        choices=FITS,
    ),
    OptionSpec(
        "gravity",
        "Which part stays when `cover` crops, where the picture sits when `contain` pads: a "
        "compass point, `center`, or `fp:x,y`, a focal point in fractions of the width and height. "
        "`attention` keeps what catches the eye, `face` the faces; where there are none, or no "
        "detector, `face` is `attention`, and `X-OmniShot-Gravity` says so. `contain` takes both "
        "for `center`.",
        "attention for cover, else center",
        "string",
        example="attention, face, center, north … northwest, or fp:0.3,0.7",
    ),
    OptionSpec(
        "enlarge",
        "Scale up when the source is smaller. Without it `cover` gives the largest box of the "
        "asked aspect that the source holds, and `contain` pads around the unscaled picture.",
        "false; platforms say true",
        "boolean",
    ),
    OptionSpec(
        "dpr",
        "Device pixel ratio: multiplies width and height.",
        "1",
        "number",
        minimum=1,
        maximum=4,
    ),
    OptionSpec(
        "format",
        "Format of the result. `auto` takes AVIF or WebP where `Accept` names them, else JPEG, "
        "or PNG where transparency needs it.",
        "auto",
        "string",
        choices=FORMAT_CHOICES,
    ),
    OptionSpec(
        "quality",
        "Quality of a lossy result, or `auto`: the lowest one whose SSIM against the uncompressed "
        "rendition reaches `target_ssim`.",
        "80; AVIF 60",
        "integer",
        minimum=1,
        maximum=100,
        word="auto",
    ),
    OptionSpec(
        "target_ssim",
        "The similarity that `quality=auto` keeps; 0.965 is that of quality 80 for most photos.",
        "0.965",
        "number",
        minimum=0.5,
        maximum=1,
    ),
    OptionSpec(
        "max_bytes",
        "Upper limit of the result's size; the quality is lowered until it fits.",
        "none",
        "integer",
        minimum=100,
        maximum=2**31 - 1,
    ),
    OptionSpec(
        "effort",
        "CPU spent on making the file small: 0–2 the fastest encoder of the format, 9 the "
        "smallest file.",
        "4",
        "integer",
        minimum=0,
        maximum=9,
    ),
    OptionSpec(
        "progressive",
        "Write a progressive JPEG: 5 % smaller for 2.5 times the encoding.",
        "true for JPEG from effort 6 on",
        "boolean",
    ),
    OptionSpec("lossless", "Lossless WebP; `auto` then means WebP or PNG.", "false", "boolean"),
    OptionSpec("palette", "PNG with at most 256 colours.", "false", "boolean"),
    OptionSpec(
        "background",
        "What is behind padding and flattened transparency: a colour as hexadecimal RGB, `auto` "
        "for the colour of the picture's edge, or `blur` for the picture itself, blurred "
        "(behind transparency the same as `auto`).",
        "ffffff",
        "string",
        example="a hexadecimal colour such as ffffff or 0a0, auto or blur",
    ),
    OptionSpec(
        "rotate",
        "Degrees clockwise, after the EXIF orientation, which is always applied.",
        "0",
        "integer",
        choices=(0, 90, 180, 270),
    ),
    OptionSpec("blur", "Gaussian blur, sigma in pixels.", "0", "number", minimum=0, maximum=100),
    OptionSpec(
        "sharpen",
        "Unsharp mask, its amount (1 = 100 %).",
        "0",
        "number",
        minimum=0,
        maximum=10,
    ),
    OptionSpec("grayscale", "Remove colour.", "false", "boolean"),
    OptionSpec("normalize", "Stretch the contrast to the full range.", "false", "boolean"),
    OptionSpec(
        "trim",
        "Cut off a plain border first: what differs from the top left pixel by at most this much "
        "in every channel (0 trims nothing, 10 suits JPEG).",
        "0",
        "number",
        minimum=0,
        maximum=255,
    ),
    OptionSpec(
        "metadata",
        "What of the metadata stays: nothing, author and copyright, or all of it. GPS goes "
        "unless `keep`.",
        "copyright",
        "string",
        choices=METADATA_CHOICES,
    ),
    OptionSpec(
        "animated",
        "Keep all frames of an animation, with their times and repetitions, in a WebP or GIF; "
        "`false` takes the first. `auto` then means WebP; other formats hold the first frame.",
        "true where the result is WebP or GIF",
        "boolean",
    ),
    OptionSpec(
        "platform",
        "A preset's name; options given beside it override it.",
        "none",
        "string",
        example="a name from /api/platforms",
    ),
)

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)

OPTIONS: Mapping[str, OptionSpec] = {spec.name: spec for spec in SPECS}


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
            values[name] = _read_value(spec, value)
        except ValueError as fault:
            faults.append(FieldError(name, str(fault)))
    if faults:
        raise InvalidParameters("; ".join(f"{f.name}: {f.detail}" for f in faults), tuple(faults))
    return values


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
    if options.quality == "auto" and (options.lossless or (said and format in ("png", "gif"))):
        raise ContradictoryOptions(
            "quality=auto and a lossless result: there is no quality to choose; "
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


def _read_value(spec: OptionSpec, value: object) -> object:
    text = value.strip() if isinstance(value, str) else value
    wrong = ValueError(f"{_show(value)} is not {spec.allowed}")
    if spec.name == "platform":
        return _read_platform(text)
    if spec.name == "gravity":
        return _read_gravity(text, wrong)
    if spec.name == "background":
        return _read_colour(text, wrong)
    if spec.kind == "boolean":
        return _read_boolean(text, wrong)
    if spec.word and text == spec.word:
        return text
    if spec.kind in ("integer", "number"):
        number = _read_number(text, spec.kind, wrong)
        if spec.choices and number not in spec.choices:
            raise wrong
        low, high = spec.minimum, spec.maximum
        if low is not None and high is not None and not low <= number <= high:
            raise wrong
        return number
    if text not in spec.choices:
        raise wrong
    return text


def _show(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _read_boolean(text: object, wrong: ValueError) -> bool:
    if isinstance(text, bool):
        return text
    if isinstance(text, str) and text.lower() in ("true", "1", "yes", "on"):
        return True
    if isinstance(text, str) and text.lower() in ("false", "0", "no", "off"):
        return False
    raise wrong


def _read_number(text: object, kind: str, wrong: ValueError) -> int | float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise wrong
    if isinstance(text, str) and not _NUMBER.fullmatch(text):
        raise wrong  # Python's own reading takes 1_000, nan and digits of other scripts
    try:
        number = float(text)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(number) or (kind == "integer" and number != int(number)):
        raise wrong
    return int(number) if kind == "integer" else number


def _read_gravity(text: object, wrong: ValueError) -> str:
    if not isinstance(text, str) or not (text in GRAVITIES or text.startswith("fp:")):
        raise wrong
    if text.startswith("fp:"):
        try:
            read_focal_point(text)
        except ValueError:
            raise wrong from None
    return text


def read_focal_point(gravity: str) -> tuple[float, float]:
    """`fp:0.3,0.7` as two fractions, each from 0 to 1; raises `ValueError` otherwise."""
    x, y = (float(part) for part in gravity.removeprefix("fp:").split(","))
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"{gravity} lies outside the picture")
    return x, y


def _read_colour(text: object, wrong: ValueError) -> str:
    if not isinstance(text, str):
        raise wrong
    digits = text.removeprefix("#").lower()
    if digits in BACKGROUND_WORDS:
        return digits
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) != 6 or not all(digit in "0123456789abcdef" for digit in digits):
        raise wrong
    return digits


def _read_platform(text: object) -> Platform:
    name = str(text)
    platform = PLATFORMS.get(name)
    if platform is None:
        close = nearest(name)
        hint = f"did you mean {close}?" if close else "GET /api/platforms lists them."
        raise ValueError(f"{_show(name)} is not a known platform; {hint}")
    return platform
