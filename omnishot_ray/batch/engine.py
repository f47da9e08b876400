"""The engine in a process of its own, so that no picture can take a worker along.

A thread cannot be stopped and a crash in native code cannot be caught. So a worker keeps one child,
hands it pictures through a pipe, the next while it still works on the one before, and ends it when
a picture takes too long. What ended the child is tried once more, alone in a fresh one. What a file
of this machine holds, the child reads for itself, and what is to become a file it writes: through
the pipe go places and sizes.
"""

import hashlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe
from time import monotonic, perf_counter
from typing import Any, Generic, TypeVar

from omnishot_ray.batch.spans import Fault, Span, SpanReader
from omnishot_ray.errors import EngineUnavailable, OmnishotError, TaskTimeout
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Rendition, Result
from omnishot_ray.protocol import ImageTask, Outcome, run_task

_AHEAD = 2
"""Pictures at the child: the one it works on, and the next."""
_START_LIMIT_S = 120.0
"""For a child to say that it is there: it imports the engine, on a machine that may be busy."""
_PR_SET_PDEATHSIG = 1

Tag = TypeVar("Tag")
Source = bytes | Span


@dataclass(frozen=True, slots=True)
class Laid:
    """A rendition that the child has put into a file, and what it put there."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a picture; of one that the child read, what it read as well."""

    outcome: Outcome | Fault | OSError
    """`OSError` where a rendition could not be written."""
    size: int = 0
    sha256: str = ""
    """Both of the source, of a span that could be read; else 0 and empty."""
    read_ms: float = 0.0
    laid: tuple[Laid | None, ...] = ()
    """A file for each rendition, whose `data` is then empty; none where no folder was named."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What the child is told of a picture. Bytes follow in a message of their own."""

    span: Span | None
    prefix: str
    """Of the files to write, which are numbered; empty to send the renditions back."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Tag]):
    """A picture that was handed over, or one without bytes that keeps its place."""

    tag: Tag
    source: Source | None
    prefix: str


class Engine(Generic[Tag]):
    """One child, started when it is first needed. Close it, or use it as a context."""

    def __init__(
        self,
        renditions: Sequence[Options],
        limits: Limits,
        time_limit_s: float,
        niceness: int = 0,
    ) -> None:
        self._first_words = pickle.dumps((tuple(renditions), limits, niceness))
        self._limit_s = time_limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._since = 0.0
        self._is_ready = False
        self._is_busy = False

    def __enter__(self) -> "Engine[Tag]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the child, where there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child, so that it imports while others do other things."""
        ours, theirs = Pipe()
        # `-c`, not `-m`: the package's own modules are imported once, under their names.
        command = "from omnishot_ray.batch.engine import work; import sys; work(int(sys.argv[1]))"
        self._child = subprocess.Popen(
            [sys.executable, "-c", command, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={
                **MALLOC,
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        theirs.close()
        self._pipe, self._is_ready = ours, False
        with suppress(OSError):
            ours.send_bytes(self._first_words)

    def close(self) -> None:
        """End the child."""
        if self._pipe:
            self._pipe.close()
        if self._child:
            self._child.kill()
            self._child.wait()
        self._pipe = self._child = None

    def answers(
        self, pictures: Iterable[tuple[Tag, Source | None]], folder: str = ""
    ) -> Iterator[tuple[Tag, Answer | None]]:
        """What becomes of each picture, in order; None for those that come without bytes.

        Renditions become files in `folder`, on this machine, where one is named; else they come
        with the answer. `EngineUnavailable` for a picture that ended two children, `TaskTimeout`
        for one that was over the time limit in both.
        """
        if self._is_busy:
            self.close()  # somebody went away in the middle: its answers are not ours
        waiting: deque[_Waiting[Tag]] = deque()
        self._is_busy = True
        for number, (tag, source) in enumerate(pictures):
            one = _Waiting(tag, source, f"{folder}/{number}-" if folder else "")
            self._hand_over(one, is_next=not _awaited(waiting))
            waiting.append(one)
            if _awaited(waiting) >= _AHEAD:
                yield from self._settle(waiting, until=_AHEAD - 1)
        yield from self._settle(waiting, until=0)
        self._is_busy = False

    def _settle(
        self, waiting: deque[_Waiting[Tag]], until: int
    ) -> Iterator[tuple[Tag, Answer | None]]:
        while waiting and (waiting[0].source is None or _awaited(waiting) > until):
            first = waiting[0]
            answer = None if first.source is None else self._answer(waiting)
            waiting.popleft()
            self._since = monotonic()
            yield first.tag, answer

    def _answer(self, waiting: deque[_Waiting[Tag]]) -> Answer:
        """Of the first that waits; one that ends its child is tried once more, alone."""
        answer = self._await()
        if not isinstance(answer, _Lost):
            return answer
        self.close()
        first, *others = waiting
        self._hand_over(first, is_next=True)
        answer = self._await()
        if isinstance(answer, _Lost):
            self.close()
        for later in others:
            self._hand_over(later, is_next=False)
        return Answer(answer.error) if isinstance(answer, _Lost) else answer

    def _hand_over(self, one: _Waiting[Tag], *, is_next: bool) -> None:
        source = one.source
        if source is None:
            return
        if self._pipe is None:
            self.start()
        if is_next:
            self._since = monotonic()
        assert self._pipe is not None
        span = source if isinstance(source, Span) else None
        with suppress(OSError):  # a child that is gone is seen when its answer is awaited
            self._pipe.send_bytes(pickle.dumps(_Order(span, one.prefix)))
            if not isinstance(source, Span):
                self._pipe.send_bytes(source)  # not pickled, which would copy them

    def _await(self) -> "Answer | _Lost":
        assert self._pipe is not None
        try:
            if not self._is_ready:
                self._wait_until_ready(self._pipe)
            if not self._pipe.poll(max(0.0, self._since + self._limit_s - monotonic())):
                detail = f"The picture took longer than {self._limit_s:g} s, twice."
                return _Lost(TaskTimeout(detail))
            answer: Answer = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            return _Lost(
                EngineUnavailable("The picture ended the process that worked on it, twice.")
            )
        return answer

    def _wait_until_ready(self, pipe: Connection) -> None:
        """Its time begins when it can begin. Raises `OSError` or `EOFError`."""
        if not pipe.poll(_START_LIMIT_S):
            raise TimeoutError("the engine's process does not start")
        pipe.recv_bytes()
        self._is_ready = True
        self._since = monotonic()


def _awaited(waiting: Iterable[_Waiting[Any]]) -> int:
    return sum(one.source is not None for one in waiting)


class _Lost:
    """The child is gone or has to go."""

    def __init__(self, error: OmnishotError) -> None:
        self.error = error


def work(handle: int) -> None:
    """The child's life: pictures in, outcomes out, until the pipe closes."""
    _end_with_parent()
    pipe = Connection(handle)
    renditions, limits, niceness = pickle.loads(pipe.recv_bytes())
    os.nice(niceness)
    pipe.send_bytes(b"ready")
    sources: queue.Queue[_Read | None] = queue.Queue(1)
    threading.Thread(target=_receive, args=(pipe, sources), daemon=True).start()
    while (read := sources.get()) is not None:
        data = read.data
        outcome = (
            data
            if isinstance(data, Fault)
            else run_task(ImageTask(data, renditions, "batch"), limits)
        )
        answer = Answer(outcome, read.size, read.sha256, read.ms)
        if read.prefix and isinstance(outcome, Result):
            answer = _lay_down(answer, outcome, read.prefix)
        try:
            pipe.send_bytes(pickle.dumps(answer, protocol=5))
        except OSError:
            return


@dataclass(frozen=True, slots=True)
class _Read:
    data: bytes | Fault
    prefix: str
    size: int = 0
    sha256: str = ""
    ms: float = 0.0


def _receive(pipe: Connection, sources: "queue.Queue[_Read | None]") -> None:
    """Takes or reads the next picture while the one before is worked on."""
    reader = SpanReader()
    try:
        with suppress(EOFError, OSError):
            while True:
                order: _Order = pickle.loads(pipe.recv_bytes())
                if order.span is None:
                    sources.put(_Read(pipe.recv_bytes(), order.prefix))
                else:
                    sources.put(_read(reader, order.span, order.prefix))
    finally:  # whatever ended it, nobody is to wait for the next
        sources.put(None)


def _read(reader: SpanReader, span: Span, prefix: str) -> _Read:
    began = perf_counter()
    data = reader.read(span)
    if isinstance(data, Fault):
        return _Read(data, prefix)
    digest = hashlib.sha256(data).hexdigest()
    return _Read(data, prefix, len(data), digest, (perf_counter() - began) * 1000.0)


def _lay_down(answer: Answer, result: Result, prefix: str) -> Answer:
    """Renditions put into files, over what an earlier try may have left there."""
    laid: list[Laid | None] = []
    renditions = list(result.renditions)
    for number, made in enumerate(result.renditions):
        if not isinstance(made, Rendition):
            laid.append(None)
            continue
        path = f"{prefix}{number}"
        try:
            with open(path, "wb") as file:
                file.write(made.data)
        except OSError as error:
            return replace(answer, outcome=error)
        laid.append(Laid(path, len(made.data), hashlib.sha256(made.data).hexdigest()))
        renditions[number] = replace(made, data=b"")
    outcome = replace(result, renditions=tuple(renditions))
    return replace(answer, outcome=outcome, laid=tuple(laid))


def _end_with_parent() -> None:
    """A killed worker leaves no child behind (prctl(2), Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - the child's alone

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
