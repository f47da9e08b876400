"""Pixels to pixels: crop and resize in one pass, turn the small result, then the filters."""

from functools import lru_cache
from typing import cast

from PIL import Image, ImageFilter, ImageOps

from omnishot_ray.imaging.color import to_srgb
from omnishot_ray.imaging.decode import Decoded
from omnishot_ray.imaging.geometry import Box, Orientation, Plan, Size
from omnishot_ray.imaging.options import Options

RESAMPLING = Image.Resampling.LANCZOS


def render(
    decoded: Decoded,
    full: Size,
    plan: Plan,
    orientation: Orientation,
    icc_profile: bytes | None,
    options: Options,
) -> Image.Image:
    """Make one rendition's pixels.

    `decoded` are the stored pixels, possibly at a reduced scale; `full` is the upright, turned
    size that `plan` counts in; `orientation` leads from stored to upright and turned.
    The steps are listed in the order they run.
    """
    image = _resize(decoded, full, plan, orientation)
    image = turn(image, orientation)
    image = to_srgb(image, icc_profile)
    image = _adjust(image, options)
    return _pad(image, plan, options)


def _resize(decoded: Decoded, full: Size, plan: Plan, orientation: Orientation) -> Image.Image:
    """Crop and scale the stored pixels in one pass, reading only what the crop needs."""
    stored_box = orientation.box_before(plan.crop.box, full)
    stored_full = orientation.applied_to(full)  # swapping sides is its own inverse
    scale_x, scale_y = decoded.width / stored_full.width, decoded.height / stored_full.height
    box = Box(
        stored_box.left * scale_x,
        stored_box.top * scale_y,
        stored_box.right * scale_x,
        stored_box.bottom * scale_y,
    )
    size = orientation.applied_to(plan.scaled)
    if tuple(box) == (0, 0, *size) and decoded.image.size == tuple(size):
        return decoded.image.copy()
    return decoded.image.resize(size, RESAMPLING, box=box)


def turn(image: Image.Image, orientation: Orientation) -> Image.Image:
    """Turn stored pixels as `orientation` says."""
    method = _TURNS[orientation.mirror, orientation.quarters % 4]
    return image if method is None else image.transpose(method)


_T = Image.Transpose
_TURNS: dict[tuple[bool, int], Image.Transpose | None] = {
    (False, 0): None,
    (False, 1): _T.ROTATE_270,
    (False, 2): _T.ROTATE_180,
    (False, 3): _T.ROTATE_90,
    (True, 0): _T.FLIP_LEFT_RIGHT,
    (True, 1): _T.TRANSVERSE,
    (True, 2): _T.FLIP_TOP_BOTTOM,
    (True, 3): _T.TRANSPOSE,
}


def _adjust(image: Image.Image, options: Options) -> Image.Image:
    """The filters, each on the colour channels only."""
    if not (options.grayscale or options.normalize or options.blur or options.sharpen):
        return image
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    color = image.convert("L" if image.mode in ("L", "LA") or options.grayscale else "RGB")
    if options.normalize:
        color = ImageOps.autocontrast(color, cutoff=1, preserve_tone=True)
    if options.blur:
        color = color.filter(ImageFilter.GaussianBlur(options.blur))
    if options.sharpen:
        color = color.filter(
            ImageFilter.UnsharpMask(radius=1.5, percent=round(options.sharpen * 100), threshold=2)
        )
    if alpha is not None:
        if options.blur:
            alpha = alpha.filter(ImageFilter.GaussianBlur(options.blur))
        color.putalpha(alpha)
    return color


def _pad(image: Image.Image, plan: Plan, options: Options) -> Image.Image:
    if plan.canvas is None:
        return image
    canvas = Image.new("RGB", plan.canvas, parse_colour(options.background))
    if image.mode in ("RGBA", "LA"):
        canvas.paste(image.convert("RGBA"), plan.offset, image.getchannel("A"))
    else:
        canvas.paste(image, plan.offset)
    return canvas


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Put a picture with transparency on a plain colour; others are returned as they are."""
    if image.mode not in ("RGBA", "LA"):
        return image
    canvas = Image.new("RGB", image.size, parse_colour(background))
    canvas.paste(image.convert("RGBA"), mask=image.getchannel("A"))
    return canvas


def has_transparency(image: Image.Image) -> bool:
    """Whether any pixel is not fully opaque."""
    if image.mode not in ("RGBA", "LA"):
        return False
    low, _ = cast(tuple[int, int], image.getchannel("A").getextrema())
    return low < 255


@lru_cache(maxsize=256)
def parse_colour(digits: str) -> tuple[int, int, int]:
    """`ffffff` as a tuple of three bytes."""
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
