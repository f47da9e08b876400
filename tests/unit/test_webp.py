"""Still WebP is read past Pillow, to what Pillow reads."""

import io

import numpy as np
import pytest
from PIL import Image

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.decode import decode, open_source
from omnishot_ray.imaging.geometry import Orientation, Size
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.webp import StillWebp, is_still
from tests import corpus
from tests.pictures import encode, scene

ICC = Image.open(io.BytesIO(corpus.read("jpeg_display_p3_gainmap_384x512"))).info["icc_profile"]
EXIF = Image.Exif()
EXIF[0x0112] = 6
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="8"/></x:xmpmeta>'


def written(mode: str = "RGB", **settings: object) -> bytes:
    picture = scene(120, 80)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return encode(picture, "WEBP", **settings)


def read(data: bytes) -> Image.Image:
    return decode(open_source(data, read_header(data)), Size(1, 1), 4).image


STILLS = {
    "lossy": written(),
    "lossy, alpha": written("RGBA"),
    "lossless": written(lossless=True),
    "lossless, alpha": written("RGBA", lossless=True, exact=True),
    "icc": written(icc_profile=ICC),
    "exif": written(exif=EXIF),
    "xmp": written(xmp=XMP),
    "all of it": written("RGBA", icc_profile=ICC, exif=EXIF, xmp=XMP),
    **{name: corpus.read(name) for name in ("webp_alpha_300x300", "webp_lossless_1000x307")},
}


@pytest.mark.parametrize("name", STILLS)
def test_a_still_is_what_pillow_reads(name: str) -> None:
    data = STILLS[name]
    header = read_header(data)
    source = open_source(data, header)
    assert isinstance(source.image, StillWebp)
    with Image.open(io.BytesIO(data)) as by_pillow:
        theirs = {key: by_pillow.info.get(key) for key in ("icc_profile", "exif", "xmp")}
        assert {key: source.image.info.get(key) for key in theirs} == theirs
        assert dict(source.exif) == dict(by_pillow.getexif())
        assert source.image.mode == by_pillow.mode
        pixels = decode(source, Size(1, 1), 4).image
        assert np.array_equal(np.asarray(pixels), np.asarray(by_pillow))


@pytest.mark.parametrize(("name", "quarters"), [("exif", 1), ("xmp", 0), ("lossy", 0)])
def test_the_orientation_is_found(name: str, quarters: int) -> None:
    data = STILLS[name]
    assert open_source(data, read_header(data)).orientation == Orientation(quarters=quarters)


@pytest.mark.parametrize("name", ["lossy", "lossy, alpha", "lossless", "all of it"])
def test_a_still_that_is_cut_off_is_damaged(name: str) -> None:
    data = STILLS[name]
    for kept in range(30, len(data), max(1, len(data) // 40)):
        with pytest.raises(CorruptImage):
            read(data[:kept])


def test_a_canvas_of_another_size_than_the_picture_is_damaged() -> None:
    data = bytearray(STILLS["icc"])
    assert data[12:16] == b"VP8X"
    data[24:27] = (999).to_bytes(3, "little")
    with pytest.raises(CorruptImage):
        read(bytes(data))


def test_an_animation_stays_with_pillow() -> None:
    data = corpus.read("webp_animated_squares_80x80")
    assert not is_still(data)
    assert not isinstance(open_source(data, read_header(data)).image, StillWebp)
