"""Our encoders and sharp's over photographs: bytes at equal SSIMULACRA2, and CPU.

    python -m benchmarks.quality.compare              all formats, 13 pictures: half an hour
    python -m benchmarks.quality.compare --quick      three pictures
    python -m benchmarks.quality.compare --formats jpeg webp

Writes quality.md, .png and .json into --results: benchmarks/results, or for a part of it
benchmarks/.cache/quality. Exit code: 0 every goal reached, 1 one missed,
3 something is missing here.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import page_head
from benchmarks.peers.servers import ServerError
from benchmarks.quality import encoders, fronts, goals, references, report, scoring, shrink
from benchmarks.quality.encoders import Encode
from benchmarks.quality.environment import CACHE, ROOT, run_script
from omnishot_ray.imaging.formats import Format

FORMATS = {format.value: format for format in encoders.QUALITIES}


def main() -> int:
    given = parse_arguments()
    head = page_head("Bytes and CPU at equal quality, against sharp")
    formats = [FORMATS[name] for name in given.formats]
    names = references.NAMES[:3] if given.quick else references.NAMES
    try:
        pictures = references.prepare(given.corpus, names)
        peers, versions = encoders.encode_sharp(pictures, formats, given.rounds)
        encodes = peers + encoders.encode_ours(pictures, formats, given.rounds)
        paths = {picture.name: picture.path for picture in pictures}
        pairs = [(paths[encode.reference], Path(encode.path)) for encode in encodes]
        for encode, score in zip(encodes, scoring.score(pairs), strict=True):
            encode.score = score
        shrunk = shrink.measure(given.corpus)
    except (OSError, RuntimeError, ServerError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 3
    rows = goals.judge(encodes)
    given.results.mkdir(parents=True, exist_ok=True)
    target = given.results / "quality"
    found = report.document(rows, shrunk, encodes, versions)
    target.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    plot = target.with_suffix(".png")
    draw(plot, encodes)
    shown = [picture.name for picture in pictures]
    target.with_suffix(".md").write_text(
        report.page(head, rows, shrunk, shown, versions, plot.name)
    )
    print(report.table(rows), report.shrunk_table(shrunk), sep="\n\n")
    verdicts = [row.verdict for row in rows] + [shrink.verdict(shrunk)]
    return 1 if "fail" in verdicts else 0


def draw(file: Path, encodes: Sequence[Encode]) -> None:
    """The plot of curves and fronts."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (format, encoder), same in goals.by_encoder(encodes).items():
        if format != Format.PNG.value:
            curves.setdefault(format, {})[encoder] = fronts.curve(same)
    ratios = {
        format: {encoder: (ratio.cpu, ratio.bytes) for encoder, ratio in front.items()}
        for format, front in goals.fronts_of(encodes).items()
    }
    for line in run_script("plot.py", {"file": str(file), "curves": curves, "fronts": ratios}):
        print(line, end="", file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--corpus", type=Path, default=references.CORPUS, help="folder of originals"
    )
    parser.add_argument("--quick", action="store_true", help="three pictures only")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument(
        "--rounds", type=int, default=3, help="encodes of which the fastest counts (AVIF: 1)"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="where to write")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    if given.results is None:
        whole = not given.quick and set(given.formats) == set(FORMATS)
        given.results = ROOT / "benchmarks" / "results" if whole else CACHE
    return given


if __name__ == "__main__":
    sys.exit(main())
