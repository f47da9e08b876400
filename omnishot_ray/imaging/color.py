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


@lru_cache(maxsize=32)
def is_srgb(icc_profile: bytes) -> bool:
    """Whether the profile says that it is sRGB, and is not another by that name; linear ones are.

    A damaged one counts as such.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        return _says_srgb(profile) and _changes_little(profile)
    except _PROFILE_ERRORS:
        return True


_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


@lru_cache(maxsize=32)
def _build_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None when the picture is in sRGB already or the profile is of no use."""
    if is_srgb(icc_profile):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        return _transform(profile, mode)
    except _PROFILE_ERRORS:
        return None


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(profile, _SRGB, mode, "RGB", _INTENT, _FLAGS)


def _says_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    description = profile.profile.profile_description or ""
    return "srgb" in description.lower()


def _changes_little(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether colours stay what they are; by a step or two profiles of sRGB differ too."""
    is_grey = profile.profile.xcolor_space == "GRAY"
    probe = _PROBE.convert("L") if is_grey else _PROBE
    converted = ImageCms.applyTransform(probe, _transform(profile, probe.mode))
    if converted is None:
        return False
    before, after = (np.asarray(one.convert("RGB"), np.int16) for one in (probe, converted))
    return int(np.abs(after - before).max()) <= _FEW_STEPS


_FEW_STEPS = 4
_LEVELS = range(0, 256, 51)
_PROBE = Image.fromarray(
    np.array([(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS], np.uint8)[np.newaxis]
)
