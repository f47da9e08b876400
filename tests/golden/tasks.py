"""The tasks whose results are held against stored pictures."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from tests import corpus
from tests.pictures import opened

REFERENCES = Path(__file__).parent / "references"


@dataclass(frozen=True, slots=True)
class Golden:
    """One task: a picture of the corpus and the options, as a query string would have them."""

    name: str
    source: str
    options: dict[str, object]

    @property
    def reference(self) -> Path:
        return REFERENCES / f"{self.name}.png"

    def make(self) -> Image.Image:
        """The picture as a client sees it: encoded, and decoded again."""
        options = parse_options(self.options)
        (rendition,) = process(corpus.read(self.source), [options], Limits()).renditions
        assert isinstance(rendition, Rendition), rendition
        image = opened(rendition.data)
        return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _golden(name: str, source: str, **options: object) -> Golden:
    return Golden(name, source, options)


TASKS = (
    _golden(
        "cover_exif_6_jpeg",
        "exif_landscape_orientation_6",
        width=160,
        height=160,
        gravity="west",
        format="jpeg",
    ),
    _golden(
        "cover_exif_7_rotated_webp",
        "exif_landscape_orientation_7",
        width=100,
        height=160,
        gravity="fp:0.2,0.6",
        rotate=90,
        format="webp",
    ),
    _golden(
        "contain_alpha_jpeg",
        "png_rgba_product_bottle_2160x2160",
        width=180,
        height=120,
        fit="contain",
        background="1e6b52",
        format="jpeg",
    ),
    _golden(
        "inside_webp", "photo_flower_480x360", width=160, height=160, fit="inside", format="webp"
    ),
    _golden(
        "outside_display_p3_jpeg",
        "jpeg_display_p3_gainmap_384x512",
        width=120,
        height=120,
        fit="outside",
        format="jpeg",
    ),
    _golden(
        "fill_png", "photo_flower_480x360", width=180, height=60, fit="fill", format="png", effort=9
    ),
    _golden("cmyk_jpeg", "cmyk_ycck_swop_icc_500x333", width=160, format="jpeg"),
    _golden(
        "adobe_rgb_cover_north_jpeg",
        "product_jar_on_white_1125x1800_adobergb_icc",
        width=150,
        height=120,
        gravity="north",
        format="jpeg",
    ),
    _golden("palette_alpha_png", "png_palette_alpha_828x322", width=180, format="png"),
    _golden("alpha_webp", "webp_alpha_300x300", width=120, format="webp"),
    _golden(
        "alpha_to_palette_png",
        "png_rgba_product_bottle_2160x2160",
        width=120,
        format="png",
        palette="true",
    ),
    _golden("rgb_16bit_jpeg", "png_rgb_16bit_360x182", width=180, format="jpeg"),
    _golden(
        "gray_16bit_enlarged_png",
        "png_gray_16bit_32x32",
        width=96,
        enlarge="true",
        format="png",
    ),
    _golden("first_frame_png", "gif_animated_chi_320x240", width=160, format="png"),
    _golden("avif_to_jpeg", "avif_kodim23_768x512_420_8bit", width=192, format="jpeg"),
    _golden(
        "filters_jpeg",
        "tiff_rgb_scan_425x640",
        width=120,
        grayscale="true",
        normalize="true",
        sharpen="1",
        format="jpeg",
    ),
)
