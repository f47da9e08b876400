"""What is to be reached, and whether it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.quality import fronts
from benchmarks.quality.encoders import Encode
from omnishot_ray.imaging.formats import Format


@dataclass(frozen=True)
class Goal:
    """Ours against a peer at equal score. Without limits the row only informs."""

    format: Format
    ours: str
    peer: str
    most_bytes: float | None = None
    most_cpu: float | None = None


DEFAULT, FASTEST, SMALLEST = "ours effort 4", "ours effort 2", "ours effort 9"

PEERS = {
    Format.JPEG: "sharp mozjpeg",
    Format.WEBP: "sharp webp",
    Format.AVIF: "sharp avif",
    Format.PNG: "sharp png",
}
"""What the goals and the plot of a format are ratios to."""

GOALS = (
    Goal(Format.JPEG, FASTEST, "sharp mozjpeg"),
    Goal(Format.JPEG, DEFAULT, "sharp mozjpeg", 1.05, 1 / 8),
    Goal(Format.JPEG, SMALLEST, "sharp mozjpeg", 0.99, 1 / 2),
    Goal(Format.JPEG, FASTEST, "sharp"),
    Goal(Format.JPEG, DEFAULT, "sharp"),
    Goal(Format.WEBP, FASTEST, "sharp webp"),
    Goal(Format.WEBP, "ours effort 3", "sharp webp"),
    Goal(Format.WEBP, DEFAULT, "sharp webp", 1.00, 1.0),
    Goal(Format.WEBP, SMALLEST, "sharp webp"),
    Goal(Format.AVIF, FASTEST, "sharp avif"),
    Goal(Format.AVIF, DEFAULT, "sharp avif"),
    Goal(Format.AVIF, "ours effort 5", "sharp avif"),
    # The effort of aom's speed that sharp takes by default; a lower one is far cheaper and larger.
    Goal(Format.AVIF, "ours effort 7", "sharp avif", 1.00, 1.0),
    Goal(Format.AVIF, SMALLEST, "sharp avif"),
    Goal(Format.PNG, FASTEST, "sharp png"),
    Goal(Format.PNG, DEFAULT, "sharp png"),
    Goal(Format.PNG, SMALLEST, "sharp png"),
)


@dataclass(frozen=True)
class Row:
    """A goal with what was measured; no ratio when no picture has both at one score."""

    goal: Goal
    ratio: fronts.Ratio | None

    @property
    def verdict(self) -> str:
        """Pass, fail, or "-" where nothing is to be reached."""
        goal = self.goal
        if goal.most_bytes is None or goal.most_cpu is None:
            return "-"
        if self.ratio is None:
            return "fail"
        # To the two digits that the table shows and the goal is given in.
        small = round(self.ratio.bytes, 2) <= goal.most_bytes
        return "pass" if small and self.ratio.cpu <= goal.most_cpu else "fail"


def judge(encodes: Sequence[Encode]) -> list[Row]:
    """A row for each goal whose format was measured."""
    of: Mapping[tuple[str, str], list[Encode]] = by_encoder(encodes)
    rows = []
    for goal in GOALS:
        ours, peer = (of.get((goal.format.value, name), []) for name in (goal.ours, goal.peer))
        if ours and peer:
            compare = fronts.compare_lossless if goal.format is Format.PNG else fronts.compare
            rows.append(Row(goal, compare(ours, peer)))
    return rows


def fronts_of(encodes: Sequence[Encode]) -> dict[str, dict[str, fronts.Ratio]]:
    """By format and encoder: the ratio to the peer of the format's goal, the peer's own 1 too."""
    of = by_encoder(encodes)
    found: dict[str, dict[str, fronts.Ratio]] = {}
    for (format, encoder), curve in of.items():
        compare = fronts.compare_lossless if format == Format.PNG.value else fronts.compare
        ratio = compare(curve, of[format, PEERS[Format(format)]])
        if ratio:
            found.setdefault(format, {})[encoder] = ratio
    return found


def by_encoder(encodes: Sequence[Encode]) -> dict[tuple[str, str], list[Encode]]:
    """The encodes of each format and encoder."""
    grouped: dict[tuple[str, str], list[Encode]] = {}
    for encode in encodes:
        grouped.setdefault((encode.format, encode.encoder), []).append(encode)
    return grouped
