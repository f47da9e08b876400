"""A stage for pipelines of one's own: pictures in, renditions out, a row for each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnishot_ray.batch.engine import Engine
from omnishot_ray.batch.job import read_renditions
from omnishot_ray.batch.spans import Fault
from omnishot_ray.errors import InvalidParameters, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import FailedRendition, Result
from omnishot_ray.protocol import ImageTask, Outcome, run_task

Batch = Mapping[str, NDArray[Any]]

_MADE: dict[str, Any] = {
    "rendition": "",
    "status": "ok",
    "error": "",
    "detail": "",
    "rendition_bytes": b"",
    "format": "",
    "width": 0,
    "height": 0,
}
_NO_DATA = Fault("no-data", "The row holds no picture.")


class Renditions:
    """Callable for `Dataset.map_batches`, and for plain loops.

    A batch is a mapping of column names to arrays, one of which holds the bytes of pictures. The
    answer has a row for each picture and rendition: the other columns repeated, and `rendition`,
    `status` (`ok` or `failed`), `error`, `detail`, `rendition_bytes`, `format`, `width`, `height`.
    A picture that fails is one row and harms none beside it; one that ends or hangs its process
    does so in a process of its own.

        dataset.map_batches(
            Renditions,
            fn_constructor_kwargs={"platforms": ["open-graph"]},
            batch_size=16,
            concurrency=2,
        )
    """

    def __init__(
        self,
        platforms: Sequence[str] = (),
        *,
        group: str | None = None,
        variants: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        column: str = "bytes",
        limits: Limits | None = None,
        time_limit_s: float = 60.0,
        isolate: bool = True,
    ) -> None:
        """`isolate=False` works in the calling process: no time limit, and a crash is a crash.

        Raises `InvalidParameters` or `ContradictoryOptions`.
        """
        self._wanted = read_renditions(platforms, group, variants, options)
        if not self._wanted:
            raise InvalidParameters("name platforms, a group, variants or options")
        self._column = column
        self._limits = limits or Limits()
        self._engine: Engine[int] | None = (
            Engine(self._wanted, self._limits, time_limit_s) if isolate else None
        )

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """All renditions of a batch. Raises `KeyError` where the column is missing."""
        pictures = batch[self._column]
        others = [name for name in batch if name != self._column]
        kept: list[int] = []
        made: dict[str, list[Any]] = {name: [] for name in _MADE}
        for index, outcome in self._outcomes(pictures):
            for row in _rows(outcome):
                kept.append(index)
                for name, value in row.items():
                    made[name].append(value)
        repeated = {name: np.asarray(batch[name])[kept] for name in others}
        return {**repeated, **made}

    def close(self) -> None:
        """End the engine's process."""
        if self._engine:
            self._engine.close()

    def _outcomes(self, pictures: NDArray[Any]) -> Iterator[tuple[int, Outcome | Fault]]:
        files = ((index, _bytes_of(value)) for index, value in enumerate(pictures))
        if self._engine is None:
            for index, data in files:
                if data is None:
                    yield index, _NO_DATA
                else:
                    yield index, run_task(ImageTask(data, self._wanted, "stage"), self._limits)
            return
        for index, answer in self._engine.answers(files):
            outcome = answer.outcome if answer else _NO_DATA
            assert not isinstance(outcome, OSError)  # only files have those
            yield index, outcome


def _bytes_of(value: Any) -> bytes | None:
    try:
        return bytes(memoryview(value))
    except TypeError:  # a null, a text
        return None


def _rows(outcome: Outcome | Fault) -> Iterator[dict[str, Any]]:
    if not isinstance(outcome, Result):
        yield {**_MADE, **_failure(outcome)}
        return
    for made in outcome.renditions:
        if isinstance(made, FailedRendition):
            yield {**_MADE, "rendition": made.name, **_failure(made.error)}
            continue
        yield {
            **_MADE,
            "rendition": made.name,
            "rendition_bytes": made.data,
            "format": made.format.value,
            "width": made.width,
            "height": made.height,
        }


def _failure(error: OmnishotError | Fault) -> dict[str, Any]:
    detail = error.detail if isinstance(error, Fault) else str(error)
    return {"status": "failed", "error": error.code, "detail": detail}
