"""`POST /api/optimize` and `POST /api/variants`."""

from collections.abc import Mapping
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.answers import (
    JSON,
    MULTIPART,
    ZIP,
    Answer,
    VariantsAnswer,
    note_answer,
    rendition_response,
)
from omnishot_ray.api.body import Upload, read_query, read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import cache_key, etag, matches
from omnishot_ray.api.negotiation import accepted_formats, choose_container, list_header
from omnishot_ray.api.openapi import OPTIMIZE_DOCS, VARIANTS_DOCS
from omnishot_ray.api.wanted import CHOOSERS, options_of, read_variants, values_of
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.digest import content_digest
from omnishot_ray.errors import (
    AllVariantsFailed,
    FieldError,
    OmnishotError,
)
from omnishot_ray.imaging.options import (
    Options,
    apply_values,
    cheapen,
    read_values,
)
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result
from omnishot_ray.metrics.notes import note_key
from omnishot_ray.protocol import ImageTask, Optimizer
from omnishot_ray.storage.sources import Sources


def build_image_routes(
    optimizer: Optimizer,
    config: ApiConfig,
    front: CachingOptimizer | None = None,
    sources: Sources | None = None,
) -> APIRouter:
    """The routes that turn pictures into renditions; `front` holds what was made before."""
    router = APIRouter(tags=["images"])

    async def make(
        key: str, digest: bytes, upload: Upload, wanted: tuple[Options, ...], request: Request
    ) -> Answer:
        """The result named `key` from wherever it is had soonest."""
        if front and (known := front.get_now(key)):
            return Answer(known, "hit-memory")
        degraded = None
        effort = optimizer.highest_effort
        cheaper = wanted if effort is None else tuple(cheapen(one, effort) for one in wanted)
        if cheaper != wanted:
            degraded = f"effort={effort}, auto=jpeg"
            wanted, key = cheaper, cache_key(digest, cheaper)
        task = ImageTask(upload.data, wanted, request.state.request_id, known_digest=digest.hex())
        if front is None:
            return Answer(_or_raise(await optimizer.optimize(task)), "miss", degraded)
        if front.is_near:
            outcome = await optimizer.optimize_now(task, not front.has_something(key))
            if outcome is not None:
                front.keep(key, outcome)
                return Answer(_or_raise(outcome), "miss", degraded)
        served = await front.serve(key, task, partial(optimizer.optimize, task))
        return Answer(_or_raise(served.outcome), served.cache, degraded)

    @router.post("/api/optimize", **OPTIMIZE_DOCS)
    async def optimize(request: Request) -> Response:
        """One picture in, one picture out."""
        # What is wrong in the address is said before the body is read.
        values = values_of(request.scope["query_string"])
        upload = await read_upload(request, config, sources)
        accept = accepted_formats(list_header(request, "accept"))
        further = {name: text for name, text in upload.fields.items() if name not in values}
        if further:
            options = apply_values({**read_values(further), **values}, Options(accept=accept))
        else:
            options = options_of(request.scope["query_string"], accept)
        digest = content_digest(upload.data)
        key = cache_key(digest, (options,))
        tag = etag(key)
        note_key(key)
        caching = {
            "ETag": tag,
            "Cache-Control": config.cache_control,
            "Vary": "Accept",
            "X-OmniShot-Key": key,
        }
        if matches(list_header(request, "if-none-match"), tag):
            return Response(status_code=304, headers=caching)
        made = await make(key, digest, upload, (options,), request)
        note_answer(made, len(upload.data))
        if made.degraded:  # the next one may be better: nobody should keep this
            caching = {"Cache-Control": "no-store", "Vary": "Accept"}
        return rendition_response(made, _only(made.result), caching)

    @router.post("/api/variants", **VARIANTS_DOCS)
    async def variants(request: Request) -> Response:
        """One picture in, many out, decoded once."""
        query = read_query(request.query_params)
        if any(name in query for name in CHOOSERS):
            read_variants(query, Options(), config)  # said before the body is read
        upload = await read_upload(request, config, sources)
        accept = list_header(request, "accept")
        base = Options(accept=accepted_formats(accept))
        wanted = read_variants(_merged(upload.fields, query), base, config)
        possible = tuple(options for options in wanted if isinstance(options, Options))
        made = None
        if possible:
            digest = content_digest(upload.data)
            made = await make(cache_key(digest, possible), digest, upload, possible, request)
            note_answer(made, len(upload.data))
        answer = VariantsAnswer.of(made, wanted, request.state.request_id)
        if answer.all_failed:
            raise _all_failed(answer)
        container = choose_container(accept, (JSON, MULTIPART, ZIP))
        return answer.as_response(container)

    return router


def _merged(fields: Mapping[str, str], query: Mapping[str, str]) -> dict[str, str]:
    """Options of the form, overridden by those of the address."""
    return {**fields, **query}


def _or_raise(outcome: Result | OmnishotError) -> Result:
    if isinstance(outcome, OmnishotError):
        raise outcome
    return outcome


def _only(result: Result) -> Rendition:
    (rendition,) = result.renditions
    if isinstance(rendition, FailedRendition):
        raise rendition.error
    return rendition


def _all_failed(answer: VariantsAnswer) -> AllVariantsFailed:
    fields = tuple(FieldError(name, error.detail) for name, error in answer.failures)
    count = len(fields)
    return AllVariantsFailed(
        f"None of the {count} variants could be made; `errors` says why of each."
        if count > 1
        else f"The variant could not be made: {fields[0].detail}",
        fields,
    )
