"""Tasks that do not end by themselves, for replicas of a process of their own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import Result, SourceInfo


@dataclass(frozen=True)
class TimedTask:
    """Takes so many seconds, with or without the interpreter lock."""

    seconds: float
    keeps_lock: bool = False
    data: bytes = b""
    digest: str = ""
    request_id: str = "a-request"
    priority: int = 5

    def estimate_ms(self, header: Header) -> float:
        return self.seconds * 1000

    def may_run_inline(self, header: Header) -> bool:
        return False

    def run(self, limits: Limits, header: Header | None = None) -> Result:
        if self.keeps_lock:
            sum(range(int(self.seconds * 1e9)))  # one call of C that never lets go
        else:
            time.sleep(self.seconds)
        return Result(SourceInfo(1, 1, Format.PNG, 1), ())

    def split(self, header: Header, parts: int) -> Sequence[Any]:
        return [self]

    def merge(self, parts: Sequence[Any]) -> Any:
        return parts[0]
