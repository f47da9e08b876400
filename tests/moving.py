"""Animations made byte by byte, and what of an animation is seen when."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import GifImagePlugin, Image

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.decode import open_source
from omnishot_ray.imaging.frames import read_frames
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, process
from omnishot_ray.protocol import ImageTask, run_task
from tests.pictures import Pixels, png_of_chunks

NO_DISPOSAL, KEEP, CLEAR, RESTORE = range(4)
"""Disposal methods of GIF (GIF89a §23.c.iv)."""

PALETTE = np.array(
    [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)],
    dtype=np.uint8,
)


@dataclass(frozen=True)
class GifPatch:
    """One image block: palette indices at a place."""

    indices: Pixels
    x: int = 0
    y: int = 0
    delay: int = 10
    """In centiseconds."""
    disposal: int = KEEP
    transparent: int | None = None
    palette: Pixels | None = None
    """Its own, where it does not use the one of the file."""


def gif(
    width: int,
    height: int,
    patches: Sequence[GifPatch],
    loops: int | None = None,
    palette: Pixels | None = PALETTE,
) -> bytes:
    table = b"" if palette is None else _table(palette)
    bits = (len(table) // 3).bit_length() - 2 if table else 0
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, (0x80 if table else 0) | bits, 1, 0)]
    parts.append(table)
    if loops is not None:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loops) + b"\x00")
    for patch in patches:
        flags = patch.disposal << 2 | (patch.transparent is not None)
        transparent = patch.transparent or 0
        parts.append(b"\x21\xf9\x04" + struct.pack("<BHBx", flags, patch.delay, transparent))
        own = b"" if patch.palette is None else _table(patch.palette)
        own_bits = 0x80 | (len(own) // 3).bit_length() - 2 if own else 0
        size = patch.indices.shape[1], patch.indices.shape[0]
        parts.append(b"\x2c" + struct.pack("<HHHHB", patch.x, patch.y, *size, own_bits) + own)
        parts.append(_lzw(patch.indices))
    return b"".join((*parts, b"\x3b"))


def _table(colors: Pixels) -> bytes:
    size = max(2, 1 << (len(colors) - 1).bit_length())
    return colors.tobytes().ljust(3 * size, b"\0")


def _lzw(indices: Pixels) -> bytes:
    image = Image.frombytes("P", (indices.shape[1], indices.shape[0]), indices.tobytes())
    blocks = b"".join(GifImagePlugin.getdata(image))
    return blocks[10:]  # after the image descriptor


def gif_reference(width: int, height: int, patches: Sequence[GifPatch]) -> list[Pixels]:
    """What a browser shows: RGBA, transparent where nothing was drawn."""
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    seen = []
    for patch in patches:
        before = canvas.copy()
        palette = PALETTE if patch.palette is None else patch.palette
        for (row, column), index in np.ndenumerate(patch.indices):
            y, x = patch.y + row, patch.x + column
            if y < height and x < width and index != patch.transparent:
                canvas[y, x] = (*palette[index], 255)
        seen.append(canvas.copy())
        rows = slice(patch.y, patch.y + patch.indices.shape[0])
        columns = slice(patch.x, patch.x + patch.indices.shape[1])
        if patch.disposal == CLEAR:
            canvas[rows, columns] = 0
        if patch.disposal == RESTORE:
            canvas = before
    return seen


@dataclass(frozen=True)
class PngPatch:
    """One frame of an APNG."""

    pixels: Pixels
    x: int = 0
    y: int = 0
    delay: tuple[int, int] = (1, 10)
    """A fraction of a second."""
    disposal: int = 0
    """0 keeps, 1 clears, 2 restores."""
    over: bool = False


def apng(
    width: int,
    height: int,
    patches: Sequence[PngPatch],
    *,
    plays: int = 0,
    default: Pixels | None = None,
    claimed: int | None = None,
) -> bytes:
    """An RGBA animation; `default` is a default image that is not part of it."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"acTL", struct.pack(">II", len(patches) if claimed is None else claimed, plays)),
    ]
    number = 0
    if default is not None:
        chunks.append((b"IDAT", _deflated(default)))
    for index, patch in enumerate(patches):
        rows, columns = patch.pixels.shape[:2]
        places = (number, columns, rows, patch.x, patch.y)
        control = struct.pack(">IIIIIHHBB", *places, *patch.delay, patch.disposal, patch.over)
        chunks.append((b"fcTL", control))
        number += 1
        if index == 0 and default is None:
            chunks.append((b"IDAT", _deflated(patch.pixels)))
        else:
            chunks.append((b"fdAT", struct.pack(">I", number) + _deflated(patch.pixels)))
            number += 1
    return png_of_chunks(*chunks, (b"IEND", b""))


