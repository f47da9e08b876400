"""Every failure that has a name, as one tree.

    OmnishotError
    ├── RequestError                what was asked cannot be read or done
    │   ├── InvalidParameters       a name, type or range is wrong
    │   ├── ContradictoryOptions    each option is right, together they are not
    │   ├── MissingImage            the request carries no picture
    │   ├── UnsupportedBody         the body is not of a kind that carries a picture
    │   ├── BodyTooLarge            more bytes than are accepted
    │   ├── RequestTimeout          the client was too slow to send
    │   ├── KeyMissing              an API key is wanted, none was sent
    │   ├── KeyRefused              the API key that was sent is not one of ours
    │   ├── OriginRefused           a web page of another origin asks what it may not
    │   ├── AddressRefused          the address is not one that may be read from or written to
    │   ├── SourceTooLarge          what is at the address has more bytes than are accepted
    │   ├── JobUnknown              there is no such job, batch or result
    │   ├── JobConflict             where the job stands, that cannot be done with it
    │   ├── KeyInFlight             a request with this key and another payload is at work
    │   └── KeyMismatch             this key came with another payload before
    ├── ImageError                  the picture itself is the trouble
    │   ├── UnsupportedFormat       not one of the allowed formats, told from its bytes
    │   ├── CorruptImage            right format, cannot be decoded
    │   ├── LimitExceeded           decoding or writing it would cost too much
    │   ├── Quarantined             it has ended the processes that worked on it
    │   └── AllVariantsFailed       not one of the asked renditions could be made
    ├── CapacityError               nothing is wrong with the request: try again
    │   ├── Overloaded              the queue is full
    │   ├── RateLimited             this caller has asked too often
    │   ├── TaskTimeout             the time limit passed
    │   └── EngineUnavailable       no replica could finish the work
    ├── UpstreamError               another server or a store is the trouble
    │   ├── UpstreamRefused         it answered, and will answer the same again
    │   ├── UpstreamFailed          it could not be reached, or failed
    │   ├── UpstreamTimeout         it took too long
    │   ├── UpstreamResting         it failed often lately and is left alone for a while
    │   ├── NotStored               nothing is stored under that name (any more)
    │   └── StorageUnavailable      the store cannot be reached, or is full
    ├── InternalError               a fault of ours
    └── ConfigError                 a setting is wrong (start-up only)

`code` is stable and public, `detail` is written for the person who sent the request: what was
wrong and what would be right, never a path or a trace. Arguments stay positional, because an
exception with required keyword-only arguments does not survive pickling between processes.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request: its name and what would be right."""

    name: str
    detail: str


class OmnishotError(Exception):
    """Base of every named failure."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail, fields)
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        return self.detail

    def stripped(self) -> "OmnishotError":
        """The same without traceback and causes: their frames hold the pixels."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class RequestError(OmnishotError):
    """What was asked cannot be read or done."""


class InvalidParameters(RequestError):
    """A parameter's name, type or range is wrong; `fields` names each."""

    code = "invalid-parameters"
    title = "Parameters cannot be read"


class ContradictoryOptions(RequestError):
    """Options that are right alone exclude each other."""

    code = "contradictory-options"
    title = "Options contradict each other"


class MissingImage(RequestError):
    """The request carries no picture."""

    code = "missing-image"
    title = "No image in the request"


class UnsupportedBody(RequestError):
    """The declared content type is not one that carries a picture."""

    code = "unsupported-body"
    title = "Body of an unsupported type"


class BodyTooLarge(RequestError):
    """The body is larger than is accepted."""

    code = "body-too-large"
    title = "Body too large"


class RequestTimeout(RequestError):
    """The client took too long to send its request."""

    code = "request-timeout"
    title = "Request came too slowly"
    retryable = True


class KeyMissing(RequestError):
    """An API key is wanted, and none was sent."""

    code = "key-missing"
    title = "API key missing"


class KeyRefused(RequestError):
    """The API key that was sent is not one of those that are accepted."""

    code = "key-refused"
    title = "API key not accepted"


class OriginRefused(RequestError):
    """A web page asks across origins for what it may not (CORS)."""

    code = "origin-refused"
    title = "Not allowed from this origin"


