"""How renditions leave: one as itself, many as JSON, multipart/mixed or a zip."""

import base64
import io
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from omnishot_ray.api.fingerprint import data_etag
from omnishot_ray.api.problems import as_problem
from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.info import ImageInfo
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, SourceInfo, Timings
from omnishot_ray.metrics.notes import current

NO_STORE = {"Cache-Control": "no-store"}
"""Of answers that are true only now."""
JSON = "application/json"
MULTIPART = "multipart/mixed"
ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, which cache it comes from, and what was made cheaper on account of overload."""

    result: Result
    cache: str = "miss"
    degraded: str | None = None

    @property
    def timings(self) -> Timings:
        """Where this request's time went: on what others made, none."""
        return self.result.timings if self.cache == "miss" else Timings()

    @property
    def headers(self) -> dict[str, str]:
        """What every answer with it says."""
        headers = {
            "Server-Timing": server_timing(self.timings),
            "X-OmniShot-Source": describe_source(self.result.source),
            "X-Cache": self.cache,
        }
        if self.degraded:
            headers["X-OmniShot-Degraded"] = self.degraded
        return headers


def rendition_response(made: Answer, rendition: Rendition, caching: Mapping[str, str]) -> Response:
    """One rendition as the body, what is known of it in headers."""
    headers = {
        **caching,
        **made.headers,
        "X-OmniShot-Result": (
            f"{rendition.width}x{rendition.height};{rendition.format};{len(rendition.data)}"
        ),
    }
    if rendition.crop:
        headers["X-OmniShot-Crop"] = ",".join(map(str, rendition.crop))
    if rendition.gravity:
        headers["X-OmniShot-Gravity"] = rendition.gravity
    return Response(rendition.data, headers=headers, media_type=rendition.format.mime)


def note_answer(made: Answer, received: int) -> None:
    """Say what is known of it for the sample of this request; `received` bytes were the picture."""
    notes = current()
    if notes is None:
        return
    source, timings = made.result.source, made.timings
    done = [item for item in made.result.renditions if isinstance(item, Rendition)]
    notes.cache = made.cache
    notes.source_format = source.format.value
    notes.pixels = source.width * source.height
    notes.bytes_in = received
    notes.renditions = len(done)
    notes.queue_ms, notes.decode_ms = timings.queue, timings.decode
    notes.transform_ms, notes.encode_ms = timings.transform, timings.encode
    if done:
        notes.format = done[0].format.value
    if len(done) == 1:
        notes.bytes_saved = max(0, source.bytes - len(done[0].data))


def note_description(info: ImageInfo) -> None:
    """The same of a description."""
    notes = current()
    if notes is None:
        return
    notes.cache = "miss"
    notes.source_format = info.source.format.value
    notes.pixels = info.source.width * info.source.height
    notes.bytes_in = info.source.bytes
    notes.queue_ms, notes.decode_ms = info.timings.queue, info.timings.decode
    notes.transform_ms, notes.encode_ms = info.timings.transform, info.timings.encode


def server_timing(timings: Timings) -> str:
    """The `Server-Timing` header (W3C), durations in milliseconds."""
    return ", ".join(f"{name};dur={dur:.2f}" for name, dur in _as_dict(timings).items())


def _as_dict(timings: Timings) -> dict[str, float]:
    return {
        name: round(getattr(timings, name), 3)
        for name in ("queue", "decode", "transform", "encode", "cache")
    }


def describe_source(source: SourceInfo) -> str:
    """The `X-OmniShot-Source` header."""
    return f"{source.width}x{source.height};{source.format};{source.bytes}"


