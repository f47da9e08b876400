"""The folders that requests may name: an allowlist of roots, and paths under them."""

from urllib.parse import unquote, urlsplit

from omnishot_ray.errors import AddressRefused, FieldError, StorageUnavailable
from omnishot_ray.storage.folders import Folder, check_path, open_folder


class Roots:
    """Finds the root that a URI of a request is under."""

    def __init__(self, uris: tuple[str, ...], field: str) -> None:
        """`field` is what the requests call it; opens nothing. Raises `ValueError`."""
        self._field = field
        self._roots = [(_place(uri), open_folder(uri)) for uri in uris]

    def __bool__(self) -> bool:
        return bool(self._roots)

    def failing(self) -> list[str]:
        """The stores that cannot be written to, without paths; blocks."""
        failing: dict[str, None] = {}
        for (scheme, bucket, *_), folder in self._roots:
            try:
                folder.check()
            except (OSError, AddressRefused, StorageUnavailable):
                failing[f"{scheme}://{bucket}"] = None
        return list(failing)

    def find(self, uri: str) -> tuple[Folder, str]:
        """The folder and the path in it of a file.

        The path may be percent-encoded. A URI of a request has neither user nor query: which
        server is asked, and as whom, is the configuration's alone.

        Raises:
            AddressRefused: under no root, or not written plainly.
        """
        try:
            parts = urlsplit(uri)
            plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
        except ValueError:
            plain = ""
        if plain != uri or "@" in parts.netloc:
            raise self._refused("it has to be written plainly, scheme://bucket/folder/name")
        path = unquote(parts.path).removeprefix("/")
        try:
            check_path(path)
        except AddressRefused as refusal:
            raise self._refused(refusal.detail.removesuffix(".")) from None
        wanted = (parts.scheme, parts.netloc, *path.split("/"))
        for place, folder in self._roots:
            if wanted[: len(place)] == place and len(wanted) > len(place):
                return folder, "/".join(wanted[len(place) :])
        raise self._refused("it is under none of the folders that are allowed")

    def _refused(self, detail: str) -> AddressRefused:
        return AddressRefused(
            f"This address is not allowed: {detail}.", (FieldError(self._field, detail),)
        )


def _place(uri: str) -> tuple[str, ...]:
    """Scheme, bucket and the folders of a root."""
    parts = urlsplit(uri)
    bucket = parts.netloc.rpartition("@")[2]
    return (parts.scheme, bucket, *(part for part in unquote(parts.path).split("/") if part))
