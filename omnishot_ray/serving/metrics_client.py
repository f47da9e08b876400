"""How the processes of the service reach the metrics hub, and who begins it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from omnishot_ray.errors import EngineUnavailable, OmnishotError
from omnishot_ray.frugal import spare_arrow_pandas
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.recorder import Recorder
from omnishot_ray.metrics.samples import Sample
from omnishot_ray.serving.pulse import Pulse
from omnishot_ray.serving.resources import Watch
from omnishot_ray.telemetry.config import LogConfig

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "metrics-hub"
NAMESPACE = "omnishot"
_ANSWER_S = 5.0
_PING_S = 2.0
_NOT_THERE = "the metrics hub does not answer"


class HubMetrics:
    """A process' `LiveMetrics`: its recorder, and questions to the hub.

    Any process may begin the hub; there is one of each name in a cluster.
    """

    def __init__(self, process: str, config: MetricsConfig, logs: LogConfig | None = None) -> None:
        self._config = config
        self._logs = logs
        self._hub: Any = None
        self.recorder = Recorder(process, config, self._send)
        self.record = self.recorder.record
        self._beating: asyncio.Task[None] | None = None

    def start(self, kind: str, gauge: Callable[[], Sample] | None = None) -> None:
        """Begin the hub where there is none, and to tell it of this process."""
        spare_arrow_pandas()
        self._find()
        self.recorder.start()
        watch = Watch(self.recorder.process, kind)
        pulse = Pulse(self.record, watch, self._config.resources_s, gauge)
        self._beating = asyncio.get_running_loop().create_task(pulse.beat())

    async def query(self, query: Query) -> "pa.Table":
        """As `Metrics.query`."""
        stream: bytes = await self._ask("query", query)
        return _read(stream)

    async def samples(self, table: str, window_s: float) -> "pa.Table":
        """As `LiveMetrics.samples`."""
        stream: bytes = await self._ask("samples", table, window_s)
        return _read(stream)

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
            async with asyncio.timeout(timeout_s):
                return await getattr(hub, method).remote(*arguments)
        except ray.exceptions.ActorDiedError:
            self._hub = None  # it was ended for good: the next one begins another
            raise

    def _find(self) -> Any:
        self._hub = begin_hub(self._config, self._logs)
        return self._hub


def _read(stream: bytes) -> "pa.Table":
    from omnishot_ray.metrics.streams import from_stream  # noqa: PLC0415  # brings pyarrow

    return from_stream(stream)


def watch_resizer(config: MetricsConfig, logs: LogConfig | None = None) -> None:
    """Tell the hub of this process, a Resizer, as long as it lives."""
    metrics = HubMetrics(f"resizer-{secrets.token_hex(4)}", config, logs)
    metrics.start("resizer")
    _watching.append(metrics)


_watching: list[HubMetrics] = []
"""Tasks of an event loop live only as long as somebody holds them."""


def begin_hub(config: MetricsConfig, logs: LogConfig | None = None) -> Any:
    """The hub of this cluster; begun where there is none. It outlives who begins it."""
    with suppress(ValueError):
        return ray.get_actor(NAME, NAMESPACE)
    # Brings the whole hub, which no other process needs.
    from omnishot_ray.serving.metrics_hub import HubActor  # noqa: PLC0415

    actor = ray.remote(HubActor).options(
        name=NAME,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        # A worker of its own, without what only replicas need: 50 MB and a second of imports.
        runtime_env={"env_vars": {"OMNIPRELOAD_NOTHING": "1", "OMP_NUM_THREADS": "1"}},
    )
    return actor.remote(config, logs=logs)


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
