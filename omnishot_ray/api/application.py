"""The HTTP application, put together."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from omnishot_ray import __version__
from omnishot_ray.api.analytics import build_analysis_routes, build_analytics_routes
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.batches import build_batch_routes
from omnishot_ray.api.caching import build_cache_routes
from omnishot_ray.api.compression import Compression
from omnishot_ray.api.config import ApiConfig, named_keys, parse_rate
from omnishot_ray.api.cors import Cors
from omnishot_ray.api.edge import Edge
from omnishot_ray.api.guard import Guard, is_open
from omnishot_ray.api.images import build_image_routes
from omnishot_ray.api.info import build_info_routes
from omnishot_ray.api.jobs import build_job_routes
from omnishot_ray.api.keys import Keyring
from omnishot_ray.api.metrics import build_metrics_routes
from omnishot_ray.api.openapi import SECURITY_SCHEMES
from omnishot_ray.api.operations import build_operation_routes
from omnishot_ray.api.page import build_page_routes
from omnishot_ray.api.problems import handle_error, handle_http_error
from omnishot_ray.api.proxies import Proxies
from omnishot_ray.api.recording import Recording
from omnishot_ray.api.shortcut import Shortcut
from omnishot_ray.api.watch import Tracer, Watch
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.errors import OmnishotError
from omnishot_ray.jobs.service import Jobs
from omnishot_ray.metrics.analysis.recommendations import Knobs
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import LiveMetrics
from omnishot_ray.protocol import Optimizer
from omnishot_ray.storage.sources import Sources
from omnishot_ray.telemetry.config import LogConfig

if TYPE_CHECKING:
    from omnishot_ray.api.ratelimits import RateLimits

_DESCRIPTION = """\
One image in, every rendition people need out. Send a picture to `/api/optimize` and get it back
sized, cropped and smaller; send it to `/api/variants` and get every size at once from one decode;
send it to `/api/info` and learn what it is and how it looks.
Errors are always `application/problem+json`.
"""


def create_app(
    optimizer: Optimizer,
    config: ApiConfig,
    front: CachingOptimizer | None = None,
    sources: Sources | None = None,
    *,
    jobs: Jobs | None = None,
    server_sends_request_id: bool = False,
    metrics: LiveMetrics | None = None,
    metrics_config: MetricsConfig | None = None,
    analytics: AnalyticsConfig | None = None,
    knobs: Knobs | None = None,
    logs: LogConfig | None = None,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """Build the ASGI application in front of an `Optimizer`, with caches in `front` of it.

    Requests may name their pictures where there are `sources`; without `jobs` there are no routes
    of jobs. `server_sends_request_id` is for a server that gives every request an `X-Request-Id`
    and sends it back by itself, as Ray Serve does. With `metrics` every answer is recorded.
    """
    watching = (metrics, metrics_config or MetricsConfig()) if metrics else None
    limits = _rate_limits(config)
    routers = _build_routers(
        *(optimizer, config, front, watching, sources, jobs),
        analytics=analytics,
        knobs=knobs,
        limits=limits,
    )
    app: ASGIApp = Shortcut(_documented(routers, config), routers)
    proxies = Proxies(config.trusted_proxies)
    # What is switched off is not there at all.
    if config.compress_min_bytes:
        app = Compression(app, config.compress_min_bytes)
    if config.keys or config.rate_limit:
        keyring = Keyring(named_keys(config.keys)) if config.keys else None
        app = Guard(app, keyring, limits, proxies)
    for_pages = _for_pages(config)
    watched = Watch(for_pages(app), logs or LogConfig(), _plain_paths(routers), tracer)
    app = Edge(
        watched,
        server_sends_request_id=server_sends_request_id,
        hsts_s=config.hsts_s,
        proxies=proxies if config.trusted_proxies else None,
        around_faults=for_pages,
    )
    return Recording(app, metrics, routers) if metrics else app


def _plain_paths(routers: Iterable[APIRouter]) -> set[str]:
    routes = (route for router in routers for route in router.routes)
    paths = {route.path for route in routes if isinstance(route, APIRoute)}
    return {path for path in paths if "{" not in path}


def _rate_limits(config: ApiConfig) -> "RateLimits | None":
    if not config.rate_limit:
        return None
    # `limits` takes 40 ms to import, the client of Redis 110 ms and 7 MB.
    from omnishot_ray.api.ratelimits import RateLimits  # noqa: PLC0415

    return RateLimits(*parse_rate(config.rate_limit), config.redis_url)


def _for_pages(config: ApiConfig) -> Callable[[ASGIApp], ASGIApp]:
    """Wraps an application so that web pages of the allowed origins may ask it."""
    if not config.cors_origins:
        return lambda app: app
    return lambda app: Cors(app, config.cors_origins)


def describe_api(
    optimizer: Optimizer, config: ApiConfig, jobs: Jobs | None = None
) -> dict[str, Any]:
    """The OpenAPI document, the same as at `/openapi.json` of the whole service."""
    from omnishot_ray.metrics.local import LocalMetrics  # noqa: PLC0415  # the whole hub

    watching = LocalMetrics(), MetricsConfig()
    routers = _build_routers(optimizer, config, None, watching, None, jobs)
    return _documented(routers, config).openapi()


def _build_routers(
    optimizer: Optimizer,
    config: ApiConfig,
    front: CachingOptimizer | None = None,
    watching: tuple[LiveMetrics, MetricsConfig] | None = None,
    sources: Sources | None = None,
    jobs: Jobs | None = None,
    *,
    analytics: AnalyticsConfig | None = None,
    knobs: Knobs | None = None,
    limits: "RateLimits | None" = None,
) -> tuple[APIRouter, ...]:
    metrics = watching[0] if watching else None
    routers = (
        build_image_routes(optimizer, config, front, sources),
        build_info_routes(optimizer, config, sources),
        build_operation_routes(optimizer, front, metrics, sources, jobs, limits),
        build_cache_routes(optimizer, config, front, sources),
        *([build_metrics_routes(*watching)] if watching else ()),
        *_build_job_routers(config, front, jobs),
        *(_build_analytics(watching[0], config, analytics, knobs) if watching else ()),
    )
    paths = {getattr(route, "path", "") for router in routers for route in router.routes}
    return (*routers, build_page_routes(config, paths))


def _build_analytics(
    metrics: LiveMetrics,
    config: ApiConfig,
    analytics: AnalyticsConfig | None,
    knobs: Knobs | None,
) -> tuple[APIRouter, ...]:
    analytics = analytics or AnalyticsConfig()
    return (
        build_analytics_routes(metrics, analytics, config),
        build_analysis_routes(metrics, analytics.prices, knobs),
    )


def _build_job_routers(
    config: ApiConfig, front: CachingOptimizer | None, jobs: Jobs | None
) -> tuple[APIRouter, ...]:
    if jobs is None:
        return ()
    return build_job_routes(jobs, config, front), build_batch_routes(jobs, config)


def _documented(routers: Iterable[APIRouter], config: ApiConfig) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        title="OmniShot Ray",
        version=__version__,
        description=_DESCRIPTION,
        redoc_url=None,
        exception_handlers={OmnishotError: handle_error, HTTPException: handle_http_error},
    )
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    describe = app.openapi
    app.openapi = lambda: _with_keys(describe(), bool(config.keys))  # type: ignore[method-assign]
    return app


def _with_keys(document: dict[str, Any], needed: bool) -> dict[str, Any]:
    """The OpenAPI document with what it takes to be let in."""
    keys: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
    document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = keys if needed else [{}, *keys]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if is_open(method.upper(), path):
                operation["security"] = []
    return document
