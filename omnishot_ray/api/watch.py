"""Requests that are worth a line in the log, and the stages of those that are traced.

Both take what the answer says of itself in `Server-Timing`, so nothing is measured for them, and
nothing is done for a request that is neither slow, failed nor drawn.
"""

import logging
import zlib
from collections.abc import Callable, Collection
from time import perf_counter, time_ns
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.context import REQUEST_ID

logger = logging.getLogger(__name__)

Stages = dict[str, float]
"""Milliseconds of each stage, in the order in which they come."""

REASONS = {
    "queue": "it waited for its turn",
    "decode": "reading the picture",
    "transform": "making it smaller",
    "encode": "writing renditions",
    "cache": "asking the caches",
    "elsewhere": "receiving, sending, or a busy event loop",
}


class Tracer(Protocol):
    """Tells a trace of the stages of a request, if the request is traced."""

    def record(self, stages: Stages, ended_ns: int) -> None:
        """The stages, one after the other, the last ending at `ended_ns` (Unix time)."""
        ...


class Watch:
    """ASGI middleware within `Edge`, which has given the request its id.

    `routes` are the paths without parameters; the path of any other request is not told, because
    it may hold what its author likes.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: LogConfig,
        routes: Collection[str],
        tracer: Tracer | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._app = app
        self._routes = frozenset(routes)
        self._slow_s = config.slow_ms / 1000.0 or float("inf")
        self._sample = config.sample
        self._tracer = tracer
        self._allowance = Allowance(config.lines_per_s, clock)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock = self._clock
        request_id = scope["state"]["request_id"]
        token = REQUEST_ID.set(request_id)
        head: Message | None = None
        ended_ns = 0
        began = clock()

        async def send_and_note(message: Message) -> None:
            nonlocal head, ended_ns
            if head is None:
                head = message
                if self._tracer is not None:
                    ended_ns = time_ns()
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            took = clock() - began
            if head is not None:
                status = head["status"]
                if (
                    took >= self._slow_s
                    or status >= 500
                    or (self._sample and is_drawn(request_id, self._sample))
                ):
                    self._tell(scope, head, took)
                if self._tracer is not None and (stages := _stages(head)):
                    self._tracer.record(stages, ended_ns)
            REQUEST_ID.reset(token)

    def _tell(self, scope: Scope, head: Message, took_s: float) -> None:
        suppressed = self._allowance.take()
        if suppressed is None:
            return
        status = head["status"]
        slow = took_s >= self._slow_s
        level = logging.WARNING if slow or status >= 500 else logging.INFO
        if not logger.isEnabledFor(level):
            return
        headers = dict(head["headers"])
        stages = _stages(head)
        took_ms = took_s * 1000.0
        extra: dict[str, Any] = {
            "method": scope["method"],
            "route": self._route(scope),
            "status": status,
            "took_ms": round(took_ms, 1),
            **{f"{name}_ms": round(ms, 1) for name, ms in stages.items() if ms},
        }
        if b"x-cache" in headers:
            extra["cache"] = headers[b"x-cache"].decode("latin-1")
        if suppressed:
            extra["suppressed"] = suppressed
        what = "request"
        if slow:
            stages["elsewhere"] = took_ms - sum(stages.values())
            reason = max(stages, key=lambda name: stages[name])
            extra["reason"] = reason
            what = f"slow request: {REASONS.get(reason, reason)}"
        elif status >= 500:
            what = "failed request"
        logger.log(level, what, extra=extra)

    def _route(self, scope: Scope) -> str:
        path = scope["path"]
        if path in self._routes:
            return str(path)
        return str(getattr(scope.get("route"), "path", "other"))


class Allowance:
    """How many lines may still be written: `per_s` on average, at most a second's worth at once."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._left = self._most
        self._clock = clock
        self._at = clock()
        self._suppressed = 0

    def take(self) -> int | None:
        """How many were left out since the last one; None when this one is to be left out too."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            self._suppressed += 1
            return None
        self._left -= 1.0
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


def is_drawn(request_id: str, share: float) -> bool:
    """Whether a request belongs to the sample: the same everywhere, as it rests on its id alone."""
    return zlib.crc32(request_id.encode()) < share * 2**32


def _stages(head: Message) -> Stages:
    """What `Server-Timing` says (W3C Server Timing: `name;dur=ms`, as `answers.py` writes it)."""
    for name, value in head["headers"]:
        if name == b"server-timing":
            stages: Stages = {}
            for part in value.decode("latin-1").split(","):
                stage, _, ms = part.strip().partition(";dur=")
                stages[stage] = float(ms or 0.0)
            return stages
    return {}
