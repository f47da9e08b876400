"""What a request for a job says: JSON, or a form with the picture as `file` and a part `job`."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import Request

from omnishot_ray.api.asked import only
from omnishot_ray.api.body import media_type, read_json, read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.wanted import CHOOSERS, read_variants
from omnishot_ray.errors import FieldError, InvalidParameters, UnsupportedBody
from omnishot_ray.imaging.options import Options, unknown_name
from omnishot_ray.jobs.asking import Filter
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.model import Status
from omnishot_ray.jobs.service import NewJob

_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"[!-~]{1,128}")
_KEY = re.compile(r"[ -~]{1,255}")
_MOST_LISTED = 200
_PUBLIC: Mapping[str, tuple[Status, ...]] = {
    "queued": (Status.QUEUED, Status.DELAYED),
    **{
        str(status): (status,)
        for status in (
            *(Status.ACTIVE, Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DEAD),
        )
    },
}
STATUSES = tuple(_PUBLIC)
"""What a job's status may be told to be."""


class _Reader:
    """Reads fields one by one and remembers what is wrong with each."""

    def __init__(self, given: object, what: str) -> None:
        if not isinstance(given, dict):
            raise InvalidParameters(f"{what} has to be a JSON object.")
        self._given = given
        self._left = set(given)
        self.faults: list[FieldError] = []

    def take(self, name: str, right: str, default: Any, read: Callable[[Any], Any]) -> Any:
        """The value under a name; `read` raises `ValueError` for one that is not `right`."""
        self._left.discard(name)
        value = self._given.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError:
            self.faults.append(FieldError(name, f"has to be {right}"))
            return default

    def finish(self, known: Sequence[str]) -> None:
        """Raise `InvalidParameters` for all that was wrong, unknown names included."""
        names = dict.fromkeys(known)
        faults = [FieldError(name[:80], unknown_name(name, names)) for name in sorted(self._left)]
        faults = [*self.faults, *faults]
        if faults:
            raise InvalidParameters("; ".join(f"{f.name}: {f.detail}" for f in faults), (*faults,))


_SHARED = ("priority", "timeout_s", "max_attempts", "callback_url", "output", "dedupe", "user_id")


async def read_new_job(request: Request, config: ApiConfig, jobs: JobsConfig) -> NewJob:
    """The job that a request asks for.

    Raises `InvalidParameters` with every fault in `fields`, and what reading a body raises.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        upload = await read_upload(request, config)
        return _from_form(upload.data, upload.fields, request, config, jobs)
    if kind not in ("application/json", ""):
        raise UnsupportedBody(
            f"A body of type {kind[:80]} is no job; send JSON as application/json, or "
            "multipart/form-data with the parts `file` and `job`."
        )
    given = await read_json(request, config)
    reader = _Reader(given, "The job")
    picture = reader.take("source", _SOURCE_HELP, None, read_source)
    new = _read_rest(reader, ("source",), request, config, jobs)
    if picture is None:
        raise _invalid("source", f"missing; it has to be {_SOURCE_HELP}")
    return replace(new, **picture)


async def read_new_batch(request: Request, config: ApiConfig, jobs: JobsConfig) -> list[NewJob]:
    """The jobs that a request asks for. Raises what `read_new_job` does."""
    given = await read_json(request, config)
    reader = _Reader(given, "The batch")
    pictures = reader.take(
        "sources",
        f"a list of 1 to {jobs.max_batch} sources, each {_SOURCE_HELP}",
        None,
        lambda value: _read_sources(value, jobs.max_batch),
    )
    new = _read_rest(reader, ("sources",), request, config, jobs)
    if pictures is None:
        raise _invalid("sources", f"missing; a list of objects, each {_SOURCE_HELP}")
    return [replace(new, **picture) for picture in pictures]


def read_filter(request: Request) -> Filter:
    """Which jobs are to be listed. Raises `InvalidParameters`."""
    reader = _Reader(only(request, "status", "user_id", "limit", "cursor"), "The query")
    statuses = reader.take(
        "status",
        f"one or more of {', '.join(STATUSES)}, separated by commas",
        (),
        _read_statuses,
    )
    user_id = reader.take("user_id", "1 to 128 printable characters", None, _matching(_USER))
    limit = reader.take(
        "limit", f"a number from 1 to {_MOST_LISTED}", 50, _text_number(1, _MOST_LISTED)
    )
    before = reader.take("cursor", "a `next_cursor` of this list", "", _matching(_ID))
    reader.finish(())
    return Filter(statuses, user_id, None, before, limit)


def read_key(request: Request) -> str:
    """The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), without its quotes.

    The draft wants a Structured Field string; what clients send bare is taken as well.
    """
    given = request.headers.get("idempotency-key")
    if given is None:
        return ""
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise _invalid("Idempotency-Key", "has to be 1 to 255 printable characters of ASCII")
    return key


_SOURCE_HELP = (
    'an object with one of "url" (an address), "upload" (an id of POST /api/uploads) '
    'and "data" (base64)'
)


def read_source(value: Any) -> dict[str, Any]:
    """One source as fields of a `NewJob`. Raises `ValueError`."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError
    ((name, given),) = value.items()
    if not isinstance(given, str) or not given:
        raise ValueError
    if name == "url" and len(given) <= 2048:
        return {"url": given}
    if name == "upload" and _DIGEST.fullmatch(given):
        return {"upload": given}
    if name == "data":
        try:
            data = base64.b64decode(given, validate=True)
        except binascii.Error:
            raise ValueError from None
        if data:
            return {"data": data}
    raise ValueError


