"""Every kind of sample and colour, against values that are worked out here and not by Pillow."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Rendition, process
from tests import corpus
from tests.pictures import encode, opened, plain, png_of_chunks, scene

Values = NDArray[Any]

HEIGHT, WIDTH = 7, 13
random = np.random.default_rng(5)


def made_from(data: bytes, mode: str = "RGBA", **options: Any) -> Values:
    (rendition,) = process(
        data,
        [Options(**{"format": "webp", "lossless": True, "animated": False, **options})],
        Limits(),
    ).renditions
    assert isinstance(rendition, Rendition), rendition
    return np.asarray(opened(rendition.data).convert(mode)).astype(float)


def assert_close(made: Values, expected: Values, most: float, mean: float | None = None) -> None:
    assert made.shape == expected.shape
    apart = np.abs(made - expected)
    assert apart.max() <= most
    if mean is not None:
        assert apart.mean() <= mean


# PNG: every depth and kind of colour, with and without a transparent one.

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((kind, depth) for kind in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)),
]


def packed(samples: Values, depth: int) -> bytes:
    """A row of samples as the file has it (PNG 3rd edition §7.2)."""
    if depth == 16:
        return bytes(samples.astype(">u2").tobytes())
    bits = np.unpackbits(samples.astype(np.uint8)[:, np.newaxis], axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
"""First row and column, and their steps, of the passes but the last."""


def png_of(samples: Values, depth: int, kind: int, *, interlaced: bool, **chunks: bytes) -> bytes:
    """A PNG of height × width × channels samples."""
    height, width = samples.shape[:2]
    passes = [samples]
    if interlaced:
        passes = [samples[top::down, left::right] for top, left, down, right in ADAM7]
        passes.append(samples[1::2])
    rows = b"".join(b"\0" + packed(row.ravel(), depth) for part in passes for row in part)
    ihdr = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    further = ((name.encode(), body) for name, body in chunks.items())
    idat = (b"IDAT", zlib.compress(rows))
    return png_of_chunks((b"IHDR", ihdr), *further, idat, (b"IEND", b""))


def rgba_of(samples: Values, depth: int, kind: int, palette: Values, alphas: Values) -> Values:
    """What the samples mean, as 8-bit RGBA (PNG 3rd edition §13.5, linear scaling)."""
    if kind == PALETTE:
        return np.concatenate([palette, alphas[:, np.newaxis]], axis=1)[samples[..., 0]]
    scaled = samples * (255.0 / (2**depth - 1))
    color = scaled[..., :3] if kind in (RGB, RGBA) else scaled[..., :1].repeat(3, axis=-1)
    alpha = np.full((*samples.shape[:2], 1), 255.0)
    if kind in (GREY_ALPHA, RGBA):
        alpha = scaled[..., -1:]
    return np.concatenate([color, alpha], axis=-1)


@pytest.mark.parametrize("interlaced", [False, True], ids=["", "interlaced"])
@pytest.mark.parametrize("transparent", [False, True], ids=["", "transparent"])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_every_kind_of_png(kind: int, depth: int, transparent: bool, interlaced: bool) -> None:
    if transparent and kind in (GREY_ALPHA, RGBA):
        return  # has its alpha in the samples
    samples = random.integers(0, 2**depth, (HEIGHT, WIDTH, CHANNELS[kind]))
    samples[0, 0], samples[0, 1] = 2**depth - 1, 0  # both ends of the range
    count = min(256, 2**depth)
    palette, alphas = random.integers(0, 256, (count, 3)), np.full(count, 255)
    chunks: dict[str, bytes] = {}
    if kind == PALETTE:
        chunks["PLTE"] = palette.astype(np.uint8).tobytes()
        if transparent:
            alphas = random.integers(0, 256, count)
            chunks["tRNS"] = alphas.astype(np.uint8).tobytes()
    elif transparent:
        chunks["tRNS"] = samples[2, 2].astype(">u2").tobytes()
    data = png_of(samples, depth, kind, interlaced=interlaced, **chunks)

    expected = rgba_of(samples, depth, kind, palette, alphas)
    if transparent and kind != PALETTE:
        expected[(samples == samples[2, 2]).all(axis=-1), 3] = 0
    made = made_from(data)
    assert_close(made[..., 3], expected[..., 3], 1)
    visible = expected[..., 3] > 0
    assert_close(made[visible], expected[visible], 1)


def test_a_transparent_colour_of_sixteen_bits_is_that_one_alone() -> None:
    samples = np.full((HEIGHT, WIDTH, 3), (0x1200, 0x3400, 0x5600))
    samples[:, 5:] += 0xFF  # the same in the upper eight bits
    data = png_of(samples, 16, RGB, interlaced=False, tRNS=samples[0, 0].astype(">u2").tobytes())
    made = made_from(data)
    assert (made[:, :5, 3] == 0).all()
    assert (made[:, 5:, 3] == 255).all()


# JPEG.


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_kind_of_jpeg(subsampling: str, progressive: bool) -> None:
    image = scene(64, 48)
    data = encode(image, "JPEG", quality=95, subsampling=subsampling, progressive=progressive)
    assert_close(made_from(data, "RGB"), np.asarray(image).astype(float), 5, 1)


def test_a_grey_jpeg_stays_grey() -> None:
    image = scene(64, 48).convert("L")
    data = encode(image, "JPEG", quality=95)
    assert_close(made_from(data, "L"), np.asarray(image).astype(float), 3, 0.5)
    (rendition,) = process(data, [Options(format="jpeg")], Limits()).renditions
    assert isinstance(rendition, Rendition)
    assert opened(rendition.data).mode == "L"


INKS = {
    (255, 0, 0, 0): "00aeef",
    (0, 255, 0, 0): "ec008c",
    (0, 0, 255, 0): "fff200",
    (0, 0, 0, 255): "231f20",
    (0, 0, 0, 0): "ffffff",
    (0, 255, 255, 0): "ed1c24",
}
"""Inks of U.S. Web Coated (SWOP) v2 in sRGB, relative colorimetric with black point compensation:
the values that Adobe's programs show."""


