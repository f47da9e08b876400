"""The Gateway: Serve's ingress, async only. Builds the HTTP application around a dispatcher."""

import asyncio
import gc
import logging
import secrets
from typing import Any

import ray
from ray import serve
from ray.serve._private.constants import RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from ray.serve._private.tracing_utils import is_tracing_enabled
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp
from uvicorn.protocols.http import httptools_impl

from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig, named_keys
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import build_front
from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs.building import JobSettings, build_jobs
from omnishot_ray.metrics.analysis.recommendations import Knobs
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.samples import GaugeSample
from omnishot_ray.serving.census import Place, find_place, note_place
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher
from omnishot_ray.serving.ingress import is_hooked, open_ingress
from omnishot_ray.serving.job_runner import JobRunner, keep_running
from omnishot_ray.serving.load import REPORT_INTERVAL_S
from omnishot_ray.serving.metrics_client import HubMetrics
from omnishot_ray.serving.parcels import Hatch
from omnishot_ray.serving.pool import ReplicaPool
from omnishot_ray.serving.resizer import Resizer
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from omnishot_ray.telemetry.config import LogConfig, TraceConfig
from omnishot_ray.telemetry.logs import configure_logs

logger = logging.getLogger(__name__)

_BODY_WINDOW = 1 << 20
"""Bytes of a body that uvicorn takes in before the application has had those before. Its own 64 KiB
are one read of the socket, so that each one woke the application and stopped and started the
reading: 13 times for a photo of 829 kB."""

_MESSAGES_AHEAD = 2
"""Parts of a body that Serve takes in before the application has asked for them. It has no bound of
its own, and reads on while a request waits for its turn or is answered without its body."""


def _bound_bodies() -> None:
    """Let uvicorn, and with it the sender, wait for whoever reads."""
    httptools_impl.HIGH_WATER_LIMIT = _BODY_WINDOW  # type: ignore[attr-defined]
    if RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD:
        return  # where Serve cannot wait for room

    def bounded(proxy: Any) -> Any:
        proxy._queue = proxy._queue or asyncio.Queue(_MESSAGES_AHEAD)
        return proxy._queue

    ASGIDIReceiveProxy.queue = property(bounded)


class Gateway:
    """One ingress replica."""

    def __init__(
        self,
        resizers: DeploymentHandle[Resizer],
        *,
        api: ApiConfig,
        dispatch: DispatchConfig,
        limits: Limits,
        cache: CacheConfig,
        metrics: MetricsConfig,
        fetch: FetchConfig,
        storage: StorageConfig,
        jobs: JobSettings | None,
        runner: DeploymentHandle[JobRunner] | None,
        analytics: AnalyticsConfig,
        knobs: Knobs,
        gateways: int,
        most_at_once: int,
        logs: LogConfig,
        traces: TraceConfig,
    ) -> None:
        _bound_bodies()
        gateway_id = secrets.token_hex(4)
        self._logs = logs
        self._is_traced = bool(traces.exporter)
        # Spans hang on those that Serve begins, so where it makes them requests go its way.
        self._most_at_once = most_at_once if is_hooked() and not is_tracing_enabled() else 0
        keys = (key for _, key in named_keys(api.keys))
        configure_logs(logs, f"gateway-{gateway_id}", keys)
        self._metrics = None
        if metrics.enabled:
            self._metrics = HubMetrics(f"gateway-{gateway_id}", metrics, logs)
        self._metrics_config = metrics
        self._analytics = analytics, knobs
        if self._metrics:
            self._metrics.start("gateway", self._gauge)  # first: the hub takes a while to begin
        self._pool = ReplicaPool(resizers, Hatch(cache.node_dir))
        self._front = build_front(cache)
        self._sources = Sources(fetch, storage)
        self._jobs = build_jobs(jobs) if jobs else None
        if runner and self._jobs and self._jobs.config.idle_s:
            loop = asyncio.get_running_loop()
            self._keeping = loop.create_task(keep_running(runner, self._jobs))
        self._dispatcher = Dispatcher(
            self._pool,
            dispatch,
            limits,
            Quarantine(cache.node_dir),
            gateway_id=gateway_id,
            metrics=self._metrics,
            gateways=gateways,
            most_replicas=knobs.max_replicas or 0,
        )
        self._gateways = gateways
        self._node = ray.get_runtime_context().get_node_id()
        self._api = api
        self._reporting = asyncio.get_running_loop().create_task(self._report_load())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        analytics, knobs = self._analytics
        tracer = None
        if self._is_traced:
            from omnishot_ray.telemetry.spans import StageSpans  # noqa: PLC0415

            tracer = StageSpans()
        app = create_app(
            self._dispatcher,
            self._api,
            self._front,
            self._sources,
            jobs=self._jobs,
            server_sends_request_id=True,
            metrics=self._metrics,
            metrics_config=self._metrics_config,
            analytics=analytics,
            knobs=knobs,
            logs=self._logs,
            tracer=tracer,
        )
        # What is loaded now stays for good: keep the collector from walking it on every cycle.
        gc.collect()
        gc.freeze()
        if self._most_at_once:
            open_ingress(app, self._most_at_once)
        return app  # Serve has it for WebSockets, and for what its own proxy sends

    async def __del__(self) -> None:
        """Let what is written to the caches come to its end, and take away what lies there for the
        other gateways of the node; Serve awaits this when it ends a replica in peace.
        """
        await self._front.close()

    def _gauge(self) -> GaugeSample:
        assert self._metrics is not None
        gauge = self._dispatcher.gauge()
        gauge.cache_bytes, gauge.cache_entries = self._front.held
        gauge.dropped_samples = self._metrics.recorder.dropped
        return gauge

    async def _report_load(self) -> None:
        """Tell the autoscaler what waits here, also when no batch goes out to carry it, and the
        router where this gateway stands.
        """
        while True:
            rank = serve.get_replica_context().rank  # which changes when another one dies
            place = Place(rank.rank, rank.local_rank, self._gateways, self._node)
            if place != find_place():
                note_place(place)
                logger.info("number %d of %d gateways", rank.rank + 1, self._gateways)
            try:
                await asyncio.wait_for(
                    self._pool.report(self._dispatcher.report_load()), 5 * REPORT_INTERVAL_S
                )
            except TimeoutError:
                logger.warning("no replica took the load report")
            await asyncio.sleep(REPORT_INTERVAL_S)
