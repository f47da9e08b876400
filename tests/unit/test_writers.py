"""The writers of JPEG, PNG and WebP, and the metadata spliced into their files."""

import io
import struct
import subprocess
import sys
import zlib
from itertools import pairwise
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from omnishot_ray.imaging import transcode
from omnishot_ray.imaging.container import with_exif, without_metadata
from omnishot_ray.imaging.encode import encode
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.jpeg import jpegli_quality, write_jpeg
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.png import write_png
from tests import corpus
from tests.moving import frames_of
from tests.pictures import noise, opened, scene

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
SPLICED = [Format.JPEG, Format.PNG, Format.WEBP]


def exif_block(words: str = "Ada Lovelace") -> bytes:
    exif = Image.Exif()
    exif[0x8298] = words
    return exif.tobytes()


@given(
    pixels=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4)),
        elements=st.sampled_from((0, 1, 2, 127, 128, 200, 255)),
    ),
    effort=st.integers(0, 9),
)
def test_png_gives_back_every_pixel(pixels: np.ndarray, effort: int) -> None:
    image = opened(write_png(pixels, effort))
    assert image.mode == MODES[pixels.shape[2]]
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("effort", range(10))
def test_png_of_a_photo_is_as_small_as_zlib_makes_it(effort: int) -> None:
    picture = opened(corpus.read("avif_kodim23_768x512_420_8bit")).convert("RGB")
    plain = io.BytesIO()
    picture.save(plain, "PNG", compress_level=1 if effort < 4 else 6)
    assert len(write_png(np.asarray(picture), effort)) < 1.05 * len(plain.getvalue())


def test_png_filters_a_flat_graphic_otherwise_than_a_gradient() -> None:
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[::2, ::3] = (200, 10, 10)
    ramp = np.asarray(scene(256, 256))
    used = [filters_of(write_png(pixels, 4)) for pixels in (flat, ramp)]
    assert used[0] == {0}
    assert 0 not in used[1]


