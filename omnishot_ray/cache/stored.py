"""The tier in files: a folder or an object store, by a pyarrow.fs URI."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TypeVar

from pyarrow import fs

from omnishot_ray.cache.tiers import (
    ENVELOPE_BYTES,
    Entry,
    check_key,
    check_prefix,
    is_key,
    seal,
    unseal,
)

_THREADS = 4
_WRITES_WHOLE = frozenset({"s3", "gcs", "abfs"})
"""File systems where an object is there in whole or not at all; moving one there is a copy."""
_ABANDONED_S = 3600.0

T = TypeVar("T")


class StorageTier:
    """Files `<first two digits>/<key>`. Not bounded: that is for the store's lifecycle rules."""

    name = "storage"

    def __init__(
        self, uri: str, max_entry_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._uri = uri
        self._max_bytes = max_entry_bytes
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")

    async def get(self, key: str) -> Entry | None:
        """Never more than the largest entry, whatever somebody put there."""
        return await self._in_thread(partial(self._read, check_key(key)))

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep; readers see the whole file or none."""
        if len(data) <= self._max_bytes:
            sealed = seal(data, self._clock(), ttl_s, age_s)
            await self._in_thread(partial(self._write, check_key(key), sealed))

    async def delete(self, prefix: str) -> int:
        """Lists one of 256 folders, all of them for a prefix of less than two digits."""
        return await self._in_thread(partial(self._delete, check_prefix(prefix)))

    async def close(self) -> None:
        """Start nothing more; what runs in a thread ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        """Found in a thread and not at start-up: for S3 it asks the network for the region."""
        store, base = fs.FileSystem.from_uri(self._uri)
        return store, base.rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._place[1]}/{key[:2]}/{key}"

    def _read(self, key: str) -> Entry | None:
        store, _ = self._place
        path = self._path(key)
        limit = self._max_bytes + ENVELOPE_BYTES
        try:
            with store.open_input_file(path) as file:
                sealed = file.read() if file.size() <= limit else b""
        except FileNotFoundError:
            return None
        entry = unseal(sealed, self._clock())
        if entry is None:  # over or not ours: either way nobody will read it again
            with contextlib.suppress(OSError):
                store.delete_file(path)
        return entry

    def _write(self, key: str, sealed: bytes) -> None:
        store, _ = self._place
        path = self._path(key)
        if store.type_name in _WRITES_WHOLE:
            with store.open_output_stream(path) as file:
                file.write(sealed)
            return
        temporary = f"{path}.{uuid.uuid4().hex}"
        try:
            try:
                file = store.open_output_stream(temporary)
            except FileNotFoundError:
                store.create_dir(path.rpartition("/")[0], recursive=True)
                file = store.open_output_stream(temporary)
            with file:
                file.write(sealed)
            store.move(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                store.delete_file(temporary)
            raise

    def _delete(self, prefix: str) -> int:
        store, base = self._place
        folder = f"{base}/{prefix[:2]}" if len(prefix) >= 2 else base
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        deleted = 0
        for info in store.get_file_info(selector):
            key, dot, _ = info.base_name.partition(".")
            if info.type != fs.FileType.File or not key.startswith(prefix) or not is_key(key):
                continue  # what else is in the folder is somebody's
            if dot and not _is_abandoned(info):
                continue
            with contextlib.suppress(FileNotFoundError):  # another gateway deletes too
                store.delete_file(info.path)
                deleted += not dot
        return deleted


def _is_abandoned(info: fs.FileInfo) -> bool:
    """Whether whoever was writing it is certainly gone."""
    return info.mtime is not None and info.mtime.timestamp() < time.time() - _ABANDONED_S
