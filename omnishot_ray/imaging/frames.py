"""An animation's frames as they are seen, one after the other.

GIF and APNG store patches and rules for laying them over what was there. The patches are decoded
by Pillow one by one, and composed here: Pillow's own composition differs from what browsers show
where a GIF clears to its background, names no disposal, or does not cover its screen, and it lets
a later frame enlarge the picture. WebP and AVIF come composed from their libraries.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from PIL import Image

from omnishot_ray.imaging.container import end_of_gif_blocks
from omnishot_ray.imaging.decode import (
    Source,
    decoder_errors_as_ours,
    load_pixels,
    open_image,
)
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen for `duration_ms`: the whole picture, of mode `L`, `RGB` or `RGBA`.

    The pixels are valid until the next frame is asked for.
    """

    image: Image.Image
    duration_ms: float


def count_plays(source: Source, data: bytes) -> int:
    """How often the animation is shown in all; 0 means for ever.

    A GIF's loop count names the repetitions after the first showing, and a GIF without one is shown
    once (so browsers, and libwebp's `gif2webp`); WebP and APNG count the showings themselves.
    """
    if source.header.format is Format.GIF:
        return _gif_plays(data)
    if source.header.format is Format.PNG:
        return _apng_plays(data)
    if source.header.format is Format.AVIF:
        return _avif_plays(data)
    return int(source.image.info.get("loop", 0))


def read_frames(source: Source, data: bytes) -> Iterator[Frame]:
    """All frames in order, as many as the header has counted at most.

    Raises `CorruptImage` on the frame that cannot be decoded. Reading WebP and AVIF moves the
    position of `source.image`, whose pixels change with it.
    """
    header = source.header
    with decoder_errors_as_ours(header.format):
        if header.format is Format.GIF:
            yield from _compose(islice(_gif_patches(data, header), header.frames), header)
        elif header.format is Format.PNG:
            yield from _compose(islice(_apng_patches(data, header), header.frames), header)
        else:
            yield from _composed_frames(source.image, header)


def _composed_frames(image: Image.Image, header: Header) -> Iterator[Frame]:
    if getattr(image, "n_frames", 1) != header.frames:
        raise ValueError("the header and the decoder disagree on the number of frames")
    for index in range(header.frames):
        image.seek(index)
        pixels = _without_idle_alpha(load_pixels(image))
        yield Frame(pixels, float(image.info.get("duration", 0)))


class _Disposal(Enum):
    """What becomes of a patch before the next one comes."""

    KEEP = 0
    CLEAR = 1
    RESTORE = 2


@dataclass(frozen=True, slots=True)
class _Patch:
    """Pixels (`RGBA`) that are laid on the picture at `x`, `y`; None where there are none."""

    image: Image.Image | None
    x: int
    y: int
    duration_ms: float
    disposal: _Disposal
    replaces: bool = False
    """Whether its transparent pixels take away what is below them."""


def _compose(patches: Iterator[_Patch], header: Header) -> Iterator[Frame]:
    """Lay the patches on an empty picture by their rules (GIF89a §23, PNG 3rd edition §13.2)."""
    canvas = Image.new("RGBA", (header.width, header.height))
    for patch in patches:
        box = _place(patch, canvas)
        before = canvas.crop(box) if box and patch.disposal is _Disposal.RESTORE else None
        if patch.image is not None and box:
            left, top, right, bottom = box
            seen = patch.image.crop((0, 0, right - left, bottom - top))
            if patch.replaces:
                canvas.paste(seen, box)
            else:
                canvas.alpha_composite(seen, (left, top))
        yield Frame(_without_idle_alpha(canvas), patch.duration_ms)
        if box and patch.disposal is _Disposal.CLEAR:
            canvas.paste((0, 0, 0, 0), box)
        elif before is not None and box:
            canvas.paste(before, box)


def _place(patch: _Patch, canvas: Image.Image) -> tuple[int, int, int, int] | None:
    """The part of the picture that a patch covers."""
    if patch.image is None or patch.x >= canvas.width or patch.y >= canvas.height:
        return None
    right = min(canvas.width, patch.x + patch.image.width)
    bottom = min(canvas.height, patch.y + patch.image.height)
    return patch.x, patch.y, right, bottom


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    """An opaque picture has three channels, which are scaled and encoded faster than four."""
    idle = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB") if idle else image


# GIF (GIF89a specification; loops: the NETSCAPE2.0 application extension).

_LOOP_EXTENSION = re.compile(rb"\x21\xff\x0b(?:NETSCAPE2\.0|ANIMEXTS1\.0)\x03\x01(..)", re.DOTALL)


def _gif_plays(data: bytes) -> int:
    found = _LOOP_EXTENSION.search(data)
    if found is None:
        return 1
    (loops,) = struct.unpack("<H", found[1])
    return loops + 1 if loops else 0