def filters_of(data: bytes) -> set[int]:
    """The filter bytes of a PNG with one IDAT (behind its signature, IHDR and chunk head)."""
    width, height = struct.unpack_from(">II", data, 16)
    (length,) = struct.unpack_from(">I", data, 33)
    raw = zlib.decompress(data[41 : 41 + length])
    return set(raw[:: len(raw) // height]) if width else set()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("effort", range(10))
def test_a_jpeg_of_every_effort_shows_the_picture(mode: str, effort: int) -> None:
    picture = opened(corpus.read("avif_kodim23_768x512_420_8bit")).convert(mode)
    result = opened(write_jpeg(picture, 85, effort, None, b""))
    assert (result.mode, result.size) == (mode, picture.size)
    difference = np.asarray(result, np.int16) - np.asarray(picture)
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5  # no colour is shifted


def test_more_effort_makes_a_smaller_jpeg() -> None:
    picture = opened(corpus.read("avif_kodim23_768x512_420_8bit")).convert("RGB")
    sizes = [len(write_jpeg(picture, 80, effort, None, b"")) for effort in (2, 4, 6)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_jpegli_qualities_rise_with_the_asked_ones() -> None:
    mapped = [jpegli_quality(quality) for quality in range(1, 101)]
    assert mapped[0] == 1
    assert mapped[-1] == 100
    assert all(low <= high for low, high in pairwise(mapped))


def test_progressive_is_the_same_picture() -> None:
    data = write_jpeg(scene(80, 60), 80, 4, False, exif_block())
    progressive = transcode.make_progressive(data)
    assert transcode.is_available()
    assert opened(progressive).info["progressive"]
    assert np.array_equal(np.asarray(opened(progressive)), np.asarray(opened(data)))


def test_without_the_library_a_jpeg_stays_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcode, "_library", lambda: None)
    data = write_jpeg(scene(80, 60), 80, 9, None, b"")
    assert "progressive" not in opened(data).info


WITHOUT_JPEGLI = """
import io, sys
sys.modules["pyjpegli"] = None  # importing it raises ImportError
from PIL import Image
from omnishot_ray.imaging.jpeg import write_jpeg
for effort in (4, 9):
    data = write_jpeg(Image.new("RGB", (40, 30), "red"), 80, effort, None, b"")
    image = Image.open(io.BytesIO(data))
    image.load()
    print(image.size, bool(image.info.get("progressive")))
"""


def test_without_jpegli_a_jpeg_is_written_by_libjpeg() -> None:
    made = subprocess.run(
        [sys.executable, "-c", WITHOUT_JPEGLI], capture_output=True, text=True, check=True
    )
    assert made.stdout.split("\n")[:2] == ["(40, 30) False", "(40, 30) True"]


@pytest.mark.parametrize("format", SPLICED)
@pytest.mark.parametrize("effort", [2, 4, 9])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_exif_goes_in_and_out_again(format: Format, effort: int, mode: str) -> None:
    picture = scene(61, 47).convert(mode)
    picture.info = {}
    options = Options(format=format.value, effort=effort)
    bare = encode(picture, format, options, b"")
    tagged = encode(picture, format, options, exif_block())
    assert opened(tagged).getexif()[0x8298] == "Ada Lovelace"
    assert np.array_equal(np.asarray(opened(tagged)), np.asarray(opened(bare)))
    cleaned = without_metadata(tagged, format)
    assert cleaned is not None
    assert not opened(cleaned).getexif()
    assert np.array_equal(np.asarray(opened(cleaned)), np.asarray(opened(bare)))


@pytest.mark.parametrize("format", SPLICED)
def test_no_exif_changes_nothing(format: Format) -> None:
    data = encode(scene(20, 20), format, Options(format=format.value), b"")
    assert with_exif(data, format, b"") is data


@pytest.mark.parametrize("format", SPLICED)
@given(data=st.data())
def test_a_damaged_file_is_not_followed_into_the_void(format: Format, data: st.DataObject) -> None:
    whole = encode(scene(20, 20), format, Options(format=format.value), exif_block())
    length = data.draw(st.integers(0, len(whole)))
    cut = bytearray(whole[:length])
    for at in data.draw(st.lists(st.integers(0, max(0, length - 1)), max_size=4)):
        if cut:
            cut[at] ^= data.draw(st.integers(1, 255))
    result = without_metadata(bytes(cut), format)
    assert result is None or len(result) <= len(whole) + 32


def test_what_is_appended_to_a_jpeg_does_not_survive() -> None:
    data = corpus.read("polyglot_jpeg_zip")
    cleaned = without_metadata(data, Format.JPEG)
    assert cleaned is not None
    assert b"PK\x03\x04" in data
    assert b"PK\x03\x04" not in cleaned


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


SECRETS = {
    "a thumbnail of JFIF": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\2SECRET------"),
    "a thumbnail of JFXX": segment(0xE0, b"JFXX\0\x13\4\4SECRET"),
    "Adobe's segment": segment(0xEE, b"Adobe\0\x64\0\0\0\0\1SECRET"),
    "another's of its number": segment(0xEE, b"SECRET"),
    "a comment": segment(0xFE, b"SECRET"),
    "what anybody writes": segment(0xEB, b"SECRET"),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("progressive", [False, True])
def test_nothing_but_the_picture_is_left_of_a_jpeg(secret: bytes, progressive: bool) -> None:
    data = io.BytesIO()
    noise(64, 48).save(data, "JPEG", progressive=progressive)
    plain = data.getvalue()
    between = [plain.index(b"\xff\xdb")]  # the first table
    if progressive:
        between.append(plain.index(b"\xff\xc4", plain.index(b"\xff\xda")))  # behind a scan
    for at in between:
        cleaned = without_metadata(plain[:at] + secret + plain[at:], Format.JPEG)
        assert cleaned is not None
        assert b"SECRET" not in cleaned
        assert np.array_equal(np.asarray(opened(cleaned)), np.asarray(opened(plain)))
    assert without_metadata(plain, Format.JPEG) == plain


COMMENT = b"\x21\xfe\x06SECRET\x00"
XMP = b"\x21\xff\x0bXMP DataXMP\x06SECRET\x00"


@pytest.mark.parametrize("name", ["gif_animated_chi_320x240", "gif_animated_loop3_370x285"])
def test_nothing_but_the_frames_is_left_of_a_gif(name: str) -> None:
    data = corpus.read(name)
    table = 3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0
    start, end = data[: 13 + table], data[13 + table :]
    cleaned = without_metadata(start + COMMENT + XMP + end + b"SECRET", Format.GIF)
    assert cleaned is not None
    assert b"SECRET" not in cleaned
    assert cleaned == without_metadata(cleaned, Format.GIF)
    for one, other in zip(frames_of(cleaned), frames_of(data), strict=True):
        assert np.array_equal(one, other)
    assert without_metadata(data[:-20], Format.GIF) is None


def test_nothing_but_the_frames_is_left_of_an_animated_webp() -> None:
    sink = io.BytesIO()
    frames = [noise(40, 30, seed) for seed in (1, 2, 3)]
    told = {"exif": exif_block("SECRET"), "xmp": b"SECRET"}
    frames[0].save(sink, "WEBP", save_all=True, append_images=frames[1:], lossless=True, **told)
    data = sink.getvalue()
    at = data.index(b"ANMF")
    (length,) = struct.unpack_from("<I", data, at + 4)
    behind = at + 8 + length
    inner = data[:behind] + b"JUNK\6\0\0\0SECRET" + data[behind:]
    inner = inner[: at + 4] + struct.pack("<I", length + 14) + inner[at + 8 :]
    inner = inner[:4] + struct.pack("<I", len(inner) - 8) + inner[8:]
    for one in (data, inner):
        cleaned = without_metadata(one, Format.WEBP)
        assert cleaned is not None
        assert b"SECRET" not in cleaned
        for made, frame in zip(frames_of(cleaned), frames, strict=True):
            assert np.array_equal(made[..., :3], np.asarray(frame))


def test_an_avif_is_taken_as_it_is_or_not_at_all() -> None:
    sinks = [io.BytesIO() for _ in range(3)]
    scene(40, 30).save(sinks[0], "AVIF", speed=10)
    scene(40, 30).save(sinks[1], "AVIF", speed=10, exif=exif_block())
    scene(40, 30).save(sinks[2], "AVIF", speed=10, xmp=b"SECRET")
    plain, *told = (sink.getvalue() for sink in sinks)
    assert without_metadata(plain, Format.AVIF) == plain
    assert all(without_metadata(data, Format.AVIF) is None for data in told)
    assert without_metadata(plain + b"\0\0\0\x0eudtaSECRET", Format.AVIF) is None
    assert without_metadata(plain.replace(b"colrnclx\0\1", b"colrnclx\0\x09"), Format.AVIF) is None
    assert without_metadata(plain[:100], Format.AVIF) is None


def test_formats_without_a_walker_are_left_alone() -> None:
    assert without_metadata(corpus.read("tiff_rgb_scan_425x640"), Format.TIFF) is None


@pytest.mark.parametrize("lossless", [False, True])
def test_the_highest_effort_ends_in_time_with_transparency(lossless: bool) -> None:
    """libwebp's method 6 took 5.4 s for this picture, most of it for its alpha."""
    picture = noise(300, 200).convert("RGBA")
    picture.putalpha(noise(300, 200, seed=2).convert("L"))
    started = process_time()
    encode(picture, Format.WEBP, Options(format="webp", effort=9, lossless=lossless), b"")
    assert process_time() - started < 2
