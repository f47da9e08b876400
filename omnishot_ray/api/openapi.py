"""What the OpenAPI document says of the image routes, read from the table of options."""

from typing import Any

from starlette.responses import Response

from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format
from omnishot_ray.imaging.option_table import GRAVITIES, SPECS, OptionSpec
from omnishot_ray.imaging.platforms import GROUPS, PLATFORMS

IMAGE_BODY = {"schema": {"type": "string", "format": "binary"}}

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

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where keys are on"},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same, in a header of its own",
    },
}

_PROBLEMS = {
    400: "A parameter or the form cannot be read, or there is no image",
    401: "An API key is wanted, and none was sent",
    403: "The API key is not accepted, or the address is not one that may be asked",
    408: "The client took too long to send",
    413: "The body, or what is at the address, is larger than is accepted",
    415: "Not an accepted image format",
    422: "Damaged, over a limit, or options that contradict each other",
    429: "Too much work waiting, or over the rate limit; `Retry-After` says when to come back",
    500: "A fault of the service",
    502: "What is at the address cannot be had",
    503: "No engine available, or the host failed often lately; `Retry-After` says when to come "
    "back",
    504: "The time limit passed, ours or that of a download",
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
        schema["pattern"] = "^(#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})|auto|blur)$"
    if spec.word:
        schema = {"anyOf": [schema, {"const": spec.word}]}
    return schema


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def or_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter that counts as not given where it is empty (see `only`)."""
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}]}


_OPTION_PARAMETERS = [
    _parameter(spec.name, f"{spec.help} Default: {spec.default}.", option_schema(spec))
    for spec in SPECS
]

_OPTION_PROPERTIES = {spec.name: option_schema(spec) for spec in SPECS}


_URL_SCHEMA = {
    "type": "string",
    "format": "uri",
    "pattern": "^(https?|s3|gs|file)://",
    "description": "Where the picture is fetched from: a public address, or one that the "
    "configuration allows (s3://, gs:// and file:// too)",
}


def request_body(
    form_fields: dict[str, Any], json_fields: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What is said of a body that carries a picture, in a form beside these fields."""
    form = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": {"type": "string", "format": "binary"}, **form_fields},
    }
    document = {
        "type": "object",
        "required": ["url"],
        "additionalProperties": False,
        "properties": {"url": _URL_SCHEMA, **form_fields, **(json_fields or {})},
    }
    return {
        "required": True,
        "content": {
            "application/octet-stream": IMAGE_BODY,
            **{format.mime: IMAGE_BODY for format in Format},
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": document},
        },
    }


def _text_or_list(items: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": items}]}


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
    "required": [
        *("name", "status", "width", "height", "format", "bytes", "etag", "crop", "error"),
    ],
    "properties": {
        "name": {"type": "string"},
        "status": {"type": "string", "enum": ["ok", "error"]},
        "width": {"type": ["integer", "null"]},
        "height": {"type": ["integer", "null"]},
        "format": {"enum": [*(format.value for format in OUTPUT_FORMATS), None]},
        "bytes": {"type": ["integer", "null"]},
        "etag": {"type": ["string", "null"]},
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

_FAILURE_STATUSES = (400, 401, 403, 408, 413, 415, 422, 429, 500, 502, 503, 504)
_FAILURES = problem_docs(*_FAILURE_STATUSES)

_CACHE_HEADERS = {
    "X-Cache": {
        "description": "Where the result comes from; `joined` is another request's, in flight",
        "schema": {
            "type": "string",
            "enum": ["miss", "joined", "hit-memory", "hit-shared", "hit-storage"],
        },
    },
    "X-OmniShot-Degraded": {
        "description": "What was made cheaper because there was too much work for a while",
        "schema": {"type": "string"},
    },
}

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
                "X-OmniShot-Key": {
                    "description": "The name of the result in the caches, to invalidate it by",
                    "schema": {"type": "string"},
                },
                **_CACHE_HEADERS,
            },
            "content": {format.mime: IMAGE_BODY for format in OUTPUT_FORMATS},
        },
        304: {"description": "`If-None-Match` names this very result"},
        **_FAILURES,
    },
    "openapi_extra": {
        "parameters": _OPTION_PARAMETERS,
        "requestBody": request_body(_OPTION_PROPERTIES),
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
                "multipart/mixed": IMAGE_BODY,
                "application/zip": IMAGE_BODY,
            },
        },
        **_FAILURES,
    },
    "openapi_extra": {
        "parameters": [*_VARIANTS_PARAMETERS, *_OPTION_PARAMETERS],
        "requestBody": request_body(
            {
                "platforms": {"type": "string"},
                "group": {"type": "string", "enum": list(GROUPS)},
                "variants": {"type": "string"},
                **_OPTION_PROPERTIES,
            },
            {
                "platforms": _text_or_list({"type": "string"}),
                "variants": _text_or_list({"type": "object"}),
            },
        ),
    },
}

_HEX_COLOR = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}
_NUMBER_OR_NOTHING = {"type": ["number", "null"]}

