"""The metrics hub as an actor of its own, and how the other processes reach it."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import GetTimeoutError, RayError

from omnishot_ray.errors import EngineUnavailable, OmnishotError
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Alerting, Hub
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.recorder import Recorder, columns, from_stream, to_stream
from omnishot_ray.metrics.samples import Sample
from omnishot_ray.serving.pulse import Pulse
from omnishot_ray.serving.resources import Neighbours, Watch

logger = logging.getLogger(__name__)

T = TypeVar("T")

NAME = "metrics-hub"
NAMESPACE = "omnishot"
_TICK_S = 1.0
_MOST_WAITING = 256
"""Deliveries that wait to be taken in; beyond it they are dropped and counted."""
_ANSWER_S = 5.0
_PING_S = 2.0
_NOT_THERE = "the metrics hub does not answer"


class HubActor:
    """A `Hub` on a thread of its own, so that the actor answers while it works."""

    def __init__(
        self, config: MetricsConfig, build_alerting: Callable[[], Alerting] | None = None
    ) -> None:
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub")
        self._waiting = 0
        self._hub = Hub(config, alerting=build_alerting() if build_alerting else None)
        self._own: list[Sample] = []
        self._neighbours = Neighbours()
        self._tasks = [asyncio.ensure_future(self._tick_for_ever())]
        pulse = Pulse(self._own.append, Watch("hub", "hub"), config.resources_s)
        self._tasks.append(asyncio.ensure_future(pulse.beat()))

    async def ingest(self, streams: Mapping[str, bytes]) -> None:
        """Tables as Arrow IPC streams."""
        if self._waiting >= _MOST_WAITING:
            self._hub.store.refused["other", "busy"] += 1
            return
        self._waiting += 1
        try:
            await self._do(partial(self._hub.ingest, streams))
        finally:
            self._waiting -= 1

    async def query(self, query: Query) -> bytes | OmnishotError:
        """The answer as an Arrow IPC stream."""
        return await self._answer(lambda: to_stream(self._hub.query(query)))

    async def samples(self, table: str, window_s: float) -> bytes | OmnishotError:
        """As `LiveMetrics.samples`, as an Arrow IPC stream."""
        return await self._answer(lambda: to_stream(self._hub.samples(table, window_s)))

    async def snapshot(
        self, window_s: float, group_by: tuple[str, ...], functions: tuple[str, ...]
    ) -> dict[str, Any] | OmnishotError:
        """As `LiveMetrics.snapshot`."""
        return await self._answer(lambda: self._hub.snapshot(window_s, group_by, functions))

    async def exposition(self, accept: str) -> tuple[bytes, str] | OmnishotError:
        """As `LiveMetrics.exposition`."""
        return await self._answer(lambda: self._hub.exposition(accept))

    async def alerts(self) -> list[dict[str, Any]] | OmnishotError:
        """As `Metrics.alerts`."""
        return await self._answer(self._hub.alerts)

    async def ping(self) -> str:
        """Answer `ok`."""
        return "ok"

    async def write(self) -> None:
        """Write what has not been written yet."""
        await self._do(self._hub.write)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _answer(self, work: Callable[[], T]) -> T | OmnishotError:
        """Failures as values: an exception of an actor comes wrapped, with its traces."""
        try:
            return await self._do(work)
        except OmnishotError as error:
            return error.stripped()

    async def _tick_for_ever(self) -> None:
        await self._do(self._hub.restore)
        looked_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            is_due = loop.time() - looked_at >= self._config.resources_s
            if is_due:
                looked_at = loop.time()
            try:
                await self._do(partial(self._tick, is_due))
            except Exception:
                logger.exception("the metrics hub stumbled")
            await asyncio.sleep(_TICK_S)

    def _tick(self, looks: bool) -> None:
        samples, self._own[:] = self._own[:], []
        if looks:
            samples += self._neighbours.look()
        if samples:
            self._hub.take("resources", columns("resources", samples, "hub"))
        self._hub.tick()


class HubMetrics:
    """A process' `LiveMetrics`: its recorder, and questions to the hub.

    Any process may begin the hub; there is one of each name in a cluster.
    """

    def __init__(self, process: str, config: MetricsConfig) -> None:
        self._config = config
        self._hub: Any = None
        self.recorder = Recorder(process, config, self._send)
        self.record = self.recorder.record
        self._beating: asyncio.Task[None] | None = None

    def start(self, kind: str, gauge: Callable[[], Sample] | None = None) -> None:
        """Begin the hub where there is none, and to tell it of this process."""
        self._find()
        self.recorder.start()
        watch = Watch(self.recorder.process, kind)
        pulse = Pulse(self.record, watch, self._config.resources_s, gauge)
        self._beating = asyncio.get_running_loop().create_task(pulse.beat())

    async def query(self, query: Query) -> pa.Table:
        """As `Metrics.query`."""
        stream: bytes = await self._ask("query", query)
        return from_stream(stream)

    async def samples(self, table: str, window_s: float) -> pa.Table:
        """As `LiveMetrics.samples`."""
        stream: bytes = await self._ask("samples", table, window_s)
        return from_stream(stream)

    async def alerts(self) -> list[dict[str, Any]]:
        """As `Metrics.alerts`."""
        alerts: list[dict[str, Any]] = await self._ask("alerts")
        return alerts

    async def snapshot(
        self, window_s: float, group_by: tuple[str, ...] = (), functions: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """As `LiveMetrics.snapshot`."""
        document: dict[str, Any] = await self._ask("snapshot", window_s, group_by, functions)
        return document

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """As `LiveMetrics.exposition`."""
        answer: tuple[bytes, str] = await self._ask("exposition", accept)
        return answer

    async def check_ready(self) -> str:
        """As `LiveMetrics.check_ready`."""
        try:
            return str(await self._call(_PING_S, "ping"))
        except (TimeoutError, RayError):
            return f"{_NOT_THERE} within {_PING_S:g} s"

    async def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            answer = await self._call(_ANSWER_S, method, *arguments)
        except (TimeoutError, RayError):
            raise EngineUnavailable(f"{_NOT_THERE.capitalize()}; it is begun anew.") from None
        if isinstance(answer, OmnishotError):
            raise answer
        return answer

    async def _send(self, streams: Mapping[str, bytes]) -> bool:
        try:
            await self._call(_ANSWER_S, "ingest", streams)
        except (ray.exceptions.ActorDiedError, ray.exceptions.ActorUnavailableError):
            return False
        return True

    async def _call(self, timeout_s: float, method: str, *arguments: Any) -> Any:
        hub = self._hub or self._find()
        try:
            return await asyncio.wait_for(getattr(hub, method).remote(*arguments), timeout_s)
        except ray.exceptions.ActorDiedError:
            self._hub = None  # it was ended for good: the next one begins another
            raise

    def _find(self) -> Any:
        self._hub = begin_hub(self._config)
        return self._hub


def watch_resizer(config: MetricsConfig) -> None:
    """Tell the hub of this process, a Resizer, as long as it lives."""
    metrics = HubMetrics(f"resizer-{secrets.token_hex(4)}", config)
    metrics.start("resizer")
    _watching.append(metrics)


_watching: list[HubMetrics] = []
"""Tasks of an event loop live only as long as somebody holds them."""


def begin_hub(config: MetricsConfig) -> Any:
    """The hub of this cluster; begun where there is none. It outlives who begins it."""
    actor = ray.remote(HubActor).options(
        name=NAME,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
    )
    return actor.remote(config)


def end_hub() -> None:
    """Let the hub write what it has, for two seconds at most, and end it."""
    try:
        hub = ray.get_actor(NAME, NAMESPACE)
    except (ValueError, RayError):
        return
    with suppress(RayError, GetTimeoutError):
        ray.get(hub.write.remote(), timeout=2.0)
    with suppress(RayError):
        ray.kill(hub)
