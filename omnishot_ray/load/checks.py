"""Whether an answer is what was asked for."""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import pillow_avif  # noqa: F401
from PIL import Image

from omnishot_ray.imaging.formats import Format, sniff
from omnishot_ray.imaging.header import read_header
from omnishot_ray.load.traffic import Ask, Expected

RIGHT = ""
SHED = "status 429"
"""The service says that there is too much: an answer, but not what was asked for."""
NO_ANSWER = "no answer"
BROKEN_OFF = "answer broken off"
UNREADABLE = "unreadable document"
_JOB_ENDS = ("failed", "dead", "cancelled")


def judge(ask: Ask, status: int, body: bytes, decode: bool = False) -> str:
    """What is wrong with an answer, in few words; `RIGHT` when nothing is.

    Of pictures format and size are read off their own bytes, with `decode` all pixels too.
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
        return _judge_variants(document["variants"], ask, decode)
    except Exception:  # a service that errs may send anything, and all of it is wrong
        return UNREADABLE


def judge_job(ask: Ask, document: Any) -> str:
    """The same of the document of a job that has come to its end."""
    try:
        if document["status"] != "completed":
            # What is no status would make a line of its own of each answer.
            known = document["status"] in _JOB_ENDS
            return f"job {document['status']}" if known else UNREADABLE
        entries = _by_name(document["variants"], ask)
        for expected in ask.expected:
            problem = _judge_entry(entries.get(expected.name), expected)
            if problem:
                return f"job, {problem}"
    except Exception:
        return UNREADABLE
    return RIGHT


def judge_result(expected: Expected, status: int, data: bytes) -> str:
    """The same of a job's result, with all of its pixels."""
    if status != 200:
        return f"job result {status}" if status else f"job result, {NO_ANSWER}"
    problem = _judge_picture(data, expected, decode=True)
    return f"job result, {problem}" if problem else RIGHT


def _judge_picture(data: bytes, expected: Expected, decode: bool) -> str:
    format = sniff(data)
    if format is None:
        return "not a picture"
    if not _is_wanted(format, expected):
        return f"{format} and not {expected.format}"
    try:
        return _judge_pixels(data, format, expected, decode)
    except Exception:  # pillow-avif has raised RuntimeError, Pillow errors of its own
        return "cannot be decoded"


def _judge_pixels(data: bytes, format: Format, expected: Expected, decode: bool) -> str:
    """By the header first: that takes no memory, whatever size it claims."""
    size, header = (expected.width, expected.height), read_header(data)
    if (header.width, header.height) != size:
        return "wrong size"
    with Image.open(io.BytesIO(data), formats=[format.plugin]) as image:
        if image.size != size:
            return "wrong size"
        if decode:
            image.load()
    return RIGHT


def _is_wanted(format: object, expected: Expected) -> bool:
    return expected.format in ("auto", "source") or format == expected.format


def _judge_info(document: Any, ask: Ask) -> str:
    size = document["width"], document["height"]
    return RIGHT if size == (ask.picture.width, ask.picture.height) else "wrong size"


def _judge_variants(listed: Any, ask: Ask, decode: bool) -> str:
    entries = _by_name(listed, ask)
    for expected in ask.expected:
        one: Any = entries.get(expected.name)
        problem = _judge_entry(one, expected)
        if problem:
            return problem
        data = base64.b64decode(one["data"], validate=True)
        problem = _judge_picture(data, expected, decode)
        if problem:
            return problem
        if sniff(data) != one["format"]:
            return "another format than said"
    return RIGHT


def _by_name(listed: Any, ask: Ask) -> Mapping[str, Any]:
    """TypeError for what is no list; empty where there are more or fewer than asked for."""
    if not isinstance(listed, list):
        raise TypeError("no list")
    return {one["name"]: one for one in listed} if len(listed) == len(ask.expected) else {}


def _judge_entry(one: Any, expected: Expected) -> str:
    """What a document says of one variant."""
    if one is None or one["status"] != "ok":
        return "variant failed"
    if (one["width"], one["height"]) != (expected.width, expected.height):
        return "wrong size"
    return RIGHT if _is_wanted(one["format"], expected) else "wrong format"
