"""A folder of this machine, or one that is mounted.

Every part of a path is opened by itself, relative to the one before and without following links,
so there is no moment between a check and its use (CWE-367): nobody who can make links under the
root leads a request out of it.
"""

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from omnishot_ray.storage.folders import FileInfo, TooLarge, storage_faults, unavailable

_PART = ".part"
"""End of the names of files that are being written."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would wait for ever
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFolder:
    """Files under `root`, which is made when something is written."""

    def __init__(self, root: str) -> None:
        self._root = root

    def read(self, path: str, limit: int | None = None) -> bytes:
        """See `Folder.read`; only of regular files."""
        with storage_faults(), self._parent(path) as (folder, name):
            with open(os.open(name, _READ, dir_fd=folder), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise FileNotFoundError(name)
                if limit is None:
                    return file.read()
                if found.st_size > limit:
                    raise TooLarge
                data = file.read(limit + 1)
            if len(data) > limit:
                raise TooLarge
            return data

    def write(self, path: str, data: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """See `Folder.write`; a file has no attributes. It survives a power cut."""
        del attributes
        try:
            self._make_root()
            self._write(path, data)
        except FileNotFoundError as error:  # somebody removes folders meanwhile
            raise unavailable(error) from error

    def touch(self, path: str) -> bool:
        """See `Folder.touch`."""
        try:
            with storage_faults(), self._parent(path) as (folder, name):
                # Whoever deletes looks at the time first: neither may come between.
                fcntl.flock(folder, fcntl.LOCK_SH)
                os.utime(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def stat(self, path: str) -> FileInfo:
        """See `Folder.stat`."""
        with storage_faults(), self._parent(path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError(name)
            return FileInfo(path, found.st_size, found.st_mtime)

    def delete(self, path: str, older_than_s: float = 0.0) -> bool:
        """See `Folder.delete`."""
        with storage_faults(), self._parent(path) as (folder, name):
            fcntl.flock(folder, fcntl.LOCK_EX)
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if older_than_s and found.st_mtime > time.time() - older_than_s:
                return False
            os.unlink(name, dir_fd=folder)
            return True

    def list_files(self) -> Iterator[FileInfo]:
        """See `Folder.list_files`."""
        for path, entry in self._walk():
            if not entry.name.endswith(_PART):
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield FileInfo(path, found.st_size, found.st_mtime)

    def sweep(self, older_than_s: float) -> int:
        """See `Folder.sweep`."""
        removed = 0
        for _, entry in self._walk():
            if entry.name.startswith(".") and entry.name.endswith(_PART):
                with storage_faults(), suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < time.time() - older_than_s:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def check(self) -> None:
        """See `Folder.check`: it can be made, and has room for a byte."""
        self._make_root()
        with storage_faults():
            if not os.access(self._root, os.W_OK | os.X_OK):
                raise unavailable()
            if os.statvfs(self._root).f_bavail == 0:
                raise OSError(errno.ENOSPC, "no block is free")

    def _write(self, path: str, data: bytes) -> None:
        with storage_faults(), self._parent(path, make=True) as (folder, name):
            temporary = f".{uuid.uuid4().hex}{_PART}"
            try:
                with open(os.open(temporary, _CREATE, 0o666, dir_fd=folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                fcntl.flock(folder, fcntl.LOCK_SH)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _open_root(self) -> int:
        """The root is the configuration's, not a request's: it may be a link."""
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unavailable(error) from error

    def _make_root(self) -> None:
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise unavailable(error) from error

    def _walk(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Each regular file with its path from the root; links are not followed."""
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with storage_faults(), os.scandir(os.path.join(self._root, folder)) as entries:
                    found = list(entries)
            except FileNotFoundError:
                continue
            for entry in found:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry

    @contextmanager
    def _parent(self, path: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """Descriptor of the folder that a path is in, and the name there."""
        *folders, name = path.split("/")
        at = self._open_root()
        try:
            for folder in folders:
                below = _enter(at, folder, make)
                os.close(at)
                at = below
            yield at, name
        finally:
            os.close(at)


def _enter(at: int, folder: str, make: bool) -> int:
    try:
        return os.open(folder, _FOLDER, dir_fd=at)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(folder, dir_fd=at)
        os.fsync(at)
    return os.open(folder, _FOLDER, dir_fd=at)
