"""For whom this thread or coroutine works at the moment: the request id of whatever is logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


@contextmanager
def work_for(request_id: str) -> Iterator[None]:
    """All that is logged within is for this request; a job gives the id that it was made with."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)
