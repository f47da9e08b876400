"""What the client can take, from its `Accept` header (RFC 9110 §12.5.1)."""

from functools import lru_cache

from starlette.requests import Request

from omnishot_ray.imaging.formats import Format


def list_header(request: Request, name: str) -> str:
    """A list header, all of its lines as one (RFC 9110 §5.3)."""
    return ", ".join(request.headers.getlist(name))


@lru_cache(maxsize=512)
def accepted_formats(accept: str) -> tuple[Format, ...]:
    """AVIF and WebP where they are named with a positive q, the best liked first.

    A bare `*/*` or `image/*` names neither: it is what clients send that cannot show them.
    """
    qualities = parse_accept(accept)
    named = [
        format for format in (Format.AVIF, Format.WEBP) if qualities.get(format.mime, 0.0) > 0.0
    ]
    return tuple(sorted(named, key=lambda format: -qualities[format.mime]))


@lru_cache(maxsize=512)
def choose_container(accept: str, offered: tuple[str, ...]) -> str:
    """The offered media type that the client likes best; the first one where it does not care."""
    qualities = parse_accept(accept)

    def quality(media_type: str) -> float:
        wildcard = media_type.split("/")[0] + "/*"
        for pattern in (media_type, wildcard, "*/*"):
            if pattern in qualities:
                return qualities[pattern]
        return 0.0

    return max(offered, key=quality)


def parse_accept(accept: str) -> dict[str, float]:
    """Media ranges and their q; a part that cannot be read counts as not said."""
    qualities: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if media_range:
            qualities[media_range] = quality
    return qualities
