"""What is measured: the engine in this process, and the running service under wrk."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import perf_counter, process_time

from benchmarks import engine
from benchmarks.guard.yardstick import speed
from benchmarks.peers import servers, wrk
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process

COMMAND = "omnishot serve --port {port}"
CONNECTIONS = 8
_ENGINE = ("400 → 200 JPEG", "2725×2225 → 720×588 JPEG", "800 → 300 WebP", "1600 → 4 platforms")
_SERVED = {
    "served: 400 → 200 JPEG": ("400", "/api/optimize?width=200&format=jpeg&effort=2", False),
    "served: 400 → 200 JPEG, cached": ("400", "/api/optimize?width=200&format=jpeg", True),
    "served: 2725×2225 → 720×588 JPEG": (
        "sharp",
        "/api/optimize?width=720&height=588&gravity=center&format=jpeg&effort=2",
        False,
    ),
    "served: 1600 → 4 platforms": (
        "1600",
        "/api/variants?platforms=instagram-post,facebook-post,x-post,pinterest-pin&effort=2",
        False,
    ),
    "served: /health": ("", "/health", False),
}


def measure_engine(
    rounds: int, seconds: float, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Runs a second of CPU time over the yardstick beside it, for each round."""
    files, measured = engine.prepare(), {}
    for task in engine.tasks():
        if task.name not in _ENGINE:
            continue
        data, name = files[task.photo].read_bytes(), f"engine: {task.name}"
        process(data, task.wanted, Limits())
        measured[name] = []
        for _ in range(rounds):
            before = speed()
            until, started, count = perf_counter() + seconds, process_time(), 0
            while perf_counter() < until or not count:
                process(data, task.wanted, Limits())
                count += 1
            rate = count / (process_time() - started)
            measured[name].append(rate / ((before + speed()) / 2))
        say(f"{name}: {_shown(measured[name])}")
    return measured


def measure_served(
    rounds: int, seconds: float, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Requests a second over the yardstick before and after, for each round."""
    files = engine.prepare()
    measured: dict[str, list[float]] = {name: [] for name in _SERVED}
    with ExitStack() as up:
        server = up.enter_context(servers.ours(COMMAND, 120))
        for round_number in range(rounds + 1):
            for name, rate in _drive_all(server.url, files, seconds):
                if round_number:  # the first warms up
                    measured[name].append(rate)
    for name, rates in measured.items():
        say(f"{name}: {_shown(rates)}")
    return measured


def _drive_all(
    url: str, files: Mapping[str, object], seconds: float
) -> Iterator[tuple[str, float]]:
    for name, (photo, path, same) in _SERVED.items():
        jpeg = files[photo].read_bytes() if photo else None  # type: ignore[attr-defined]
        before = speed()
        load = wrk.drive(url + path, jpeg, seconds=seconds, connections=CONNECTIONS, same=same)
        if load.not_ok or load.broken:
            raise SystemExit(f"{name}: {load.not_ok} errors, {load.broken} broken connections")
        yield name, load.requests_per_second / ((before + speed()) / 2)


def _shown(ratios: list[float]) -> str:
    return " ".join(f"{ratio:.4g}" for ratio in ratios)
