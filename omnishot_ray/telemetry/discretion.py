"""What never gets into a log: keys, tokens, what is in pictures, names of people's files.

The call sites give no such thing; this is the net below them, for what libraries write into the
messages of their exceptions. It looks at finished text, so nothing is paid until a line is written.
"""

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "[hidden]"
_LONGEST = 2000
"""Characters of one text; an exception's message may hold a whole document."""
_SHORTEST_SECRET = 6

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # Bytes as Python writes them: headers of ASGI, a picture, a body.
        (r"\bb(?:'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?)", "[bytes]"),
        # What base64 makes of a picture.
        (r"[A-Za-z0-9+/_-]{200,}={0,2}", "[bytes]"),
        (r"\b(bearer|basic|digest)\s+[^\s\"',;)]+", rf"\1 {HIDDEN}"),
        (
            r"((?:authorization|cookie|x-api-key|api[_-]?keys?|token|secret|password|signature)"
            r"[\"']?\s*[:=]\s*[\"']?)(?!(?:bearer|basic|digest)\b)[^\s\"',;&)\]}]+",
            rf"\1{HIDDEN}",
        ),
        # Of an address the scheme and the host: the rest may name a person or let somebody in.
        (
            r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@\"']*@)?([^\s/?#\"'<>]*)[/?#][^\s\"'<>]*",
            r"\1\2/…",
        ),
        (r"\b([a-z][a-z0-9+.-]*://)[^\s/@\"']*@", r"\1"),
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", HIDDEN),
        (r"(?<=[\w/])\?[\w.~%+\[\]-]+=[^\s\"']*", "?…"),
        # Files: in quotation marks they may hold blanks. Routes of the service stay.
        (r"(['\"])(?:~?/(?!api/|problems/|/)|[a-z]:\\)[^'\"]+\1", r"\1[path]\1"),
        (
            r"(?<![\w/:.…\]])~?/(?!api/|problems/|/)[^\s/\"',:;)\]]+/[^\s\"',:;)\]]*",
            "[path]",
        ),
        (r"\b[a-z]:\\[^\s\"',;)]+", "[path]"),
        # Addresses of people: the network is enough to act upon.
        (r"\b(?!127\.)(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}\b", r"\1.x"),
        (r"\b((?:[0-9a-f]{1,4}:){3})(?:[0-9a-f]{0,4}:){1,4}[0-9a-f]{0,4}(?![\w:])", r"\1…"),
    )
)


class Discretion:
    """Takes out what nobody should read; `secrets` are known ones, such as the API keys."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len)
        self._secrets = known[::-1]  # one may be the beginning of another

    def conceal(self, text: str) -> str:
        """The text without what the rules find, and not longer than anybody reads."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        # Cut before the rules look: they take time for each character.
        if len(text) > 4 * _LONGEST:
            text = text[: 4 * _LONGEST]
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"

    def value(self, value: Any) -> Any:
        """A value beside the message: numbers as they are, everything else as concealed text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(one) for one in list(value)[:20]]
        return self.conceal(str(value))
