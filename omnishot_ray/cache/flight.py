"""Identical work in flight is done once: callers of one process, and claims among processes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class _Flight(Generic[T]):
    """Work that somebody waits for."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: "asyncio.Task[T]") -> None:
        self.task = task
        self.waiting = 0


class Flights(Generic[T]):
    """One piece of work a key at a time. The first caller starts it, the rest wait for the same.

    The work belongs to nobody: whoever goes away leaves the others waiting, and when the last one
    is gone it is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def __contains__(self, key: str) -> bool:
        """Whether somebody waits for work under this key."""
        flight = self._flights.get(key)
        return flight is not None and flight.waiting > 0

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: str, work: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """What came of the work, and whether another caller had started it.

        What the work raises is raised in everybody who waits for it.
        """
        flight = self._flights.get(key)
        joined = flight is not None and flight.waiting > 0
        if flight is None or not joined:
            # Work that all have left may still be on its way out; two at a time is one too many.
            before = flight.task if flight else None
            flight = self._start(key, work, before)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task), joined
        except asyncio.CancelledError:
            here = asyncio.current_task()
            if flight.task.cancelled() and not (here and here.cancelling()):
                raise RuntimeError("The work was cancelled from inside.") from None
            raise
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                flight.task.cancel()

    def _start(
        self, key: str, work: Callable[[], Awaitable[T]], before: "asyncio.Task[T] | None"
    ) -> _Flight[T]:
        async def run() -> T:
            if before is not None:
                await asyncio.wait([before])
            return await work()

        flight = _Flight(asyncio.create_task(run()))
        self._flights[key] = flight

        def end(task: "asyncio.Task[T]") -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not task.cancelled():
                task.exception()  # seen, also when nobody is left to see it

        flight.task.add_done_callback(end)
        return flight


class Claim(Protocol):
    """The right to do a piece of work, or a place in the line of those who want its result."""

    @property
    def leads(self) -> bool:
        """Whether the work is this claim's to do."""
        ...

    @property
    def found(self) -> bool:
        """Whether the result lay there already: nobody is at it, and nobody need be."""
        ...

    async def wait(self, deadline: float) -> bytes | None:
        """What the leader published.

        None when there is nothing to wait for: the leader is gone and this claim `leads` now, or
        the `deadline` (of `time.monotonic`) passed.
        """
        ...

    async def publish(self, data: bytes, brief: bool = False) -> None:
        """Hand the leader's result to those who wait, and to who comes soon.

        `brief` is for what is good for seconds only, such as a failure.
        """
        ...

    async def release(self) -> None:
        """Let the next one in. Harmless when repeated."""
        ...


class Claims(Protocol):
    """Makes one process of many do a piece of work, while the others wait for it.

    A claim is an economy: where it cannot be had because of a fault, everybody leads.
    """

    async def claim(self, key: str) -> Claim:
        """Claim the work under a key, or a place in its line."""
        ...

    async def forget(self, prefix: str) -> None:
        """Results handed over lately, of all keys that begin so, are not to be used any more."""
        ...

    def news(self) -> Sequence[str]:
        """Beginnings of keys that others have had forgotten since this was asked last."""
        ...

    async def close(self) -> None:
        """Give up what is held."""
        ...


class _Unclaimed:
    leads = True
    found = False

    async def wait(self, deadline: float) -> bytes | None:  # noqa: ARG002
        return None

    async def publish(self, data: bytes, brief: bool = False) -> None:
        pass

    async def release(self) -> None:
        pass


UNCLAIMED = _Unclaimed()
"""The claim of who does not ask anybody."""


class NoClaims:
    """Everybody leads: one process, or nowhere to meet."""

    async def claim(self, key: str) -> Claim:  # noqa: ARG002
        """Yours."""
        return UNCLAIMED

    async def forget(self, prefix: str) -> None:
        """Nothing was handed over."""

    def news(self) -> Sequence[str]:
        """There are no others."""
        return ()

    async def close(self) -> None:
        """Nothing is held."""


class ChainedClaims:
    """Among the processes of a node first, then one of each node among the nodes."""

    def __init__(self, near: Claims, far: Claims) -> None:
        self._near = near
        self._far = far

    async def claim(self, key: str) -> Claim:
        """Leads when it leads on both floors."""
        near = await self._near.claim(key)
        try:
            far = await self._far.claim(key) if near.leads else None
        except BaseException:
            await near.release()
            raise
        return _ChainedClaim(key, near, far, self._far)

    async def forget(self, prefix: str) -> None:
        """On both floors."""
        await self._near.forget(prefix)
        await self._far.forget(prefix)

    def news(self) -> Sequence[str]:
        """Of both floors."""
        return (*self._near.news(), *self._far.news())

    async def close(self) -> None:
        """Both floors."""
        await self._near.close()
        await self._far.close()


class _ChainedClaim:
    def __init__(self, key: str, near: Claim, far: Claim | None, claims: Claims) -> None:
        self._key = key
        self._near = near
        self._far = far
        self._claims = claims

    @property
    def leads(self) -> bool:
        return self._near.leads and self._far is not None and self._far.leads

    @property
    def found(self) -> bool:
        return self._near.found or (self._far is not None and self._far.found)

    async def wait(self, deadline: float) -> bytes | None:
        if not self._near.leads:
            data = await self._near.wait(deadline)
            if data is not None or not self._near.leads:
                return data
        if self._far is None:
            self._far = await self._claims.claim(self._key)
        if self._far.leads:
            return None
        data = await self._far.wait(deadline)
        if data is not None:
            await self._near.publish(data, brief=True)  # it may be a failure
        return data

    async def publish(self, data: bytes, brief: bool = False) -> None:
        await self._near.publish(data, brief)
        if self._far is not None:
            await self._far.publish(data, brief)

    async def release(self) -> None:
        await self._near.release()
        if self._far is not None:
            await self._far.release()
