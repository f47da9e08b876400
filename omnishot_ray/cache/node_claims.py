"""Claims among the processes of one node: file locks, which the kernel frees when a leader dies.

A key is one byte of the file `locks` (a place of 62 bits, far beyond its end, which is never
written). Who leads has it locked with an open file description lock (fcntl(2), `F_OFD_SETLK`): one
system call, no file of its own to make and take away again as `flock` would need. `<key>.done` is
the leader's result for those who wait and who come in the next minute; it is read and written by
who holds the lock only. `forgotten` lists what was invalidated. There is no thread; who waits looks
again every few milliseconds.

A child that is forked shares the locks of its parent; the service forks none.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import time
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from omnishot_ray.cache.flight import UNCLAIMED, Claim
from omnishot_ray.cache.node import open_node_dir
from omnishot_ray.cache.tiers import check_key, check_prefix

_DONE_S = 60.0
"""How long a result lies there, for the other gateways of the node."""
_BRIEF_S = 0.25
"""How long a failure does: for who was waiting for it."""
_LOG_BYTES = 1 << 20
"""When the list of what was forgotten is begun anew."""
_FIRST_POLL_S, _LAST_POLL_S = 0.002, 0.005
_ABANDONED_S = _DONE_S + 10.0
"""When a result is certainly one of a process that died before it could take it away."""
_LOOK_S = 30.0
"""How often to look for such."""
_ALL = "*"
"""How the list says that everything was forgotten."""
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
_LENGTH = struct.Struct("<Q")


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
        self._led: set[int] = set()
        self._locks = os.open(f"{self._folder}/locks", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._forgotten = f"{self._folder}/forgotten"
        self._read_to = self._forgotten_size()
        self._remove_abandoned()

    async def claim(self, key: str) -> Claim:
        """Lead, unless a live process does or has just done it."""
        path = f"{self._folder}/{check_key(key)}.done"
        try:
            return _NodeClaim(self, path, _place(key))
        except OSError:  # no more locks, or nothing that knows them
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
                os.write(
                    file, f"{prefix or _ALL}\n".encode()
                )  # short and appended: whole or not at all
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
        if begun_anew:
            return ("",)
        return [line.replace(_ALL, "") for line in text.decode("ascii", "replace").split()]

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
        if self._locks >= 0:
            os.close(self._locks)
            self._locks = -1

    def lock(self, place: int) -> bool:
        """Lock the place, unless it is locked. Raises `OSError` where that cannot be asked."""
        if self._locks < 0:
            raise OSError("closed")
        if place in self._led:  # a process's own lock does not keep it out
            return False
        try:
            fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, place))
        except (BlockingIOError, PermissionError):
            return False
        self._led.add(place)
        return True

    def unlock(self, place: int) -> None:
        """Let the next one in."""
        self._led.discard(place)
        if self._locks >= 0:
            fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, place))

    def hand_over(self, path: str, data: bytes, brief: bool) -> None:
        """Put a result where those who wait look. Does nothing when it does not fit."""
        if len(data) > self._max_bytes:
            return
        while self._bytes + len(data) > self._max_bytes:
            self._remove_oldest()
        whole = _LENGTH.size + len(data)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                if os.writev(file, (_LENGTH.pack(whole), data)) != whole:
                    raise OSError("written in part")
                if brief:  # as if it had lain there for long
                    long_ago = time.time() - (_DONE_S - _BRIEF_S)
                    os.utime(file, (long_ago, long_ago))
            finally:
                os.close(file)
        except OSError:
            _remove(path)
            return
        self._bytes += len(data)
        self._done.append((time.monotonic(), path, len(data)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DONE_S, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        while self._done and self._done[0][0] <= now - _DONE_S:
            self._remove_oldest()
        if now >= self._look_at:
            self._remove_abandoned()
        self._timer = None
        if self._done:
            delay_s = self._done[0][0] + _DONE_S - now
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _remove_oldest(self) -> None:
        _, path, size = self._done.popleft()
        self._bytes -= size
        _remove(path)

    def _remove_abandoned(self) -> None:
        self._look_at = time.monotonic() + _LOOK_S
        before = time.time() - _ABANDONED_S
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".done") and _written_at(entry) < before:
                    _remove(entry.path)


class _NodeClaim:
    def __init__(self, claims: NodeClaims, path: str, place: int) -> None:
        self._claims = claims
        self._path = path
        self._place = place
        self._ready: bytes | None = None
        self.leads = False
        self._locked = False
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
        if self._locked:
            self._claims.hand_over(self._path, data, brief)

    async def release(self) -> None:
        if self._locked:
            self._locked = False
            self._claims.unlock(self._place)

    def _try(self) -> None:
        """Become the leader, or find the result, or neither."""
        if not self._claims.lock(self._place):
            return
        self._ready = _read(self._path)
        if self._ready is None:
            self.leads = self._locked = True
        else:
            self._claims.unlock(self._place)


def _read(path: str) -> bytes | None:
    """A result that lies there in whole, and not for long."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        if found.st_mtime < time.time() - _DONE_S:
            return None
        data = os.read(file, found.st_size)
    finally:
        os.close(file)
    # A leader may have died while it was writing.
    if data[: _LENGTH.size] != _LENGTH.pack(len(data)):
        return None
    return data[_LENGTH.size :]


def _written_at(entry: "os.DirEntry[str]") -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # another gateway was quicker
        return time.time()


def _place(key: str) -> int:
    """62 bits of the whole key: below the largest offset of a file, and no two alike."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) >> 2


def _flock(kind: int, place: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
