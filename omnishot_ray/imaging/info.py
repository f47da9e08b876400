"""What there is to know of one picture: what its file says, and what is seen in it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from PIL import Image, ImageCms

from omnishot_ray.imaging.background import flatten
from omnishot_ray.imaging.decode import Source, decode, open_within
from omnishot_ray.imaging.exif import ExifValue, read_exif
from omnishot_ray.imaging.geometry import Size, plan_rendition
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.measures import measure_entropy, measure_sharpness
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.palette import Swatch, find_palette
from omnishot_ray.imaging.pipeline import SourceInfo, Timings
from omnishot_ray.imaging.placeholders import THUMBHASH_SIDE, blurhash, thumbhash
from omnishot_ray.imaging.transform import render

MEASURED_SIDE = 512
"""Sharpness and entropy are of the upright picture within a square of this side, never enlarged."""
MEASURED = Options(width=MEASURED_SIDE, height=MEASURED_SIDE, fit="inside")
DECODE_MARGIN = 1.5
"""How much larger a JPEG stays that is decoded at a reduced scale. At the very size the scaling
takes up to 27 % of the sharpness away that a full decode has, with this margin at most 11 %."""
SMALL_SIDE = THUMBHASH_SIDE
"""Colours and placeholders are of a copy within a square of this side."""
PALETTE_COLORS = 5
_BACKGROUND = "ffffff"
"""What luma and BlurHash, which know no transparency, lay a picture on."""
_BLURHASH_TERMS = (4, 3)
"""Along the longer and the shorter side: what the authors of BlurHash use."""
_MOST_NAME = 200


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One picture described. Of an animation, what is seen is seen in its first frame.

    `mode` is Pillow's name of the pixels as stored; `orientation` the EXIF value 1–8, 1 when there
    is none. `palette` falls by share and is empty when nothing is opaque. `sharpness` is the
    variance of the Laplacian of luma 0–255, `entropy` in bits, both of a copy of `MEASURED_SIDE`.
    """

    source: SourceInfo
    mode: str
    orientation: int
    frames: int
    has_alpha: bool
    icc_name: str | None
    exif: Mapping[str, ExifValue]
    palette: tuple[Swatch, ...]
    blurhash: str
    thumbhash: bytes
    sharpness: float
    entropy: float
    timings: Timings = field(default_factory=Timings)


def describe(data: bytes, limits: Limits, header: Header | None = None) -> ImageInfo:
    """Describe one picture from one small decode.

    `header` is that of the picture where it has been read and has passed `limits`.

    Raises:
        ImageError: the source is of no allowed format, damaged or over a limit.
    """
    timings = Timings()
    started = perf_counter()
    source = open_within(data, limits, header)
    header, mode = source.header, source.image.mode
    plan = plan_rendition(source.size, MEASURED)
    decoded = decode(source, _enough(source, plan.scaled), effort=0)
    timings.decode = _ms_since(started)

    started = perf_counter()
    image = render(decoded, source.size, plan, source.orientation, source.icc_profile, MEASURED)
    luma = np.asarray(flatten(image, _BACKGROUND).convert("L"))
    small = _shrunk(image)
    terms = _BLURHASH_TERMS if small.width >= small.height else _BLURHASH_TERMS[::-1]
    info = ImageInfo(
        source=SourceInfo(*source.size, header.format, len(data)),
        mode=mode,
        orientation=source.turn,
        frames=header.frames,
        has_alpha=decoded.image.mode in ("LA", "RGBA"),
        icc_name=_icc_name(source.icc_profile),
        exif=read_exif(source.exif_block),
        palette=find_palette(small, PALETTE_COLORS),
        blurhash=blurhash(np.asarray(flatten(small, _BACKGROUND).convert("RGB")), *terms),
        thumbhash=thumbhash(np.asarray(small.convert("RGBA"))),
        sharpness=measure_sharpness(luma),
        entropy=measure_entropy(luma),
        timings=timings,
    )
    timings.transform = _ms_since(started)
    return info


def _enough(source: Source, measured: Size) -> Size:
    """The stored size that a reduced decode should at least have."""
    wanted = (round(side * DECODE_MARGIN) for side in measured)
    bounded = Size(*map(min, wanted, source.size))
    return source.orientation.applied_to(bounded)


def _shrunk(image: Image.Image) -> Image.Image:
    """Box averages: a filter that overshoots would make colours that nobody sees."""
    scale = min(1.0, SMALL_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BOX)


def _icc_name(profile: bytes | None) -> str | None:
    """The description that a profile gives of itself (ICC.1:2022 §9.2.41)."""
    if profile is None:
        return None
    try:
        name = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.profile_description or ""
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return "".join(sign for sign in name[:_MOST_NAME] if sign.isprintable()).strip() or None


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000.0