def _read_sources(value: Any, most: int) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise ValueError
    return [read_source(item) for item in value]


def _from_form(
    data: bytes, fields: Mapping[str, str], request: Request, config: ApiConfig, jobs: JobsConfig
) -> NewJob:
    further = [FieldError(name[:80], "unknown; send it within `job`") for name in fields]
    further = [fault for fault in further if fault.name != "job"]
    if further:
        raise InvalidParameters("A form has the parts `file` and `job`.", tuple(further))
    try:
        given = orjson.loads(fields.get("job") or "{}")
    except ValueError:
        raise _invalid("job", "cannot be read as JSON; it has to be one object") from None
    return replace(_read_rest(_Reader(given, "job"), (), request, config, jobs), data=data)


def _read_rest(
    reader: _Reader,
    beside: Sequence[str],
    request: Request,
    config: ApiConfig,
    jobs: JobsConfig,
) -> NewJob:
    """All of a job but its picture."""
    choosers = {
        "platforms": reader.take("platforms", "a list of names", None, _joined),
        "group": reader.take("group", "a name", None, _text(64)),
        "variants": reader.take("variants", "a list of objects", None, _objects),
    }
    longest_s = jobs.max_timeout_s
    new = NewJob(
        wanted=(),
        priority=reader.take("priority", "a whole number from 1 to 10", 5, _whole(1, 10)),
        timeout_s=reader.take(
            "timeout_s", f"a number from 1 to {longest_s:g}", None, _number(1, longest_s)
        ),
        max_attempts=reader.take(
            "max_attempts", "a whole number from 1 to 10", None, _whole(1, 10)
        ),
        callback_url=reader.take("callback_url", "an https address", "", _text(2048)),
        output=reader.take("output", "the URI of a folder", "", _text(2048)),
        dedupe=reader.take("dedupe", "true or false", True, _boolean),
        user_id=reader.take("user_id", "1 to 128 printable characters", "", _matching(_USER))
        or request.scope["state"].get("api_key", ""),
        request_id=request.scope["state"].get("request_id", ""),
    )
    reader.finish((*beside, *CHOOSERS, *_SHARED))
    chosen = {name: value for name, value in choosers.items() if value is not None}
    return replace(new, wanted=_read_wanted(chosen, config))


def _read_wanted(chosen: Mapping[str, str], config: ApiConfig) -> tuple[Options, ...]:
    """The variants; one that cannot be made is said now, when somebody is there to hear it."""
    wanted: list[Options] = []
    for one in read_variants(chosen, Options(), config):
        if not isinstance(one, Options):
            raise one.error
        wanted.append(one)
    return tuple(wanted)


def _joined(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError
    return ",".join(value)


def _objects(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError
    return orjson.dumps(value).decode()


def _text(longest: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
            raise ValueError
        return value

    return read


def _matching(pattern: "re.Pattern[str]") -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return read


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return read


def _text_number(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise ValueError
        return _whole(least, most)(int(value))

    return read


def _number(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not least <= value <= most:
            raise ValueError
        return float(value)

    return read


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_statuses(value: Any) -> tuple[Status, ...]:
    statuses: list[Status] = []
    for name in str(value).split(","):
        if name.strip() not in _PUBLIC:
            raise ValueError
        statuses += _PUBLIC[name.strip()]
    return tuple(dict.fromkeys(statuses))


def _invalid(name: str, detail: str) -> InvalidParameters:
    return InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))
