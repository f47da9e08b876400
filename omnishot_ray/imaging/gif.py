"""Frames to a GIF: palettes, differences between frames, and disposal.

Pillow's own writer of animations leaves old pixels standing where a frame becomes transparent, and
drops frames that look like the one before. What is taken from it is the LZW encoder.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_OPAQUE_FROM = 128
"""Alpha from which a pixel is drawn: GIF knows no half transparent ones."""
_MOST_COLORS = 255
"""One of the 256 indices is kept for transparency."""
_SAMPLES = 16_384
"""Pixels that a palette is made from: four times as many take twice as long and give a palette
that is 1 % better on a photo."""
_DITHER_FROM = 4.0
"""Mean square error (steps of 0–255) of nearest colours from which on they are dithered. Below,
which is where most graphics are, dithering only makes the file larger."""
_SHARED_UP_TO = 25.0
"""Mean square error up to which a frame makes do with the palette of all frames."""
_MOST_LOCAL = 24
"""Palettes for single frames, at 80 to 150 ms each."""
_WORTH_IT = 0.7
"""Share of the shared palette's error that one for the frame has to come down to."""
_LOCAL_FROM = 1_024
"""Drawn pixels from which on a frame may have a palette of its own, which takes 768 bytes."""


def write_gif(
    images: Sequence[Image.Image],
    durations_ms: Sequence[float],
    plays: int,
    method: Image.Quantize = Image.Quantize.LIBIMAGEQUANT,
) -> bytes:
    """Encode frames of one size (`L`, `LA`, `RGB` or `RGBA`) as a GIF89a.

    Every frame is kept, each for its time. `plays` is how often the animation is shown in all, 0
    for ever; `method` finds the palettes. Raises `ValueError` when a side has more than 65 535
    pixels.
    """
    width, height = images[0].size
    if max(width, height) > 0xFFFF:
        raise ValueError("a GIF has at most 65 535 pixels a side")
    shared = _shared_palette(images, method)
    table = _color_table(shared)
    bits = (len(table) // 3).bit_length() - 2
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF0 | bits, 0, 0), table]
    if len(images) > 1 and plays != 1:
        loops = min(max(plays - 1, 0), 0xFFFF)
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loops) + b"\x00")
    delays = centiseconds(durations_ms)
    palettes = _Palettes(shared, method)
    for step, delay in zip(_differences(images), delays, strict=True):
        parts += _write_step(step, delay, palettes)
    return b"".join((*parts, b"\x3b"))


def centiseconds(durations_ms: Sequence[float]) -> list[int]:
    """Durations in the unit of GIF, so rounded that the sum does not drift.

    Browsers show 10 ms and less as 100 ms, so nothing longer becomes that short, and what is that
    short stays it.
    """
    delays, owed = [], 0.0
    for duration in durations_ms:
        exact = duration / 10.0
        if duration <= 10:
            delays.append(round(exact))
            continue
        delay = min(max(2, round(exact + owed)), 0xFFFF)
        owed = 0.0 if delay == 0xFFFF else owed + exact - delay
        delays.append(delay)
    return delays


@dataclass(frozen=True, slots=True)
class _Step:
    """What one frame changes: the drawn pixels of an area, which is cleared afterwards or not."""

    colors: Pixels
    drawn: Mask
    left: int
    top: int
    clears: bool
    whole: Image.Image | None = None
    """The `RGB` picture that `colors` is all of, to spare making one of them."""