def _deflated(pixels: Pixels) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))


def apng_reference(width: int, height: int, patches: Sequence[PngPatch]) -> list[Pixels]:
    """Composed in floating point by the formulas of the specification (PNG 3rd edition §13.2)."""
    canvas = np.zeros((height, width, 4))
    seen = []
    for patch in patches:
        before = canvas.copy()
        rows = slice(patch.y, patch.y + patch.pixels.shape[0])
        columns = slice(patch.x, patch.x + patch.pixels.shape[1])
        new, old = patch.pixels / 255.0, canvas[rows, columns]
        if patch.over:
            alpha = new[..., 3:] + old[..., 3:] * (1 - new[..., 3:])
            weighted = new[..., :3] * new[..., 3:]
            weighted += old[..., :3] * old[..., 3:] * (1 - new[..., 3:])
            color = np.divide(weighted, alpha, out=np.zeros_like(weighted), where=alpha > 0)
            new = np.concatenate([color, alpha], axis=-1)
        canvas[rows, columns] = new
        seen.append(np.round(canvas * 255).astype(np.uint8))
        if patch.disposal == 1:
            canvas[rows, columns] = 0
        if patch.disposal == 2:
            canvas = before
    return seen


@dataclass(frozen=True)
class Moving:
    """An animation as Pillow reads it."""

    frames: list[Pixels]
    """Height × width × RGBA."""
    durations: list[float]
    """In milliseconds."""
    loop: int | None

    def at(self, ms: float) -> Pixels:
        """What is seen after so many milliseconds."""
        ends = np.cumsum(self.durations)
        return self.frames[int(np.searchsorted(ends, ms, side="right"))]


def watched(data: bytes) -> Moving:
    image = Image.open(io.BytesIO(data))
    frames, durations = [], []
    skipped = int(getattr(image, "default_image", False))
    for index in range(skipped, getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        frames.append(np.asarray(image.convert("RGBA")))
        durations.append(image.info.get("duration", 0))
    return Moving(frames, durations, image.info.get("loop"))


def make(data: bytes, limits: Limits | None = None, **options: Any) -> Rendition:
    (rendition,) = process(data, [parse_options(options)], limits or Limits()).renditions
    assert isinstance(rendition, Rendition), rendition
    return rendition


def fail(data: bytes, limits: Limits | None = None, **options: Any) -> OmnishotError:
    task = ImageTask(data, (parse_options(options),), "a-request")
    outcome = run_task(task, limits or Limits())
    if isinstance(outcome, OmnishotError):
        return outcome
    (failed,) = outcome.renditions
    assert isinstance(failed, FailedRendition)
    return failed.error


def frames_of(data: bytes) -> list[Pixels]:
    source = open_source(data, read_header(data))
    return [np.array(frame.image.convert("RGBA")) for frame in read_frames(source, data)]


def assert_same(seen: list[Pixels], expected: list[Pixels], tolerance: int = 0) -> None:
    """The same, but for colours that nobody sees."""
    assert len(seen) == len(expected)
    for one, other in zip(seen, expected, strict=True):
        assert np.abs(one[..., 3].astype(int) - other[..., 3]).max() <= tolerance
        visible = other[..., 3] > tolerance
        apart = np.abs(one[visible].astype(int) - other[visible])
        assert apart.max(initial=0) <= tolerance


def block(width: int, height: int, index: int) -> Pixels:
    return np.full((height, width), index, dtype=np.uint8)


def cells(seed: int, width: int, height: int) -> Pixels:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[random.random((height, width)) < 0.3, 3] = 0
    pixels[random.random((height, width)) < 0.3, 3] = 255
    return pixels