@dataclass(frozen=True, slots=True)
class VariantsAnswer:
    """All variants of one picture in the order they were asked for."""

    whole: Answer | None
    made: Sequence[tuple[Rendition, str]]
    """Each rendition with the entity tag of its bytes."""
    failures: Sequence[tuple[str, OmnishotError]]
    order: Sequence[str]
    request_id: str

    @classmethod
    def of(
        cls,
        whole: Answer | None,
        wanted: Sequence[Options | FailedRendition],
        request_id: str,
    ) -> "VariantsAnswer":
        """Bring the engine's result together with the variants that never reached it."""
        failed = [item for item in wanted if isinstance(item, FailedRendition)]
        made = []
        for rendition in whole.result.renditions if whole else ():
            if isinstance(rendition, FailedRendition):
                failed.append(rendition)
            else:
                made.append((rendition, data_etag(rendition.data)))
        return cls(
            whole,
            made,
            [(item.name, item.error) for item in failed],
            [item.name for item in wanted],
            request_id,
        )

    @property
    def all_failed(self) -> bool:
        """Whether there is no rendition at all."""
        return not self.made

    def as_response(self, container: str) -> Response:
        """The answer in the container that the client likes best."""
        headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
        headers |= self.whole.headers if self.whole else {"X-Cache": "miss"}
        if container == ZIP:
            headers["Content-Disposition"] = 'attachment; filename="variants.zip"'
            return Response(self._zip(), headers=headers, media_type=ZIP)
        if container == MULTIPART:
            boundary = secrets.token_hex(16)
            body = self._multipart(boundary)
            return Response(body, headers=headers, media_type=f'{MULTIPART}; boundary="{boundary}"')
        document = self._manifest(lambda r: {"data": base64.b64encode(r.data).decode("ascii")})
        return Response(orjson.dumps(document), headers=headers, media_type=JSON)

    def _manifest(self, where: Any) -> dict[str, Any]:
        """The document about all variants; `where(rendition)` says where its bytes are."""
        entries: dict[str, dict[str, Any]] = {}
        for rendition, tag in self.made:
            entries[rendition.name] = {
                "name": rendition.name,
                "status": "ok",
                "width": rendition.width,
                "height": rendition.height,
                "format": rendition.format,
                "bytes": len(rendition.data),
                "etag": tag,
                "crop": list(rendition.crop) if rendition.crop else None,
                **where(rendition),
                "error": None,
            }
        for name, error in self.failures:
            problem = as_problem(error, self.request_id)
            unknown = dict.fromkeys(("width", "height", "format", "bytes", "etag", "crop"))
            entries[name] = {"name": name, "status": "error", **unknown, "error": problem}
        source = self.whole.result.source if self.whole else None
        return {
            "source": {
                "width": source.width,
                "height": source.height,
                "format": source.format,
                "bytes": source.bytes,
            }
            if source
            else None,
            "variants": [entries[name] for name in self.order],
            "timings_ms": _as_dict(self.whole.timings if self.whole else Timings()),
        }

    def _zip(self) -> bytes:
        """Stored, not deflated: the pictures are compressed already. Dates are fixed."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            manifest = self._manifest(lambda rendition: {"file": _file_name(rendition)})
            archive.writestr(zipfile.ZipInfo("manifest.json"), orjson.dumps(manifest))
            for rendition, _ in self.made:
                archive.writestr(zipfile.ZipInfo(_file_name(rendition)), rendition.data)
        return sink.getvalue()

    def _multipart(self, boundary: str) -> bytes:
        """First the manifest, then a part for each picture (RFC 2046 §5.1)."""
        manifest = self._manifest(lambda rendition: {"part": rendition.name})
        parts = [_part(boundary, JSON, "manifest", "manifest.json", orjson.dumps(manifest))]
        parts += [
            _part(boundary, r.format.mime, r.name, _file_name(r), r.data, tag)
            for r, tag in self.made
        ]
        return b"".join((*parts, f"--{boundary}--\r\n".encode()))


def _file_name(rendition: Rendition) -> str:
    return f"{rendition.name}.{rendition.format.extension}"


def _part(
    boundary: str, media_type: str, name: str, filename: str, data: bytes, tag: str | None = None
) -> bytes:
    head = (
        f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Length: {len(data)}\r\n"
        f'Content-Disposition: attachment; name="{name}"; filename="{filename}"\r\n'
    )
    if tag:
        head += f"ETag: {tag}\r\n"
    return head.encode() + b"\r\n" + data + b"\r\n"
