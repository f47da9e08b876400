"""What came back: one line for each answer, as the processes of visitors write it."""

from dataclasses import dataclass
from typing import Any

from omnishot_ray.load import checks


@dataclass(frozen=True, slots=True)
class Answer:
    """One request that has come to its end. `at_s` is Unix time then; `problem` is empty or says
    what was wrong with the answer; `queue_ms` and `cache` are what the service said of it.
    """

    at_s: float
    kind: str
    ms: float
    problem: str = checks.RIGHT
    queue_ms: float = 0.0
    cache: str = ""
    bytes: int = 0

    @property
    def is_right(self) -> bool:
        """Whether it was what was asked for."""
        return self.problem == checks.RIGHT

    @property
    def is_shed(self) -> bool:
        """Whether the service had too much to do."""
        return self.problem == checks.SHED

    def as_row(self) -> list[Any]:
        """For JSON."""
        return [
            round(self.at_s, 3),
            self.kind,
            round(self.ms, 3),
            self.problem,
            self.queue_ms,
            self.cache,
            self.bytes,
        ]
