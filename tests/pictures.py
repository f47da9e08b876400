"""Small pictures made on the spot, and the measures that compare pictures."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_avif  # noqa: F401 - registers AVIF with Pillow
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def scene(width: int, height: int) -> Image.Image:
    """An RGB picture in which every pixel tells its place: x in red, y in green, both in blue."""
    x = np.linspace(0, 255, width, dtype=np.float64)[np.newaxis, :]
    y = np.linspace(0, 255, height, dtype=np.float64)[:, np.newaxis]
    channels = np.broadcast_arrays(x, y, (x + y) / 2)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def plain(width: int, height: int, mode: str = "RGB", color: Any = 0) -> Image.Image:
    return Image.new(mode, (width, height), color)


def noise(width: int, height: int, seed: int = 1) -> Image.Image:
    """Grain that no encoder makes small."""
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encode(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **settings)
    return sink.getvalue()


def png(width: int, height: int, mode: str = "RGB", color: Any = 0) -> bytes:
    return encode(plain(width, height, mode, color))


def gray_png_16bit(rows: NDArray[np.uint16]) -> bytes:
    """A 16-bit grey PNG, which Pillow itself writes only from another mode."""
    height, width = rows.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return png_of_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )


def png_of_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def exif_entry(tag: int, kind: int, value: bytes) -> bytes:
    """An EXIF block with one entry of one value, whatever a careful writer would put there."""
    sizes = {3: 2, 5: 8, 10: 8, 11: 4, 12: 8}
    head = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHI", tag, kind, 1)
    size = sizes.get(kind, 1)
    where = value[:size].ljust(4, b"\0") if size <= 4 else struct.pack("<I", 26)
    return b"Exif\0\0" + head + where + bytes(4) + (value if size > 4 else b"")


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pixels(data: bytes, mode: str = "RGB") -> Pixels:
    """The decoded pixels as height × width × channels."""
    return np.asarray(opened(data).convert(mode))


def mean_difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference in steps of 0–255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(np.int16) - other).mean())


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio in dB."""
    assert one.shape == other.shape
    error = float(np.square(one.astype(np.float64) - other).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