@pytest.mark.parametrize(("ink", "color"), INKS.items())
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_have_the_colours_of_their_profile(
    ink: tuple[int, int, int, int], color: str, format: str
) -> None:
    profile = opened(corpus.read("cmyk_ycck_swop_icc_500x333")).info["icc_profile"]
    settings = {"quality": 95} if format == "JPEG" else {"compression": "tiff_lzw"}
    data = encode(plain(16, 16, "CMYK", ink), format, icc_profile=profile, **settings)
    expected = np.array(list(bytes.fromhex(color)), dtype=float)
    assert np.abs(made_from(data, "RGB")[8, 8] - expected).max() <= 4


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_without_a_profile_are_subtracted(format: str) -> None:
    data = encode(plain(16, 16, "CMYK", (51, 102, 0, 51)), format)
    expected = [(255 - c) * (255 - 51) / 255 for c in (51, 102, 0)]
    assert np.abs(made_from(data, "RGB")[8, 8] - expected).max() <= 3


def test_a_ycck_jpeg_is_not_a_negative() -> None:
    """Adobe stores inks inverted: the white margin of this drawing is the first to tell."""
    made = made_from(corpus.read("cmyk_ycck_swop_icc_500x333"), "RGB", width=100)
    image = opened(corpus.read("cmyk_ycck_swop_icc_500x333"))
    plainly = np.asarray(image.convert("RGB").resize((100, made.shape[0]))).astype(float)
    assert np.abs(made.mean() - plainly.mean()) < 25
    assert np.corrcoef(made.ravel(), plainly.ravel())[0, 1] > 0.9


# WebP and AVIF.


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    ("format", "settings", "most"),
    [
        ("WEBP", {"lossless": True, "exact": True}, 0),
        ("WEBP", {"quality": 95}, 7),
        ("AVIF", {"quality": 95}, 5),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 5),
    ],
)
def test_webp_and_avif(format: str, settings: dict[str, Any], mode: str, most: float) -> None:
    image = scene(64, 48)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.tile(np.arange(60, 252, 3, dtype=np.uint8), (48, 1))))
    data = encode(image, format, **settings)
    made, expected = made_from(data, mode), np.asarray(image).astype(float)
    assert_close(made[..., :3], expected[..., :3], most)
    if mode == "RGBA":
        assert_close(made[..., 3], expected[..., 3], 1 if format == "AVIF" else 0)


