"""Errors over HTTP: RFC 9457 problem documents, and the one table from error class to status."""

import math
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from omnishot_ray import errors
from omnishot_ray.errors import OmnishotError
from omnishot_ray.metrics.notes import note_error

STATUS: dict[type[OmnishotError], int] = {
    errors.InvalidParameters: 400,
    errors.MissingImage: 400,
    errors.ContradictoryOptions: 422,
    errors.UnsupportedBody: 415,
    errors.BodyTooLarge: 413,
    errors.RequestTimeout: 408,
    errors.KeyMissing: 401,
    errors.KeyRefused: 403,
    errors.OriginRefused: 403,
    errors.AddressRefused: 403,
    errors.SourceTooLarge: 413,
    errors.JobUnknown: 404,
    errors.JobConflict: 409,
    errors.KeyInFlight: 409,
    errors.KeyMismatch: 422,
    errors.UnsupportedFormat: 415,
    errors.CorruptImage: 422,
    errors.LimitExceeded: 422,
    errors.Quarantined: 422,
    errors.AllVariantsFailed: 422,
    errors.Overloaded: 429,
    errors.RateLimited: 429,
    errors.TaskTimeout: 504,
    errors.EngineUnavailable: 503,
    errors.UpstreamRefused: 502,
    errors.UpstreamFailed: 502,
    errors.UpstreamTimeout: 504,
    errors.UpstreamResting: 503,
    errors.NotStored: 404,
    errors.StorageUnavailable: 503,
    errors.InternalError: 500,
}
"""Status of each error; a class that is not listed takes its nearest ancestor's, else 500."""

_HTTP_TITLES = {
    404: ("not-found", "Nothing at this address", "GET /docs lists what is served."),
    405: ("method-not-allowed", "Method not allowed", "The Allow header names the methods."),
}


def status_of(error: OmnishotError) -> int:
    """The HTTP status of an error, by class ancestry."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def status_of_code(code: str) -> int:
    """The HTTP status that goes with the code of a problem; 500 where there is no such code."""
    return next((status for cls, status in STATUS.items() if cls.code == code), 500)


def as_problem(error: OmnishotError, instance: str) -> dict[str, Any]:
    """The problem document of an error; `instance` is the request id."""
    return _document(
        error.code,
        error.title,
        status_of(error),
        error.detail,
        instance,
        [
            {"name": _printable(field.name), "detail": _printable(field.detail)}
            for field in error.fields
        ],
    )


def problem_response(error: OmnishotError, instance: str) -> Response:
    """The answer for an error, with `Retry-After` where waiting helps."""
    note_error(error.code)
    return _response(as_problem(error, instance), _headers_of(error))


def http_problem_response(status: int, detail: str, instance: str, headers: Any = None) -> Response:
    """The answer for what the router itself turns away (404, 405, unreadable form data)."""
    code, title, hint = _HTTP_TITLES.get(status, ("http", "Request not possible", ""))
    note_error(code)
    return _response(
        _document(code, title, status, f"{detail}. {hint}".strip(), instance, []), headers
    )


def _headers_of(error: OmnishotError) -> dict[str, str]:
    match error:
        case errors.Overloaded():
            wait_s = max(1, math.ceil(error.retry_after_s))
            return {
                "Retry-After": str(wait_s),
                # draft-ietf-httpapi-ratelimit-headers-10: one more request in that time, none now.
                "RateLimit-Policy": f'"queue";q=1;w={wait_s}',
                "RateLimit": f'"queue";r=0;t={wait_s}',
            }
        case errors.RateLimited() | errors.UpstreamResting() | errors.StorageUnavailable():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
        case errors.EngineUnavailable() | errors.KeyInFlight():
            return {"Retry-After": "1"}
        case errors.KeyMissing():
            return {"WWW-Authenticate": "Bearer"}  # RFC 9110 §15.5.2, RFC 6750 §3
        case errors.RequestTimeout():
            return {"Connection": "close"}  # what is still to come of the body is not waited for
    return {}


async def handle_error(request: Request, error: Exception) -> Response:
    """Exception handler for named errors."""
    assert isinstance(error, OmnishotError)
    return problem_response(error, request.state.request_id)


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Exception handler for Starlette's own HTTP errors."""
    status = getattr(error, "status_code", 500)
    detail = str(getattr(error, "detail", "")) or "The request cannot be answered"
    headers = dict(getattr(error, "headers", None) or {})
    if status == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of(request) | {*_split(headers.get("Allow"))}))
    if "GET" in headers.get("Allow", ""):
        headers["Allow"] += ", HEAD"
    return http_problem_response(status, detail.rstrip("."), request.state.request_id, headers)


def _methods_of(request: Request) -> set[str]:
    """What the address can be asked for: Starlette names the methods of one route alone."""
    return {
        method
        for route in request.app.state.routes
        if route.matches(dict(request.scope))[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _document(
    code: str, title: str, status: int, detail: str, instance: str, fields: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": _printable(detail),
        "instance": instance,
        "errors": fields,
    }


def _printable(text: str) -> str:
    """A name out of JSON may hold half of a surrogate pair, which no encoding can send."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _response(document: dict[str, Any], headers: dict[str, str] | None) -> Response:
    return Response(
        orjson.dumps(document),
        document["status"],
        {**(headers or {}), "Cache-Control": "no-store"},
        media_type="application/problem+json",
    )


def describe(code: str) -> dict[str, Any] | None:
    """What `/problems/{code}` says of a code; None when there is no such code."""
    for cls, status in STATUS.items():
        if cls.code == code:
            meaning = (cls.__doc__ or "").split(";")[0].strip()
            return {"code": code, "title": cls.title, "status": status, "meaning": meaning}
    for status, (http_code, title, hint) in _HTTP_TITLES.items():
        if http_code == code:
            return {"code": code, "title": title, "status": status, "meaning": hint}
    return None
