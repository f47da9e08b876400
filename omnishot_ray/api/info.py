"""`POST /api/info`: what there is to know of one picture."""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.answers import JSON, describe_source, note_description, server_timing
from omnishot_ray.api.body import read_query, read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import info_etag, matches
from omnishot_ray.api.negotiation import list_header
from omnishot_ray.api.openapi import INFO_DOCS
from omnishot_ray.cache.flight import Flights
from omnishot_ray.digest import content_digest
from omnishot_ray.errors import FieldError, InvalidParameters, OmnishotError
from omnishot_ray.imaging.info import ImageInfo
from omnishot_ray.protocol import InfoTask, Optimizer
from omnishot_ray.storage.sources import Sources


def build_info_routes(
    optimizer: Optimizer, config: ApiConfig, sources: Sources | None = None
) -> APIRouter:
    """The route that describes pictures."""
    router = APIRouter(tags=["images"])
    flights: Flights[ImageInfo | OmnishotError] = Flights()

    @router.post("/api/info", **INFO_DOCS)
    async def info(request: Request) -> Response:
        """One picture in, a document about it out."""
        _refuse_options(read_query(request.query_params))  # said before the body is read
        upload = await read_upload(request, config, sources)
        _refuse_options(upload.fields)
        digest = content_digest(upload.data)
        tag = info_etag(digest)
        caching = {"ETag": tag, "Cache-Control": config.cache_control}
        if matches(list_header(request, "if-none-match"), tag):
            return Response(status_code=304, headers=caching)
        task = InfoTask(upload.data, request.state.request_id, known_digest=digest.hex())
        outcome, joined = await flights.join(digest.hex(), lambda: optimizer.optimize(task))
        if isinstance(outcome, OmnishotError):
            raise outcome
        note_description(outcome)
        headers = {
            **caching,
            "Server-Timing": server_timing(outcome.timings),
            "X-OmniShot-Source": describe_source(outcome.source),
            "X-Cache": "joined" if joined else "miss",
        }
        return Response(orjson.dumps(info_document(outcome)), headers=headers, media_type=JSON)

    return router


def info_document(info: ImageInfo) -> dict[str, Any]:
    """What is sent of a description. The same picture gives the same document."""
    palette = [{"color": s.color, "share": round(s.share, 4)} for s in info.palette]
    return {
        "format": info.source.format,
        "width": info.source.width,
        "height": info.source.height,
        "bytes": info.source.bytes,
        "mode": info.mode,
        "orientation": info.orientation,
        "frames": info.frames,
        "has_alpha": info.has_alpha,
        "icc_name": info.icc_name,
        "exif": dict(info.exif),
        "dominant_color": info.palette[0].color if info.palette else None,
        "palette": palette,
        "blurhash": info.blurhash,
        "thumbhash": base64.b64encode(info.thumbhash).decode("ascii"),
        "sharpness": round(info.sharpness, 2),
        "entropy": round(info.entropy, 3),
    }


def _refuse_options(names: Iterable[str]) -> None:
    fields = tuple(FieldError(name, "unknown; there is nothing to choose here") for name in names)
    if fields:
        raise InvalidParameters(
            "A picture is described without options; send the picture alone.", fields
        )
