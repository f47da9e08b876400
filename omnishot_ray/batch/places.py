"""Files and folders by address, on this machine or in a bucket (`pyarrow.fs`).

What is written appears whole or not at all, and for good: on a disk by a temporary name, fsync and
rename; in a bucket by one upload, which is visible once it is complete.
"""

import ctypes
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.ASCII)
_ANONYMOUS = "anonymous@"
_FEW_FILES = 8
"""Fewer are synced one by one: the file system may hold what others have written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listing says of one file: bytes, and the time of its last change in nanoseconds."""

    place: "Place"
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder. `path` is the file system's own: `/data/a.tar`, `bucket/folder/a.tar`."""

    path: str
    scheme: str = ""
    """Empty on this machine."""
    query: str = ""
    """What pyarrow wants to know of a store: `region=…&endpoint_override=…`."""
    anonymous: bool = False
    """Whether a bucket of Google is asked without any key, as pyarrow has it:
    `gs://anonymous@bucket`."""

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read `folder/file`, `file:///folder/file`, `s3://bucket/key?region=…`, `gs://…`.

        Raises `ValueError` with a sentence for the user.
        """
        match = _SCHEME.match(text)
        if not match:
            return cls(os.path.abspath(text))
        scheme = match[1]
        if scheme == "file":
            return cls(os.path.abspath(unquote(urlsplit(text).path)))
        if scheme not in ("s3", "gs"):
            raise ValueError(f"{text!r}: the address has to be a path, file://, s3:// or gs://")
        path, _, query = text[match.end() :].partition("?")
        anonymous = scheme == "gs" and path.startswith(_ANONYMOUS)
        path = path.removeprefix(_ANONYMOUS) if anonymous else path
        bucket = path.partition("/")[0]
        if not bucket:
            raise ValueError(f"{text!r} names no bucket")
        if "@" in bucket:  # it would stand in the manifest
            raise ValueError("keys do not belong into an address; set AWS_ACCESS_KEY_ID and so on")
        return cls(path.rstrip("/"), scheme, query, anonymous)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    def __truediv__(self, name: str) -> "Place":
        return replace(self, path=f"{self.path.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> "Place":
        """The folder that it is in."""
        return replace(self, path=str(PurePosixPath(self.path).parent))

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return not self.scheme

    @property
    def filesystem(self) -> Any:
        """pyarrow's, made once for each store and process."""
        bucket = self.path.partition("/")[0]
        return _filesystem(self.scheme, bucket, self.query, self.anonymous)

    def entry(self) -> Entry | None:
        """Size and time of a file; None where there is none. Raises `OSError`."""
        info = self.filesystem.get_file_info(self.path)
        return _entry(self, info) if info.type == fs.FileType.File else None

    def is_folder(self) -> bool:
        """Whether it is a folder, or in a bucket the beginning of some names."""
        if self.scheme == "gs":
            return bool(self.names())
        return bool(self.filesystem.get_file_info(self.path).type == fs.FileType.Directory)

    @property
    def real(self) -> "Place":
        """The same without links on the way, to compare."""
        return replace(self, path=os.path.realpath(self.path)) if self.is_local else self

    def walk(self, without: "Place | None" = None) -> Iterator[Entry]:
        """All files below, in the order of their names folder by folder. Links are not followed.

        A link to a file comes with a size of -1. On a disk the names of one folder at a time are in
        memory; a bucket hands over its whole listing. `without` is a folder that is not looked
        into, where it is below.
        """
        left_out = self._below(without) if without else ""
        if self.is_local:
            yield from _walk(self.path, left_out)
            return
        listing = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True))
        listing.sort(key=lambda info: info.path)
        below = len(self.path.rstrip("/")) + 1
        for info in listing:
            if left_out and info.path.startswith(f"{left_out}/"):
                continue
            if info.type == fs.FileType.File and STATE not in info.path[below:].split("/"):
                yield _entry(replace(self, path=info.path), info)

    def _below(self, other: "Place") -> str:
        """The path of a folder in this one, as walking meets it; empty where it is elsewhere."""
        root = self.real.path.rstrip("/") + "/"
        path = other.real.path
        is_below = self.scheme == other.scheme and path.startswith(root)
        return (self / path[len(root) :]).path if is_below else ""

    def names(self) -> list[str]:
        """What is directly in a folder, in order; nothing where there is none."""
        if self.is_local:
            try:
                return sorted(os.listdir(self.path))
            except FileNotFoundError:
                return []
        # pyarrow shows no folder of Google's that was not made as one (apache/arrow, gcsfs.cc:
        # it lists objects and leaves out what they have in common), so all below is listed.
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=self.scheme == "gs")
        below = len(self.path.rstrip("/")) + 1
        found = self.filesystem.get_file_info(selector)
        return sorted({info.path[below:].partition("/")[0] for info in found})

    def open(self) -> Any:
        """A `pyarrow.NativeFile` to read anywhere in it. Raises `OSError`."""
        return self.filesystem.open_input_file(self.path)

    def read(self) -> bytes:
        """The whole file. Raises `OSError`."""
        with self.open() as file:
            return bytes(file.read())

    def write(self, data: bytes, partial: str = "") -> None:
        """Put a file there, whole and for good, over whatever was there. Raises `OSError`.

        On this machine it is `partial` until it is whole, a name in the same file system. Where
        several may write the same file, each has to name its own.
        """
        if not self.is_local:
            self._upload(pa.py_buffer(data))
            return
        partial = partial or f"{self.path}.partial"
        make_folder(os.path.dirname(self.path))
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)
        sync_folder(os.path.dirname(self.path))

    def upload(self, file: IO[bytes]) -> None:
        """Put the content of a file of this machine there, as `write` does, in one piece."""
        file.flush()
        if os.fstat(file.fileno()).st_size == 0:
            self.write(b"")
            return
        self._upload(pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    def _upload(self, buffer: Any) -> None:
        # One write: closing a stream completes its upload, also when half of it is missing.
        with self.filesystem.open_output_stream(self.path) as stream:
            stream.write(buffer)

    def delete(self) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            self.filesystem.delete_file(self.path)
        except FileNotFoundError:
            return


def _entry(place: Place, info: Any) -> Entry:
    return Entry(place, info.size, info.mtime_ns or 0)


@lru_cache(maxsize=64)
def _filesystem(scheme: str, bucket: str, query: str, anonymous: bool) -> Any:
    if not scheme:
        return fs.LocalFileSystem()
    if scheme == "s3":
        fs.ensure_s3_initialized()
    user = _ANONYMOUS if anonymous else ""
    address = f"{scheme}://{user}{quote(bucket)}" + (f"?{query}" if query else "")
    return fs.FileSystem.from_uri(address)[0]


def _walk(folder: str, left_out: str) -> Iterator[Entry]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != STATE and entry.path != left_out:
                yield from _walk(entry.path, left_out)
        elif entry.is_symlink():
            yield Entry(Place(entry.path), -1, 0)
        elif entry.is_file(follow_symlinks=False):
            stat = entry.stat(follow_symlinks=False)
            yield Entry(Place(entry.path), stat.st_size, stat.st_mtime_ns)


STATE = ".omnishot"
"""The folder in an output that holds what has been done; never looked into for pictures."""


def scratch_of(out: Place) -> Place:
    """Where an output of this machine is written before it is whole.

    In its own file system: a rename does not copy. Names in it are never used twice: a worker that
    outlives its run does not touch what the next one writes.
    """
    return out / STATE / "tmp"


def make_folder(path: str) -> None:
    """Make a folder and those above it, each of them for good."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folder(parent)
    os.makedirs(path, exist_ok=True)
    sync_folder(parent)


def sync_folder(path: str) -> None:
    """Make what was made, renamed and removed in a folder outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move_files(moves: list[tuple[str, str]]) -> None:
    """Give written files of this machine their final names, for good. Raises `OSError`.

    All moves are within one file system.
    """
    folders = {os.path.dirname(target) for _, target in moves}
    for folder in folders:
        make_folder(folder)
    if len(moves) < _FEW_FILES:
        for source, _ in moves:
            _sync_file(source)
    else:
        _sync_file_system(moves[0][0])
    for source, target in moves:
        os.replace(source, target)
    for folder in sorted(folders):
        sync_folder(folder)


def _sync_file(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file_system(path: str) -> None:
    """Everything written to the file system of a file, in one go: syncfs(2).

    A third of the CPU time of as many fsyncs. Since Linux 5.8 it tells of failed writes as they do.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        if _libc().syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
