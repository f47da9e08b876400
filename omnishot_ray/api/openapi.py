"""What the OpenAPI document says of the image routes, read from the table of options."""

from typing import Any

from starlette.responses import Response

from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format
from omnishot_ray.imaging.options import GRAVITIES, SPECS, OptionSpec
from omnishot_ray.imaging.platforms import GROUPS, PLATFORMS

_IMAGE_BODY = {"schema": {"type": "string", "format": "binary"}}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "errors"],
    "properties": {
        "type": {"type": "string", "description": "/problems/<code>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong and what would be right."},
        "instance": {"type": "string", "description": "The request id."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "detail"],
                "properties": {"name": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

_PROBLEMS = {
    400: "A parameter or the form cannot be read, or there is no image",
    408: "The client took too long to send",
    413: "The body is larger than is accepted",
    415: "Not an accepted image format",
    422: "Damaged, over a limit, or options that contradict each other",
    429: "Too much work waiting; `Retry-After` says when to come back",
    500: "A fault of the service",
    503: "No engine available; `Retry-After` says when to come back",
    504: "The time limit passed",
}


def problem_docs(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for the given problem statuses."""
    return {
        status: {
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
        }
        for status in statuses
    }


_FRACTION = r"(0(\.[0-9]+)?|1(\.0+)?)"


def option_schema(spec: OptionSpec) -> dict[str, Any]:
    """The JSON schema of one option."""
    schema: dict[str, Any] = {"type": spec.kind}
    if spec.choices:
        schema["enum"] = list(spec.choices)
    if spec.minimum is not None:
        schema |= {"minimum": spec.minimum, "maximum": spec.maximum}
    if spec.name == "platform":
        schema["enum"] = list(PLATFORMS)
    if spec.name == "gravity":
        schema["pattern"] = f"^({'|'.join(GRAVITIES)}|fp:{_FRACTION},{_FRACTION})$"
    if spec.name == "background":
        schema["pattern"] = "^#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})$"
    return schema


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_OPTION_PARAMETERS = [
    _parameter(spec.name, f"{spec.help} Default: {spec.default}.", option_schema(spec))
    for spec in SPECS
]

_OPTION_PROPERTIES = {spec.name: option_schema(spec) for spec in SPECS}


def _request_body(form_fields: dict[str, Any]) -> dict[str, Any]:
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}, **form_fields},
    }
    return {
        "required": True,
        "content": {
            "application/octet-stream": _IMAGE_BODY,
            **{format.mime: _IMAGE_BODY for format in Format},
            "multipart/form-data": {"schema": form},
        },
    }


_VARIANTS_PARAMETERS = [
    _parameter("platforms", "Names of presets, separated by commas.", {"type": "string"}),
    _parameter("group", "All presets of a group.", {"type": "string", "enum": list(GROUPS)}),
    _parameter(
        "variants",
        'A JSON list of options with a name each: `[{"name": "small", "width": 320}]`.',
        {"type": "string"},
    ),
]

_VARIANT_SCHEMA = {
    "type": "object",
    "required": ["name", "status", "error"],
    "properties": {
        "name": {"type": "string"},
        "status": {"type": "string", "enum": ["ok", "error"]},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "format": {"type": "string", "enum": [format.value for format in OUTPUT_FORMATS]},
        "bytes": {"type": "integer"},
        "etag": {"type": "string"},
        "crop": {
            "type": ["array", "null"],
            "items": {"type": "integer"},
            "description": "x, y, width, height in pixels of the upright source",
        },
        "data": {"type": "string", "format": "byte", "description": "base64"},
        "error": {"anyOf": [PROBLEM_SCHEMA, {"type": "null"}]},
    },
}

_VARIANTS_SCHEMA = {
    "type": "object",
    "required": ["source", "variants", "timings_ms"],
    "properties": {
        "source": {
            "type": "object",
            "properties": {
                "width": {"type": "integer"},
                "height": {"type": "integer"},
                "format": {"type": "string"},
                "bytes": {"type": "integer"},
            },
        },
        "variants": {"type": "array", "items": _VARIANT_SCHEMA},
        "timings_ms": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}

_FAILURES = problem_docs(400, 408, 413, 415, 422, 429, 500, 503, 504)

OPTIMIZE_DOCS: dict[str, Any] = {
    "summary": "One image in, one image out",
    "response_class": Response,
    "responses": {
        200: {
            "description": "The rendition",
            "headers": {
                "X-OmniShot-Crop": {
                    "description": "x,y,width,height in pixels of the upright source, if cropped",
                    "schema": {"type": "string"},
                },
                "X-OmniShot-Gravity": {
                    "description": "What placed the crop, where its pixels decided",
                    "schema": {"type": "string", "enum": ["attention", "face"]},
                },
            },
            "content": {format.mime: _IMAGE_BODY for format in OUTPUT_FORMATS},
        },
        304: {"description": "`If-None-Match` names this very result"},
        **_FAILURES,
    },
    "openapi_extra": {
        "parameters": _OPTION_PARAMETERS,
        "requestBody": _request_body(_OPTION_PROPERTIES),
    },
}

VARIANTS_DOCS: dict[str, Any] = {
    "summary": "One image in, many out, decoded once",
    "response_class": Response,
    "responses": {
        200: {
            "description": "The variants, in the container that `Accept` asks for",
            "content": {
                "application/json": {"schema": _VARIANTS_SCHEMA},
                "multipart/mixed": _IMAGE_BODY,
                "application/zip": _IMAGE_BODY,
            },
        },
        **_FAILURES,
    },
    "openapi_extra": {
        "parameters": [*_VARIANTS_PARAMETERS, *_OPTION_PARAMETERS],
        "requestBody": _request_body(
            {
                "platforms": {"type": "string"},
                "group": {"type": "string", "enum": list(GROUPS)},
                "variants": {"type": "string"},
                **_OPTION_PROPERTIES,
            }
        ),
    },
}
