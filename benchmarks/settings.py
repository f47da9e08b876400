"""What the most important settings do, measured: `python -m benchmarks.settings`.

    python -m benchmarks.settings [--only NAME …] [--seconds 20] [--rounds 2] [--results DIR]

For each value of a setting the service is started anew and given a load that the setting matters
to, by turns, the first value last in every second round. Ratios are to the default's of the same
run. All of it takes two hours on a machine that does nothing else.
"""

import argparse
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from benchmarks import machine
from omnishot_ray.load import checks
from omnishot_ray.load.report import build_report
from omnishot_ray.load.run import run_shape
from omnishot_ray.load.service import own_service
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES, Mix, without
from omnishot_ray.load.watch import Watch
from omnishot_ray.settings import PREFIX

WARM_S = 5.0
_USUAL = without(MIXES["usual"], {"job"})
_FRESH = replace(_USUAL, reuse=0.0)
_SMALL = Mix({"thumbnail": 3, "upload": 1}, reuse=0.0)
_MANY = Mix({"variants": 1}, reuse=0.0)
_DEAR = Mix({"photo": 2, "webp": 2, "variants": 1}, reuse=0.0)
_AVIF = Mix({"avif": 1}, reuse=0.0)
_HOT = replace(_USUAL, reuse=1.0, catalogue=100)
_JOBS = Mix({"job": 1, "webp": 3}, reuse=0.0)
_LATE = "status 504"


@dataclass(frozen=True)
class Setting:
    """Values to try, the default first, under a load of `users` who ask for `mix`."""

    name: str
    values: tuple[str, ...]
    mix: Mix
    users: int
    beside: Mapping[str, str] = field(default_factory=dict)
    """Other settings, so that this one matters."""
    plain: bool = False
    """The name is one of the environment, not one of ours."""
    refusal: str = checks.SHED
    """What an answer may be that is not right."""
    warm_s: float = WARM_S

    def environment(self, value: str) -> dict[str, str]:
        """For the service."""
        name = self.name if self.plain else variable(self.name)
        return {variable(other): given for other, given in self.beside.items()} | {name: value}


def variable(name: str) -> str:
    """`dispatch.inline_ms` as `OMNISHOT_DISPATCH__INLINE_MS`."""
    return PREFIX + name.upper().replace(".", "__")


_POOLED = {"dispatch.inline_ms": "0"}
_STORED = {"cache.memory_bytes": "0", "cache.storage_uri": "file://{folder}"}
_SILENT = {"cache.memory_bytes": "0", "cache.redis_url": "redis://127.0.0.1:{silent}"}
"""`{folder}` is an empty one for each run, `{silent}` a port that takes all and answers nothing."""
SETTINGS = (
    Setting("dispatch.inline_ms", ("100", "0", "20", "400"), _FRESH, 8),
    Setting("dispatch.loop_ms", ("4", "0", "12"), _SMALL, 8),
    Setting("dispatch.split_ms", ("150", "100000"), _MANY, 1),
    Setting("dispatch.time_limit_s", ("10", "1", "0.5"), _AVIF, 4, _POOLED, refusal=_LATE),
    Setting("dispatch.overload.degrade", ("1", "0"), _DEAR, 60, _POOLED),
    Setting("dispatch.overload.above", ("0.5", "0.15", "0.9"), _DEAR, 20, _POOLED),
    Setting("dispatch.overload.below", ("0.1", "0.02", "0.4"), _DEAR, 20, _POOLED),
    Setting("dispatch.overload.after_s", ("2", "0", "10"), _DEAR, 20, _POOLED),
    Setting("dispatch.overload.effort", ("1", "0", "4"), _DEAR, 60, _POOLED),
    Setting("gateways.replicas", ("2", "1", "4"), _FRESH, 8),
    Setting("gateways.max_ongoing_requests", ("256", "4", "32"), _FRESH, 60),
    Setting("resizers.min_replicas", ("1", "2"), _AVIF, 4, _POOLED, warm_s=0.5),
    Setting("resizers.max_replicas", ("2", "1", "4"), _AVIF, 4, _POOLED),
    Setting("dispatch.queue.batch_ms", ("60", "1", "240"), _SMALL, 16, _POOLED),
    Setting("dispatch.queue.max_waiting_s", ("5", "1", "15"), _DEAR, 60, _POOLED),
    Setting("dispatch.queue.standing_s", ("0.3", "0.1", "2"), _DEAR, 60, _POOLED),
    Setting("dispatch.queue.standing_tasks", ("5", "0"), _AVIF, 8, _POOLED, warm_s=10),
    Setting("dispatch.queue.growth_s", ("15", "0"), _AVIF, 12, _POOLED, warm_s=0.5),
    Setting("cache.memory_bytes", ("134217728", "1000000", "536870912"), _USUAL, 8),
    Setting("cache.ttl_s", ("3600", "1", "5"), _HOT, 8, {"cache.stale_s": "0"}),
    Setting("cache.stale_s", ("86400", "0", "2"), _HOT, 8, {"cache.ttl_s": "1"}),
    Setting("cache.timeout_s", ("0.25", "0.05", "2"), _SMALL, 8, _SILENT),
    Setting("cache.max_entry_bytes", ("16777216", "20000"), _USUAL, 8, _STORED),
    Setting("jobs.enabled", ("1", "0"), _SMALL, 8),
    Setting("jobs.share", ("0.5", "1"), _JOBS, 8, _POOLED),
    Setting("metrics.enabled", ("1", "0"), _SMALL, 8),
    Setting("logs.sample", ("0", "1"), _SMALL, 8, {"logs.lines_per_s": "100000"}),
    Setting("MALLOC_ARENA_MAX", ("2", "1", "16"), _FRESH, 8, plain=True),
    Setting("MALLOC_MMAP_THRESHOLD_", ("33554432", "131072"), _FRESH, 8, plain=True),
    Setting("MALLOC_TRIM_THRESHOLD_", ("67108864", "131072"), _FRESH, 8, plain=True),
)


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    rps: float
    p50: float
    p99: float
    refused: float
    cached: float
    memory_mb: float


