"""Bytes of files of this machine that are named, not handed over: who works on them reads them."""

import os
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read, and why; it costs its row in the manifest."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Span:
    """Where bytes are: part of a file, or all of it."""

    path: str
    offset: int = 0
    size: int | None = None
    """Bytes; None for all there are, unless these are more than `most`."""
    most: int = 0


class SpanReader:
    """Reads spans, and keeps the file open that it read last: most are of one archive."""

    def __init__(self) -> None:
        self._path, self._handle = "", -1

    def read(self, span: Span) -> bytes | Fault:
        """The bytes, or what kept them from being read. Never raises."""
        try:
            handle = self._open(span.path)
            if span.size is None:
                size = os.fstat(handle).st_size
                if size > span.most:
                    return too_large(size, span.most)
                return os.pread(handle, size, 0)
            data = os.pread(handle, span.size, span.offset)
        except (OSError, MemoryError, ValueError, OverflowError) as error:
            # The latter two: a name that no file can have, a place in none.
            return fault_of(error)
        if len(data) < span.size:
            return Fault("archive-damaged", "The archive ends within the member.")
        return data

    def close(self) -> None:
        """Close what is open."""
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
        self._path, self._handle = "", -1

    def _open(self, path: str) -> int:
        if path != self._path:
            self.close()
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._path = path
        return self._handle


def fault_of(error: Exception) -> Fault:
    """What to say of a file or store that could not be read."""
    if isinstance(error, FileNotFoundError):
        return Fault("not-found", "There is no such file (any more).")
    detail = getattr(error, "strerror", None) or "the store or the file says no"
    return Fault("source-unreadable", f"It cannot be read: {detail}.")


def too_large(size: int, limit: int) -> Fault:
    """Of a file that is not read because it is too large."""
    return Fault("source-too-large", f"It has {size} bytes; at most {limit} are read.")
