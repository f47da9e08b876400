"""What the HTTP face can be set to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Bounds and headers of the HTTP answers."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Largest request body; more is answered 413."""
    max_variants: int = 64
    """Most renditions of one `POST /api/variants`."""
    body_timeout_s: float = 30.0
    """How long a client may take to send its body; longer is answered 408."""
    cache_control: str = "public, max-age=86400"
    """`Cache-Control` of a served rendition."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_variants", "body_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