def test_an_avif_of_ten_bits() -> None:
    made = made_from(corpus.read("avif_gray_ramp_10bit_64x48"), "RGB")
    ramp = np.linspace(0, 255, 64)[np.newaxis, :, np.newaxis]
    assert_close(made, np.broadcast_to(ramp, (48, 64, 3)), 4, 1)


# TIFF and BMP.


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_every_compression_of_a_tiff(mode: str, compression: str) -> None:
    image = scene(64, 48).convert(mode)
    data = encode(image, "TIFF", compression=compression, tiffinfo={278: 5})  # rows of a strip
    assert (made_from(data) == np.asarray(image.convert("RGBA"))).all()


def test_the_first_page_of_a_tiff_is_taken() -> None:
    pages = [plain(30, 20), plain(64, 48)]
    data = encode(scene(64, 48), "TIFF", save_all=True, append_images=pages)
    assert (made_from(data, "RGB") == np.asarray(scene(64, 48))).all()


def tiff_of(samples: Values, photometric: int, sample_format: int = 1) -> bytes:
    """An uncompressed TIFF in one strip; the dtype of the samples gives byte order and depth."""
    order = ">" if samples.dtype.str[0] == ">" else "<"
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    bits = samples.dtype.itemsize * 8
    count = 10
    after = 8 + 2 + 12 * count + 4
    depths = struct.pack(f"{order}{channels}H", *[bits] * channels)
    body = samples.tobytes()
    where = struct.pack(order + "I", after) if channels > 2 else depths.ljust(4, b"\0")
    entries = [
        (256, 4, 1, struct.pack(order + "I", width)),
        (257, 4, 1, struct.pack(order + "I", height)),
        (258, 3, channels, where),
        (259, 3, 1, struct.pack(order + "HH", 1, 0)),
        (262, 3, 1, struct.pack(order + "HH", photometric, 0)),
        (273, 4, 1, struct.pack(order + "I", after + len(depths))),
        (277, 3, 1, struct.pack(order + "HH", channels, 0)),
        (278, 4, 1, struct.pack(order + "I", height)),
        (279, 4, 1, struct.pack(order + "I", len(body))),
        (339, 3, 1, struct.pack(order + "HH", sample_format, 0)),
    ]
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HIH", 42, 8, count)
    ifd = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return head + ifd + bytes(4) + depths + body


SIXTEEN = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
WHITE_IS_ZERO, BLACK_IS_ZERO, IN_RGB = 0, 1, 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_of_a_tiff_are_scaled_not_clipped(order: str) -> None:
    grey = SIXTEEN.astype(order + "u2")
    color = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    expected = np.round(SIXTEEN / 257)
    assert_close(made_from(tiff_of(grey, BLACK_IS_ZERO), "L"), expected, 1)
    if order == "<":  # Pillow reads the other one not at all
        assert_close(made_from(tiff_of(grey, WHITE_IS_ZERO), "L"), 255 - expected, 1)
    assert_close(made_from(tiff_of(color, IN_RGB), "RGB"), np.round(color / 257.0), 1)


def test_thirty_two_bits_of_a_tiff_are_scaled_unless_sixteen_would_do() -> None:
    for factor in (1, 65537):
        grey = (SIXTEEN.astype(np.uint32) * factor).astype("<u4")
        assert_close(made_from(tiff_of(grey, BLACK_IS_ZERO), "L"), np.round(SIXTEEN / 257), 1)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_samples_run_to_one_or_to_255(top: float) -> None:
    ramp = np.linspace(0, top, 64 * 48, dtype=np.float32).reshape(48, 64)
    made = made_from(tiff_of(ramp.astype("<f4"), BLACK_IS_ZERO, sample_format=3), "L")
    assert_close(made, ramp * (255.0 / top), 1)