class AddressRefused(RequestError):
    """The address is not one that may be read from or written to."""

    code = "address-refused"
    title = "Address not allowed"


class SourceTooLarge(RequestError):
    """What is at the address has more bytes than are accepted."""

    code = "source-too-large"
    title = "Source too large"


class JobUnknown(RequestError):
    """There is no such job, batch or result, or not any more."""

    code = "job-unknown"
    title = "No such job"


class JobConflict(RequestError):
    """That cannot be done with a job that stands where this one does."""

    code = "job-conflict"
    title = "Not possible with this job"


class KeyInFlight(RequestError):
    """A request with the same Idempotency-Key and another payload is being worked on."""

    code = "idempotency-key-in-flight"
    title = "Idempotency-Key in use"


class KeyMismatch(RequestError):
    """The Idempotency-Key came with another payload before."""

    code = "idempotency-key-mismatch"
    title = "Idempotency-Key used before"


class ImageError(OmnishotError):
    """The picture itself is the trouble."""


class UnsupportedFormat(ImageError):
    """The bytes are not of an allowed image format."""

    code = "unsupported-format"
    title = "Not an accepted image format"


class CorruptImage(ImageError):
    """The bytes claim an allowed format but cannot be decoded."""

    code = "corrupt-image"
    title = "Image cannot be decoded"


class LimitExceeded(ImageError):
    """The picture, or what was asked of it, is over a limit."""

    code = "limit-exceeded"
    title = "Image over a limit"


class Quarantined(ImageError):
    """The picture has ended the processes that worked on it and is turned away for a while."""

    code = "quarantined"
    title = "Image turned away"


class AllVariantsFailed(ImageError):
    """Not one of the renditions asked for could be made."""

    code = "all-variants-failed"
    title = "No variant could be made"


class CapacityError(OmnishotError):
    """The request is fine; the service cannot do it now."""

    retryable = True


class Overloaded(CapacityError):
    """The queue is full; `retry_after_s` is when it should have drained."""

    code = "overloaded"
    title = "Too much work waiting"

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.args = (detail, retry_after_s)
        self.retry_after_s = retry_after_s


class RateLimited(CapacityError):
    """The caller is over its rate limit; `retry_after_s` is when the next request is let in."""

    code = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.args = (detail, retry_after_s)
        self.retry_after_s = retry_after_s


class TaskTimeout(CapacityError):
    """The time limit of a request passed."""

    code = "timeout"
    title = "Time limit passed"


class EngineUnavailable(CapacityError):
    """No replica could finish the work."""

    code = "engine-unavailable"
    title = "No engine available"


class UpstreamError(OmnishotError):
    """Another server or a store is the trouble."""


class UpstreamRefused(UpstreamError):
    """The other server answered with a refusal, and would again."""

    code = "upstream-refused"
    title = "Source refused"


class UpstreamFailed(UpstreamError):
    """The other server could not be reached, or failed."""

    code = "upstream-failed"
    title = "Source failed"
    retryable = True


class UpstreamTimeout(UpstreamError):
    """The other server took too long."""

    code = "upstream-timeout"
    title = "Source took too long"
    retryable = True


class UpstreamResting(UpstreamError):
    """The other server failed often lately; `retry_after_s` is when it is tried again."""

    code = "upstream-resting"
    title = "Source left alone for a while"
    retryable = True

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.args = (detail, retry_after_s)
        self.retry_after_s = retry_after_s


class NotStored(UpstreamError):
    """Nothing is stored under that name, or not any more."""

    code = "not-stored"
    title = "Nothing stored there"


class StorageUnavailable(UpstreamError):
    """The store cannot be reached or is full; `retry_after_s` is when to try again."""

    code = "storage-unavailable"
    title = "Storage not available"
    retryable = True

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.args = (detail, retry_after_s)
        self.retry_after_s = retry_after_s


class InternalError(OmnishotError):
    """A fault of ours, logged with the request id."""

    code = "internal"
    title = "Internal error"
    retryable = True


class ConfigError(OmnishotError):
    """A setting is unknown or wrong; said at start-up, before anything is served."""

    code = "config"
    title = "Wrong configuration"