def _differences(images: Sequence[Image.Image]) -> Iterator[_Step]:
    """For each frame the pixels that are not there already.

    A pixel can only become transparent by clearing the whole area of the frame before, which is
    widened for that to hold it.
    """
    colors, opaque = _split(images[0])
    if len(images) == 1:
        rows, columns = _bounds(opaque)
        whole = images[0] if images[0].mode == "RGB" else None
        area = rows, columns
        yield _Step(colors[area], opaque[area], columns.start, rows.start, False, whole)
        return
    held, there = np.zeros_like(colors), np.zeros_like(opaque)
    for index in range(len(images)):
        last = index + 1 == len(images)
        next_colors, next_opaque = (colors, opaque) if last else _split(images[index + 1])
        drawn = opaque & ~(there & (colors == held).all(axis=-1))
        vanishing = opaque & ~next_opaque
        clears = bool(vanishing.any())
        rows, columns = _bounds(drawn | vanishing)
        yield _Step(colors[rows, columns], drawn[rows, columns], columns.start, rows.start, clears)
        held = colors
        there |= drawn
        if clears:
            there[rows, columns] = False
        colors, opaque = next_colors, next_opaque


def _split(image: Image.Image) -> tuple[Pixels, Mask]:
    """The colours, and where there are any; neither is to be written to."""
    if image.mode in ("L", "RGB"):
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        return pixels, np.broadcast_to(np.True_, pixels.shape[:2])
    pixels = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
    return pixels[..., :3], pixels[..., 3] >= _OPAQUE_FROM


