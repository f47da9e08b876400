"""Where a crop should lie so that what matters stays in: saliency on a small copy, with priors.

A cover crop slides along one axis, so a picture's interest is kept as two profiles, one over its
columns and one over its rows, and the best place is found on sums of the profile of the free axis.

What makes a pixel interesting, and where that comes from:

- detail: the gradient of the luma (edges are the base of libvips' `attention` and of smartcrop.js);
- what stands apart from the border of the picture: the barrier distance of Zhang, Sclaroff, Lin,
  Shen, Price, Mech, "Minimum Barrier Salient Object Detection at 80 FPS" (ICCV 2015), here over the
  four straight paths to the border only, which numpy does without a loop;
- skin: a Gaussian around the chroma of skin (Hsu, Abdel-Mottaleb, Jain, "Face Detection in Color
  Images", PAMI 2002, cluster in Cb and Cr), where it stands apart as well;
- heads, found by `faces.py` where its detector is installed;
- the place: photographers put their subject near the middle (Tatler, "The central fixation bias",
  Journal of Vision 2007), in upright pictures above it.

The weights were fitted on sixteen labelled pictures of the half that is for it and eleven others.
They are measured on the other half: `benchmarks/gravity.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnishot_ray.imaging.geometry import Box, Crop, Size

ANALYSED_SIDE = 112
"""Long side of the small copy in pixels."""

Profile = NDArray[np.float64]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """What the labelled pictures decided."""

    apart_detail: float = 0.8
    """Detail that stands apart; this and the next three are parts of the interest of a pixel."""
    skin: float = 0.15
    apart: float = 0.3
    detail: float = 0.1
    power: float = 1.25
    """Above one, little interest spread widely counts less than much of it in one place."""
    heads: float = 8.0
    """What all heads count together; everything else in the picture counts one."""
    pull: float = 3.0
    """How fast a crop loses with the square of its distance from the usual place."""
    pull_across: float = 0.5
    """The same to the left and right, as a factor: subjects are off the middle there more often."""
    edge: float = 0.6
    """How much of the interest counts only in the middle 70 % of the crop."""
    height_upright: float = 0.36
    height: float = 0.43
    """Where the middle of the subject usually is, from the top: of upright and other pictures."""


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Interest:
    """How much there is to see in each column and each row of a picture, and how it is shaped."""

    columns: Profile
    rows: Profile
    upright: bool


def small_copy(image: Image.Image, side: int = ANALYSED_SIDE) -> Image.Image:
    """The picture at most `side` pixels long, by averages; `image` is of any mode of `Decoded`."""
    width, height = image.size
    scale = side / max(width, height)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)


def find_interest(
    small: Image.Image, heads: Sequence[Box] = (), weights: Weights = WEIGHTS
) -> Interest:
    """Read the interest off a small upright copy in `L`, `LA`, `RGB` or `RGBA`.

    `heads` are boxes in its pixels. What is transparent is background, whatever its colour.
    """
    shown, opacity = _without_transparency(small)
    channels = shown.convert("YCbCr")
    # One plane at a time: what is larger than 128 kB, malloc takes from the system every time.
    fine = _plane(channels.getchannel("Y"))
    coarse = [_plane(plane) for plane in channels.reduce(_POOLED).split()]
    if opacity is not None:
        fine = fine + _plane(opacity)
        coarse.append(_plane(opacity.reduce(_POOLED)))
    detail = _of_mean_one(_plane(Image.fromarray(_gradient(fine)).reduce(_POOLED)))
    apart = _of_mean_one(_barrier(np.stack(coarse)))
    skin = _skin(*coarse[:3]) * apart
    saliency = (
        weights.apart_detail * _of_mean_one(detail * apart)
        + weights.skin * skin / max(float(skin.mean()), 0.05)
        + weights.apart * apart
        + weights.detail * detail
    ) ** weights.power
    mass = saliency.astype(np.float64)
    if mass.any():
        mass /= mass.sum()
    if heads:
        mass += weights.heads * _mass_of(heads, mass.shape)
    return Interest(mass.sum(0), mass.sum(1), small.height > small.width)


def attend(interest: Interest, source: Size, size: Size, weights: Weights = WEIGHTS) -> Crop:
    """Place a crop of `size` in `source` (pixels, `size` not larger) so that most interest is in.

    A picture without any is cropped in the middle.
    """
    upright_at = weights.height_upright if interest.upright else weights.height
    across = weights.pull * weights.pull_across
    x = _slide(interest.columns, size.width / source.width, 0.5, across, weights.edge)
    y = _slide(interest.rows, size.height / source.height, upright_at, weights.pull, weights.edge)
    free_x, free_y = source.width - size.width, source.height - size.height
    return Crop(round(free_x * x), round(free_y * y), *size)


_STEPS = 200
_POOLED = 3
"""Pixels of the small copy on a side of a cell: detail needs fine pixels, the rest large ones."""


def _slide(profile: Profile, share: float, usual: float, pull: float, edge: float) -> float:
    """The best place of a window that covers `share` of the profile, from 0 to 1."""
    total = float(profile.sum())
    if share >= 1 or total <= 0:
        return 0.5
    sums = np.concatenate(([0.0], np.cumsum(profile))) / total
    at = np.linspace(0, 1, len(sums))
    places = np.linspace(0, 1, _STEPS + 1)
    start = places * (1 - share)

    def held(low: float, high: float) -> Profile:
        """The interest between two fractions of the window, for each of its places."""
        ends = np.interp(start + high * share, at, sums)
        return ends - np.interp(start + low * share, at, sums)

    score = (1 - edge) * held(0, 1) + edge * held(0.15, 0.85)
    score -= pull * (start + share / 2 - usual) ** 2
    return float(places[score >= score.max() - 1e-9].mean())


def _without_transparency(small: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """In RGB on black, and the opacity if there is one."""
    if small.mode not in ("LA", "RGBA"):
        return small.convert("RGB"), None
    opacity = small.getchannel("A")
    shown = Image.new("RGB", small.size)
    shown.paste(small.convert("RGB"), mask=opacity)
    return shown, opacity


def _plane(image: Image.Image) -> Plane:
    return np.asarray(image, dtype=np.float32)


def _gradient(plane: Plane) -> Plane:
    across, down = np.zeros_like(plane), np.zeros_like(plane)
    across[:, 1:-1] = plane[:, 2:] - plane[:, :-2]
    down[1:-1] = plane[2:] - plane[:-2]
    return np.asarray(np.hypot(across, down))


def _barrier(channels: NDArray[np.float32]) -> Plane:
    """The smallest range of values on the straight ways to the four sides, over all channels."""
    ways = []
    for axis in (1, 2):
        for step in (1, -1):
            along = np.flip(channels, axis) if step < 0 else channels
            path = np.maximum.accumulate(along, axis) - np.minimum.accumulate(along, axis)
            ways.append(np.flip(path, axis) if step < 0 else path)
    low = np.minimum(np.minimum(ways[0], ways[1]), np.minimum(ways[2], ways[3]))
    weighted = low[0] + 2 * low[1] + 2 * low[2]  # chroma spans less than luma
    return np.asarray(weighted + low[3] if len(low) == 4 else weighted)


def _skin(luma: Plane, blue: Plane, red: Plane) -> Plane:
    likely = np.exp(-0.5 * (((red - 150) / 10) ** 2 + ((blue - 110) / 12) ** 2))
    return np.asarray(likely * np.clip((luma - 30) / 30, 0, 1))


def _mass_of(heads: Sequence[Box], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The boxes as mass that sums to one; a head twice as long counts twice as much."""
    height, width = shape
    rows, columns = (np.arange(height) + 0.5) * _POOLED, (np.arange(width) + 0.5) * _POOLED
    mass = np.zeros((height, width))
    for left, top, right, bottom in heads:
        inside = (
            ((rows >= top) & (rows <= bottom))[:, None] & (columns >= left) & (columns <= right)
        )
        covered = int(inside.sum())
        if covered:
            mass[inside] += covered**-0.5
    total = mass.sum()
    return mass / total if total > 0 else mass


def _of_mean_one(plane: Plane) -> Plane:
    mean = float(plane.mean())
    return plane / mean if mean > 1e-6 else np.zeros_like(plane)
