"""The Resizer: one process, one core, one thread of pixels."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import AnyOutcome, AnyTask, run_task


class Resizer:
    """Works off batches. The event loop stays free to take the next batch and answer pings."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def process(self, batch: Sequence[AnyTask]) -> list[AnyOutcome]:
        """Outcomes in the order of the batch; a failure is a value and harms no other task."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, batch)

    async def ping(self) -> str:
        """Answer `ok`."""
        return "ok"

    def _run(self, batch: Sequence[AnyTask]) -> list[AnyOutcome]:
        return [run_task(task, self._limits) for task in batch]
