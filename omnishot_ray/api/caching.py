"""`/api/cache`: what the caches hold, warming them up, and taking out what is wrong."""

import os
import re
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.asked import json_answer
from omnishot_ray.api.body import read_query, read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import cache_key
from omnishot_ray.api.negotiation import accepted_formats, list_header
from omnishot_ray.api.openapi import (
    CACHE_DOCS,
    INVALIDATE_DOCS,
    WARM_DOCS,
)
from omnishot_ray.api.problems import as_problem
from omnishot_ray.api.wanted import read_variants
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.digest import content_digest
from omnishot_ray.errors import FieldError, InvalidParameters, OmnishotError
from omnishot_ray.imaging.options import Options
from omnishot_ray.protocol import ImageTask, Optimizer
from omnishot_ray.storage.sources import Sources

_CHOICES = {
    "key": (re.compile(r"[0-9a-f]{64}-[0-9a-f]{32}"), "a whole key, as X-OmniShot-Key says it"),
    "prefix": (re.compile(r"[0-9a-f]{1,64}(-[0-9a-f]{0,32})?"), "the beginning of keys"),
    "source": (re.compile(r"[0-9a-f]{64}"), "the BLAKE3 of a source in hexadecimal"),
}


def build_cache_routes(
    optimizer: Optimizer,
    config: ApiConfig,
    front: CachingOptimizer | None,
    sources: Sources | None = None,
) -> APIRouter:
    """The routes for those who look after the caches."""
    router = APIRouter(tags=["caches"])

    @router.get("/api/cache", **CACHE_DOCS)
    async def stats(_request: Request) -> Response:
        """Hits, misses and sizes of each tier of this gateway."""
        return json_answer({"process": os.getpid(), **(front.stats() if front else {})})

    @router.post("/api/cache/invalidate", **INVALIDATE_DOCS)
    async def invalidate(request: Request) -> Response:
        """Take results out of every tier, by key, by the beginning of keys, or by source."""
        prefix = _read_choice(read_query(request.query_params))
        removed = await front.invalidate(prefix) if front else {}
        return json_answer({"removed": removed})

    @router.post("/api/cache/warm", **WARM_DOCS)
    async def warm(request: Request) -> Response:
        """Make renditions of one picture as `/api/optimize` would, and keep them."""
        accept = accepted_formats(list_header(request, "accept"))
        query = read_query(request.query_params)
        upload = await read_upload(request, config, sources)
        wanted = read_variants({**upload.fields, **query}, Options(accept=accept), config)
        digest = content_digest(upload.data)
        results: list[dict[str, Any]] = []
        for one in wanted:
            if not isinstance(one, Options):
                results.append(_failed(one.name, one.error, request))
                continue
            key = cache_key(digest, (one,))
            task = ImageTask(upload.data, (one,), request.state.request_id, 10, digest.hex())
            execute = partial(optimizer.optimize, task)
            if front is None:
                outcome, cache = await execute(), "miss"
            else:
                served = await front.serve(key, task, execute)
                outcome, cache = served.outcome, served.cache
            if isinstance(outcome, OmnishotError):
                results.append(_failed(one.name, outcome, request))
            else:
                results.append({"name": one.name, "key": key, "cache": cache, "error": None})
        return json_answer({"warmed": results})

    return router


def _read_choice(query: dict[str, str]) -> str:
    """The beginning of the keys that are meant. Raises `InvalidParameters`."""
    if len(query) != 1 or next(iter(query)) not in _CHOICES:
        fields = tuple(FieldError(name, "unknown or one too many") for name in query)
        raise InvalidParameters("Say exactly one of key, prefix and source.", fields)
    ((name, value),) = query.items()
    pattern, right = _CHOICES[name]
    if not pattern.fullmatch(value):
        detail = f"{value[:80]!r} is not {right}"
        raise InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))
    return value


def _failed(name: str, error: OmnishotError, request: Request) -> dict[str, Any]:
    problem = as_problem(error, request.state.request_id)
    return {"name": name, "key": None, "cache": None, "error": problem}
