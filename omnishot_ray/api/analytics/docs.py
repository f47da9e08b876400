"""What OpenAPI says of the analytics."""

from typing import Any

from starlette.responses import Response

from omnishot_ray.api.analytics.bodies import Kind
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.openapi import json_docs, or_empty, problem_docs

_WHOLE = {"type": "integer", "minimum": 0}
_TALLY = {
    "type": "object",
    "required": ["accepted", "rejected", "clamped", "sampled_out", "reasons"],
    "properties": {
        "accepted": _WHOLE,
        "rejected": {**_WHOLE, "description": "Not believed: too old, too large, of a bot"},
        "clamped": {**_WHOLE, "description": "Accepted, but with something changed or left out"},
        "sampled_out": {**_WHOLE, "description": "Of sessions that are not kept"},
        "reasons": {"type": "object", "additionalProperties": _WHOLE},
    },
    "additionalProperties": False,
}
_NUMBER = {"type": ["number", "null"]}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def intake_docs(summary: str, kind: Kind, config: AnalyticsConfig) -> dict[str, Any]:
    """What is said of a route that takes samples."""
    return {
        "summary": summary,
        "response_class": Response,
        "responses": {
            202: {
                "description": "Taken, and what became of it",
                "content": {"application/json": {"schema": _TALLY}},
            },
            **problem_docs(400, 408, 413, 415, 429),
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": kind.schema(config.max_items)},
                    "text/plain": {
                        "schema": {"type": "string", "description": "The same JSON, as beacons do"}
                    },
                },
            }
        },
    }


def _window(default: str) -> dict[str, Any]:
    return {
        "name": "window",
        "in": "query",
        "description": f"How far to look back: 90s, 5m, 1h, at most 31d. Default: {default}.",
        "schema": or_empty({"type": "string", "pattern": "^[1-9][0-9]{0,6}[smhd]$"}),
    }


def _choice(name: str, description: str, *choices: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": or_empty({"type": "string", "enum": list(choices)}),
    }


def figures_docs(
    summary: str, schema: dict[str, Any], default: str, *parameters: dict[str, Any]
) -> dict[str, Any]:
    """What is said of a route that reads figures of a window."""
    docs = json_docs(summary, schema, 400, 401, 403, 429, 503)
    docs["openapi_extra"] = {"parameters": [_window(default), *parameters]}
    return docs


_FUNNEL = {
    "type": "object",
    "required": ["window_s", "rule", "sessions", "completed", "completion", "steps"],
    "properties": {
        "sessions": _WHOLE,
        "completed": _WHOLE,
        "completion": _SHARE,
        "steps": {
            "type": "array",
            "minItems": 9,
            "maxItems": 9,
            "items": {
                "type": "object",
                "required": ["step", "sessions", "seen", "completion", "dropped", "drop_off"],
                "properties": {
                    "step": {"type": "string"},
                    "sessions": _WHOLE,
                    "seen": {**_WHOLE, "description": "Sessions with this very step"},
                    "completion": _SHARE,
                    "dropped": _WHOLE,
                    "drop_off": _SHARE,
                    "median_s": {**_NUMBER, "description": "Since the step before"},
                },
            },
        },
    },
}

PERFORMANCE_DOCS = figures_docs(
    "What pages measured: web vitals, funnel, events",
    {
        "type": "object",
        "required": ["vitals", "pages", "devices", "trend", "funnel", "events", "alerts", "labels"],
        "properties": {
            "vitals": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "p75", "rating", "count", "thresholds"],
                    "properties": {
                        "name": {"type": "string"},
                        "p75": _NUMBER,
                        "rating": {"enum": ["good", "needs-improvement", "poor", None]},
                        "count": _WHOLE,
                        "enough": {"type": "boolean"},
                    },
                },
            },
            "funnel": _FUNNEL,
        },
    },
    "1h",
)

FUNNEL_DOCS = figures_docs(
    "How far sessions come: completion and drop-off per step",
    _FUNNEL,
    "1h",
    _choice(
        "rule",
        "`reached`: a later step stands for those before it. `strict`: all steps in order.",
        "reached",
        "strict",
    ),
    _choice("by", "The same of each part of the sessions.", "segment", "device"),
)

HEALTH_DOCS = figures_docs(
    "The service as its visitors have it",
    {
        "type": "object",
        "required": ["status", "requests", "error_rate", "p95_ms", "poor_vitals", "alerts"],
        "properties": {"status": {"enum": ["ok", "degraded", "critical"]}},
    },
    "5m",
)

SCRIPT_DOCS: dict[str, Any] = {
    "summary": "The script for web pages that measures and sends",
    "response_class": Response,
    "responses": {
        200: {
            "description": "JavaScript of less than 4 kB without dependencies",
            "content": {"text/javascript": {"schema": {"type": "string"}}},
        },
        304: {"description": "`If-None-Match` names this very script"},
        **problem_docs(429),
    },
}
