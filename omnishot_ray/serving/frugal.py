"""pandas kept out of processes that have no use for it.

Ray Data brings it, and whoever finds it imports it: Ray Serve when it is imported, pyarrow when
it makes its first array. That is 35 MB and half a second in each of a service's processes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _NoPandas:
    """Looks for modules before all others. (None in `sys.modules` is a module to compiled code.)"""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is kept out", name=name)


@contextmanager
def pandas_hidden() -> Iterator[None]:
    """What is imported within finds no pandas; afterwards it is there again for who asks for it."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def spare_arrow_pandas() -> None:
    """Let pyarrow, which looks once, find no pandas: its tables cannot become frames here."""
    with pandas_hidden():
        import pyarrow as pa  # noqa: PLC0415  # 7 MB, only for who has tables

        pa.array([0])
