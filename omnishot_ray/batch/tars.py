"""What is in a tar: from its headers alone where it is plain, in one pass where it is compressed.

The format is read by the standard library (POSIX.1-2001 ustar and pax, GNU long names, base-256
sizes); here what a header claims is bounded, because it may be a name of gigabytes.
"""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Self, cast

import pyarrow as pa

from omnishot_ray.batch.members import Found, Inline, Range
from omnishot_ray.batch.names import readable
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.spans import Fault

CODECS = {"tar.gz": "gzip", "tar.zst": "zstd", "tar.bz2": "bz2"}
_MAX_HEADER_BYTES = 1 << 20
"""A pax header or long name longer than this is no name."""
_NAMING = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_WINDOW_BYTES = 8 << 10
"""Read at each hop to the next header; those of tiny members come along."""
_REMOTE_WINDOW_BYTES = 128 << 10
_MAX_RATIO, _FREE_BYTES = 200, 256 << 20
"""Pictures hardly get smaller by compression; a tar that grows 200-fold beyond the first 256 MiB is
a bomb (DEFLATE itself goes up to 1 032, RFC 1951)."""
_SKIP_BYTES = 1 << 20


def index_tar(place: Place) -> Iterator[Found]:
    """Members of a plain tar, by its headers; the pictures are not read."""
    with place.open() as file:
        hopper = _Hopper(file, _WINDOW_BYTES if place.is_local else _REMOTE_WINDOW_BYTES)
        yield from _members(hopper, "r:")


def stream_tar(
    place: Place, kind: str, inline_bytes: int, is_wanted: Callable[[str], bool]
) -> Iterator[Found]:
    """Members of a compressed tar, with their bytes where their names are wanted, in one pass.

    Of one larger than `inline_bytes` nothing is kept; it comes as a fault.
    """
    with (
        pa.input_stream(place.open(), compression=None) as packed,
        pa.CompressedInputStream(packed, CODECS[kind]) as plain,
    ):
        yield from _members(_Unpacked(packed, plain), "r|", inline_bytes, is_wanted)


class _Hopper:
    """A file for `tarfile` that is read in small windows."""

    def __init__(self, file: Any, window: int) -> None:
        self._file, self._window = file, window
        self._size = file.size()
        self._at = 0
        self._start, self._bytes = 0, b""

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = offset
        return offset

    def read(self, count: int) -> bytes:
        if not self._start <= self._at <= self._start + len(self._bytes) - count:
            self._start = self._at
            wanted = max(0, min(max(count, self._window), self._size - self._at))
            self._bytes = bytes(self._file.read_at(wanted, self._at)) if wanted else b""
        begin = self._at - self._start
        data = self._bytes[begin : begin + count]
        self._at += len(data)
        return data


class _Unpacked:
    """A stream for `tarfile`; raises when it grows like a bomb."""

    def __init__(self, packed: Any, plain: Any) -> None:
        self._packed, self._plain = packed, plain
        self._count = 0

    def read(self, count: int) -> bytes:
        parts, missing = [], count
        while missing > 0 and (part := self._plain.read(missing)):
            parts.append(part)
            missing -= len(part)
        self._count += count - missing
        if self._count > _FREE_BYTES + _MAX_RATIO * self._packed.tell():
            raise _BombError
        return b"".join(parts)


class _BombError(Exception):
    pass


class _Header(tarfile.TarInfo):
    """One that is broken or claims too much ends the archive with an error.

    `tarfile` takes the one for the end of it, and reads the other.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        header = super().fromtarfile(archive)
        if header.size < 0:  # by a pax header: it would lead back
            raise tarfile.ReadError("a size is negative")
        return header

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(str(error)) from None
            raise  # zeros, or nothing: that is the end
        if header.type in _NAMING and not 0 <= header.size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header is too large")
        return header


def _members(
    file: Any,
    mode: str,
    inline_bytes: int = 0,
    is_wanted: Callable[[str], bool] | None = None,
) -> Iterator[Found]:
    try:
        # `|` reads from the stream in blocks; 10 240 bytes are tar's own.
        archive = tarfile.open(  # noqa: SIM115 - closed below
            fileobj=file,
            mode=cast(Any, mode),
            bufsize=_SKIP_BYTES,
            encoding="utf-8",
            tarinfo=_Header,
        )
        with closing(archive):
            while (item := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it keeps them all
                yield _found(archive, item, inline_bytes, is_wanted)
    except _BombError:
        yield Found("", -1, Fault("archive-bomb", "The archive grows more than 200-fold."))
    except (tarfile.TarError, EOFError) as error:
        yield Found("", -1, Fault("archive-damaged", f"The archive cannot be read on: {error}."))
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        yield Found("", -1, Fault("archive-damaged", "The archive cannot be read on from here."))


def _found(
    archive: tarfile.TarFile,
    item: tarfile.TarInfo,
    inline_bytes: int,
    is_wanted: Callable[[str], bool] | None,
) -> Found:
    name = readable(item.name.encode("utf-8", "surrogateescape"))
    if item.isdir():
        return Found(f"{name}/", 0, Range(0))
    if not item.isreg() or item.issparse():
        detail = "It is a link, a device or sparse in the archive; only plain files are read."
        return Found(name, 0, Fault("unsafe-member", detail))
    if is_wanted is None or not is_wanted(name):
        return Found(name, item.size, Range(item.offset_data))
    if item.size > inline_bytes:
        detail = f"The member has {item.size} bytes; at most {inline_bytes} are read."
        return Found(name, item.size, Fault("source-too-large", detail))
    file = archive.extractfile(item)
    data = file.read() if file else b""
    if len(data) < item.size:
        raise EOFError("it ends within a member")
    return Found(name, item.size, Inline(data))
