"""What to change, why, and what it should bring: rules over figures, each with its numbers.

A rule is silent where there are too few figures or where the gain would be small. Gains are what
the same requests would have had; how sure that is (`confidence`) goes by how many there were.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from omnishot_ray.metrics.analysis.reuse import ReuseCurve

_MIB = 1 << 20
_FEWEST = 100
_MANY = 2000
_BUSY, _IDLE = 0.8, 0.4
_GOAL = 0.6
"""Utilisation at which queues are short: as `cpu_goal` of the autoscaling."""
_LONG_QUEUE_MS = 100.0
_MODERN = ("avif", "webp")
_PLAIN = ("jpeg", "png")


@dataclass(frozen=True, slots=True)
class Knobs:
    """The settings as they are; None where that is not known."""

    memory_bytes: int | None = None
    """Of the cache, for each gateway."""
    gateways: int = 1
    inline_ms: float | None = None
    max_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class KindFigures:
    """Processes of one kind: how many there were, and the busy share of the core of each."""

    processes: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class FormatFigures:
    """Renditions of one kind of source in one format."""

    source: str
    format: str
    count: int
    bytes_in: float
    bytes_out: float
    bytes_saved: float
    pixels: float
    """Of the sources."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the rules look at."""

    requests: int = 0
    kinds: dict[str, KindFigures] = field(default_factory=dict)
    queue_p95_ms: dict[str, float] = field(default_factory=dict)
    """By lane."""
    most_waiting: float = 0.0
    replicas: float = 0.0
    """On average."""
    formats: Sequence[FormatFigures] = ()
    reuse: ReuseCurve | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One change."""

    setting: str
    now: Any
    then: Any
    why: str
    gain: str
    confidence: str
    """`low`, `medium` or `high`."""

    def describe(self) -> dict[str, Any]:
        """As answered over HTTP."""
        return {name: getattr(self, name) for name in self.__slots__}


Rule = Callable[[Figures, Knobs], "Recommendation | None"]


def recommend(figures: Figures, knobs: Knobs) -> list[Recommendation]:
    """All that the figures speak for."""
    rules: tuple[Rule, ...] = (
        _size_cache,
        _move_work_inline,
        _move_work_to_the_pool,
        _add_replicas,
        _remove_replicas,
        _hand_out_modern_formats,
        _search_quality,
    )
    return [found for rule in rules if (found := rule(figures, knobs))]


def _size_cache(figures: Figures, knobs: Knobs) -> Recommendation | None:
    curve, now = figures.reuse, knobs.memory_bytes
    if curve is None or curve.requests < _FEWEST or now is None:
        return None
    # Each gateway sees its share of the requests and keeps results of its own.
    held, wanted = float(now), curve.smallest()
    share, best = curve.hit_share(held), curve.best_share
    confidence = _confidence(curve.requests)
    if best - share >= 0.05 and wanted > held:
        then = _round_up(wanted)
        return Recommendation(
            "cache.memory_bytes",
            now,
            then,
            f"Of {curve.requests} requests {share:.0%} ask again for what {now / _MIB:.0f} MiB "
            f"still hold, and {best:.0%} for what was made before at all.",
            f"{curve.hit_share(then) - share:.0%} of the requests need no work any more.",
            confidence,
        )
    then = max(16 * _MIB, 2 * _round_up(wanted))
    if curve.requests >= _MANY and now >= 4 * then:
        return Recommendation(
            "cache.memory_bytes",
            now,
            then,
            f"{wanted / _MIB:.0f} MiB hold nearly all that was asked for again.",
            f"{(now - then) * knobs.gateways / _MIB:.0f} MiB of memory, at the same hit rate.",
            confidence,
        )
    return None


def _move_work_inline(figures: Figures, knobs: Knobs) -> Recommendation | None:
    gateway = figures.kinds.get("gateway")
    waiting = figures.queue_p95_ms.get("pool", 0.0)
    if not gateway or figures.requests < _FEWEST or waiting < _LONG_QUEUE_MS:
        return None
    if gateway.utilisation > _IDLE or not _is_busy(figures, "resizer"):
        return None
    then = None if knobs.inline_ms is None else knobs.inline_ms * 2
    return Recommendation(
        "dispatch.inline_ms",
        knobs.inline_ms,
        then,
        f"Gateways use {gateway.utilisation:.0%} of their cores, Resizers "
        f"{figures.kinds['resizer'].utilisation:.0%}; work waits {waiting:.0f} ms for them (p95).",
        f"Up to {_GOAL - gateway.utilisation:.0%} of each gateway's core takes work off the queue.",
        _confidence(figures.requests),
    )


def _move_work_to_the_pool(figures: Figures, knobs: Knobs) -> Recommendation | None:
    resizer = figures.kinds.get("resizer")
    if not resizer or figures.requests < _FEWEST or not _is_busy(figures, "gateway"):
        return None
    if resizer.utilisation > _IDLE:
        return None
    then = None if knobs.inline_ms is None else knobs.inline_ms / 2
    return Recommendation(
        "dispatch.inline_ms",
        knobs.inline_ms,
        then,
        f"Gateways use {figures.kinds['gateway'].utilisation:.0%} of their cores, so every request "
        f"waits for them; Resizers use {resizer.utilisation:.0%}.",
        "Cheap requests and cache hits no longer wait behind inline work.",
        _confidence(figures.requests),
    )


def _add_replicas(figures: Figures, knobs: Knobs) -> Recommendation | None:
    waiting = figures.queue_p95_ms.get("pool", 0.0)
    if figures.requests < _FEWEST or waiting < _LONG_QUEUE_MS or not _is_busy(figures, "resizer"):
        return None
    resizer = figures.kinds["resizer"]
    now = knobs.max_replicas
    if now is not None and figures.replicas < 0.9 * now:
        return None  # the autoscaler has not used what it has
    wanted = max(1, round(resizer.processes * resizer.utilisation / _GOAL + 0.499))
    then = max(wanted, (now or 0) + 1)
    return Recommendation(
        "resizers.max_replicas",
        now,
        then,
        f"{resizer.processes:.1f} Resizers use {resizer.utilisation:.0%} of their cores, and work "
        f"waits {waiting:.0f} ms for them (p95), at most {figures.most_waiting:.0f} tasks at once.",
        f"At {_GOAL:.0%} the wait goes away; it takes {then - (now or wanted)} more cores.",
        _confidence(figures.requests),
    )


def _remove_replicas(figures: Figures, _: Knobs) -> Recommendation | None:
    resizer = figures.kinds.get("resizer")
    if not resizer or figures.requests < _FEWEST or resizer.utilisation > 0.15:
        return None
    needed = max(1, round(resizer.processes * resizer.utilisation / _GOAL + 0.499))
    if resizer.processes < needed + 0.9 or figures.queue_p95_ms.get("pool", 0.0) > 10.0:
        return None
    return Recommendation(
        "resizers.min_replicas",
        None,
        needed,
        f"{resizer.processes:.1f} Resizers use {resizer.utilisation:.0%} of their cores, and "
        "nothing waits for them.",
        f"{resizer.processes - needed:.1f} cores and their memory are free.",
        _confidence(figures.requests),
    )


def _hand_out_modern_formats(figures: Figures, _: Knobs) -> Recommendation | None:
    """Bytes a source pixel of the same kind of source, plain against modern."""
    saved = plain_bytes = 0.0
    count, ratio_told, modern_told = 0, 0.0, ""
    for one in figures.formats:
        if one.format not in _PLAIN or one.count < _FEWEST or not one.pixels:
            continue
        for other in figures.formats:
            is_rival = other.source == one.source and other.format in _MODERN
            if not is_rival or other.count < _FEWEST or not other.pixels:
                continue
            ratio = (other.bytes_out / other.pixels) / (one.bytes_out / one.pixels)
            if one.bytes_out * (1.0 - ratio) > saved:
                saved, plain_bytes = one.bytes_out * (1.0 - ratio), one.bytes_out
                count, ratio_told, modern_told = one.count, ratio, f"{one.format} → {other.format}"
    if not plain_bytes or saved < 0.1 * plain_bytes:
        return None
    return Recommendation(
        "format",
        modern_told.partition(" ")[0],
        modern_told.rpartition(" ")[2],
        f"{count} renditions were handed out as {modern_told.partition(' ')[0]}; those of like "
        f"sources as {modern_told.rpartition(' ')[2]} take {ratio_told:.0%} of the bytes a pixel.",
        f"{saved / 1e6:.1f} MB of {plain_bytes / 1e6:.1f}, where clients accept it: send Accept "
        "and leave out `format`.",
        # Who asks for another format may ask for other sizes, too.
        "medium" if count >= _MANY else "low",
    )


def _search_quality(figures: Figures, _: Knobs) -> Recommendation | None:
    plain = [one for one in figures.formats if one.format in ("jpeg", "webp", "avif")]
    worst = min(
        (one for one in plain if one.count >= _FEWEST and one.bytes_in > 0),
        key=lambda one: one.bytes_saved / one.bytes_in,
        default=None,
    )
    if worst is None or worst.source != worst.format:
        return None
    share = worst.bytes_saved / worst.bytes_in
    if share > 0.1:
        return None
    return Recommendation(
        "quality",
        None,
        "auto",
        f"{worst.count} {worst.format}s from {worst.source} were made only {share:.0%} smaller.",
        "The smallest file that still looks the same (`target_ssim`); how much that is depends on "
        "the pictures: try it on some.",
        "low",
    )


def _is_busy(figures: Figures, kind: str) -> bool:
    found = figures.kinds.get(kind)
    return found is not None and found.utilisation >= _BUSY


def _confidence(count: int) -> str:
    return "high" if count >= 10 * _MANY else "medium" if count >= _MANY else "low"


def _round_up(size: float) -> int:
    """To whole 16 MiB."""
    step = 16 * _MIB
    return int(-(-size // step) * step)
