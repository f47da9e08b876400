"""Pixels to bytes: one function per format, and the wishes about size and similarity."""

import io
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.background import flatten
from omnishot_ray.imaging.container import with_exif
from omnishot_ray.imaging.formats import LOSSY, Format
from omnishot_ray.imaging.gif import write_gif
from omnishot_ray.imaging.jpeg import write_jpeg
from omnishot_ray.imaging.metadata import bare
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.png import write_png
from omnishot_ray.imaging.search import largest_within, lowest_similar

_DEFAULT_QUALITY = {Format.AVIF: 60}
"""AVIF's scale runs lower: 60 looks like 80 elsewhere."""


def asked_quality(format: Format, options: Options) -> int:
    """The quality asked for, or the format's default.

    PNG and GIF have none to ask for: it is where the search of a palette for `max_bytes` begins.
    """
    default = _DEFAULT_QUALITY.get(format, 80)
    if format not in LOSSY or options.quality in (None, "auto"):
        return default
    return int(options.quality)


def encode(image: Image.Image, format: Format, options: Options, exif: bytes) -> bytes:
    """Encode `image` (`L`, `LA`, `RGB` or `RGBA`) as `format`.

    Raises:
        LimitExceeded: not even the lowest quality comes below `max_bytes`.
    """
    if format is Format.JPEG:
        image = flatten(image, options.background)

    def write(quality: int) -> bytes:
        try:
            return _WRITERS[format](image, options, quality, exif)
        except (ValueError, OSError, RuntimeError):
            raise LimitExceeded(
                f"The {format.value} encoder cannot write {image.width}×{image.height} pixels; "
                "ask for a smaller picture or another format."
            ) from None

    quality = asked_quality(format, options)
    if options.quality == "auto" and format in LOSSY and not options.lossless:
        data, quality = lowest_similar(write, image, format, options.target_ssim)
    else:
        data = write(quality)
    if options.max_bytes is not None and len(data) > options.max_bytes:
        smaller = None
        if format is not Format.GIF:
            smaller = largest_within(write, quality - 1, options.max_bytes)
        if smaller is None:
            raise LimitExceeded(
                f"The {format.value} does not fit in {options.max_bytes} bytes at any quality; "
                "ask for fewer pixels, another format or a larger max_bytes."
            )
        return smaller
    return data


def _write_jpeg(image: Image.Image, options: Options, quality: int, exif: bytes) -> bytes:
    return write_jpeg(image, quality, options.effort, options.progressive, exif)


def _write_png(image: Image.Image, options: Options, quality: int, exif: bytes) -> bytes:
    must_shrink = quality < asked_quality(Format.PNG, options)
    if options.palette or must_shrink:
        colors = max(2, 256 * quality // 100) if must_shrink else 256
        image = _in_colour(image).quantize(colors, method=Image.Quantize.LIBIMAGEQUANT)
        return _save(image, Format.PNG, exif, compress_level=min(9, 1 + options.effort))
    data = write_png(np.asarray(image).reshape(image.height, image.width, -1), options.effort)
    return with_exif(data, Format.PNG, exif)


WEBP_METHODS = (0, 1, 2, 3, 4, 5, 5, 6, 6, 6)
"""libwebp's method of each effort. 2 is the fastest that is worth it: 0.4 of the time of 4 for 4 %
more bytes at equal SSIMULACRA2; 6 takes twice the time of 4 and saves 5 %."""

WEBP_ALPHA_METHOD = 5
"""At method 6 libwebp searches for the smallest lossless alpha: 50 seconds a megapixel for 10 %."""


def _write_webp(image: Image.Image, options: Options, quality: int, exif: bytes) -> bytes:
    # imagecodecs brings libwebp 1.6: the same bytes as Debian's 1.2 in four fifths of the time.
    method = WEBP_METHODS[options.effort]
    if image.mode in ("RGBA", "LA"):
        method = min(method, WEBP_ALPHA_METHOD)
    data = imagecodecs.webp_encode(
        np.asarray(_in_colour(image)),
        level=11 * options.effort if options.lossless else quality,
        lossless=options.lossless,
        method=method,
        numthreads=1,
    )
    return with_exif(bytes(data), Format.WEBP, exif)


AVIF_SPEEDS = (9, 9, 8, 8, 7, 6, 6, 5, 5, 4)
"""aom's speed of each effort. Bytes at equal SSIMULACRA2 and CPU against sharp's default: speed 8
1.14 for 0.055, 7 1.11 for 0.09, 6 1.04 for 0.18; 5 takes four times as long as 6 and saves 6 %."""


_IN_TEN_BITS = np.array([value << 2 | value >> 6 for value in range(256)], np.uint16)


def _write_avif(image: Image.Image, options: Options, quality: int, exif: bytes) -> bytes:
    speed = AVIF_SPEEDS[options.effort]
    if exif:  # which imagecodecs does not write; its libavif is 5 % ahead of the plugin's
        return _save(
            _in_colour(image),
            Format.AVIF,
            exif,
            quality=quality,
            speed=speed,
            subsampling="4:4:4",
            max_threads=1,
        )
    # Ten bits code a picture of eight better, 2 to 4 % at equal score. Without chroma subsampling,
    # as saturated colours take 35 % more bytes to look the same with it.
    data = imagecodecs.avif_encode(
        _IN_TEN_BITS[np.asarray(_in_colour(image))],
        level=quality,
        speed=speed,
        bitspersample=10,
        pixelformat="444",
        primaries=1,  # BT.709, with the sRGB curve and BT.601's coefficients (ITU-T H.273)
        transfer=13,
        matrix=6,
        numthreads=1,
    )
    return bytes(data)


def _write_gif(image: Image.Image, options: Options, quality: int, exif: bytes) -> bytes:
    del exif, quality  # GIF has none of it
    return write_gif([image], [0.0], 1, gif_palette_method(options))


def gif_palette_method(options: Options) -> Image.Quantize:
    """The best palette takes 80 ms; median cut takes 10 and is 3 dB worse on photos."""
    return Image.Quantize.LIBIMAGEQUANT if options.effort > 2 else Image.Quantize.MEDIANCUT


def _in_colour(image: Image.Image) -> Image.Image:
    """`RGB` or `RGBA`, and no copy of a picture that is so already."""
    mode = "RGBA" if image.mode in ("RGBA", "LA") else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _save(image: Image.Image, format: Format, exif: bytes, **settings: Any) -> bytes:
    if exif:
        settings["exif"] = exif
    sink = io.BytesIO()
    with bare(image):
        image.save(sink, format.plugin, **settings)
    return sink.getvalue()


_WRITERS: dict[Format, Callable[[Image.Image, Options, int, bytes], bytes]] = {
    Format.JPEG: _write_jpeg,
    Format.PNG: _write_png,
    Format.WEBP: _write_webp,
    Format.AVIF: _write_avif,
    Format.GIF: _write_gif,
}
