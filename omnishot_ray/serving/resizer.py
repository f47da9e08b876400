"""The Resizer: one process, one core, one thread of pixels."""

import asyncio
import faulthandler
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from omnishot_ray.errors import TaskTimeout
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import AnyOutcome, AnyTask, run_task
from omnishot_ray.serving.load import GatewayLoad, LoadBook
from omnishot_ray.serving.parcels import Parcel, Undelivered
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import configure_logs

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 0.2
"""How long a replica that has to go lives on, so that its answer gets out."""

_UNWANTED_S = 2.0
"""How long work goes on that nobody waits for any more: a job that was cancelled, a gateway that
died. Most of it is done by then, and a new process takes longer to start."""

_BACKSTOP_S = 1.0
"""How long past a limit the event loop may take to act before the process is ended without it:
native code that keeps the interpreter lock stops the loop too."""


class Resizer:
    """Works off batches, one task at a time. The event loop stays free to take the next batch.

    A thread cannot be stopped, a process can: when a task is over its limit, the replica answers
    what it has and ends itself. Serve starts another in its place.
    """

    def __init__(
        self,
        limits: Limits,
        niceness: int = 0,
        watch: Callable[[], None] | None = None,
        logs: LogConfig | None = None,
    ) -> None:
        os.nice(niceness)
        if logs is not None:
            configure_logs(logs, f"resizer-{secrets.token_hex(4)}")
        if watch is not None:
            watch()  # tells the metrics hub from now on what this process takes
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._engine = asyncio.Lock()
        self._at_work: asyncio.Task[AnyOutcome | Undelivered | None] | None = None
        self._is_ending = False
        self._book = LoadBook()

    async def process(
        self, batch: Sequence[AnyTask | Parcel], time_limits_s: Sequence[float]
    ) -> list[AnyOutcome | Undelivered | None]:
        """Outcomes in the order of the batch; a failure is a value and harms no other task.

        `TaskTimeout` for the task that had to be stopped, None for those that another replica has
        to do, `Undelivered` for parcels that cannot be opened here.
        """
        outcomes: list[AnyOutcome | Undelivered | None] = []
        with self._book.batch(len(batch)):
            for item, limit_s in zip(batch, time_limits_s, strict=True):
                turn = asyncio.create_task(self._turn(item, limit_s))
                try:
                    outcomes.append(await asyncio.shield(turn))
                except asyncio.CancelledError:
                    self._abandon(turn)
                    raise
        return outcomes

    async def report(self, load: GatewayLoad) -> None:
        """Take note of what waits in a gateway."""
        self._book.note(load)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for the autoscaler."""
        return self._book.stats()

    async def ping(self) -> str:
        """Answer `ok`."""
        return "the replica is about to be replaced" if self._is_ending else "ok"

    async def _turn(
        self, item: AnyTask | Parcel, limit_s: float
    ) -> AnyOutcome | Undelivered | None:
        async with self._engine:
            task = await _unpacked(item)
            if task is None:
                return Undelivered()
            if self._is_ending:
                return None
            self._at_work = asyncio.current_task()
            return await self._work(task, limit_s)

    async def _work(self, task: AnyTask, limit_s: float) -> AnyOutcome:
        loop = asyncio.get_running_loop()
        # Runs in a thread of C that needs no interpreter lock, and ends the process.
        faulthandler.dump_traceback_later(limit_s + _BACKSTOP_S, exit=True, file=2)
        running = loop.run_in_executor(self._thread, run_task, task, self._limits)
        done, _ = await asyncio.wait((running,), timeout=limit_s)
        if done:
            faulthandler.cancel_dump_traceback_later()
            outcome: AnyOutcome = running.result()
            return outcome
        told = {"request_id": task.request_id}
        logger.error("work is over its %.1f s; this replica ends", limit_s, extra=told)
        self._end()
        return TaskTimeout("The work was stopped at its time limit.")

    def _abandon(self, turn: "asyncio.Task[AnyOutcome | Undelivered | None]") -> None:
        """Nobody waits for it. The thread cannot be stopped, and keeps the others waiting."""

        def check() -> None:
            if not turn.done():
                logger.warning("work that nobody waits for goes on; this replica ends")
                self._end()
                turn.cancel()  # so that those behind it are told

        if self._at_work is turn:
            asyncio.get_running_loop().call_later(_UNWANTED_S, check)
        else:
            turn.cancel()

    def _end(self) -> None:
        self._is_ending = True
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, os._exit, 1)


async def _unpacked(item: AnyTask | Parcel) -> AnyTask | None:
    return await asyncio.to_thread(item.open) if isinstance(item, Parcel) else item
