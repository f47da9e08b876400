"""A request as bytes, and what an answer's headers say."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from omnishot_ray.load.pictures import numbered
from omnishot_ray.load.traffic import Ask

_BOUNDARY = "omnishot-load-5d1f"


def pack(ask: Ask) -> tuple[str, bytes]:
    """Content type and body of a request."""
    data, mime = numbered(ask.picture, ask.number), ask.picture.format.mime
    if ask.wrap == "raw":
        return mime, data
    parts = [f'name="file"; filename="picture"\r\nContent-Type: {mime}\r\n\r\n'.encode() + data]
    if ask.wrap == "job":
        parts.append(b'name="job"\r\nContent-Type: application/json\r\n\r\n' + ask.job.encode())
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()
    return f"multipart/form-data; boundary={_BOUNDARY}", body


def authorize(key: str) -> Mapping[str, str]:
    """Headers that hand over an API key, none without one.

    ValueError, which does not tell the key, for what no header can carry.
    """
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key has characters that no header can carry")
    return {"Authorization": f"Bearer {key}"} if key else {}


def is_own(url: str, place: str) -> bool:
    """Whether what an answer names is on the same server: neither load nor key is for another."""
    return place.startswith("/") or urlsplit(place)[:2] == urlsplit(url)[:2]


def read_queue_ms(headers: Mapping[str, str]) -> float:
    """`queue` of `Server-Timing`; 0 where it is not told."""
    for part in headers.get("server-timing", "").split(","):
        name, _, value = part.strip().partition(";dur=")
        if name == "queue":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 0.0
