"""Colour profiles to sRGB, the one space that every platform shows right."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_STEPS = np.arange(256) / 255.0
SRGB_TO_LINEAR = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4)
"""Linear light 0–1 of each value of an sRGB byte (IEC 61966-2-1)."""

_SRGB = ImageCms.createProfile("sRGB")
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_WITHOUT_ALPHA = {"RGBA": "RGB", "LA": "L"}


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert to sRGB by the embedded profile, or by Pillow's plain formula without a usable one.

    `image` is `L`, `LA`, `RGB`, `RGBA` or `CMYK`; the result is `L`, `LA`, `RGB` or `RGBA`. A
    damaged profile, or one of another colour model than the pixels, counts as none.
    """
    if icc_profile is not None:
        color = in_mode(image, _WITHOUT_ALPHA.get(image.mode, image.mode))
        transform = _build_transform(icc_profile, color.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(color, transform)
            if converted is not None:
                if color.mode == "L":  # grey stays grey, so one channel tells all
                    converted = converted.getchannel("R")
                if color.mode != image.mode:
                    converted.putalpha(image.getchannel("A"))
                return converted
    return image.convert("RGB") if image.mode == "CMYK" else image


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture in `mode`: itself where it is so already, of which `convert` makes a copy."""
    return image if image.mode == mode else image.convert(mode)


def is_srgb(icc_profile: bytes) -> bool:
    """Whether the profile says that it is sRGB; a damaged one counts as such."""
    try:
        return _says_srgb(ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)))
    except _PROFILE_ERRORS:
        return True


_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


@lru_cache(maxsize=32)
def _build_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None when the picture is in sRGB already or the profile is of no use."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if _says_srgb(profile):
            return None
        return ImageCms.buildTransform(profile, _SRGB, mode, "RGB", _INTENT, _FLAGS)
    except _PROFILE_ERRORS:
        return None


def _says_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    description = profile.profile.profile_description or ""
    return "srgb" in description.lower()
