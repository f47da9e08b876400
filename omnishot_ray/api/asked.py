"""Reading what is asked in an address, and answering JSON."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.answers import JSON, NO_STORE
from omnishot_ray.api.body import read_query
from omnishot_ray.errors import FieldError, InvalidParameters

_WINDOW = re.compile(r"([1-9]\d{0,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 31 * 86_400


def read_window(text: str) -> float:
    """Seconds of `90s`, `5m`, `1h`, `7d`. Raises `InvalidParameters`."""
    found = _WINDOW.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_S:
        raise refuse(
            "window",
            f"{text[:40]!r} is not a time of at most 31 days such as 90s, 5m, 1h or 7d",
        )
    return float(seconds)


def only(request: Request, *names: str) -> dict[str, str]:
    """The query parameters, of these names and no other; an empty one counts as not given.

    Raises `InvalidParameters`.
    """
    said = read_query(request.query_params)
    known = f"known: {', '.join(names)}" if names else "there are none here"
    unknown = tuple(FieldError(name, f"unknown; {known}") for name in said if name not in names)
    if unknown:
        raise InvalidParameters(f"{unknown[0].name[:80]}: {unknown[0].detail}.", unknown)
    return {name: value for name, value in said.items() if value}


def one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices. Raises `InvalidParameters`."""
    if value not in choices:
        raise refuse(name, f"{value[:40]!r} is not one of {', '.join(filter(None, choices))}")
    return value


def refuse(name: str, detail: str) -> InvalidParameters:
    """What to raise for one wrong parameter."""
    return InvalidParameters(f"{name}: {detail}.", (FieldError(name, detail),))


def json_answer(
    document: Any, status: int = 200, headers: Mapping[str, str] = NO_STORE
) -> Response:
    """A document that no cache keeps, unless the headers say otherwise."""
    return Response(orjson.dumps(document), status, headers, JSON)
