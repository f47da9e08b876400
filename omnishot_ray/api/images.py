"""`POST /api/optimize` and `POST /api/variants`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.answers import JSON, MULTIPART, ZIP, VariantsAnswer, rendition_response
from omnishot_ray.api.body import read_query, read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import content_digest, etag, matches
from omnishot_ray.api.negotiation import accepted_formats, choose_container
from omnishot_ray.api.openapi import OPTIMIZE_DOCS, VARIANTS_DOCS
from omnishot_ray.errors import (
    AllVariantsFailed,
    FieldError,
    InvalidParameters,
    OmnishotError,
)
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.options import (
    Options,
    apply_values,
    parse_options,
    read_values,
    unknown_name,
)
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result
from omnishot_ray.imaging.platforms import GROUPS, in_group
from omnishot_ray.protocol import ImageTask, Optimizer

_CHOOSERS = ("platforms", "group", "variants")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def build_image_routes(optimizer: Optimizer, config: ApiConfig) -> APIRouter:
    """The routes that turn pictures into renditions."""
    router = APIRouter(tags=["images"])

    @router.post("/api/optimize", **OPTIMIZE_DOCS)
    async def optimize(request: Request) -> Response:
        """One picture in, one picture out."""
        # What is wrong in the address is said before the body is read.
        values = _values_of(request.scope["query_string"])
        upload = await read_upload(request, config)
        accept = accepted_formats(_header(request, "accept"))
        further = {name: text for name, text in upload.fields.items() if name not in values}
        if further:
            options = apply_values({**read_values(further), **values}, Options(accept=accept))
        else:
            options = _options_of(request.scope["query_string"], accept)
        tag = etag(content_digest(upload.data), options)
        caching = {"ETag": tag, "Cache-Control": config.cache_control, "Vary": "Accept"}
        if matches(_header(request, "if-none-match"), tag):
            return Response(status_code=304, headers=caching)
        task = ImageTask(upload.data, (options,), request.state.request_id)
        result = _or_raise(await optimizer.optimize(task))
        return rendition_response(result, _only(result), caching)

    @router.post("/api/variants", **VARIANTS_DOCS)
    async def variants(request: Request) -> Response:
        """One picture in, many out, decoded once."""
        query = read_query(request.query_params)
        if any(name in query for name in _CHOOSERS):
            _read_variants(query, Options(), config)  # said before the body is read
        upload = await read_upload(request, config)
        accept = _header(request, "accept")
        base = Options(accept=accepted_formats(accept))
        wanted = _read_variants(_merged(upload.fields, query), base, config)
        possible = tuple(options for options in wanted if isinstance(options, Options))
        result = None
        if possible:
            task = ImageTask(upload.data, possible, request.state.request_id)
            result = _or_raise(await optimizer.optimize(task))
        answer = VariantsAnswer.of(result, wanted, request.state.request_id)
        if answer.all_failed:
            raise _all_failed(answer)
        container = choose_container(accept, (JSON, MULTIPART, ZIP))
        return answer.as_response(container)

    return router


@lru_cache(maxsize=4096)
def _values_of(query_string: bytes) -> Mapping[str, Any]:
    """The options in an address; many pictures come with the same."""
    return read_values(read_query(QueryParams(query_string)))


@lru_cache(maxsize=4096)
def _options_of(query_string: bytes, accept: tuple[Format, ...]) -> Options:
    return apply_values(_values_of(query_string), Options(accept=accept))


def _header(request: Request, name: str) -> str:
    """A list header, all of its lines as one (RFC 9110 §5.3)."""
    return ", ".join(request.headers.getlist(name))


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


def _read_variants(
    given: Mapping[str, str], base: Options, config: ApiConfig
) -> Sequence[Options | FailedRendition]:
    """What `platforms`, `group` and `variants` ask for, in that order, each name once.

    Options beside them apply to every variant: a platform's own values lie under them, a
    variant's own values over them. A variant that cannot be made is a failure of its own.
    """
    shared = {name: value for name, value in given.items() if name not in _CHOOSERS}
    read_values(shared)
    asked: list[Mapping[str, object]] = [
        {"platform": name, **shared} for name in _platform_names(given)
    ]
    asked += [{**shared, **variant} for variant in _variant_objects(given.get("variants"))]
    if not asked:
        raise _invalid("platforms", "name at least one of platforms, group or variants")
    if len(asked) > config.max_variants:
        raise _invalid("variants", f"{len(asked)} variants; at most {config.max_variants} at once")
    wanted: list[Options | FailedRendition] = []
    names: set[str] = set()
    for index, values in enumerate(asked):
        name = _variant_name(values, index)
        if name in names:
            raise _invalid("variants", f"two variants are named {name!r}; name each differently")
        names.add(name)
        try:
            options = parse_options({k: v for k, v in values.items() if k != "name"}, base)
        except OmnishotError as error:
            wanted.append(FailedRendition(name, error))
        else:
            wanted.append(replace(options, name=name))
    return wanted


def _platform_names(given: Mapping[str, str]) -> list[str]:
    names = [name.strip() for name in given.get("platforms", "").split(",") if name.strip()]
    for name in names:
        try:
            parse_options({"platform": name})
        except InvalidParameters as error:
            raise _invalid("platforms", error.fields[0].detail) from None
    group = given.get("group")
    if group is not None:
        if group not in GROUPS:
            detail = unknown_name(group, dict.fromkeys(GROUPS))
            raise _invalid("group", f"{group[:40]!r} is {detail}")
        names += [platform.name for platform in in_group(group)]
    return list(dict.fromkeys(names))


def _variant_objects(text: str | None) -> list[Mapping[str, object]]:
    if text is None:
        return []
    right = 'a JSON list of objects such as [{"name": "small", "width": 320}]'
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("variants", f"not JSON; it has to be {right}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _invalid("variants", f"it has to be {right}")
    return value


def _variant_name(values: Mapping[str, object], index: int) -> str:
    name = values.get("name", values.get("platform", f"variant-{index + 1}"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(
            "variants",
            f"the name {str(name)[:40]!r} has to be 1 to 64 letters, digits, dots, dashes or "
            "underscores, and start with a letter or digit",
        )
    return name


def _invalid(name: str, detail: str) -> InvalidParameters:
    return InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))


def _all_failed(answer: VariantsAnswer) -> AllVariantsFailed:
    fields = tuple(FieldError(name, error.detail) for name, error in answer.failures)
    count = len(fields)
    return AllVariantsFailed(
        f"None of the {count} variants could be made; `errors` says why of each."
        if count > 1
        else f"The variant could not be made: {fields[0].detail}",
        fields,
    )
