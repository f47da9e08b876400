"""SSIMULACRA2 of encoded files, by the package of that name in its own environment."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.environment import CACHE, run_script, said


def score(pairs: Sequence[tuple[Path, Path]]) -> list[float]:
    """The scores of pairs of reference and encoded file: 100 is the same picture, 90 visually so.

    Kept by pixels in benchmarks/.cache/quality, so a picture is scored once. A megapixel takes
    1.5 s.

    Raises:
        RuntimeError: a file could not be read; what was wrong with it is on stderr.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    job = {
        "cache": str(CACHE / "scores.json"),
        "pairs": [(str(reference), str(encoded)) for reference, encoded in pairs],
    }
    lines = said(run_script("score.py", job), every=50, of=len(pairs), what="scores")
    return [float(line) for line in lines]
