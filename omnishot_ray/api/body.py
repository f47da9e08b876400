"""The picture out of a request: raw or multipart, never more bytes than allowed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from omnishot_ray.api.config import ApiConfig
from omnishot_ray.errors import (
    BodyTooLarge,
    FieldError,
    InvalidParameters,
    MissingImage,
    RequestTimeout,
    UnsupportedBody,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """The picture of a request, and the text fields that came in the same form."""

    data: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


_RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Accepted beside `image/*`: curl's `--data-binary` says urlencoded unless told otherwise. What the
bytes are is told from the bytes."""


async def read_upload(request: Request, config: ApiConfig) -> Upload:
    """Read the picture of a request.

    Raises:
        BodyTooLarge: by `Content-Length`, or while reading.
        RequestTimeout: the body did not arrive in time.
        UnsupportedBody: the content type is not one that carries a picture.
        MissingImage: there are no bytes, or a form without a part named `file`.
        InvalidParameters: a form that cannot be read.
    """
    limit = config.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit, f"The body is {int(declared)} bytes")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(config.body_timeout_s):
            if content_type == "multipart/form-data":
                return await _read_form(request, limit)
            if not content_type.startswith("image/") and content_type not in _RAW_TYPES:
                raise UnsupportedBody(
                    f"A body of type {content_type[:80]} carries no picture; send it raw as "
                    "image/* or application/octet-stream, or as the part `file` of "
                    "multipart/form-data."
                )
            data = await _read_raw(request.receive, limit)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {config.body_timeout_s:g} s; "
            "send it faster, or make it smaller."
        ) from None
    if not data:
        raise MissingImage("The body is empty; send the bytes of the picture in it.")
    return Upload(data)


async def _read_raw(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    receive = _limited(receive, limit)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _read_form(request: Request, limit: int) -> Upload:
    bounded = Request(request.scope, _limited(request.receive, limit))
    try:
        parser = MultiPartParser(
            bounded.headers, bounded.stream(), max_files=1, max_fields=100, max_part_size=256 * 1024
        )
        form = await parser.parse()
    except MultiPartException as fault:
        raise InvalidParameters(
            f"The form cannot be read: {fault.message} Send one part named `file` with the "
            "picture, options as further parts."
        ) from None
    except KeyError:
        raise InvalidParameters(
            "The form cannot be read: its Content-Type names no boundary."
        ) from None
    try:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise MissingImage(
                "The form has no file part named `file`; send the picture as that part."
            )
        data = await upload.read()
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                if name in fields:
                    raise _given_twice(name)
                fields[name] = value
    finally:
        await form.close()
    if not data:
        raise MissingImage("The part `file` is empty; put the bytes of the picture in it.")
    return Upload(data, fields)


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


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_within_limit() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit, f"More than {limit} bytes arrived")
        return message

    return receive_within_limit


def _too_large(limit: int, what: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"{what}; at most {limit} ({limit / 2**20:g} MiB) are accepted. Send a smaller file."
    )
