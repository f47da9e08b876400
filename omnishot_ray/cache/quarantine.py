"""Sources that killed the process working on them, more than once: they are not tried again.

One small file for each, in a folder that the gateways of a node share: a byte for each kill, the
time of the file for the last one. So it outlives a gateway, and needs no lock.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from omnishot_ray.cache.node import open_node_dir

logger = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOK_S = 1.0
"""How old may be what is known of other gateways' kills."""


class Quarantine:
    """`kills` of one source, each within `period_s` of the last, shut it out for `period_s`.

    Where the folder cannot be used it is kept in memory, for this process alone.
    """

    def __init__(
        self,
        folder: str | Path,
        kills: int = 2,
        period_s: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if kills < 1 or period_s <= 0:
            raise ValueError("kills must be at least 1, period_s more than 0")
        self._kills = kills
        self._period_s = period_s
        self._clock = clock
        self._known: dict[str, tuple[int, float]] = {}
        self._look_at = -float("inf")
        self._folder: Path | None = None
        try:
            self._folder = open_node_dir(open_node_dir(folder) / "quarantine")
        except OSError as error:
            logger.warning("quarantine is not shared with other gateways: %s", error)

    def note_kill(self, digest: str) -> None:
        """Remember that a process died of the source with this SHA-256 (64 hexadecimal digits).

        Raises:
            ValueError: it is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError("A digest is 64 hexadecimal digits in lower case.")
        now = self._clock()
        self._look(now)
        before, _ = self._known.get(digest, (0, now))
        self._known[digest] = (before + 1, now)
        if self._folder is None:
            return
        try:
            # Appending one byte is atomic; what is over begins anew.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            path = self._folder / digest
            file = os.open(path, flags if before else flags | os.O_TRUNC, 0o600)
            try:
                os.write(file, b"x")
            finally:
                os.close(file)
            os.utime(path, (now, now))
        except OSError as error:
            logger.warning("a kill is not known to other gateways: %s", error)

    def clear(self, digest: str) -> None:
        """Forget the kills of a source that has turned out well: it was there by chance."""
        self._known.pop(digest, None)
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / digest).unlink()

    def is_quarantined(self, digest: str) -> bool:
        """Whether not to try it; what another gateway saw in the last second may be missing."""
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        found = self._known.get(digest)
        return found is not None and found[0] >= self._kills and now - found[1] < self._period_s

    def _look(self, now: float) -> None:
        self._look_at = now + _LOOK_S
        oldest = now - self._period_s
        if self._folder is None:
            self._known = {key: seen for key, seen in self._known.items() if seen[1] > oldest}
            return
        known: dict[str, tuple[int, float]] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_mtime > oldest:
                        known[entry.name] = (found.st_size, found.st_mtime)
                    else:
                        os.unlink(entry.path)
        except OSError as error:  # another gateway was quicker, or the folder is gone
            logger.debug("looking through the quarantine: %s", error)
            known = self._known | known
        self._known = known
