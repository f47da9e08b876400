"""What OpenAPI says of the analyses."""

from typing import Any

from omnishot_ray.api.analytics.docs import figures_docs
from omnishot_ray.api.openapi import or_empty
from omnishot_ray.metrics.query import FUNCTIONS

_METRIC = {
    "name": "metric",
    "in": "query",
    "description": "A column of a table, such as requests.total_ms, or a table to count its rows; "
    "without it: the usual ones.",
    "schema": {"type": "string"},
}
_FUNCTION = {
    "name": "function",
    "in": "query",
    "description": "Of the metric. Default: avg, of a table alone rate.",
    "schema": or_empty({"type": "string", "enum": list(FUNCTIONS)}),
}
_AT = {
    "name": "at",
    "in": "query",
    "required": True,
    "description": "When the change was made: Unix seconds or ISO 8601, in the past.",
    "schema": {"type": "string"},
}
_NUMBER = {"type": "number"}
_NAME = {"type": "string"}


def _list_of(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "object", "required": required, "properties": properties},
    }


_TRENDS = _list_of(
    ["metric", "direction", "points"],
    {
        "metric": _NAME,
        "direction": {"enum": ["rising", "falling", "steady", None]},
        "per_hour": _NUMBER,
        "per_hour_interval": {"type": "array", "items": _NUMBER, "description": "95 %"},
        "level": _NUMBER,
        "change": {**_NUMBER, "description": "Over the window"},
    },
)
_ANOMALIES = _list_of(
    ["metric", "method", "found"],
    {
        "metric": _NAME,
        "method": {"enum": ["seasonal", "ewma", "too-short"]},
        "found": _list_of(
            ["began_s", "ended_s", "value", "expected", "score"],
            {"score": {**_NUMBER, "description": "In robust standard deviations"}},
        ),
    },
)
_RECOMMENDATIONS = _list_of(
    ["setting", "now", "then", "why", "gain", "confidence"],
    {
        "setting": _NAME,
        "why": _NAME,
        "gain": _NAME,
        "confidence": {"enum": ["low", "medium", "high"]},
    },
)
_COSTS = {
    "type": "object",
    "required": ["currency", "images", "quantities", "costs", "per_1000_images"],
    "properties": {
        "currency": _NAME,
        "images": {"type": "integer", "minimum": 0},
        "quantities": {"type": "object", "additionalProperties": _NUMBER},
        "costs": {"type": "object", "additionalProperties": _NUMBER},
        "per_1000_images": {"type": ["object", "null"], "additionalProperties": _NUMBER},
    },
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


SUMMARY_DOCS = figures_docs(
    "Trends, anomalies, recommendations and costs together",
    _object(trends=_TRENDS, anomalies=_ANOMALIES, recommendations=_RECOMMENDATIONS, costs=_COSTS),
    "1h",
)
TRENDS_DOCS = figures_docs(
    "Where figures are going", _object(trends=_TRENDS), "1h", _METRIC, _FUNCTION
)
ANOMALIES_DOCS = figures_docs(
    "When figures were not as they should have been",
    _object(anomalies=_ANOMALIES),
    "1d",
    _METRIC,
    _FUNCTION,
)
RECOMMENDATIONS_DOCS = figures_docs(
    "What to change, why, and what it should bring",
    _object(recommendations=_RECOMMENDATIONS),
    "1h",
)
IMPACT_DOCS = figures_docs(
    "What a change has done, before against after",
    _object(
        impacts=_list_of(
            ["metric", "verdict"], {"verdict": {"enum": ["up", "down", "unclear", None]}}
        )
    ),
    "1h",
    _AT,
    _METRIC,
    _FUNCTION,
)
COSTS_DOCS = figures_docs("What the work cost, for 1 000 images too", _COSTS, "1h")
