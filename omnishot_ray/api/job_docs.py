"""What the OpenAPI document says of jobs, batches and uploads."""

from typing import Any

from starlette.responses import Response

from omnishot_ray.api.job_requests import STATUSES
from omnishot_ray.api.openapi import (
    IMAGE_BODY,
    PROBLEM_SCHEMA,
    or_empty,
    problem_docs,
    request_body,
)
from omnishot_ray.imaging.formats import OUTPUT_FORMATS
from omnishot_ray.imaging.platforms import GROUPS, PLATFORMS

_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_PROBLEM_OR_NOTHING = {"anyOf": [PROBLEM_SCHEMA, {"type": "null"}]}

_VARIANT = {
    "type": "object",
    "required": ["name", "status", "error"],
    "properties": {
        "name": {"type": "string"},
        "status": {"enum": ["pending", "ok", "error"]},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "format": {"enum": [format.value for format in OUTPUT_FORMATS]},
        "bytes": {"type": "integer"},
        "etag": {"type": "string"},
        "crop": {"type": ["array", "null"], "items": {"type": "integer"}},
        "url": {"type": "string", "description": "Where the bytes are"},
        "output": {"type": ["string", "null"], "description": "Where they were written besides"},
        "error": _PROBLEM_OR_NOTHING,
    },
}

JOB_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": [
        *("id", "status", "progress", "attempts", "priority", "created_at", "started_at"),
        *("finished_at", "variants", "error"),
    ],
    "properties": {
        "id": _ID,
        "status": {"enum": list(STATUSES)},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "attempts": {"type": "integer", "minimum": 0, "description": "Those begun"},
        "max_attempts": {"type": "integer"},
        "priority": {"type": "integer", "minimum": 1, "maximum": 10},
        "timeout_s": {"type": "number"},
        "user_id": {"type": ["string", "null"]},
        "batch_id": {"type": ["string", "null"]},
        "created_at": _TIME,
        "started_at": _TIME,
        "finished_at": _TIME,
        "next_attempt_at": _TIME,
        "source": {"type": ["object", "null"]},
        "variants": {"type": "array", "items": _VARIANT},
        "error": _PROBLEM_OR_NOTHING,
        "callback": {"type": ["object", "null"]},
    },
}

_SOURCE = {
    "description": "The picture: exactly one of these",
    "oneOf": [
        {
            "type": "object",
            "required": [name],
            "additionalProperties": False,
            "properties": {name: schema},
        }
        for name, schema in (
            ("url", {"type": "string", "minLength": 1, "maxLength": 2048}),
            ("upload", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
            ("data", {"type": "string", "format": "byte", "minLength": 4}),
        )
    ],
}

_REST: dict[str, Any] = {
    "platforms": {"type": "array", "items": {"type": "string", "enum": list(PLATFORMS)}},
    "group": {"type": "string", "enum": list(GROUPS)},
    "variants": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Options with a name each, as in `POST /api/variants`",
    },
    "priority": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
    "timeout_s": {"type": "number", "minimum": 1},
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": 10},
    "callback_url": {"type": "string", "description": "Is told of the end, signed"},
    "output": {"type": "string", "description": "A folder into which results are written, too"},
    "dedupe": {"type": "boolean", "default": True},
    "user_id": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and payload give the same job, however often it is sent",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
}
_LOCATION = {"Location": {"description": "Where it is", "schema": {"type": "string"}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    known = problem_docs(*(status for status in statuses if status not in (404, 409)))
    for status, text in (
        (404, "No such job, batch, result or source"),
        (409, "Not possible where the job stands, or the key is in use"),
    ):
        if status in statuses:
            known[status] = {
                "description": text,
                "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
            }
    return known


def _docs(
    summary: str,
    answers: dict[int, Any],
    *problems: int,
    parameters: list[Any] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if parameters:
        extra["parameters"] = parameters
    if body:
        extra["requestBody"] = {"required": True, "content": body}
    return {
        "summary": summary,
        "response_class": Response,
        "responses": {**answers, **_problems(401, 403, 429, 500, 503, *problems)},
        "openapi_extra": extra,
    }


def _answer(text: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"description": text, "content": content, "headers": headers}


_JOB_FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "job": {"type": "object", "properties": _REST},
    },
}

SUBMIT_DOCS = _docs(
    "Takes a job in: one picture, many renditions, answered later",
    {
        202: _answer("The job, taken in", JOB_SCHEMA, **_LOCATION),
        200: _answer("The job that does the same already", JOB_SCHEMA, **_LOCATION),
    },
    *(400, 408, 409, 413, 415, 422),
    parameters=[_KEY],
    body={
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["source"],
                "additionalProperties": False,
                "properties": {"source": _SOURCE, **_REST},
            }
        },
        "multipart/form-data": {
            "schema": _JOB_FORM,
            "encoding": {"job": {"contentType": "application/json"}},
        },
    },
)

