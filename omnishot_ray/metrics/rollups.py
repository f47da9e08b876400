"""Cells of one table over time, in steps of a second, ten, a minute and an hour."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from omnishot_ray.metrics.cells import Cells, merge

_FRESH, _SETTLED = 32, 16
"""How many parts a block holds before they are put together. In two stages, so that what has been
put together is not gone through for every addition; and it never is for a question."""


@dataclass(slots=True)
class _Block:
    """Some steps of a level: what has been put together, and what has come since."""

    settled: list[Cells] = field(default_factory=list)
    fresh: list[Cells] = field(default_factory=list)

    def add(self, cells: Cells, step_s: int) -> None:
        self.fresh.append(cells)
        if len(self.fresh) >= _FRESH:
            self.read(step_s)

    def read(self, step_s: int) -> list[Cells]:
        if self.fresh:
            self.settled.append(merge(self.fresh, step_s))
            self.fresh = []
            if len(self.settled) >= _SETTLED:
                self.settled = [merge(self.settled, step_s)]
        return self.settled

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (*self.settled, *self.fresh))


class Level:
    """All cells of one step, in blocks by time so that the oldest can go."""

    def __init__(self, step_s: int, block_s: int, keep_s: float) -> None:
        self.step_s = step_s
        self._block_s = block_s
        self._keep_s = keep_s
        self._blocks: dict[int, _Block] = {}
        self.complete_from = 0
        """Before this second rows may be missing."""

    def add(self, cells: Cells) -> None:
        """Cells of this step or of a shorter one."""
        numbers = cells.at // self._block_s
        for number in np.unique(numbers).tolist():
            begins = number * self._block_s
            within = cells.between(begins, begins + self._block_s)
            self._blocks.setdefault(number, _Block()).add(within, self.step_s)

    def read(self, since_s: int, until_s: int) -> Iterator[Cells]:
        """Cells that begin within these seconds."""
        for number in sorted(self._blocks):
            if (number + 1) * self._block_s > since_s and number * self._block_s < until_s:
                for part in self._blocks[number].read(self.step_s):
                    cells = part.between(since_s, until_s)
                    if len(cells):
                        yield cells

    def forget_old(self, now_s: float) -> None:
        """Blocks whose time is over."""
        for number in [n for n in self._blocks if (n + 1) * self._block_s < now_s - self._keep_s]:
            self._drop(number)

    def forget_oldest(self) -> bool:
        """Its oldest block, unless it is the only one."""
        if len(self._blocks) < 2:
            return False
        self._drop(min(self._blocks))
        return True

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return sum(block.nbytes for block in self._blocks.values())

    def _drop(self, number: int) -> None:
        del self._blocks[number]
        self.complete_from = max(self.complete_from, (number + 1) * self._block_s)


class Rollups:
    """All levels of one table."""

    def __init__(self, keep_s: float) -> None:
        self.levels = (
            Level(1, 60, 900.0),
            Level(10, 600, 3 * 3600.0),
            Level(60, 3600, 26 * 3600.0),
            Level(3600, 86_400, keep_s),
        )

    def add(self, cells: Cells) -> None:
        """Take in cells of a second each."""
        for level in self.levels:
            level.add(cells)

    def restore(self, cells: Cells) -> None:
        """Take in cells of a minute each; the shorter steps are not had of them."""
        for level in self.levels[2:]:
            level.add(cells)
        for level in self.levels[:2]:
            level.complete_from = max(level.complete_from, int(cells.at[-1]) + 60)

    def read(self, since_s: float, until_s: float, step_s: int | None) -> Iterator[Cells]:
        """Cells that cover the time: long steps within, short ones at its ends.

        Where short steps are not kept any more, the ends are rounded outwards to longer ones.
        No cell reaches over a multiple of `step_s`.
        """
        usable = [lv for lv in self.levels if step_s is None or step_s % lv.step_s == 0]
        yield from _cover(usable, int(np.floor(since_s)), int(np.ceil(until_s)))

    def minutes(self, since_s: int, until_s: int) -> Iterator[Cells]:
        """Cells of a minute each that begin within these seconds."""
        yield from self.levels[2].read(since_s, until_s)

    def forget_old(self, now_s: float) -> None:
        """What no level keeps so long."""
        for level in self.levels:
            level.forget_old(now_s)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return sum(level.nbytes for level in self.levels)


def _cover(levels: list[Level], since_s: int, until_s: int) -> Iterator[Cells]:
    if since_s >= until_s:
        return
    *finer, level = levels
    step = level.step_s
    first, last = -(-since_s // step) * step, until_s // step * step
    # Without a finer level that reaches back so far, whole steps have to do.
    if not finer or finer[-1].complete_from > since_s:
        first = since_s // step * step
    if not finer or finer[-1].complete_from > last:
        last = -(-until_s // step) * step
    if first >= last:
        yield from _cover(finer, since_s, until_s)
        return
    yield from _cover(finer, since_s, min(first, until_s))
    yield from level.read(first, last)
    yield from _cover(finer, max(last, since_s), until_s)
