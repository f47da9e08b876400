"""Formats are told from bytes, and headers read without decoding."""

import io
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnishot_ray.errors import CorruptImage, LimitExceeded, OmnishotError, UnsupportedFormat
from omnishot_ray.imaging.formats import LOSSLESS, OUTPUT_FORMATS, Format, sniff
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import Limits, check_header
from tests import corpus
from tests.corpus import HOSTILE, REFUSED, VALID, Picture
from tests.pictures import encode, noise, plain, png_of_chunks

MAGIC = {
    Format.JPEG: b"\xff\xd8\xff",
    Format.PNG: b"\x89PNG\r\n\x1a\n",
    Format.WEBP: b"RIFF\x00\x00\x00\x00WEBP",
    Format.GIF: b"GIF89a",
    Format.TIFF: b"II*\x00",
    Format.AVIF: b"\x00\x00\x00\x14ftypavif\x00\x00\x00\x00",
    Format.BMP: b"BM" + bytes(12) + b"\x28\x00\x00\x00",
}

# The starts of readers that look further than the magic.
DEEPER = [
    *MAGIC.values(),
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
    b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    b"RIFF\x00\x00\x00\x00WEBPVP8L",
    b"RIFF\x00\x00\x00\x00WEBPVP8X",
    b"GIF87a",
    b"MM\x00*\x00\x00\x00\x08",
    b"\x00\x00\x00\x14ftypavis\x00\x00\x00\x00\x00\x00\x00\x40meta",
    b"BM" + bytes(12) + b"\x0c\x00\x00\x00",
]


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_the_bytes_tell_the_format(picture: Picture) -> None:
    assert sniff(picture.data) is picture.format


@pytest.mark.parametrize("picture", REFUSED, ids=lambda picture: picture.file)
def test_other_kinds_of_picture_are_refused(picture: Picture) -> None:
    assert sniff(picture.data) is None
    with pytest.raises(UnsupportedFormat):
        read_header(picture.data)


@pytest.mark.parametrize(("format", "magic"), MAGIC.items())
def test_the_magic_is_needed_whole(format: Format, magic: bytes) -> None:
    assert sniff(magic) is format
    assert all(sniff(magic[:length]) is not format for length in range(len(magic) - 4))


@pytest.mark.parametrize(
    ("start", "format"),
    [
        (b"GIF87a", Format.GIF),
        (b"GIF88a", None),
        (b"MM\x00*", Format.TIFF),
        (b"MM*\x00", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"\x00\x00\x00\x14ftypavis\x00\x00\x00\x00", Format.AVIF),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", Format.AVIF),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", None),
        (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00mif1avif", None),  # after the end of the box
        (b"BM" + bytes(12) + b"\x29\x00\x00\x00", None),
        (b"BMX", None),
        (b"", None),
    ],
)
def test_look_alikes(start: bytes, format: Format | None) -> None:
    assert sniff(start) is format