def bmp_of(
    rows: Sequence[bytes], width: int, bits: int, *, masks: bytes = b"", table: bytes = b""
) -> bytes:
    padded = b"".join(row + bytes(-len(row) % 4) for row in reversed(rows))
    start = 54 + len(masks) + len(table)
    info = struct.pack(
        "<IiiHHIIiiII",
        40,
        width,
        len(rows),
        1,
        bits,
        3 if masks else 0,
        len(padded),
        0,
        0,
        len(table) // 4,
        0,
    )
    size = start + len(padded)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + info + masks + table + padded


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_with_a_palette(bits: int) -> None:
    colors = random.integers(0, 256, (2**bits, 3)).astype(np.uint8)
    indices = random.integers(0, 2**bits, (HEIGHT, WIDTH))
    table = np.insert(colors[:, ::-1], 3, 0, axis=1).tobytes()
    data = bmp_of([packed(row, bits) for row in indices], WIDTH, bits, table=table)
    assert (made_from(data, "RGB") == colors[indices]).all()


def test_a_bmp_of_16_24_and_32_bits() -> None:
    pixels = np.asarray(scene(WIDTH, HEIGHT))
    reversed_ = pixels[..., ::-1]
    assert (
        made_from(bmp_of([row.tobytes() for row in reversed_], WIDTH, 24), "RGB") == pixels
    ).all()
    wide = np.insert(reversed_, 3, 0, axis=-1)
    assert (made_from(bmp_of([row.tobytes() for row in wide], WIDTH, 32), "RGB") == pixels).all()
    red, green, blue = (pixels[..., i].astype(np.uint16) >> s for i, s in ((0, 3), (1, 2), (2, 3)))
    short = (red << 11 | green << 5 | blue).astype("<u2")
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    expected = np.stack([red * (255 / 31), green * (255 / 63), blue * (255 / 31)], axis=-1)
    data = bmp_of([row.tobytes() for row in short], WIDTH, 16, masks=masks)
    assert_close(made_from(data, "RGB"), expected, 1)


# Profiles.


