"""What is noted of a request on its way, for the sample that is taken when it is answered.

Whoever learns something says it here; where nobody takes samples, saying it does nothing. The notes
go with the request's context, so nothing has to be handed through.
"""

from contextvars import ContextVar


class Notes:
    """Of one request. The names are those of `RequestSample`."""

    __slots__ = (
        "bytes_in",
        "bytes_saved",
        "cache",
        "decode_ms",
        "encode_ms",
        "error",
        "format",
        "lane",
        "pixels",
        "queue_ms",
        "renditions",
        "source_format",
        "transform_ms",
    )

    def __init__(self) -> None:
        self.error = self.lane = self.cache = self.source_format = self.format = ""
        self.renditions = self.pixels = self.bytes_in = self.bytes_saved = 0
        self.queue_ms = self.decode_ms = self.transform_ms = self.encode_ms = 0.0


_current: ContextVar[Notes | None] = ContextVar("notes", default=None)


def begin() -> Notes:
    """New notes for the request of this context."""
    notes = Notes()
    _current.set(notes)
    return notes


def current() -> Notes | None:
    """The notes of this context's request; None where no samples are taken."""
    return _current.get()


def note_lane(lane: str) -> None:
    """The work is done in this lane."""
    notes = _current.get()
    if notes is not None:
        notes.lane = lane


def note_error(code: str) -> None:
    """The request is answered with this problem."""
    notes = _current.get()
    if notes is not None:
        notes.error = code