def test_names_of_formats() -> None:
    assert Format.JPEG.mime == "image/jpeg"
    assert Format.JPEG.extension == "jpg"
    assert Format.WEBP.extension == "webp"
    assert Format.AVIF.plugin == "AVIF"
    assert set(OUTPUT_FORMATS) >= LOSSLESS
    assert Format.TIFF not in OUTPUT_FORMATS


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_the_header_has_the_listed_size(picture: Picture) -> None:
    header = read_header(picture.data)
    assert (header.width, header.height) == (picture.width, picture.height)
    assert header.format is picture.format
    check_header(header, Limits())


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_the_header_agrees_with_the_decoder(picture: Picture) -> None:
    with Image.open(io.BytesIO(picture.data)) as image:
        header = read_header(picture.data)
        assert (header.width, header.height) == image.size
        if image.format != "MPO":  # the second picture of an MPO is another picture
            default = getattr(image, "default_image", False)  # which is beside the animation
            assert header.frames == getattr(image, "n_frames", 1) - default


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jpeg420_progressive_flower_2268x1512", {"scans": 10, "channels": 3}),
        ("photo_flower_480x360", {"scans": 1, "channels": 3}),
        ("cmyk_ycck_swop_icc_500x333", {"channels": 4, "alpha": False}),
        ("gif_animated_loop3_370x285", {"frames": 10, "alpha": True}),
        ("webp_animated_squares_80x80", {"frames": 9, "alpha": True}),
        ("webp_lossless_1000x307", {"frames": 1, "alpha": True, "channels": 4}),
        ("avif_dice_alpha", {"frames": 1, "alpha": True}),
        ("avif_kodim23_768x512_420_8bit", {"frames": 1, "alpha": False}),
        ("avif_animated_colors_150x150", {"frames": 5}),
        ("apng_blend_over_128x64", {"frames": 128, "alpha": True}),
        ("png_palette_transparent_300x225", {"alpha": True}),
        ("png_gray_16bit_32x32", {"channels": 1, "alpha": False}),
        ("tiff_rgb_scan_425x640", {"channels": 3, "alpha": False}),
    ],
)
def test_the_header_tells_what_decoding_will_cost(name: str, said: dict[str, object]) -> None:
    header = read_header(corpus.read(name))
    assert {field: getattr(header, field) for field in said} == said


