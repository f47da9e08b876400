"""Whether an answer is what was asked for."""

import base64
import io
import json
from collections.abc import Mapping

import pillow_avif  # noqa: F401
from PIL import Image

from omnishot_ray.imaging.formats import Format, sniff
from omnishot_ray.load.traffic import Ask, Expected

RIGHT = ""
SHED = "status 429"
"""The service says that there is too much: an answer, but not what was asked for."""
NO_ANSWER = "no answer"


def judge(ask: Ask, status: int, body: bytes, decode: bool = False) -> str:
    """What is wrong with an answer, in few words; `RIGHT` when nothing is.

    With `decode` all pixels of the pictures are read too.
    """
    if status == 0:
        return NO_ANSWER
    if status != 200:
        return f"status {status}"
    try:
        if not ask.is_json:
            return _judge_picture(body, ask.expected[0], decode)
        document = json.loads(body)
        if not ask.expected:
            return _judge_info(document, ask)
        return _judge_variants(document, ask, decode)
    except (ValueError, KeyError, TypeError):
        return "unreadable document"


def judge_job(ask: Ask, document: Mapping[str, object]) -> str:
    """The same of a job that has come to its end."""
    if document.get("status") != "completed":
        return f"job {document.get('status')}"
    variants = document.get("variants")
    if not isinstance(variants, list) or len(variants) != len(ask.expected):
        return "job without its variants"
    return RIGHT


def _judge_picture(data: bytes, expected: Expected, decode: bool) -> str:
    format = sniff(data)
    if format is None:
        return "not a picture"
    if expected.format not in ("auto", "source") and format != expected.format:
        return f"{format} and not {expected.format}"
    return _judge_pixels(data, format, expected, decode)


def _judge_pixels(data: bytes, format: Format, expected: Expected, decode: bool) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=[format.plugin]) as image:
            if image.size != (expected.width, expected.height):
                return "wrong size"
            if decode:
                image.load()
    except (OSError, ValueError, SyntaxError):
        return "cannot be decoded"
    return RIGHT


def _judge_info(document: Mapping[str, object], ask: Ask) -> str:
    size = document["width"], document["height"]
    return RIGHT if size == (ask.picture.width, ask.picture.height) else "wrong size"


def _judge_variants(document: Mapping[str, object], ask: Ask, decode: bool) -> str:
    listed = document["variants"]
    if not isinstance(listed, list):
        return "unreadable document"
    by_name = {one["name"]: one for one in listed}
    for expected in ask.expected:
        one = by_name.get(expected.name)
        if one is None or one["status"] != "ok":
            return "variant failed"
        if (one["width"], one["height"]) != (expected.width, expected.height):
            return "wrong size"
        if decode:
            problem = _judge_picture(base64.b64decode(one["data"]), expected, decode)
            if problem:
                return problem
    return RIGHT
