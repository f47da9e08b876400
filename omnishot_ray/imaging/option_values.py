"""One option's value, read from a string or a JSON value as its row of the table says."""

import math
import re

from omnishot_ray.imaging.option_table import BACKGROUND_WORDS, GRAVITIES, OptionSpec
from omnishot_ray.imaging.platforms import PLATFORMS, Platform, nearest

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)


def read_value(spec: OptionSpec, value: object) -> object:
    """The value in the form that `Options` holds; raises `ValueError` with what would be right."""
    text = value.strip() if isinstance(value, str) else value
    wrong = ValueError(f"{_show(value)} is not {spec.allowed}")
    if spec.name == "platform":
        return _read_platform(text)
    if spec.name == "gravity":
        return _read_gravity(text, wrong)
    if spec.name == "background":
        return _read_colour(text, wrong)
    if spec.kind == "boolean":
        return _read_boolean(text, wrong)
    if spec.word and text == spec.word:
        return text
    if spec.kind in ("integer", "number"):
        number = _read_number(text, spec.kind, wrong)
        if spec.choices and number not in spec.choices:
            raise wrong
        low, high = spec.minimum, spec.maximum
        if low is not None and high is not None and not low <= number <= high:
            raise wrong
        return number
    if text not in spec.choices:
        raise wrong
    return text


def _show(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _read_boolean(text: object, wrong: ValueError) -> bool:
    if isinstance(text, bool):
        return text
    if isinstance(text, str) and text.lower() in ("true", "1", "yes", "on"):
        return True
    if isinstance(text, str) and text.lower() in ("false", "0", "no", "off"):
        return False
    raise wrong


def _read_number(text: object, kind: str, wrong: ValueError) -> int | float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise wrong
    if isinstance(text, str) and not _NUMBER.fullmatch(text):
        raise wrong  # Python's own reading takes 1_000, nan and digits of other scripts
    try:
        number = float(text)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(number) or (kind == "integer" and number != int(number)):
        raise wrong
    return int(number) if kind == "integer" else number


def _read_gravity(text: object, wrong: ValueError) -> str:
    if not isinstance(text, str) or not (text in GRAVITIES or text.startswith("fp:")):
        raise wrong
    if text.startswith("fp:"):
        try:
            read_focal_point(text)
        except ValueError:
            raise wrong from None
    return text


def read_focal_point(gravity: str) -> tuple[float, float]:
    """`fp:0.3,0.7` as two fractions, each from 0 to 1; raises `ValueError` otherwise."""
    x, y = (float(part) for part in gravity.removeprefix("fp:").split(","))
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"{gravity} lies outside the picture")
    return x, y


def _read_colour(text: object, wrong: ValueError) -> str:
    if not isinstance(text, str):
        raise wrong
    digits = text.removeprefix("#").lower()
    if digits in BACKGROUND_WORDS:
        return digits
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) != 6 or not all(digit in "0123456789abcdef" for digit in digits):
        raise wrong
    return digits


def _read_platform(text: object) -> Platform:
    name = str(text)
    platform = PLATFORMS.get(name)
    if platform is None:
        close = nearest(name)
        hint = f"did you mean {close}?" if close else "GET /api/platforms lists them."
        raise ValueError(f"{_show(name)} is not a known platform; {hint}")
    return platform
