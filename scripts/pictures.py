"""Makes the pictures of the README with the engine itself: `python scripts/pictures.py`."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import Rendition, process

ROOT = Path(__file__).resolve().parents[1]
DATA, OUT = ROOT / "tests" / "data", ROOT / "docs" / "images"
INK, PAPER, GREY = (30, 34, 40), (250, 250, 248), (120, 126, 134)
GAP, LABEL = 18, 40


def render(photo: Path, wanted: list[Options]) -> list[Rendition]:
    """All renditions of one photo; a failed one is an error here."""
    result = process(photo.read_bytes(), wanted, Limits())
    made = [item for item in result.renditions if isinstance(item, Rendition)]
    assert len(made) == len(wanted)
    return made


def contact_sheet(photo: str, wanted: list[dict[str, object]], height: int, name: str) -> None:
    """The source and its renditions in a row, each with its name, pixels and bytes."""
    source = DATA / photo
    options = [parse_options(item) for item in wanted]
    (preview,) = render(source, [parse_options({"height": height, "format": "jpeg"})])
    tiles = [(preview, "source", _size(source.stat().st_size))]
    for rendition in render(source, options):
        text = f"{rendition.width} x {rendition.height} {rendition.format}, "
        tiles.append((rendition, rendition.name, text + _size(len(rendition.data))))
    pictures = [_shown(rendition, height) for rendition, _, _ in tiles]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) + 1)
    sheet = Image.new("RGB", (width, height + LABEL + 2 * GAP), PAPER)
    draw, x = ImageDraw.Draw(sheet), GAP
    bold, plain = ImageFont.load_default(15), ImageFont.load_default(13)
    for picture, (_, title, text) in zip(pictures, tiles, strict=True):
        sheet.paste(picture, (x, GAP))
        draw.rectangle((x - 1, GAP - 1, x + picture.width, GAP + height), outline=(210, 210, 206))
        draw.text((x, GAP + height + 6), title, INK, bold)
        draw.text((x, GAP + height + 25), text, GREY, plain)
        x += picture.width + GAP
    OUT.mkdir(parents=True, exist_ok=True)
    sheet.save(OUT / name, quality=86, optimize=True, progressive=True)


def _shown(rendition: Rendition, height: int) -> Image.Image:
    import io  # noqa: PLC0415

    formats = [rendition.format.plugin]
    image = Image.open(io.BytesIO(rendition.data), formats=formats).convert("RGB")
    return image.resize((round(image.width * height / image.height), height), Image.LANCZOS)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def main() -> None:
    """The three pictures."""
    contact_sheet(
        "photo_dog_4032x3024_exif6.jpg",
        [{"platform": p} for p in ("instagram-post", "instagram-story", "x-post", "pinterest-pin")],
        300,
        "social.jpg",
    )
    contact_sheet(
        "valid/product_jar_on_white_1125x1800_adobergb_icc.jpg",
        [{"platform": p} for p in ("amazon-main", "ebay", "etsy", "google-shopping")],
        300,
        "marketplace.jpg",
    )
    contact_sheet(
        "photo_tomatoes_2912x4368.jpg",
        [{"platform": f"web-1280-{format}"} for format in ("jpeg", "webp", "avif")],
        300,
        "web.jpg",
    )


if __name__ == "__main__":
    main()
