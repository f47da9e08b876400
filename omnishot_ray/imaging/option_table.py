"""The one table of options: names, ranges and help texts of what can be asked of a rendition.

Query strings, JSON, multipart fields, the command line, the OpenAPI document and the reference in
`docs/` are read from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from omnishot_ray.imaging.formats import OUTPUT_FORMATS

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
        "rendition reaches `target_ssim` (of an animation, in three of its frames).",
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
        "Write a progressive JPEG: 5 % smaller for 2.5 times the encoding. `auto` then means JPEG "
        "where nothing is transparent or moves.",
        "true for JPEG from effort 6 on",
        "boolean",
    ),
    OptionSpec("lossless", "Lossless WebP; `auto` then means WebP or PNG.", "false", "boolean"),
    OptionSpec(
        "palette",
        "PNG with at most 256 colours; `auto` then means PNG, or GIF for what moves.",
        "false",
        "boolean",
    ),
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
        "What of the metadata stays: nothing, author and copyright (from EXIF, else from IPTC, a "
        "PNG's text or XMP), or all of EXIF. GPS goes unless `keep`; XMP and IPTC always go.",
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

OPTIONS: Mapping[str, OptionSpec] = {spec.name: spec for spec in SPECS}