def srgb_to_linear(values: Values) -> Values:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Values) -> Values:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def to_xyz(primaries: Sequence[tuple[float, float]]) -> Values:
    """The matrix from linear RGB to XYZ of a space with the white point D65 (SMPTE RP 177)."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    scaled: Values = columns * np.linalg.solve(columns, white)
    return scaled


SRGB_XYZ = to_xyz([(0.640, 0.330), (0.300, 0.600), (0.150, 0.060)])
P3_XYZ = to_xyz([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)])
ADOBE_XYZ = to_xyz([(0.640, 0.330), (0.210, 0.710), (0.150, 0.060)])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    ("name", "matrix", "gamma"),
    [
        ("jpeg_display_p3_gainmap_384x512", P3_XYZ, None),
        ("product_jar_on_white_1125x1800_adobergb_icc", ADOBE_XYZ, 563 / 256),
    ],
    ids=["display p3", "adobe rgb"],
)
def test_wide_colours_become_those_of_srgb(
    name: str, matrix: Values, gamma: float | None, mode: str
) -> None:
    profile = opened(corpus.read(name)).info["icc_profile"]
    colors = np.array(
        [
            (255, 255, 255),
            (128, 128, 128),
            (0, 0, 0),
            (180, 120, 90),
            (90, 140, 110),
            (120, 90, 160),
            (200, 180, 60),
            (60, 60, 80),
        ],
        dtype=np.uint8,
    )
    image = Image.fromarray(colors[np.newaxis]).convert(mode)
    made = made_from(encode(image, icc_profile=profile), "RGB")[0]

    values = colors / 255.0
    linear = srgb_to_linear(values) if gamma is None else values**gamma
    expected = linear_to_srgb(np.clip(linear @ (np.linalg.inv(SRGB_XYZ) @ matrix).T, 0, 1)) * 255
    assert_close(made, expected, 2)
    assert np.abs(made - colors).max() > 5  # it is not the same anyway


def grey_profile(gamma: float) -> bytes:
    """A grey profile that is nothing but a gamma (ICC.1:2001-04 §6.3.3.1)."""
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    rights = b"text" + bytes(4) + b"none\0" + bytes(3)
    at, table, body = 128 + 4 + 12 * 4, b"", b""
    for name, part in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text), (b"cprt", rights)):
        part += bytes(-len(part) % 4)
        table += name + struct.pack(">II", at + len(body), len(part))
        body += part
    head = struct.pack(
        ">I4sI4s4s4s", at + len(body), b"none", 0x02400000, b"mntr", b"GRAY", b"XYZ "
    )
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp").ljust(44, b"\0")
    head += struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", 4) + table + body


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_converted(mode: str) -> None:
    profile = grey_profile(1.0)
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip() == "GRAY"
    greys = np.array([[0, 20, 60, 128, 200, 255]], dtype=np.uint8)
    image = Image.fromarray(greys).convert(mode)
    made = made_from(encode(image, icc_profile=profile), mode)
    expected = linear_to_srgb(greys / 255.0) * 255
    assert_close(made[..., 0] if mode == "LA" else made, expected, 2)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_profile_of_another_colour_model_counts_as_none(mode: str) -> None:
    profile = {
        "L": opened(corpus.read("jpeg_display_p3_gainmap_384x512")).info["icc_profile"],
        "RGB": grey_profile(1.0),
    }[mode]
    image = scene(20, 10).convert(mode)
    made = made_from(encode(image, icc_profile=profile), mode)
    assert (made == np.asarray(image)).all()


@pytest.mark.parametrize("linear", [False, True])
def test_a_profile_is_not_taken_for_srgb_by_its_name(linear: bool) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = profile.index(b"para") + 12
    if linear:  # the curve of all three channels, which they share: 1.0, and no offsets
        profile[curve : curve + 20] = struct.pack(">5i", 0x10000, 0x10000, 0, 0x10000, 0)
    ramp = np.arange(256, dtype=np.uint8)[np.newaxis].repeat(3, axis=0)
    image = Image.fromarray(ramp).convert("RGB")
    made = made_from(encode(image, icc_profile=bytes(profile)), "RGB")
    expected = linear_to_srgb(ramp / 255.0) * 255 if linear else ramp.astype(float)
    assert_close(made[..., 0], expected, 2 if linear else 0)


# Transparency: what nobody sees gets into nothing that is seen.


def half(mode: str, visible: Any, hidden: Any) -> bytes:
    image = plain(64, 64, mode, hidden)
    image.paste(visible, (0, 0, 32, 64))
    return encode(image)


COLORS = {
    "RGBA": ((200, 100, 50, 255), (0, 255, 0, 0)),
    "LA": ((120, 255), (255, 0)),
}


@pytest.mark.parametrize("mode", COLORS)
@pytest.mark.parametrize(
    "options",
    [
        {"width": 20},
        {"width": 47},
        {"width": 100, "enlarge": True},
        {"width": 40, "blur": 2.0},
        {"width": 40, "sharpen": 3.0},
        {"width": 48, "rotate": 90, "sharpen": 1.0, "blur": 1.0},
        {"width": 40, "grayscale": True, "blur": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("format", ["png", "webp"])
def test_hidden_colours_stay_hidden(mode: str, options: dict[str, Any], format: str) -> None:
    visible, hidden = COLORS[mode]
    made = made_from(
        half(mode, visible, hidden), format=format, lossless=format == "webp", **options
    )
    color = np.array(plain(1, 1, mode, visible).convert("RGB").getpixel((0, 0)), dtype=float)
    if options.get("grayscale"):
        color = np.full(3, np.round(color @ (0.299, 0.587, 0.114)))
    clearly = made[made[..., 3] >= 32]
    assert len(clearly) > 100
    assert np.abs(clearly[:, :3] - color).max() <= 4


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_checkerboard_of_holes_keeps_its_colour(mode: str) -> None:
    color = (200, 100, 50) if mode == "RGBA" else (120,)
    pixels = np.zeros((64, 64, len(color) + 1), dtype=np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = (*color, 255)
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(pixels.shape[2])]
    made = made_from(encode(Image.merge(mode, bands)), width=16)
    assert np.abs(made[..., :3] - color).max() <= 2
    assert np.abs(made[..., 3] - 127.5).max() <= 2


def test_hidden_pixels_have_no_part_in_the_contrast() -> None:
    image = Image.fromarray(np.asarray(scene(60, 40)) // 4 + 100).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 30, 40))
    cut = image.crop((30, 0, 60, 40)).convert("RGB")
    made = made_from(encode(image), normalize=True)[:, 30:, :3]
    assert (made == made_from(encode(cut), "RGB", normalize=True)).all()
