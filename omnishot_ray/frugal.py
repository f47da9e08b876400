"""Modules kept out of processes that have no use for them.

pandas comes with Ray Data, and whoever finds it imports it: Ray Serve when it is imported, pyarrow
when it makes its first array. That is 35 MB and half a second in each of a service's processes.
pybreaker imports a Redis client for a store of circuits that is not used here: 7 MB.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Hidden:
    """Looks for modules before all others. (None in `sys.modules` is a module to compiled code.)"""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is kept out", name=name)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """What is imported within finds none of these modules, unless they are there already.

    Afterwards they are there again for who asks for them.
    """
    finder = _Hidden(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def spare_arrow_pandas() -> None:
    """Let pyarrow, which looks once, find no pandas: its tables cannot become frames here."""
    with hidden("pandas"):
        import pyarrow as pa  # noqa: PLC0415  # 7 MB, only for who has tables

        pa.array([0])
