"""API keys: which of them a request carries."""

import binascii
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from hashlib import sha256

Headers = Iterable[tuple[bytes, bytes]]

SOCKET_PROTOCOL = "omnishot"
_KEY_PROTOCOL = "omnishot.key."


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


def offered_key(protocols: Iterable[str]) -> bytes | None:
    """The key among the subprotocols of a WebSocket, None without one.

    A browser can send no headers with a socket, so it offers `omnishot` and, as a second
    subprotocol, `omnishot.key.` and the key in base64url without padding, the way that Kubernetes
    takes its tokens (kubernetes/kubernetes, `authentication/request/websocket/protocol.go`).
    """
    for protocol in protocols:
        if protocol.startswith(_KEY_PROTOCOL):
            text = protocol.removeprefix(_KEY_PROTOCOL)
            try:
                return urlsafe_b64decode(text + "=" * (-len(text) % 4))
            except (binascii.Error, ValueError):
                return None
    return None
