"""A request that names its picture: `{"url": "https://…", …options}`."""

import json
from collections.abc import Mapping
from typing import Any

from omnishot_ray.errors import FieldError, InvalidParameters, MissingImage

JSON_TYPE = "application/json"
MAX_DOCUMENT_BYTES = 256 * 1024
"""As much as one part of a form may have."""
_RIGHT = 'send an object such as {"url": "https://example.org/photo.jpg", "width": 320}'


def read_document(data: bytes) -> tuple[str, Mapping[str, str]]:
    """The address of the picture, and the options beside it as a form would have them.

    Raises:
        InvalidParameters: not a JSON object, a name given twice, or a value of a wrong type.
        MissingImage: there is no `url`.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidParameters(
            f"The document has more than {MAX_DOCUMENT_BYTES} bytes; {_RIGHT}, or send the "
            "picture itself as it is."
        )
    try:
        document = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise InvalidParameters(f"The body is not JSON; {_RIGHT}.") from None
    if not isinstance(document, dict):
        raise InvalidParameters(f"The body is not a JSON object; {_RIGHT}.")
    if "url" not in document:
        raise MissingImage(f"The document has no `url`; {_RIGHT}.")
    url = document.pop("url")
    if not isinstance(url, str):
        raise _wrong("url", "it has to be a text, https://…")
    return url, {name: _as_text(name, value) for name, value in document.items()}


def _as_text(name: str, value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case list() if name == "variants":
            return json.dumps(value)
        case list() if name == "platforms" and all(isinstance(one, str) for one in value):
            return ",".join(value)
    raise _wrong(name, "it has to be a text, a number, true or false")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Names that come twice are an error, not a surprise."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _wrong(name, "given more than once; give it once")
        found[name] = value
    return found


def _no_number(text: str) -> None:
    raise ValueError(text)


def _wrong(name: str, detail: str) -> InvalidParameters:
    return InvalidParameters(f"{name[:80]}: {detail}.", (FieldError(name[:80], detail),))
