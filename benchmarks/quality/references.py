"""The pictures that everything is measured against: photographs scaled to 1000 px, as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.quality.environment import CACHE, ROOT

CORPUS = ROOT.parent / "shared" / "corpus"
SIDE = 1000
LEAST = 10

NAMES = (
    "q05_blue_van_2048x1358.png",
    "portrait_woman_2000x3008.jpg",
    "q08_tulips_2048x878.png",
    "q01_landscape_skye_2048x1216.png",
    "q03_portrait_afro_1360x2048.png",
    "q10_game_render_underwater_2048x1152.png",
    "photo_kodim23_parrots_768x512.png",
    "portrait_astronaut_512x512.png",
    "photo_dog_4032x3024_exif6.jpg",
    "photo_tomatoes_2912x4368.jpg",
    "photo_sharp_benchmark_2725x2225.jpg",
    "jpeg444_flower_2268x1512.jpg",
    "png_rgb_graphic_1920x1080.png",
)
"""Saturated and dull colours, skin, smooth and busy pictures, one graphic. The first three are the
quick set."""


@dataclass(frozen=True)
class Reference:
    """An upright RGB picture without metadata, and the PNG that holds it."""

    name: str
    path: Path

    @cached_property
    def image(self) -> Image.Image:
        """Its pixels, RGB."""
        with Image.open(self.path) as opened:
            return opened.convert("RGB")

    @property
    def megapixels(self) -> float:
        """Its size."""
        return self.image.width * self.image.height / 1e6


def prepare(corpus: Path, names: Sequence[str] = NAMES, side: int = SIDE) -> list[Reference]:
    """The references, made where they are missing.

    Raises:
        FileNotFoundError: fewer than `LEAST` of them, or of a smaller `names` not all, can be made.
    """
    folder = CACHE / f"references-{side}"
    folder.mkdir(parents=True, exist_ok=True)
    (CACHE.parent / ".gitignore").write_text("*\n")
    found = {name: path for name in names if (path := find(corpus, name))}
    if len(found) < min(LEAST, len(names)):
        missing = ", ".join(name for name in names if name not in found)
        raise FileNotFoundError(
            f"At least {min(LEAST, len(names))} originals are needed; neither {corpus} nor "
            f"tests/data has {missing}. Name their folder by --corpus."
        )
    return [_scaled(path, folder / f"{Path(name).stem}.png", side) for name, path in found.items()]


def find(corpus: Path, name: str) -> Path | None:
    """An original by its name: in the corpus, its folders, or the copies of the tests."""
    tests = ROOT / "tests" / "data"
    folders = (corpus, corpus / "quality", corpus / "valid", tests, tests / "valid")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _scaled(original: Path, path: Path, side: int) -> Reference:
    if not path.exists():
        with Image.open(original) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
        picture.info.clear()
        unfinished = path.with_suffix(".unfinished")
        picture.save(unfinished, "PNG")
        unfinished.replace(path)
    return Reference(path.stem, path)