def _bounds(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns around all that is set; one pixel when nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@dataclass(frozen=True, slots=True)
class _Palette:
    """Up to 255 colours as rows of RGB; `exact` when they are all that there is to show."""

    colors: Pixels
    exact: bool

    def indices(self, step: _Step) -> tuple[NDArray[np.uint8], float]:
        """The index of each pixel's colour, and the mean square error of the drawn ones."""
        nearest = np.empty(step.drawn.shape, np.uint8)
        if self.exact:
            order = np.argsort(_packed(self.colors))
            values = _packed(self.colors)[order]
            for strip in _strips(step):
                found = np.searchsorted(values, _packed(step.colors[strip]))
                nearest[strip] = order[np.minimum(found, len(order) - 1)]
            return nearest, 0.0
        palette, squares = Image.new("P", (1, 1)), 0
        palette.putpalette(self.colors.tobytes())
        for strip in _strips(step):
            pixels = self._drawable(step, strip)
            by_colour = Image.fromarray(pixels).quantize(palette=palette, dither=_PLAIN)
            nearest[strip] = np.asarray(by_colour)
            apart = pixels.astype(np.int32) - self.colors[nearest[strip]]
            squares += int(np.square(apart).sum())
        error = squares / (3.0 * max(1, int(np.count_nonzero(step.drawn))))
        if error < _DITHER_FROM:
            return nearest, error
        del nearest
        image = step.whole or Image.fromarray(self._drawable(step, slice(None)))
        return np.asarray(image.quantize(palette=palette, dither=_DITHERED)), error

    def _drawable(self, step: _Step, rows: slice) -> Pixels:
        """The colour of what is not drawn shall not be dithered into the others."""
        colors, drawn = step.colors[rows], step.drawn[rows]
        if drawn.all():
            return colors
        return np.where(drawn[..., np.newaxis], colors, self.colors[0])


_PLAIN, _DITHERED = Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG
_STRIP_PIXELS = 1 << 18
"""Looked at together: sums and searches take some forty bytes for each."""


def _strips(step: _Step) -> Iterator[slice]:
    height, width = step.drawn.shape
    rows = max(1, _STRIP_PIXELS // width)
    return (slice(top, top + rows) for top in range(0, height, rows))


def _packed(colors: Pixels) -> NDArray[np.int32]:
    wide = colors.astype(np.int32)
    packed: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _shared_palette(images: Sequence[Image.Image], method: Image.Quantize) -> _Palette:
    """One palette for everything that any frame draws."""
    few: set[Any] | None = set()
    samples, counts = [], []
    for step in _differences(images):
        drawn = _drawn(step)
        if few is not None:
            few = _few_colors(drawn, few)
        samples.append(_thinned(drawn, _SAMPLES))
        counts.append(len(drawn))
    if few is not None:
        return _exact_palette(few)
    total = sum(counts)
    shares = [-(-_SAMPLES * count // total) for count in counts]
    thinned = [_thinned(part, n) for part, n in zip(samples, shares, strict=True) if n]
    return _best_palette(np.concatenate(thinned), method)


def _drawn(step: _Step) -> Pixels:
    """What is drawn, as one row."""
    return step.colors.reshape(-1, 3) if step.drawn.all() else step.colors[step.drawn]


def _few_colors(pixels: Pixels, known: Collection[Any] = ()) -> set[Any] | None:
    """All colours and the known ones, or None when there are more than a palette holds."""
    few = set(known)
    for first in range(0, len(pixels), _STRIP_PIXELS):
        part = Image.fromarray(pixels[np.newaxis, first : first + _STRIP_PIXELS])
        counted = part.getcolors(_MOST_COLORS)
        if counted is None:
            return None
        few.update(color for _, color in counted)
        if len(few) > _MOST_COLORS:
            return None
    return few


def _thinned(pixels: Pixels, most: int) -> Pixels:
    return pixels[:: max(1, -(-len(pixels) // most))]


def _exact_palette(colors: set[Any]) -> _Palette:
    return _Palette(np.array(sorted(colors) or [(0, 0, 0)], dtype=np.uint8), exact=True)


def _best_palette(samples: Pixels, method: Image.Quantize) -> _Palette:
    image = Image.fromarray(samples[np.newaxis])
    palette = image.quantize(_MOST_COLORS, method=method).getpalette() or []
    colors = np.array(palette[: 3 * _MOST_COLORS], dtype=np.uint8).reshape(-1, 3)
    return _Palette(colors, exact=False)


class _Palettes:
    """Which palette a frame is written with: that of all, the last one of its own, or a new one."""

    def __init__(self, shared: _Palette, method: Image.Quantize) -> None:
        self.shared = shared
        self._method = method
        self._last: _Palette | None = None
        self._left = _MOST_LOCAL

    def choose(self, step: _Step) -> tuple[_Palette, NDArray[np.uint8]]:
        """The palette for a frame, and the indices of its pixels in it."""
        indices, error = self.shared.indices(step)
        if error <= _SHARED_UP_TO or int(np.count_nonzero(step.drawn)) < _LOCAL_FROM:
            return self.shared, indices
        if self._last is not None:
            again, error_again = self._last.indices(step)
            if error_again <= _SHARED_UP_TO:
                return self._last, again
        if not self._left:
            return self.shared, indices
        drawn = _drawn(step)
        few = _few_colors(drawn)
        local = (
            _exact_palette(few) if few else _best_palette(_thinned(drawn, _SAMPLES), self._method)
        )
        own, own_error = local.indices(step)
        if own_error > _WORTH_IT * error:
            self._left = 0  # the colours are as many in one frame as in all of them
            return self.shared, indices
        self._left -= 1
        self._last = None if local.exact else local
        return local, own


def _write_step(step: _Step, delay: int, palettes: _Palettes) -> list[bytes]:
    palette, indices = palettes.choose(step)
    transparent = len(palette.colors)
    height, width = step.drawn.shape
    seen = indices if step.drawn.all() else np.where(step.drawn, indices, np.uint8(transparent))
    image = Image.frombytes("P", (width, height), seen.tobytes())
    image.putpalette(_color_table(palette))
    blocks: list[bytes] = GifImagePlugin.getdata(
        image,
        (step.left, step.top),
        duration=delay * 10,
        disposal=2 if step.clears else 1,
        transparency=transparent,
        include_color_table=palette is not palettes.shared,
    )
    return blocks


def _color_table(palette: _Palette) -> bytes:
    """The colours and one for transparency, filled up to a power of two."""
    size = max(2, 1 << len(palette.colors).bit_length())
    return palette.colors.tobytes().ljust(3 * size, b"\0")
