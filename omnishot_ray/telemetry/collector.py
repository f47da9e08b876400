"""The lines of all processes of a node on the terminal of the one command that started them."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def collect_lines(descriptor: int) -> Iterator[str]:
    """A named pipe for `logs.file`; what is written into it appears on `descriptor`."""
    with tempfile.TemporaryDirectory(prefix="omnishot-logs-") as folder:
        path = Path(folder, "lines")
        os.mkfifo(path, 0o600)
        # Open for writing too: without writers a pipe would be at its end.
        pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        copying = threading.Thread(target=_copy, args=(pipe, descriptor), daemon=True)
        copying.start()
        try:
            yield str(path)
        finally:
            os.write(pipe, _END)
            copying.join(timeout=5)
            os.close(pipe)


_END = b"\0"


def _copy(pipe: int, descriptor: int) -> None:
    while True:
        lines = os.read(pipe, 65536)
        if text := lines.replace(_END, b""):
            try:
                os.write(descriptor, text)
            except OSError:  # a terminal that is gone; the pipe still has to be emptied
                continue
        if _END in lines:
            return
