"""The parts of a form: multipart/form-data (RFC 7578) within the framing of RFC 2046 §5.1.1.

Starlette's parser takes a part for a file by its `filename`, which is optional, refuses a preamble,
and does not ask for the closing boundary, so that a form cut off lost its last parts unnoticed.
A body is bounded and wanted in memory as a whole, where a search for the boundary is all it takes.
"""

import re

from python_multipart.multipart import parse_options_header

from omnishot_ray.errors import InvalidParameters, MissingImage

_MOST_PARTS = 101
"""The picture and a hundred fields."""
_LONGEST_HEAD = 4096
_FOLD = re.compile(rb"\r\n[ \t]+")
# `parse_options_header` takes 11 ms for a head of 4 kB that is full of semicolons.
_PARAMETER = re.compile(rb';[ \t]*([^=;"\s]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_ESCAPED = re.compile(rb'\\(["\\])')


def read_form(data: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Name and content of each part, in their order.

    Raises:
        MissingImage: there are no bytes.
        InvalidParameters: it is no form, is cut off, or has too many parts.
    """
    _, said = parse_options_header(content_type)
    boundary = said.get(b"boundary")
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    if not data:
        raise MissingImage("The form is empty; send the picture as its part `file`.")
    delimiter = b"\r\n--" + boundary
    parts: list[tuple[str, bytes]] = []
    at = _after_preamble(data, b"--" + boundary)
    while not data.startswith(b"--", at):
        if len(parts) == _MOST_PARTS:
            raise _unreadable(f"it has more than {_MOST_PARTS} parts")
        line_ends = data.find(b"\r\n", at, at + _LONGEST_HEAD)
        if line_ends < 0 or data[at:line_ends].strip(b" \t"):
            raise _unreadable("a boundary is not the end of its line, or it is cut off")
        # The line's end is left in, so that a head of no lines is found, too.
        head_ends = data.find(b"\r\n\r\n", line_ends, line_ends + _LONGEST_HEAD)
        if head_ends < 0:
            raise _unreadable(f"the head of a part has no end within {_LONGEST_HEAD} bytes")
        ends = data.find(delimiter, head_ends + 2)
        if ends < 0:
            raise _unreadable("it is cut off before the closing boundary")
        parts.append((_name_of(data[line_ends:head_ends]), data[head_ends + 4 : ends]))
        at = ends + len(delimiter)
    return parts


def as_text(value: bytes) -> str:
    """A field as text: UTF-8, or what older clients send."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _after_preamble(data: bytes, dashes: bytes) -> int:
    """Where the first boundary ends; what is before it is to be ignored."""
    if data.startswith(dashes):
        return len(dashes)
    at = data.find(b"\n" + dashes)
    if at < 0:
        raise _unreadable("there is no boundary in it")
    return at + 1 + len(dashes)


def _name_of(head: bytes) -> str:
    for line in _FOLD.sub(b" ", head).split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            for name, quoted, bare in _PARAMETER.findall(value):
                if name.lower() == b"name":
                    return as_text(_ESCAPED.sub(rb"\1", quoted) or bare.strip())
    raise _unreadable("a part has no name in its Content-Disposition")


def _unreadable(why: str) -> InvalidParameters:
    return InvalidParameters(
        f"The form cannot be read: {why}. Send one part named `file` with the picture, options "
        "as further parts."
    )
