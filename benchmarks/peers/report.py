"""What was measured, judged and written down: the table, its Markdown page and its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.peers.answers import Picture
from benchmarks.peers.rows import Row
from benchmarks.peers.wrk import Load

NOTE = (
    "The server (ours with Ray and HAProxy, or the peer) and wrk share the same {cores} cores; "
    "the processes of the one not measured stand still. Figures are medians of the rounds; a ratio "
    "is the median of the rounds' own ratios, in brackets the lowest and the highest."
)
NOTE_OURS_URL = "Our server was already running, and stayed up (idle) while the peer was measured."
NOTE_ASSUMED = "The peer was measured alone, with assumed platform sizes."
HEADINGS = (
    "row",
    "peer req/s",
    "ours req/s",
    "ratio",
    "peer bytes",
    "ours bytes",
    "target",
    "verdict",
)


@dataclass
class Side:
    """One server's part of a row: a load a round, the pictures it answered, and what was wrong."""

    loads: list[Load] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float | None:
        """Median of the rounds."""
        return median(load.requests_per_second for load in self.loads) if self.loads else None

    @property
    def p50_ms(self) -> float | None:
        """Median of the rounds' medians."""
        return median(load.p50_ms for load in self.loads) if self.loads else None

    @property
    def p99_ms(self) -> float | None:
        """Median of the rounds' 99th percentiles."""
        return median(load.p99_ms for load in self.loads) if self.loads else None

    @property
    def bytes(self) -> int | None:
        """All renditions of one answer together, without their Base64 and JSON."""
        return sum(picture.size for picture in self.pictures) if self.pictures else None

    def add_problem(self, problem: str) -> None:
        """Adds what went wrong, once however many rounds it happens in."""
        if problem not in self.problems:
            self.problems.append(problem)

    def as_json(self) -> dict[str, Any]:
        """The figures, and each round's requests per second."""
        return {
            "requests_per_second": _rounded(self.requests_per_second),
            "rounds": [_rounded(load.requests_per_second) for load in self.loads],
            "requests": [load.requests for load in self.loads],
            "p50_ms": _rounded(self.p50_ms),
            "p99_ms": _rounded(self.p99_ms),
            "bytes": self.bytes,
            "encodings": sorted({picture.encoding for picture in self.pictures}),
            "problems": self.problems,
        }


@dataclass
class Result:
    """A row with what both servers made of it."""

    row: Row
    peer: Side = field(default_factory=Side)
    ours: Side = field(default_factory=Side)
    difference: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours over peer of each round, whose two runs followed each other."""
        pairs = zip(self.ours.loads, self.peer.loads, strict=False)
        return [
            ours.requests_per_second / peer.requests_per_second
            for ours, peer in pairs
            if peer.requests_per_second
        ]

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def all_problems(self) -> list[str]:
        """Everything that makes the row invalid, each with its side."""
        sides = (("peer", self.peer), ("ours", self.ours))
        return self.problems + [
            f"{name}: {problem}" for name, side in sides for problem in side.problems
        ]

    @property
    def verdict(self) -> str:
        """Pass, fail, invalid, or "-" where there is nothing to reach or to compare."""
        if self.all_problems:
            return "invalid"
        target = self.row.target
        if target is None or not self.ours.loads:
            return "-"
        if target.most_p50_ms is not None:
            reached = self.ours.p50_ms is not None and self.ours.p50_ms <= target.most_p50_ms
        else:
            if self.ratio is None or target.least_ratio is None:
                return "-"
            reached = self.ratio >= target.least_ratio
        return "pass" if reached else "fail"

    def as_json(self) -> dict[str, Any]:
        """The row as it is written to a result file."""
        return {
            "name": self.row.name,
            "title": self.row.title,
            "requests": {"peer": self.row.peer, "ours": self.row.ours},
            "peer": self.peer.as_json(),
            "ours": self.ours.as_json(),
            "ratio": _rounded(self.ratio),
            "ratios": [_rounded(ratio) for ratio in self.ratios],
            "picture_difference": _rounded(self.difference),
            "target": None if self.row.target is None else str(self.row.target),
            "verdict": self.verdict,
            "problems": self.all_problems,
        }


def table(results: Sequence[Result]) -> str:
    """The results as an aligned Markdown table, the same on a terminal and in a page."""
    lines = [HEADINGS, *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(pairs)
        ]
        for pairs in (list(zip(line, widths, strict=True)) for line in (lines[0], rule, *lines[1:]))
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def health_lines(results: Sequence[Result]) -> list[str]:
    """p50 and p99 of the rows that ask for /health, one line a row."""
    lines = []
    for result in results:
        if result.row.photo is not None:
            continue
        sides = (("peer", result.peer), ("ours", result.ours))
        shown = [
            f"{name} p50 {side.p50_ms:.2f} ms, p99 {side.p99_ms:.2f} ms"
            for name, side in sides
            if side.loads
        ]
        lines.append(f"{result.row.title}: {'; '.join(shown)}")
    return lines


def problem_lines(results: Sequence[Result]) -> list[str]:
    return [
        f"{result.row.title}: {problem}" for result in results for problem in result.all_problems
    ]


def page(document: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The Markdown page of a run; `document` as `compare.py` writes it to JSON."""
    rounds = [
        f"- {result.row.title}: peer {_rounds(result.peer)}; ours {_rounds(result.ours)}"
        for result in results
    ]
    parts = [
        "# OmniShot against Express + sharp",
        f"`{document['command']}`, commit {document['commit']}, {document['date']}",
        table(results),
        "\n".join(
            f"- {line}"
            for line in (*health_lines(results), *problem_lines(results), *document["notes"])
        ),
        "## Requests per second of each round, and what the answers are",
        "\n".join(rounds),
        "## Machine and settings",
        "\n".join(
            f"- {name}: {value}"
            for name, value in (document["machine"] | document["settings"]).items()
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.row.title,
        _number(result.peer.requests_per_second),
        _number(result.ours.requests_per_second),
        _ratio(result),
        "-" if result.peer.bytes is None else f"{result.peer.bytes:,}",
        "-" if result.ours.bytes is None else f"{result.ours.bytes:,}",
        "-" if result.row.target is None else str(result.row.target),
        result.verdict,
    )


def _ratio(result: Result) -> str:
    if result.ratio is None:
        return "-"
    return f"{result.ratio:.2f} ({min(result.ratios):.2f}–{max(result.ratios):.2f})"


def _rounds(side: Side) -> str:
    speeds = " / ".join(_number(load.requests_per_second) for load in side.loads) or "-"
    encodings = ", ".join(sorted({picture.encoding for picture in side.pictures}))
    return f"{speeds} ({encodings})" if encodings else speeds


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
