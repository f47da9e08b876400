"""Claims among the processes of one node: file locks, which the kernel frees when a leader dies.

Under the folder, for a key: `<key>.lock` is locked by who leads, `<key>.done` is the leader's
result for those who wait and who come in the next minute; `forgotten` lists what was invalidated.
Everything is a system call on a file in
memory of some microseconds, so there is no thread; who waits looks again every few milliseconds.

A child that is forked while work is led shares its locks; the service forks none.
"""

import asyncio
import contextlib
import fcntl
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from omnishot_ray.cache.flight import UNCLAIMED, Claim
from omnishot_ray.cache.node import open_node_dir
from omnishot_ray.cache.tiers import check_key, check_prefix

_DONE_S = 60.0
"""How long a result lies there, for the other gateways of the node."""
_BRIEF_S = 3.0
"""How long a failure does: longer than a burst of the same request takes to come in."""
_LOG_BYTES = 1 << 20
"""When the list of what was forgotten is begun anew."""
_FIRST_POLL_S, _LAST_POLL_S = 0.002, 0.005
_ABANDONED_S = 60.0
"""When a file that nobody holds is certainly one of a process that died."""


class NodeClaims:
    """`max_bytes` bounds the results of this process that lie there at a time."""

    def __init__(self, folder: str | Path, max_bytes: int = 64 << 20) -> None:
        """Take the folder, and what dead processes left in it away.

        Raises:
            OSError: the folder cannot be used.
        """
        self._folder = str(open_node_dir(open_node_dir(folder) / "claims"))
        self._max_bytes = max_bytes
        self._bytes = 0
        self._done: deque[tuple[float, str, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._forgotten = f"{self._folder}/forgotten"
        self._read_to = self._forgotten_size()
        self._remove_abandoned()

    async def claim(self, key: str) -> Claim:
        """Lead, unless a live process does or has just done it."""
        path = f"{self._folder}/{check_key(key)}"
        try:
            return _NodeClaim(self, path)
        except OSError:  # no more files, no more space
            return UNCLAIMED

    async def forget(self, prefix: str) -> None:
        """Take results away, whosoever they are."""
        check_prefix(prefix)
        for name in os.listdir(self._folder):
            if name.startswith(prefix) and name.endswith(".done"):
                _remove(f"{self._folder}/{name}")
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            if self._forgotten_size() > _LOG_BYTES:
                flags |= os.O_TRUNC
            file = os.open(self._forgotten, flags, 0o600)
            try:
                os.write(file, f"{prefix}\n".encode())  # short and appended: whole or not at all
            finally:
                os.close(file)

    def news(self) -> Sequence[str]:
        """What other processes of the node have had forgotten, and this one too."""
        size = self._forgotten_size()
        if size == self._read_to:
            return ()
        begun_anew = size < self._read_to
        try:
            with open(self._forgotten, "rb") as lines:
                lines.seek(0 if begun_anew else self._read_to)
                text = lines.read(size)
        except OSError:
            return ()
        self._read_to = size
        # What was in the list before it was begun anew is not known: everything, then.
        return ("",) if begun_anew else text.decode("ascii", "replace").split()

    def _forgotten_size(self) -> int:
        try:
            return os.stat(self._forgotten).st_size
        except OSError:
            return 0

    async def close(self) -> None:
        """Take away what this process put there."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._done:
            self._remove_oldest()

    def hand_over(self, path: str, data: bytes, brief: bool) -> None:
        """Put a result where those who wait look. Does nothing when it does not fit."""
        if len(data) > self._max_bytes:
            return
        while self._bytes + len(data) > self._max_bytes:
            self._remove_oldest()
        temporary = f"{path}.{os.getpid()}"
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                written = os.write(file, data)
            finally:
                os.close(file)
            if written != len(data):
                raise OSError("written in part")
            if brief:  # as if it had lain there for long
                long_ago = time.time() - (_DONE_S - _BRIEF_S)
                os.utime(temporary, (long_ago, long_ago))
            os.rename(temporary, f"{path}.done")
        except OSError:
            _remove(temporary)
            return
        self._bytes += len(data)
        self._done.append((time.monotonic(), path, len(data)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DONE_S, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        while self._done and self._done[0][0] <= now - _DONE_S:
            self._remove_oldest()
        self._timer = None
        if self._done:
            delay_s = self._done[0][0] + _DONE_S - now
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _remove_oldest(self) -> None:
        _, path, size = self._done.popleft()
        self._bytes -= size
        _remove(f"{path}.done")

    def _remove_abandoned(self) -> None:
        before = time.time() - _ABANDONED_S
        for entry in os.scandir(self._folder):
            if entry.path == self._forgotten:
                continue
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime >= before:
                    continue
                file = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while somebody leads
                    if os.path.samestat(os.stat(entry.path), os.fstat(file)):
                        os.unlink(entry.path)
                finally:
                    os.close(file)


class _NodeClaim:
    """Holds an open file, locked when it leads."""

    def __init__(self, claims: NodeClaims, path: str) -> None:
        self._claims = claims
        self._path = path
        self._file = -1
        self._ready: bytes | None = None
        self.leads = False
        self._try()
        self.found = self._ready is not None

    async def wait(self, deadline: float) -> bytes | None:
        pause_s = _FIRST_POLL_S
        while self._ready is None and not self.leads and time.monotonic() < deadline:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _LAST_POLL_S)
            try:
                self._try()
            except OSError:
                self.leads = True  # what cannot be asked need not be waited for
        return self._ready

    async def publish(self, data: bytes, brief: bool = False) -> None:
        if self.leads and self._file >= 0:
            self._claims.hand_over(self._path, data, brief)

    async def release(self) -> None:
        if self._file < 0:
            return
        if self.leads:
            # While it is locked: who opens the file later gets another one.
            _remove(f"{self._path}.lock")
        self._close()

    def _try(self) -> None:
        """Become the leader, or find the result, or neither."""
        if self._file < 0:
            self._file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            raise
        # The leader before may have taken this file away between our opening and our locking it.
        if not self._is_current():
            self._close()
            self._try()
            return
        # Only now, because a leader puts its result there before it lets go.
        self._ready = self._read()
        self.leads = True
        if self._ready is not None:
            _remove(f"{self._path}.lock")
            self._close()
            self.leads = False

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(f"{self._path}.lock"), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _read(self) -> bytes | None:
        try:
            file = os.open(f"{self._path}.done", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(file)
            if found.st_mtime < time.time() - _DONE_S:
                return None  # of a process that died before it could take it away
            return os.read(file, found.st_size)
        finally:
            os.close(file)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
