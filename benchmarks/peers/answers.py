"""Whether two answers hold the same work: the asked sizes and formats, and the same picture."""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from benchmarks.peers.rows import Expected

FORMATS = ("JPEG", "WEBP", "PNG", "AVIF")
SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
THUMBNAIL = (32, 32)
# Mean difference of the thumbnails' grey levels. Two encoders on the same crop stay under 0.5;
# a crop that lies elsewhere, or a stretched picture, is several levels off.
MOST_DIFFERENCE = 2.0


class WrongAnswerError(Exception):
    """An answer that is not what was asked."""


@dataclass(frozen=True)
class Picture:
    """A decoded rendition: its file size in bytes, how it is encoded, and a small grey copy."""

    size: int
    encoding: str
    thumbnail: bytes


def read(body: bytes, expected: Sequence[Expected], side: str) -> list[Picture]:
    """The pictures of an answer by `side` ("ours" or "peer"), in the order of `expected`.

    WrongAnswerError tells what is not as asked.
    """
    if not expected:
        return []
    if not expected[0].ours_name:
        return [_decode(body, expected[0])]
    try:
        variants = {variant["name"]: variant for variant in json.loads(body)["variants"]}
        pictures = []
        for one in expected:
            name = one.ours_name if side == "ours" else one.peer_name
            pictures.append(_decode(base64.b64decode(variants[name]["data"], validate=True), one))
        return pictures
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise WrongAnswerError(
            f"the variants cannot be read: {type(error).__name__}: {error}"
        ) from None


def difference(ours: Sequence[Picture], peer: Sequence[Picture]) -> float:
    """The largest mean grey difference (0 to 255) between pictures at the same place."""
    return max(
        (_grey_difference(a.thumbnail, b.thumbnail) for a, b in zip(ours, peer, strict=True)),
        default=0.0,
    )


def _decode(data: bytes, expected: Expected) -> Picture:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.load()
    except (OSError, SyntaxError) as error:
        raise WrongAnswerError(f"a rendition does not decode: {error}") from None
    found = f"{picture.width}x{picture.height} {str(picture.format).lower()}"
    asked = f"{expected.width}x{expected.height} {expected.format}"
    if found != asked:
        raise WrongAnswerError(f"asked for {asked}, got {found}")
    thumbnail = picture.convert("L").resize(THUMBNAIL, Image.Resampling.BOX).tobytes()
    return Picture(len(data), _encoding(picture), thumbnail)


def _encoding(picture: Image.Image) -> str:
    if picture.format != "JPEG":
        return str(picture.format).lower()
    order = "progressive" if picture.info.get("progressive") else "baseline"
    sampling = SUBSAMPLING.get(JpegImagePlugin.get_sampling(picture), "grey or other sampling")
    return f"{order} {sampling}"


def _grey_difference(one: bytes, other: bytes) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