def measure(setting: Setting, value: str, seconds: float) -> Figures:
    """The service with this value under the load of the setting."""
    stages = (Stage(setting.users, setting.warm_s), Stage(setting.users, seconds))
    shape = Shape("settings", setting.name, stages, Thresholds(), think_s=0.0)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        silent = stack.enter_context(_silent_port())
        environment = setting.environment(value)
        given = {
            name: text.replace("{folder}", folder).replace("{silent}", str(silent))
            for name, text in environment.items()
        }
        url, pid = stack.enter_context(own_service(given))
        watch = stack.enter_context(Watch(psutil.Process(pid)))
        run = run_shape(shape, url, setting.mix, decode_every=200)
    step = build_report(run, watch.seen, {})["steps"][1]
    refused = step["errors"].get(setting.refusal, 0)
    if step["failures"] > refused:
        raise SystemExit(f"{setting.name}={value}: wrong answers: {step['errors']}")
    refused /= max(1, step["requests"])
    return Figures(
        step["rps"],
        step["p50"] or 0.0,
        step["p99"] or 0.0,
        refused,
        step["cached"],
        step["memory_mb"],
    )


@contextmanager
def _silent_port() -> Iterator[int]:
    """Connections are taken by the kernel, as by a server that hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield int(listener.getsockname()[1])


def table(setting: Setting, found: Mapping[str, Sequence[Figures]]) -> list[str]:
    """A row for each value: medians, and ratios to the default's."""

    def middle(value: str, name: str) -> float:
        return median(getattr(one, name) for one in found[value])

    lines = [
        f"## `{setting.name}`",
        "",
        "| value | right/s | of default | p50 ms | p99 ms | of default "
        f"| {setting.refusal.removeprefix('status ')} | cached | memory MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    default = setting.values[0]
    for value in setting.values:
        rate, late = middle(value, "rps"), middle(value, "p99")
        lines.append(
            f"| {value} | {rate:.1f} | {rate / max(middle(default, 'rps'), 1e-9):.2f} | "
            f"{middle(value, 'p50'):.0f} | {late:.0f} | "
            f"{late / max(middle(default, 'p99'), 1e-9):.2f} | "
            f"{middle(value, 'refused'):.1%} | {middle(value, 'cached'):.1%} | "
            f"{middle(value, 'memory_mb'):.0f} |"
        )
    return [*lines, ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[one.name for one in SETTINGS])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--results", type=Path, metavar="DIR", help="write a page")
    given = parser.parse_args()
    page = [machine.page_head("What settings do")]
    for setting in SETTINGS:
        if given.only and setting.name not in given.only:
            continue
        found: dict[str, list[Figures]] = {value: [] for value in setting.values}
        for number in range(given.rounds):
            for value in setting.values[:: -1 if number % 2 else 1]:
                print(f"{setting.name}={value} …", file=sys.stderr, flush=True)
                found[value].append(measure(setting, value, given.seconds))
        page += table(setting, found)
        print("\n".join(table(setting, found)), flush=True)
    if given.results:
        name = f"settings_{datetime.now(UTC):%Y%m%d_%H%M%S}.md"
        (given.results / name).write_text("\n".join(page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
