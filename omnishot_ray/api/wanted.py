"""What is wanted of a picture: options of one rendition, or a list of variants."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from starlette.datastructures import QueryParams

from omnishot_ray.api.body import read_query
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.errors import FieldError, InvalidParameters, OmnishotError
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.options import (
    Options,
    apply_values,
    parse_options,
    read_values,
    unknown_name,
)
from omnishot_ray.imaging.pipeline import FailedRendition
from omnishot_ray.imaging.platforms import GROUPS, in_group

CHOOSERS = ("platforms", "group", "variants")
"""What names the variants; everything beside them is an option of all of them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@lru_cache(maxsize=4096)
def values_of(query_string: bytes) -> Mapping[str, Any]:
    """The options in an address, one by one; many pictures come with the same.

    Raises `InvalidParameters`.
    """
    return read_values(read_query(QueryParams(query_string)))


@lru_cache(maxsize=4096)
def options_of(query_string: bytes, accept: tuple[Format, ...]) -> Options:
    """One rendition's options, all of them in the address."""
    return apply_values(values_of(query_string), Options(accept=accept))


def read_variants(
    given: Mapping[str, str], base: Options, config: ApiConfig
) -> Sequence[Options | FailedRendition]:
    """What `platforms`, `group` and `variants` ask for, in that order, each name once.

    Options beside them apply to every variant: a platform's own values lie under them, a
    variant's own values over them. A variant that cannot be made is a failure of its own.
    """
    shared = {name: value for name, value in given.items() if name not in CHOOSERS}
    read_values(shared)
    asked: list[Mapping[str, object]] = [
        {"platform": name, **shared} for name in _platform_names(given)
    ]
    asked += [{**shared, **variant} for variant in _variant_objects(given.get("variants"))]
    if not asked:
        raise _invalid("platforms", "name at least one of platforms, group or variants")
    if len(asked) > config.max_variants:
        raise _invalid("variants", f"{len(asked)} variants; at most {config.max_variants} at once")
    wanted: list[Options | FailedRendition] = []
    names: set[str] = set()
    for index, values in enumerate(asked):
        name = _variant_name(values, index)
        if name in names:
            raise _invalid("variants", f"two variants are named {name!r}; name each differently")
        names.add(name)
        try:
            options = parse_options({k: v for k, v in values.items() if k != "name"}, base)
        except OmnishotError as error:
            wanted.append(FailedRendition(name, error))
        else:
            wanted.append(replace(options, name=name))
    return wanted


def _platform_names(given: Mapping[str, str]) -> list[str]:
    names = [name.strip() for name in given.get("platforms", "").split(",") if name.strip()]
    for name in names:
        try:
            parse_options({"platform": name})
        except InvalidParameters as error:
            raise _invalid("platforms", error.fields[0].detail) from None
    group = given.get("group")
    if group is not None:
        if group not in GROUPS:
            detail = unknown_name(group, dict.fromkeys(GROUPS))
            raise _invalid("group", f"{group[:40]!r} is {detail}")
        names += [platform.name for platform in in_group(group)]
    return list(dict.fromkeys(names))


def _variant_objects(text: str | None) -> list[Mapping[str, object]]:
    if text is None:
        return []
    right = 'a JSON list of objects such as [{"name": "small", "width": 320}]'
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("variants", f"not JSON; it has to be {right}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _invalid("variants", f"it has to be {right}")
    return value


def _variant_name(values: Mapping[str, object], index: int) -> str:
    name = values.get("name", values.get("platform", f"variant-{index + 1}"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(
            "variants",
            f"the name {str(name)[:40]!r} has to be 1 to 64 letters, digits, dots, dashes or "
            "underscores, and start with a letter or digit",
        )
    return name


def _invalid(name: str, detail: str) -> InvalidParameters:
    return InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))
