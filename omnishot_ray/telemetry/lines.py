"""A record of the standard library's logging as one line: JSON for programs, text for people."""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from omnishot_ray.telemetry.context import REQUEST_ID
from omnishot_ray.telemetry.discretion import Discretion

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MOST_FRAMES = 12
_PLAIN = (int, float)


class Lines(logging.Formatter):
    """What both forms share: the fields of a line, in order, with nothing secret among them."""

    def __init__(self, process: str, discretion: Discretion) -> None:
        super().__init__()
        self._process = process
        self._discretion = discretion

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """`at`, `level`, `logger`, `process`, `message`, `request_id`, then what the call gave.

        Of an exception its type, its message and where it was; never the values of variables.
        """
        conceal = self._discretion.conceal
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k[0] != "_"}
        request_id = extra.pop("request_id", "")
        if not request_id and "request_ids" not in extra:
            request_id = REQUEST_ID.get()
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": conceal(self._message(record)),
        }
        if request_id:
            fields["request_id"] = conceal(str(request_id))
        for name, value in extra.items():
            fields[name] = self._discretion.value(value)
        if record.exc_info and record.exc_info[0]:
            kind, error, trace = record.exc_info
            fields["error"] = kind.__name__
            fields["error_message"] = conceal(str(error))
            fields["stack"] = [
                f"{_module_path(frame.filename)}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(trace)[-_MOST_FRAMES:]
            ]
        return fields

    def _message(self, record: logging.LogRecord) -> str:
        args = record.args
        if not args:
            return str(record.msg)
        # Judged before they are put in: bytes in a text can no longer be told from words.
        if isinstance(args, tuple):
            judged: Any = tuple(one if type(one) in _PLAIN else _brief(one) for one in args)
        else:
            judged = {name: _brief(one) for name, one in args.items()}
        try:
            return str(str(record.msg) % judged)
        except (TypeError, ValueError):
            return record.getMessage()


class JsonLines(Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        return orjson.dumps(self.fields(record), default=str).decode()


class TextLines(Lines):
    """The time of day, how bad, who, what, and the rest as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; an exception's places follow, indented, one a line."""
        fields = self.fields(record)
        stack = fields.pop("stack", ())
        at, level, logger, process, message = (
            fields.pop(name) for name in ("at", "level", "logger", "process", "message")
        )
        rest = "".join(f" {name}={value}" for name, value in fields.items())
        where = logger.removeprefix("omnishot_ray.")
        line = f"{at[11:23]} {level.upper():7} {process} {where}: {message}{rest}"
        return line + "".join(f"\n    {place}" for place in stack)


def _brief(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return value


def _module_path(filename: str) -> str:
    """Where in the code, without where the code is: from the package on."""
    for start in ("/site-packages/", "/lib/python3.11/"):
        if start in filename:
            return filename.rpartition(start)[2]
    _, name, rest = filename.rpartition("omnishot_ray/")
    return name + rest if name else filename.rpartition("/")[2]
