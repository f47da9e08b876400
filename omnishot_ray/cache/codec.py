"""Results as bytes for shared stores and other processes, and back.

Nothing read is trusted: who can write to the store must not be able to run code here, so it is a
JSON header and the renditions' bytes behind one another, never pickle.

    magic 4 | version 1 | reserved 3 | CRC-32 of the rest 4 | length of the header 4 | header | data
"""

import struct
import zlib
from typing import Any

import orjson

from omnishot_ray.errors import FieldError, InternalError, OmnishotError, Overloaded
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Crop
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, SourceInfo
from omnishot_ray.protocol import Outcome

_MAGIC = b"OSRr"
_VERSION = 1
_SOURCE_FIELDS = ("width", "height", "format", "bytes")
_RENDITION_FIELDS = ("name", "width", "height", "format", "crop", "gravity", "frames")
_PREAMBLE = struct.Struct(">4sB3xII")


def encode_result(result: Result) -> bytes:
    """A result without its timings: how long it once took is no part of it.

    Raises:
        ValueError: a rendition failed; such a result is not kept.
    """
    if not is_complete(result):
        raise ValueError("A result with a failed rendition is not kept.")
    return encode_outcome(result)


def decode_result(data: bytes) -> Result | None:
    """The result; None when the bytes are not one of ours, of another version, or damaged."""
    outcome = decode_outcome(data)
    return outcome if isinstance(outcome, Result) and is_complete(outcome) else None


def is_complete(outcome: Outcome) -> bool:
    """Whether this is a result of which nothing failed, so that it can be kept."""
    return isinstance(outcome, Result) and not any(
        isinstance(rendition, FailedRendition) for rendition in outcome.renditions
    )


def encode_outcome(outcome: Outcome) -> bytes:
    """A result or an error, to be handed to those in other processes who wait for the same."""
    if isinstance(outcome, OmnishotError):
        header: dict[str, Any] = {"error": _error_fields(outcome)}
        parts: list[bytes] = []
    else:
        header = {
            "source": _fields(outcome.source, _SOURCE_FIELDS),
            "renditions": [_rendition_fields(rendition) for rendition in outcome.renditions],
        }
        parts = [item.data for item in outcome.renditions if isinstance(item, Rendition)]
    text = orjson.dumps(header)
    checksum = zlib.crc32(text)
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join((_PREAMBLE.pack(_MAGIC, _VERSION, checksum, len(text)), text, *parts))


def decode_outcome(data: bytes) -> Outcome | None:
    """What `encode_outcome` wrote; None when the bytes are not that."""
    try:
        magic, version, checksum, length = _PREAMBLE.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            return None
        body = memoryview(data)[_PREAMBLE.size :]
        if length > len(body) or zlib.crc32(body) != checksum:
            return None
        header = orjson.loads(body[:length])
        if "error" in header:
            return _read_error(header["error"])
        return _read_result(header, body[length:])
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def _rendition_fields(rendition: Rendition | FailedRendition) -> dict[str, Any]:
    if isinstance(rendition, FailedRendition):
        return {"name": rendition.name, "error": _error_fields(rendition.error)}
    fields = _fields(rendition, _RENDITION_FIELDS)
    fields["crop"] = rendition.crop and list(rendition.crop)
    fields["length"] = len(rendition.data)
    return fields


def _fields(item: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}


def _error_fields(error: OmnishotError) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "code": error.code,
        "detail": error.detail,
        "fields": [[item.name, item.detail] for item in error.fields],
    }
    if isinstance(error, Overloaded):
        fields["retry_after_s"] = error.retry_after_s
    return fields


def _read_result(header: dict[str, Any], data: memoryview) -> Result:
    source = header["source"]
    info = SourceInfo(
        _whole(source["width"]),
        _whole(source["height"]),
        Format(source["format"]),
        _whole(source["bytes"]),
    )
    renditions: list[Rendition | FailedRendition] = []
    at = 0
    for fields in header["renditions"]:
        name = _text(fields["name"])
        if "error" in fields:
            renditions.append(FailedRendition(name, _read_error(fields["error"])))
            continue
        end = at + _whole(fields["length"])
        crop, gravity = fields["crop"], fields["gravity"]
        if end > len(data) or not (crop is None or len(crop) == 4):
            raise ValueError("the header does not fit the data")
        renditions.append(
            Rendition(
                name,
                bytes(data[at:end]),
                _whole(fields["width"]),
                _whole(fields["height"]),
                Format(fields["format"]),
                None if crop is None else Crop(*map(_whole, crop)),
                None if gravity is None else _text(gravity),
                _whole(fields["frames"]),
            )
        )
        at = end
    if at != len(data):
        raise ValueError("there is more data than the header tells of")
    return Result(info, tuple(renditions))


def _read_error(fields: dict[str, Any]) -> OmnishotError:
    kind = _KINDS.get(fields["code"], InternalError)
    detail = _text(fields["detail"])
    if issubclass(kind, Overloaded):
        return kind(detail, float(fields["retry_after_s"]))
    return kind(
        detail, tuple(FieldError(_text(name), _text(why)) for name, why in fields["fields"])
    )


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _kinds(base: type[OmnishotError]) -> dict[str, type[OmnishotError]]:
    """The named failures below `base`, by their public code."""
    kinds: dict[str, type[OmnishotError]] = {}
    for kind in base.__subclasses__():
        if "code" in vars(kind):
            kinds[kind.code] = kind
        kinds |= _kinds(kind)
    return kinds


_KINDS = _kinds(OmnishotError)
