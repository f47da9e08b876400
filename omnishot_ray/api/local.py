"""An `Optimizer` without Ray: one thread of this process, for tests and for the command line."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import Made, Task, run_task


class LocalOptimizer:
    """Runs one task after the other in a thread of its own."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
        """Do the work, after what was asked before it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, run_task, task, self._limits)

    highest_effort = None

    async def optimize_now(self, task: Task[Made], is_new: bool) -> Made | OmnishotError | None:
        """Nothing: all work is the thread's."""
        del task, is_new
        return None

    async def check_ready(self) -> dict[str, str]:
        """A thread is always ready."""
        return {"engine": "ok"}
