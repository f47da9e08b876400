"""What a batch run tells the metrics hub of the cluster it works in, where there is one."""

import asyncio
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.recorder import Recorder
from omnishot_ray.metrics.samples import Sample
from omnishot_ray.serving.metrics_client import NAME, NAMESPACE

_CLOSING_S = 3.0
_ANSWER_S = 5.0


class BatchMetrics:
    """Takes samples from a thread that has no event loop; keeps nothing where there is no hub."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recorder: Recorder | None = None
        self._hub: Any = None

    def start(self) -> None:
        """Look for the hub. The process has joined a cluster."""
        try:
            self._hub = ray.get_actor(NAME, NAMESPACE)
        except (ValueError, RayError):
            return
        self._loop = asyncio.new_event_loop()
        self._recorder = Recorder(f"batch-{secrets.token_hex(4)}", MetricsConfig(), self._send)
        threading.Thread(target=self._loop.run_forever, name="metrics", daemon=True).start()
        self._loop.call_soon_threadsafe(self._recorder.start)

    def record(self, sample: Sample) -> None:
        """Take note of it. Never waits, never raises."""
        if self._loop is not None and self._recorder is not None:
            self._loop.call_soon_threadsafe(self._recorder.record, sample)

    def close(self) -> None:
        """Deliver what is held, for some seconds at most."""
        if self._loop is None or self._recorder is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._recorder.close(), self._loop)
        with suppress(TimeoutError):
            closing.result(_CLOSING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = None

    async def _send(self, streams: Mapping[str, bytes]) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._hub.ingest.remote(streams)
        except (TimeoutError, RayError):
            return False
        return True