INFO_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "format": {
            "type": "string",
            "enum": [format.value for format in Format],
            "description": "Told from the bytes",
        },
        "width": {"type": "integer", "minimum": 1, "description": "Pixels, upright"},
        "height": {"type": "integer", "minimum": 1, "description": "Pixels, upright"},
        "bytes": {"type": "integer", "minimum": 1, "description": "Size of the file"},
        "mode": {
            "type": "string",
            "description": "Kind of the stored pixels in Pillow's words: `RGB`, `P`, `I;16`, …",
        },
        "orientation": {
            "type": "integer",
            "minimum": 1,
            "maximum": 8,
            "description": "EXIF orientation; 1 where there is none",
        },
        "frames": {
            "type": "integer",
            "minimum": 1,
            "description": "Of an animation all else is told of its first frame",
        },
        "has_alpha": {"type": "boolean", "description": "Whether pixels can be transparent"},
        "icc_name": {
            "type": ["string", "null"],
            "description": "Description of the colour profile; null without one",
        },
        "exif": {
            "type": "object",
            "description": "At most 100 entries by their names; no position, maker's note, "
            "thumbnail or XMP. Rationals are numbers; texts end after 1 KB",
            "maxProperties": 100,
            "additionalProperties": {
                "anyOf": [
                    {"type": ["string", "number"]},
                    {"type": "array", "items": _NUMBER_OR_NOTHING, "maxItems": 64},
                ]
            },
        },
        "dominant_color": {
            "anyOf": [_HEX_COLOR, {"type": "null"}],
            "description": "The first colour of the palette; null when nothing is opaque",
        },
        "palette": {
            "type": "array",
            "maxItems": 5,
            "description": "Colours that look different, by falling share of the opaque pixels",
            "items": {
                "type": "object",
                "required": ["color", "share"],
                "properties": {
                    "color": _HEX_COLOR,
                    "share": {"type": "number", "minimum": 0, "maximum": 1},
                },
                "additionalProperties": False,
            },
        },
        "blurhash": {"type": "string", "description": "blurha.sh, on white, 4 × 3 or 3 × 4 terms"},
        "thumbhash": {"type": "string", "format": "byte", "description": "ThumbHash in base64"},
        "sharpness": {
            "type": "number",
            "minimum": 0,
            "description": "Variance of the Laplacian of luma 0–255, within 512 × 512 pixels",
        },
        "entropy": {
            "type": "number",
            "minimum": 0,
            "maximum": 8,
            "description": "Bits a pixel of the histogram of luma, within 512 × 512 pixels",
        },
    },
    "additionalProperties": False,
}
INFO_SCHEMA["required"] = list(INFO_SCHEMA["properties"])

_INFO_EXAMPLE = {
    "format": "jpeg",
    "width": 480,
    "height": 360,
    "bytes": 32764,
    "mode": "RGB",
    "orientation": 1,
    "frames": 1,
    "has_alpha": False,
    "icc_name": None,
    "exif": {
        "Make": "Canon",
        "Model": "Canon PowerShot S40",
        "DateTimeOriginal": "2003:12:14 12:01:44",
        "ExposureTime": 0.002,
        "FNumber": 4.9,
        "FocalLength": 21.3125,
    },
    "dominant_color": "#67895e",
    "palette": [
        {"color": "#67895e", "share": 0.5689},
        {"color": "#455e3d", "share": 0.2123},
        {"color": "#ada8a2", "share": 0.1607},
        {"color": "#f8eaf2", "share": 0.0275},
        {"color": "#3b2e2b", "share": 0.0155},
    ],
    "blurhash": "L9E:S7~oITrqK@n,f#XMPAnn}vw5",
    "thumbhash": "3OgFDYJf5kiYh3eMi4NpN5lboAg5",
    "sharpness": 221.03,
    "entropy": 7.184,
}

INFO_DOCS: dict[str, Any] = {
    "summary": "What an image is and how it looks: size, profile, EXIF, colours, placeholders",
    "response_class": Response,
    "responses": {
        200: {
            "description": "The description; the same picture always has the same one",
            "content": {"application/json": {"schema": INFO_SCHEMA, "example": _INFO_EXAMPLE}},
        },
        304: {"description": "`If-None-Match` names this very description"},
        **_FAILURES,
    },
    "openapi_extra": {"requestBody": request_body({})},
}


def json_docs(summary: str, schema: dict[str, Any], *problems: int) -> dict[str, Any]:
    """What is said of a route that answers JSON."""
    content = {"application/json": {"schema": schema}}
    return {
        "summary": summary,
        "response_class": Response,
        "responses": {200: {"description": summary, "content": content}, **problem_docs(*problems)},
    }


CACHE_DOCS = json_docs("What the caches hold and how often they help", {"type": "object"})

INVALIDATE_DOCS = json_docs(
    "Takes results out of the caches",
    {
        "type": "object",
        "required": ["removed"],
        "properties": {
            "removed": {
                "type": "object",
                "description": "How many were taken out of each tier; null where it could not be "
                "reached and holds what it held",
                "additionalProperties": {"type": ["integer", "null"]},
            }
        },
    },
    400,
)
INVALIDATE_DOCS["openapi_extra"] = {
    "parameters": [
        _parameter("key", "One result, as X-OmniShot-Key names it.", {"type": "string"}),
        _parameter("prefix", "All results whose key begins so.", {"type": "string"}),
        _parameter("source", "All results of a source, by its BLAKE3.", {"type": "string"}),
    ]
}

WARM_DOCS = json_docs(
    "Makes renditions before they are asked for",
    {
        "type": "object",
        "required": ["warmed"],
        "properties": {
            "warmed": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "key", "cache", "error"],
                    "properties": {
                        "name": {"type": "string"},
                        "key": {"type": ["string", "null"]},
                        "cache": {"type": ["string", "null"]},
                        "error": {"anyOf": [PROBLEM_SCHEMA, {"type": "null"}]},
                    },
                },
            }
        },
    },
    *_FAILURE_STATUSES,
)
WARM_DOCS["openapi_extra"] = {
    "parameters": [*_VARIANTS_PARAMETERS, *_OPTION_PARAMETERS],
    "requestBody": request_body(_OPTION_PROPERTIES),
}
