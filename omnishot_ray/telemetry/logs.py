"""The one place where logging is set up: each process of the service calls `configure_logs` once.

Call sites use `logging.getLogger(__name__)` and know nothing of form and destination.
"""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress

from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.discretion import Discretion
from omnishot_ray.telemetry.lines import JsonLines, TextLines

LOGGER = "omnishot_ray"
_STDERR = 2
_MOST_BYTES = 4096
"""PIPE_BUF of Linux (pipe(7)): so much is written into a pipe at once or not at all."""


def configure_logs(config: LogConfig, process: str, secrets: Iterable[str] = ()) -> None:
    """Let this process's lines go where the configuration says; a second call replaces the first.

    `process` names it in every line, `secrets` are never written. Raises nothing: where the file
    cannot be opened, lines go to standard error and say so.
    """
    logger = logging.getLogger(LOGGER)
    for handler in logger.handlers[:]:
        if isinstance(handler, Writer):
            logger.removeHandler(handler)
            handler.close()
    lines = TextLines if config.format == "text" else JsonLines
    writer = Writer(config.file)
    writer.setFormatter(lines(process, Discretion(secrets)))
    logger.addHandler(writer)
    logger.setLevel(config.level.upper())
    logger.propagate = False
    logging.raiseExceptions = False  # a line that cannot be written must not become another
    if writer.fault:
        logger.warning("lines go to standard error: %s", writer.fault)


class Writer(logging.Handler):
    """Appends whole lines to a descriptor and waits for nobody.

    A pipe that nobody empties loses lines, and the next one that gets through says how many; one
    whose reader is gone is given up for standard error.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.fault = ""
        self._lost = 0
        self._descriptor = _STDERR
        if file:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                self._descriptor = os.open(file, flags, 0o640)
            except OSError as error:
                self.fault = f"logs.file cannot be opened ({error.strerror})"

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(record).encode("utf-8", "replace")
        except Exception:  # what is logged must never harm who logs it
            line = b'{"level":"error","message":"a line could not be written"}'
        self._write(line)

    def _write(self, line: bytes) -> None:
        told = b""
        if self._lost:
            told = b'{"level":"warning","message":"lines lost: %d"}\n' % self._lost
        try:
            os.write(self._descriptor, told + line[: _MOST_BYTES - len(told) - 1] + b"\n")
            self._lost = 0
        except BlockingIOError:
            self._lost += 1
        except OSError:
            if self._descriptor != _STDERR:
                self.close()
                with suppress(OSError):
                    os.write(_STDERR, line + b"\n")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor != _STDERR:
            os.close(self._descriptor)
            self._descriptor = _STDERR
        super().close()