@pytest.mark.parametrize(
    ("mode", "format", "settings"),
    [
        ("L", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("1", "PNG", {}),
        ("LA", "PNG", {}),
        ("P", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGBA", "AVIF", {}),
        ("P", "GIF", {}),
        ("L", "TIFF", {}),
        ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
        ("RGB", "BMP", {}),
        ("1", "BMP", {}),
    ],
)
def test_headers_of_what_pillow_writes(mode: str, format: str, settings: dict[str, object]) -> None:
    header = read_header(encode(plain(37, 11, mode), format, **settings))
    assert (header.format, header.width, header.height) == (Format(format.lower()), 37, 11)
    assert header.frames == 1


@pytest.mark.parametrize("orientation", [1, 4, 5, 8, 9])
def test_the_header_of_a_tiff_tells_how_it_is_turned(orientation: int) -> None:
    header = read_header(encode(plain(37, 11), "TIFF", tiffinfo={0x0112: orientation}))
    assert (header.width, header.height) == (37, 11), "as stored"
    assert header.turned is (orientation in (4, 5, 8))
    assert header.swaps_sides is (orientation in (5, 8))


def test_a_bmp_may_be_stored_from_the_top() -> None:
    data = bytearray(encode(plain(5, 7), "BMP"))
    data[22:26] = struct.pack("<i", -7)
    assert (read_header(bytes(data)).width, read_header(bytes(data)).height) == (5, 7)


def test_a_gif_may_grow_beyond_its_screen() -> None:
    data = bytearray(encode(plain(20, 10, "P"), "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    header = read_header(bytes(data))
    assert (header.width, header.height) == (20, 10)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("eps_beginbinary_negative_loop_CVE-2026-59203", UnsupportedFormat),
        ("eps_named", UnsupportedFormat),
        ("html_named", UnsupportedFormat),
        ("pdf_named", UnsupportedFormat),
        ("psd_oob_write_overflow", UnsupportedFormat),
        ("svg_billion_laughs", UnsupportedFormat),
        ("zero_byte", UnsupportedFormat),
        ("gif_infinite_loop_CVE-2018-5711", CorruptImage),
        ("polyglot_gif_js", CorruptImage),
    ],
)
def test_hostile_files_without_a_readable_header(name: str, error: type[OmnishotError]) -> None:
    with pytest.raises(error) as caught:
        read_header(corpus.read(name))
    assert type(caught.value) is error


@pytest.mark.parametrize("picture", HOSTILE, ids=lambda picture: picture.file)
def test_hostile_headers_are_read_at_once(picture: Picture) -> None:
    started = time.thread_time()
    assert isinstance(_header_or_error(picture.data), Header | OmnishotError)
    assert time.thread_time() - started < 0.05


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_a_cut_off_file_has_a_header_or_a_named_error(picture: Picture) -> None:
    data = picture.data
    early = range(min(len(data), 700))
    later = range(700, len(data), max(1, len(data) // 60))
    whole = read_header(data)
    for length in (*early, *later):
        header = _header_or_error(data[:length])
        if isinstance(header, Header):
            assert header.format is whole.format
            assert header.width >= 1
            assert header.height >= 1
        else:
            assert isinstance(header, UnsupportedFormat | CorruptImage)


@pytest.mark.parametrize("start", DEEPER, ids=lambda start: start[:24].hex())
@given(rest=st.binary(max_size=400))
def test_any_bytes_have_a_header_or_a_named_error(start: bytes, rest: bytes) -> None:
    header = _header_or_error(start + rest)
    assert isinstance(header, Header | UnsupportedFormat | CorruptImage)
    if isinstance(header, Header):
        assert min(header.width, header.height, header.frames, header.scans) >= 1


LONG_WALKS = {
    "jpeg: no marker": (b"\xff\xd8\xff\xe0\x00\x02", b"\x00"),
    "jpeg: fill bytes": (b"\xff\xd8\xff", b"\xff"),
    "jpeg: empty segments": (b"\xff\xd8", b"\xff\xe0\x00\x02"),
    "png: empty chunks": (encode(plain(1, 1))[:33], b"\x00\x00\x00\x00teXt\x00\x00\x00\x00"),
    "webp: empty chunks": (
        b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(9),
        b"JUNK\x00\x00\x00\x00",
    ),
    "gif: small blocks": (encode(plain(1, 1, "P"), "GIF")[:-1] + b"\x21\xfe", b"\x01\x00"),
    "avif: many sizes": (MAGIC[Format.AVIF] + b"\x02\x00\x00\x00meta", b"ispe"),
}
_WALK_BYTES = 8 * 2**20


@pytest.mark.parametrize(("start", "unit"), LONG_WALKS.values(), ids=LONG_WALKS.keys())
def test_a_header_made_to_be_walked_is_given_up_soon(start: bytes, unit: bytes) -> None:
    """The gateway reads headers in its event loop: what takes long there stops everybody."""
    data = start + unit * (_WALK_BYTES // len(unit))
    taken = []
    for _ in range(3):  # the best: a machine may stand still, an endless walk does not get faster
        started = time.thread_time()
        _header_or_error(data)
        taken.append(time.thread_time() - started)
    assert min(taken) < 0.1


@pytest.mark.parametrize(
    ("claimed", "frames"), [(0, 1), (1, 1), (2, 2), (64, 64), (1024, 1024), (2**32 - 1, 1024)]
)
def test_the_frames_of_an_apng_are_those_it_claims(claimed: int, frames: int) -> None:
    """More than that are never decoded, and counting them would mean walking the whole file."""
    ihdr = (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 6, 0, 0, 0))
    control = (b"acTL", struct.pack(">II", claimed, 0))
    pixels = (b"IDAT", b"")
    assert read_header(png_of_chunks(ihdr, control, pixels)).frames == frames
    assert read_header(png_of_chunks(ihdr, pixels, control)).frames == 1  # too late to count


def test_a_png_chunk_longer_than_the_file_ends_the_walk() -> None:
    ihdr = (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0))
    data = png_of_chunks(ihdr) + b"\xff\xff\xff\xfftEXt"
    assert read_header(data).width == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jpeg420_progressive_flower_2268x1512", {"bits": 12, "profile": False}),
        ("product_jar_on_white_1125x1800_adobergb_icc", {"bits": 24, "profile": True}),
        ("cmyk_ycck_swop_icc_500x333", {"bits": 32, "profile": True}),
        ("exif_landscape_orientation_1", {"swaps_sides": False, "turned": False}),
        ("exif_landscape_orientation_3", {"swaps_sides": False, "turned": True}),
        ("exif_landscape_orientation_5", {"swaps_sides": True, "turned": True}),
        ("png_palette_alpha_828x322", {"bits": 8}),
        ("png_rgb_16bit_360x182", {"bits": 48, "profile": False}),
        ("png_display_p3_8x8", {"bits": 32, "profile": True}),
        ("webp_lossless_1000x307", {"lossless": True}),
        ("webp_alpha_300x300", {"lossless": False, "alpha": True}),
        ("webp_animated_squares_80x80", {"lossless": False}),
        ("avif_paris_icc_exif_403x302", {"profile": False}),
    ],
)
def test_the_header_tells_what_the_estimate_asks(name: str, said: dict[str, object]) -> None:
    header = read_header(corpus.read(name))
    assert {field: getattr(header, field) for field in said} == said


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_is_beside_the_picture_is_told_from_its_bytes(format: str) -> None:
    """A profile does not make a picture busier."""
    picture, profile = noise(80, 60), bytes(range(256)) * 80
    plain, profiled = encode(picture, format), encode(picture, format, icc_profile=profile)
    coded = [len(data) - read_header(data).beside for data in (plain, profiled)]
    assert len(profiled) > len(plain) + 300
    assert coded[1] == pytest.approx(coded[0], abs=40)


def test_the_quantum_is_the_mean_step_of_the_luma() -> None:
    data = corpus.read("photo_flower_480x360")
    with Image.open(io.BytesIO(data)) as image:
        steps = image.quantization[0]
    assert read_header(data).quantum == sum(steps) / 64


def test_a_lossless_animation_is_told_by_its_first_frame() -> None:
    sink = io.BytesIO()
    frames = [noise(40, 30), noise(40, 30).rotate(180)]
    frames[0].save(sink, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert read_header(sink.getvalue()).lossless


def test_scans_are_counted_in_the_pixels_only() -> None:
    """A comment that looks like a thousand scans is no scan."""
    data = encode(noise(40, 40), "JPEG", progressive=True)
    comment = b"\xff\xfe" + struct.pack(">H", 2002) + b"\xff\xda" * 1000
    scans = read_header(data).scans
    assert scans > 1
    at = data.index(b"\xff\xc2")
    behind = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # the frame header
    assert read_header(data[:2] + comment + data[2:]).scans == scans
    assert read_header(data[:behind] + comment + data[behind:]).scans == scans
    assert read_header(data + data).scans == scans, "another picture begins behind the first"


def scan_by_scan(data: bytes) -> tuple[bytes, bytes]:
    """The JPEG with the first component alone in its scan, and that scan."""
    at = data.index(b"\xff\xda")
    assert data[at + 4] == 3
    scan = b"\xff\xda\x00\x08\x01" + data[at + 5 : at + 7] + data[at + 11 : -2]
    return data[:at] + scan + data[-2:], scan


def test_a_baseline_jpeg_may_have_scans_too() -> None:
    """Each costs as much as one of a progressive JPEG: 87 KB of them take seconds."""
    data, scan = scan_by_scan(encode(noise(16, 16), "JPEG"))
    assert read_header(data).scans == 1
    many = data[:-2] + scan * 200 + data[-2:]
    assert read_header(many).scans == 201
    with pytest.raises(LimitExceeded, match="201 scans"):
        check_header(read_header(many), Limits())


def test_a_scan_of_all_components_is_the_only_one_and_the_decoder_thinks_so_too() -> None:
    data = encode(noise(16, 16), "JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    many = data[:-2] + scan * 200 + data[-2:]
    assert read_header(many).scans == 1
    with pytest.raises(OSError, match="broken data stream"):
        Image.open(io.BytesIO(many)).load()


def test_a_jpeg_of_too_many_segments_is_damaged() -> None:
    data = encode(noise(16, 16), "JPEG")
    scan = data.index(b"\xff\xda")
    comments = b"\xff\xfe\x00\x02" * 5_000
    with pytest.raises(CorruptImage):
        read_header(data[:scan] + comments + data[scan:])
    parted, part = scan_by_scan(data)
    with pytest.raises(CorruptImage):
        read_header(parted[:-2] + comments + part + data[-2:])


def _header_or_error(data: bytes) -> Header | OmnishotError:
    try:
        return read_header(data)
    except OmnishotError as error:
        return error
