"""`/api/analytics/…` and `/analytics.js`."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil
from time import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.analytics.bodies import KINDS, Kind
from omnishot_ray.api.analytics.bounds import Quota
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.analytics.docs import (
    FUNNEL_DOCS,
    HEALTH_DOCS,
    PERFORMANCE_DOCS,
    SCRIPT_DOCS,
    intake_docs,
)
from omnishot_ray.api.analytics.figures import read_funnel, read_health, read_performance
from omnishot_ray.api.analytics.intake import Intake
from omnishot_ray.api.analytics.snippet import read_script
from omnishot_ray.api.asked import json_answer, one_of, only, read_window
from omnishot_ray.api.body import read_bytes
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import matches_there
from omnishot_ray.api.negotiation import list_header
from omnishot_ray.api.problems import problem_response
from omnishot_ray.api.proxies import Proxies
from omnishot_ray.errors import RateLimited, UnsupportedBody
from omnishot_ray.metrics.funnel import RULES
from omnishot_ray.metrics.query import Metrics

_TYPES = ("application/json", "text/plain")
_INTAKE = (
    ("/api/analytics/performance/metrics", "metrics", "Web vitals of page views"),
    ("/api/analytics/performance/alerts", "alerts", "Complaints of front ends, shown as alerts"),
    ("/api/analytics/funnel", "steps", "A session has come to a step of the funnel"),
    ("/api/analytics/events", "events", "What happened in a browser"),
)

Endpoint = Callable[[Request], Awaitable[Response]]


def build_analytics_routes(
    metrics: Metrics, config: AnalyticsConfig, api: ApiConfig | None = None
) -> APIRouter:
    """The intake of browsers' samples, and what is read of them."""
    router = APIRouter(tags=["analytics"])
    intake = Intake(metrics, config)
    if config.enabled:
        take = _Taking(intake, config, api or ApiConfig())
        for path, name, summary in _INTAKE:
            kind = KINDS[name]
            router.post(path, status_code=202, **intake_docs(summary, kind, config))(take.of(kind))
        router.get("/analytics.js", **SCRIPT_DOCS)(_script)

    @router.get("/api/analytics/dashboard/performance", **PERFORMANCE_DOCS)
    async def performance(request: Request) -> Response:
        """Vitals at the 75th percentile, the funnel, events and alerts of front ends."""
        window_s = read_window(only(request, "window").get("window", "1h"))
        document = await read_performance(metrics, window_s)
        labels = {name: labels.describe() for name, labels in intake.labels.items()}
        return json_answer({**document, "labels": labels})

    @router.get("/api/analytics/dashboard/funnel", **FUNNEL_DOCS)
    async def funnel(request: Request) -> Response:
        """Completion and drop-off per step, of all sessions and of each part of them."""
        said = only(request, "window", "rule", "by")
        rule = one_of("rule", said.get("rule", RULES[0]), RULES)
        by = one_of("by", said.get("by", ""), ("", "segment", "device"))
        return json_answer(
            await read_funnel(metrics, read_window(said.get("window", "1h")), rule, by)
        )

    @router.get("/api/analytics/system/health", **HEALTH_DOCS)
    async def health(request: Request) -> Response:
        """The service as its visitors have it."""
        window_s = read_window(only(request, "window").get("window", "5m"))
        return json_answer(await read_health(metrics, window_s))

    return router


class _Taking:
    """What all four intakes do: quota, type, size, shape, and then the samples."""

    def __init__(self, intake: Intake, config: AnalyticsConfig, api: ApiConfig) -> None:
        self._intake = intake
        self._config = config
        self._api = replace(api, max_body_bytes=min(config.max_body_bytes, api.max_body_bytes))
        self._proxies = Proxies(api.trusted_proxies)
        self._quota = Quota(config.samples_per_minute)

    def of(self, kind: Kind) -> Endpoint:
        """The endpoint of one kind of body."""

        async def take(request: Request) -> Response:
            address = self._proxies.client_of(request.scope)
            wait_s = self._quota.wait_s(address)
            if wait_s:
                return self._refuse(wait_s, request.state.request_id)
            self._quota.take(address, 1)
            _check_type(request)
            body = await read_bytes(request, self._api)
            items = kind.read(body, self._config.max_items)
            self._quota.take(address, len(items) - 1)
            agent = request.headers.get("user-agent", "")[:512]
            return json_answer(self._intake.take(items, agent, time()).describe(), 202)

        return take

    def _refuse(self, wait_s: float, request_id: str) -> Response:
        quota, wait_whole_s = self._config.samples_per_minute, ceil(wait_s)
        fault = RateLimited(
            f"More than {quota} samples a minute from one address; the next ones are taken "
            f"after {wait_whole_s} s.",
            wait_s,
        )
        refusal = problem_response(fault, request_id)
        # Added, for the guard may have said something of its own limit: both are lists.
        refusal.headers.append("RateLimit-Policy", f'"samples";q={quota};w=60')
        refusal.headers.append("RateLimit", f'"samples";r=0;t={wait_whole_s}')
        return refusal


async def _script(request: Request) -> Response:
    """The script for web pages that measures and sends."""
    script, etag = read_script()
    headers = {"Cache-Control": "public, max-age=3600", "ETag": etag}
    if matches_there(list_header(request, "if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(script, headers=headers, media_type="text/javascript")


def _check_type(request: Request) -> None:
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise UnsupportedBody(
            f"A body of type {kind[:80] or 'nothing'} is not read here; send JSON as "
            "application/json, or as text/plain as beacons do."
        )