def _gif_patches(data: bytes, header: Header) -> Iterator[_Patch]:
    """The image blocks, each with the control block before it."""
    flags, at = data[10], 13
    palette = b""
    if flags & 0x80:
        palette = data[at : at + (3 << (flags & 7) + 1)]
        at += len(palette)
    control = _NO_CONTROL
    while data[at : at + 1] in (b"\x21", b"\x2c"):
        if data[at] == 0x21:
            if data[at + 1] == 0xF9 and data[at + 2] >= 4:
                control = data[at + 3 : at + 7]
            at = end_of_gif_blocks(data, at + 2)
            continue
        x, y, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
        colors, start = palette, at + 10
        if flags & 0x80:
            colors = data[start : start + (3 << (flags & 7) + 1)]
            start += len(colors)
        at = end_of_gif_blocks(data, start + 1)
        if width * height > header.width * header.height:
            raise ValueError("a frame has more pixels than the picture")
        alone = _single_gif(width, height, flags & 0x40, colors, control, data[start:at])
        image = _open_patch(alone, Format.GIF) if width and height else None
        (delay,) = struct.unpack_from("<H", control, 1)
        disposal = _GIF_DISPOSALS.get(control[0] >> 2 & 7, _Disposal.KEEP)
        yield _Patch(image, x, y, delay * 10.0, disposal)
        control = _NO_CONTROL


_NO_CONTROL = bytes(4)
_GIF_DISPOSALS = {2: _Disposal.CLEAR, 3: _Disposal.RESTORE, 4: _Disposal.RESTORE}
"""4 is written by old encoders that read the third bit of the field where its value was meant."""


def _single_gif(
    width: int, height: int, interlaced: int, colors: bytes, control: bytes, pixels: bytes
) -> bytes:
    """One image block as a file of its own, at the corner of a screen of its size."""
    bits = (len(colors) // 3).bit_length() - 2
    screen = struct.pack("<HHBBB", width, height, 0x80 | bits if colors else 0, 0, 0)
    extension = b"\x21\xf9\x04" + control + b"\x00" if control[0] & 1 else b""
    place = struct.pack("<HHHHB", 0, 0, width, height, interlaced)
    return b"GIF89a" + screen + colors + extension + b"\x2c" + place + pixels + b"\x3b"


def _open_patch(data: bytes, format: Format) -> Image.Image:
    return load_pixels(open_image(data, format)).convert("RGBA")


# APNG (W3C PNG 3rd edition §11.3.5).


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _apng_plays(data: bytes) -> int:
    for kind, body in _png_chunks(data):
        if kind == b"acTL" and len(body) >= 8:
            return int.from_bytes(body[4:8], "big")
        if kind == b"IDAT":
            break
    return 1


_APNG_DISPOSALS = {1: _Disposal.CLEAR, 2: _Disposal.RESTORE}
_SHARED_CHUNKS = (b"PLTE", b"tRNS")
"""What every frame needs of the chunks before the pixels."""


def _apng_patches(data: bytes, header: Header) -> Iterator[_Patch]:
    """The frames of the animation; a default image without a control chunk is none of them.

    Where no frame has one, the default image is all that browsers show.
    """
    shared, kind_of_pixels = b"", b""
    control: bytes | None = None
    pixels: list[bytes] = []
    for kind, body in _png_chunks(data):
        if kind == b"IHDR":
            kind_of_pixels = body[8:13]
        elif kind in _SHARED_CHUNKS:
            shared += _png_chunk(kind, body)
        elif kind == b"fcTL":
            if control is not None:
                yield _apng_patch(control, pixels, kind_of_pixels, shared, header)
            control, pixels = body, []
        elif kind == b"IDAT" and control is not None:
            pixels.append(body)
        elif kind == b"fdAT":
            pixels.append(body[4:])
    if control is not None:
        yield _apng_patch(control, pixels, kind_of_pixels, shared, header)
    else:
        yield _Patch(_open_patch(data, Format.PNG), 0, 0, 0.0, _Disposal.KEEP)


def _apng_patch(
    control: bytes, pixels: list[bytes], kind_of_pixels: bytes, shared: bytes, header: Header
) -> _Patch:
    _, width, height, x, y, number, parts, disposal, blend = struct.unpack_from(
        ">IIIIIHHBB", control
    )
    if x + width > header.width or y + height > header.height:
        raise ValueError("a frame reaches beyond the picture")
    alone = (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", struct.pack(">II", width, height) + kind_of_pixels)
        + shared
        + _png_chunk(b"IDAT", b"".join(pixels))
        + _png_chunk(b"IEND", b"")
    )
    image = _open_patch(alone, Format.PNG)
    duration = 1000.0 * number / (parts or 100)
    dispose = _APNG_DISPOSALS.get(disposal, _Disposal.KEEP)
    return _Patch(image, x, y, duration, dispose, replaces=blend == 0)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    checked = kind + body
    return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))


# AVIF: the track's edit list (ISO/IEC 14496-12 §8.6.6), read as libavif reads it.


def _avif_plays(data: bytes) -> int:
    track, edits = data.find(b"tkhd"), data.find(b"elst")
    if track < 0 or edits < 0:
        return 0
    try:
        version, flags = data[edits + 4], data[edits + 7]
        (segment,) = struct.unpack_from(">Q" if version else ">I", data, edits + 12)
        at, code = (track + 32, ">Q") if data[track + 4] else (track + 24, ">I")
        (whole,) = struct.unpack_from(code, data, at)
    except (IndexError, struct.error):
        return 0
    if not flags & 1:
        return 1
    endless = 2 ** (8 * struct.calcsize(code)) - 1
    return 0 if whole == endless or not segment else -(-whole // segment)