UPLOAD_DOCS = _docs(
    "Keeps a picture for jobs to come; a day, or as long as a job needs it",
    {
        201: _answer(
            "Its id, the BLAKE3 of its bytes",
            {
                "type": "object",
                "required": ["id", "bytes"],
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "bytes": {"type": "integer"},
                },
            },
        )
    },
    *(400, 408, 413, 415, 422),
)
UPLOAD_DOCS["openapi_extra"]["requestBody"] = request_body({})
del UPLOAD_DOCS["openapi_extra"]["requestBody"]["content"]["application/json"]

JOBS_DOCS = _docs(
    "Jobs, the newest first",
    {
        200: _answer(
            "A page",
            {
                "type": "object",
                "required": ["jobs", "next_cursor"],
                "properties": {
                    "jobs": {"type": "array", "items": JOB_SCHEMA},
                    "next_cursor": {"type": ["string", "null"]},
                },
            },
        )
    },
    400,
    parameters=[
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": or_empty(schema),
        }
        for name, description, schema in (
            ("status", "One or more, separated by commas", {"type": "string", "enum": [*STATUSES]}),
            ("user_id", "Whose jobs", _REST["user_id"]),
            ("limit", "At most so many", {"type": "integer", "minimum": 1, "maximum": 200}),
            ("cursor", "`next_cursor` of the page before", _ID),
        )
    ],
)

JOB_DOCS = _docs(
    "Where a job stands",
    {
        200: _answer("The job", JOB_SCHEMA),
        304: {"description": "`If-None-Match` names it as it still is"},
    },
    *(404, 422),
)

CANCEL_DOCS = _docs(
    "Cancels a job",
    {200: _answer("The job", JOB_SCHEMA)},
    *(404, 409, 422),
)

RETRY_DOCS = _docs(
    "Starts a failed, dead or cancelled job anew",
    {202: _answer("The job", JOB_SCHEMA, **_LOCATION)},
    *(404, 409, 422),
)

EVENTS_DOCS = _docs(
    "A job's progress as server-sent events",
    {
        200: {
            "description": "Each event is the job; the last one is called by how it ended",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "`Last-Event-ID` was the last event"},
    },
    *(404, 422),
    parameters=[
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The last event that was heard",
            "schema": {"type": "string"},
        },
    ],
)

RESULT_DOCS = _docs(
    "The bytes of a variant",
    {
        200: {
            "description": "The rendition",
            "content": {format.mime: IMAGE_BODY for format in OUTPUT_FORMATS},
        },
        304: {"description": "`If-None-Match` names these very bytes"},
    },
    *(404, 422),
)

_COUNTS = {
    name: {"type": "integer", "minimum": 0}
    for name in ("waiting", "active", "delayed", "completed", "failed", "cancelled", "dead")
}

STATS_DOCS = _docs(
    "How the queue stands",
    {
        200: _answer(
            "Counts, rate, age and runners",
            {
                "type": "object",
                "required": [*_COUNTS, "stalled", "by_priority", "rate_per_minute", "workers"],
                "properties": {
                    **_COUNTS,
                    "stalled": {"type": "integer", "description": "Active without a sign of life"},
                    "by_priority": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "properties": _COUNTS},
                    },
                    "rate_per_minute": {"type": "integer", "description": "Ended in the last one"},
                    "oldest_waiting_s": {"type": ["number", "null"]},
                    "workers": {"type": "array", "items": {"type": "object"}},
                },
            },
        )
    },
)

_BATCH = {
    "type": "object",
    "required": ["id", "status", "progress", "total", "completed", "failed", "cancelled"],
    "properties": {
        "id": _ID,
        "status": {"enum": ["queued", "active", "completed", "cancelled"]},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        **{
            name: {"type": "integer", "minimum": 0}
            for name in ("total", "queued", "active", "completed", "failed", "cancelled")
        },
        "user_id": {"type": ["string", "null"]},
        "created_at": _TIME,
        "cancelled_at": _TIME,
        "success": {"type": "array", "items": {"type": "object"}},
        "failures": {"type": "array", "items": {"type": "object"}},
    },
}

SUBMIT_BATCH_DOCS = _docs(
    "Takes up to 1 000 sources in, all or none",
    {
        202: _answer("The batch, taken in", _BATCH, **_LOCATION),
        200: _answer("The batch that came with this key before", _BATCH, **_LOCATION),
    },
    *(400, 408, 409, 413, 415, 422),
    parameters=[_KEY],
    body={
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["sources"],
                "additionalProperties": False,
                "properties": {
                    "sources": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1000,
                        "items": _SOURCE,
                    },
                    **_REST,
                },
            }
        }
    },
)

BATCH_DOCS = _docs(
    "A batch: how far it is, its successes and failures",
    {200: _answer("The batch", _BATCH)},
    *(404, 422),
)

CANCEL_BATCH_DOCS = _docs(
    "Cancels what is not finished of a batch",
    {200: _answer("The batch", _BATCH)},
    *(404, 422),
)
