"""The picture out of a request: raw, multipart or by its address, never more bytes than allowed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Message, Receive

from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.forms import as_text, read_form
from omnishot_ray.api.remote import JSON_TYPE, read_document
from omnishot_ray.errors import (
    BodyTooLarge,
    FieldError,
    InvalidParameters,
    MissingImage,
    RequestTimeout,
    UnsupportedBody,
)
from omnishot_ray.storage.sources import Sources

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Upload:
    """The picture of a request, and the text fields that came in the same form."""

    data: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


_RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Accepted beside `image/*`: curl's `--data-binary` says urlencoded unless told otherwise. What the
bytes are is told from the bytes."""

_LONGEST_FIELD = 256 * 1024


async def read_upload(
    request: Request, config: ApiConfig, sources: Sources | None = None
) -> Upload:
    """Read the picture of a request, or where `sources` are given fetch the one that it names.

    Raises:
        BodyTooLarge: by `Content-Length`, or while reading.
        RequestTimeout: the body did not arrive in time, or stopped arriving.
        UnsupportedBody: the content type is not one that carries a picture.
        MissingImage: there are no bytes, or a form without a part named `file`.
        InvalidParameters: a form or document that cannot be read.
        AddressRefused, SourceTooLarge, UpstreamError, Overloaded: see `Sources.fetch`.
    """
    _check_declared(request, config)
    content_type = media_type(request)
    if content_type == "multipart/form-data":
        form = read_form(await _within(request, config, _read_raw), request.headers["content-type"])
        return _upload_of(form)
    is_document = sources is not None and content_type == JSON_TYPE
    is_raw = content_type.startswith("image/") or content_type in _RAW_TYPES
    if not is_raw and not is_document:
        raise UnsupportedBody(
            f"A body of type {content_type[:80]} carries no picture; send it raw as "
            "image/* or application/octet-stream, or as the part `file` of "
            "multipart/form-data."
        )
    data = await _within(request, config, _read_raw)
    if sources is not None and is_document:
        url, fields = read_document(data)
        return Upload((await sources.fetch(url)).data, fields)
    if not data:
        raise MissingImage("The body is empty; send the bytes of the picture in it.")
    return Upload(data)


def _upload_of(form: Sequence[tuple[str, bytes]]) -> Upload:
    """The picture and the options; whether a part has a file's name means nothing (RFC 7578)."""
    parts: dict[str, bytes] = {}
    for name, value in form:
        if name in parts:
            raise _given_twice(name)
        parts[name] = value
    data = parts.pop("file", None)
    for name, value in parts.items():
        if len(value) > _LONGEST_FIELD:
            detail = f"longer than {_LONGEST_FIELD} bytes; only the part `file` may be"
            raise InvalidParameters(f"{name[:80]}: {detail}", (FieldError(name[:80], detail),))
    if data is None:
        raise MissingImage("The form has no part named `file`; send the picture as that part.")
    if not data:
        raise MissingImage("The part `file` is empty; put the bytes of the picture in it.")
    return Upload(data, {name: as_text(value) for name, value in parts.items()})


async def read_bytes(request: Request, config: ApiConfig) -> bytes:
    """The body, whatever its type says it is. Raises `BodyTooLarge` and `RequestTimeout`."""
    _check_declared(request, config)
    return await _within(request, config, _read_raw)


async def read_json(request: Request, config: ApiConfig) -> Any:
    """Read a body of JSON. Raises `BodyTooLarge`, `RequestTimeout` and `InvalidParameters`."""
    data = await read_bytes(request, config)
    try:
        return orjson.loads(data)
    except ValueError:
        raise InvalidParameters("The body cannot be read as JSON; send one JSON object.") from None


def media_type(request: Request) -> str:
    """The declared type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_declared(request: Request, config: ApiConfig) -> None:
    limit = config.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit, f"The body is {int(declared)} bytes")


async def _within(
    request: Request, config: ApiConfig, read: Callable[[Receive], Awaitable[Read]]
) -> Read:
    """What `read` makes of the body, within the limits of size and time."""
    deadline = asyncio.get_running_loop().time() + config.body_timeout_s
    try:
        async with asyncio.timeout_at(
            deadline - max(0.0, config.body_timeout_s - config.body_idle_s)
        ) as clock:
            return await read(_bounded(request.receive, config, clock, deadline))
    except TimeoutError:
        raise _too_slow(config, idle=(clock.when() or deadline) < deadline) from None


async def _read_raw(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def read_query(given: QueryParams) -> dict[str, str]:
    """The query parameters; one that is given twice is an error, not a surprise."""
    query: dict[str, str] = {}
    for name, value in given.multi_items():
        if name in query:
            raise _given_twice(name)
        query[name] = value
    return query


def _given_twice(name: str) -> InvalidParameters:
    detail = "given more than once; give it once"
    return InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))


LEAST_RATE = 1000
"""Bytes a second; a body that comes more slowly counts as standing still."""


def _bounded(
    receive: Receive, config: ApiConfig, clock: asyncio.Timeout, deadline: float
) -> Receive:
    """`receive` that counts the bytes, and puts the clock off while messages bring enough of them.

    Not for each of them, which would take 3 µs every time: the clock is put off by a quarter more
    than the pause that is allowed, and again when that quarter has passed. Who sends a byte now and
    then would hold a place of the gateway for all of the time that a body has.
    """
    limit, idle = config.max_body_bytes, config.body_idle_s
    now = asyncio.get_running_loop().time
    received = counted = 0
    put_off_at = now()

    async def receive_in_bounds() -> Message:
        nonlocal received, counted, put_off_at
        message = await receive()
        size = len(message.get("body", b""))
        received += size
        if received > limit:
            raise _too_large(limit, f"More than {limit} bytes arrived")
        if size and message.get("more_body", False):
            passed_s = now() - put_off_at
            if passed_s > idle / 4 and received - counted >= LEAST_RATE * passed_s:
                put_off_at += passed_s
                counted = received
                clock.reschedule(min(deadline, put_off_at + idle * 1.25))
        return message

    return receive_in_bounds


def _too_slow(config: ApiConfig, idle: bool) -> RequestTimeout:
    if idle:
        return RequestTimeout(
            f"The body stood still for {config.body_idle_s:g} s, with less than {LEAST_RATE} bytes "
            "a second; send it without pausing."
        )
    return RequestTimeout(
        f"The body did not arrive within {config.body_timeout_s:g} s; "
        "send it faster, or make it smaller."
    )


def _too_large(limit: int, what: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"{what}; at most {limit} ({limit / 2**20:g} MiB) are accepted. Send a smaller file."
    )
