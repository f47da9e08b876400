"""`/health`, `/ready`, the catalogue of platforms, and what a problem's code means."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray import __version__
from omnishot_ray.api.answers import NO_STORE
from omnishot_ray.api.openapi import PROBLEM_SCHEMA, json_docs
from omnishot_ray.api.problems import describe, http_problem_response, problem_response
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.errors import EngineUnavailable
from omnishot_ray.imaging.platforms import GROUPS, PLATFORMS, RESPONSIVE, Platform
from omnishot_ray.jobs.service import Jobs
from omnishot_ray.metrics.query import LiveMetrics
from omnishot_ray.protocol import Optimizer
from omnishot_ray.storage.sources import Sources

if TYPE_CHECKING:
    from omnishot_ray.api.ratelimits import RateLimits

_SERVICES = {"engine": "resizers"}


def build_operation_routes(
    optimizer: Optimizer,
    front: CachingOptimizer | None = None,
    metrics: LiveMetrics | None = None,
    sources: Sources | None = None,
    jobs: Jobs | None = None,
    limits: "RateLimits | None" = None,
) -> APIRouter:
    """The routes for those who run the service, and the catalogue."""
    router = APIRouter()
    started = time()
    catalogue = orjson.dumps(
        {
            "platforms": [_describe(platform) for platform in PLATFORMS.values()],
            "responsive": [_describe(platform) for platform in RESPONSIVE],
            "groups": list(GROUPS),
        }
    )

    async def check_parts() -> dict[str, tuple[str, float]]:
        """The state of each part, and how many milliseconds it took to ask."""
        asked = [_timed(optimizer.check_ready())]
        if metrics is not None:
            asked.append(_timed(_named("metrics-hub", metrics.check_ready())))
        return {
            name: (state, took_ms)
            for states, took_ms in await asyncio.gather(*asked)
            for name, state in states.items()
        }

    @router.get("/health", tags=["operations"], **_HEALTH_DOCS)
    async def health(_request: Request) -> Response:
        """200 while this process serves; asks nobody else."""
        body = b'{"status":"ok","version":"%s","uptime_s":%.1f}' % (
            __version__.encode(),
            time() - started,
        )
        return Response(body, headers=NO_STORE, media_type="application/json")

    @router.get("/ready", tags=["operations"], **_READY_DOCS)
    async def ready(request: Request) -> Response:
        """200 only when everything that an answer depends on answers."""
        parts = {name: state for name, (state, _) in (await check_parts()).items()}
        if jobs is not None:
            parts = {**parts, **await jobs.check_ready()}
        failing = [f"{name}: {state}" for name, state in parts.items() if state != "ok"]
        if failing:
            fault = EngineUnavailable(
                f"Not ready: {'; '.join(failing)}. It is worth asking again in a second."
            )
            return problem_response(fault, request.state.request_id)
        body = orjson.dumps({"status": "ready", "parts": parts})
        return Response(body, headers=NO_STORE, media_type="application/json")

    @router.get("/api/services/health", tags=["operations"], **_SERVICES_DOCS)
    async def services(_request: Request) -> Response:
        """Each part with its state, how long it took to ask, and the state of its circuit."""
        parts = {name: _part(*found) for name, found in (await check_parts()).items()}
        document = {
            "gateway": {"status": "ok", "latency_ms": 0.0, "circuit": "closed", "detail": ""},
            # What `/ready` calls the engine is here one service among the others.
            **{_SERVICES.get(name, name): part for name, part in parts.items()},
            "storage": await _storage(sources),
            **(front.describe_services() if front else {}),
            **(sources.describe_services() if sources else {}),
            **(limits.describe_services() if limits else {}),
            **(await jobs.describe_services() if jobs else {}),
        }
        worst = "ok" if all(part["status"] != "down" for part in document.values()) else "degraded"
        body = orjson.dumps({"status": worst, "services": document})
        return Response(body, headers=NO_STORE, media_type="application/json")

    @router.get("/api/platforms", tags=["images"], **_PLATFORMS_DOCS)
    async def platforms(_request: Request) -> Response:
        """The catalogue of presets, with the source of every size."""
        return Response(
            catalogue,
            headers={"Cache-Control": "public, max-age=3600"},
            media_type="application/json",
        )

    @router.get("/problems/{code}", tags=["operations"], **_PROBLEM_DOCS)
    async def problem(code: str, request: Request) -> Response:
        """What the `type` of a problem means."""
        meaning = describe(code)
        if meaning is None:
            return http_problem_response(404, "No such problem", request.state.request_id)
        return Response(orjson.dumps(meaning), media_type="application/json")

    return router


async def _storage(sources: Sources | None) -> dict[str, Any]:
    """The folders that requests may name: sources, and where results are written."""
    began = perf_counter()
    state = await sources.check_storage() if sources else None
    if state is None:
        detail = "no folder may be named"
        return {"status": "off", "latency_ms": None, "circuit": "closed", "detail": detail}
    return _part(state, _passed_ms(began))


def _passed_ms(began: float) -> float:
    return round((perf_counter() - began) * 1000.0, 3)


async def _named(name: str, asked: Awaitable[str]) -> dict[str, str]:
    return {name: await asked}


async def _timed(asked: Awaitable[dict[str, str]]) -> tuple[dict[str, str], float]:
    began = perf_counter()
    states = await asked
    return states, _passed_ms(began)


def _part(state: str, latency_ms: float) -> dict[str, Any]:
    ok = state == "ok"
    return {
        "status": "ok" if ok else "down",
        "latency_ms": latency_ms,
        "circuit": "closed" if ok else "open",
        "detail": "" if ok else state,
    }


def _describe(platform: Platform) -> dict[str, Any]:
    values = asdict(platform)
    limits = {"max_bytes": values.pop("max_bytes")}
    return {**values, "groups": list(platform.groups), "limits": limits}


_HEALTH_DOCS = json_docs(
    "The process serves",
    {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"const": "ok"},
            "version": {"type": "string"},
            "uptime_s": {"type": "number"},
        },
    },
)
_READY_DOCS = json_docs(
    "Everything that an answer depends on answers",
    {"type": "object", "required": ["status", "parts"]},
    503,
)
_SERVICES_DOCS = json_docs(
    "Each part of the service, with latency and the state of its circuit",
    {
        "type": "object",
        "required": ["status", "services"],
        "properties": {
            "status": {"enum": ["ok", "degraded"]},
            "services": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["status", "latency_ms", "circuit", "detail"],
                    "properties": {
                        "status": {"enum": ["ok", "down", "off"]},
                        "latency_ms": {"type": ["number", "null"]},
                        "circuit": {"enum": ["closed", "open", "half-open"]},
                        "detail": {"type": "string"},
                    },
                },
            },
        },
    },
)
_PLATFORMS_DOCS = json_docs(
    "The catalogue of platforms",
    {"type": "object", "required": ["platforms", "responsive", "groups"]},
    401,
    403,
    429,
)
_PROBLEM_DOCS = json_docs("What a problem's code means", {"type": "object"}, 429)
_PROBLEM_DOCS["responses"][404] = {
    "description": "No such code",
    "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
}
_PROBLEM_DOCS["responses"][422] = {
    "description": "Never: any code is read",
    "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
}
