"""API keys: which of them a request carries."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

Headers = Iterable[tuple[bytes, bytes]]


class Keyring:
    """The keys that are accepted, by their digests: the keys themselves are not kept."""

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        self._digests = tuple((name, sha256(key.encode()).digest()) for name, key in keys)

    def name_of(self, given: bytes) -> str | None:
        """The name of a key, None when it is not one of ours.

        Takes the same time whichever key it is and however much of one is right: digests are of
        one length, `compare_digest` does not stop early, and neither does the loop.
        """
        digest = sha256(given).digest()
        found = None
        for name, known in self._digests:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def sent_key(headers: Headers) -> bytes | None:
    """The key in `X-API-Key` or `Authorization: Bearer …` (RFC 6750 §2.1), None without one."""
    bearer = None
    for name, value in headers:
        if name == b"x-api-key" and value.strip():
            return value.strip()
        if name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and token.strip():
                bearer = token.strip()
    return bearer
