"""All settings in one value: the packages' own configs, from YAML or arguments and `OMNISHOT_*`.

This is the only module that reads the environment. A name has the form of its path, in the
environment joined by two underscores: `dispatch.inline_ms` is `OMNISHOT_DISPATCH__INLINE_MS`.
`OMNISHOT_API_KEYS` is short for `api.keys`, `OMNISHOT_REDIS_URL` for `api.redis_url` (rate limits)
and `cache.redis_url`. A list is written with commas. Keys come from the environment alone: what is
given in a file or to Serve is kept and shown.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

from omnishot_ray.api.config import ApiConfig
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.errors import ConfigError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.serving.dispatch import DispatchConfig
from omnishot_ray.serving.scaling import GatewayScale, ResizerScale

PREFIX = "OMNISHOT_"
_SHORT_NAMES = {
    "API_KEYS": ("API__KEYS",),
    "REDIS_URL": ("API__REDIS_URL", "CACHE__REDIS_URL"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    limits: Limits = field(default_factory=Limits)
    api: ApiConfig = field(default_factory=ApiConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    dispatch: DispatchConfig = field(default_factory=DispatchConfig)
    gateways: GatewayScale = field(default_factory=GatewayScale)
    resizers: ResizerScale = field(default_factory=ResizerScale)


_ADAPTER = TypeAdapter(Settings)


def load_settings(given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Settings of nested `given` values, overridden by the environment.

    Raises:
        ConfigError: a name is unknown (the nearest known one is said), a value is wrong, or a key
            is among the given values.
    """
    api = given.get("api")
    if isinstance(api, Mapping) and "keys" in api:
        raise ConfigError(f"api.keys comes from the environment alone: set {PREFIX}API_KEYS")
    merged = _merge(dict(given), _nested(environment))
    _refuse_unknown(merged, Settings, "")
    try:
        settings = _ADAPTER.validate_python(_with_lists(merged, Settings))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(f"Wrong settings: {faults}") from None
    _refuse_not_finite(settings, "")
    return settings


def _refuse_not_finite(config: Any, prefix: str) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            _refuse_not_finite(value, f"{prefix}{item.name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"Wrong settings: {prefix}{item.name} has to be a finite number")


def known_names(config: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Every setting's dotted name with its type, in order."""
    names: dict[str, Any] = {}
    for item in fields(config):
        name = f"{prefix}{item.name}"
        if isinstance(item.type, type) and is_dataclass(item.type):
            names |= known_names(item.type, f"{name}.")
        else:
            names[name] = item.type
    return names


def _with_lists(values: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Text where a list is wanted becomes what is between its commas."""
    split: dict[str, Any] = {}
    for item in fields(config):
        if item.name in values:
            value = values[item.name]
            if isinstance(item.type, type) and is_dataclass(item.type):
                value = _with_lists(value, item.type)
            elif get_origin(item.type) is tuple and isinstance(value, str):
                value = tuple(part.strip() for part in value.split(",") if part.strip())
            split[item.name] = value
    return split


def _nested(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        plain = name.removeprefix(PREFIX)
        for long in _SHORT_NAMES.get(plain, (plain,)):
            if long != plain and PREFIX + long in environment:
                raise ConfigError(
                    f"{name} and {PREFIX}{long} are the same setting; set one of them"
                )
            *path, last = long.lower().split("__")
            node = tree
            for step in path:
                node = node.setdefault(step, {})
                if not isinstance(node, dict):
                    raise ConfigError(f"{name}: {step} is both a value and a group of settings")
            node[last] = value
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            base[key] = _merge(dict(below), value)
        else:
            base[key] = value
    return base


def _refuse_unknown(values: Mapping[str, Any], config: type, prefix: str) -> None:
    known = {item.name: item.type for item in fields(config)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"Unknown setting {prefix}{name}; {_hint(prefix + name)}")
        kind = known[name]
        if isinstance(kind, type) and is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{name} is a group of settings, not a value")
            _refuse_unknown(value, kind, f"{prefix}{name}.")


def _hint(name: str) -> str:
    names = known_names()
    groups = {known.partition(".")[0]: known for known in reversed(names)}
    if near := difflib.get_close_matches(name, groups, n=1, cutoff=0.8):
        return f"did you mean the group {near[0]}, such as {groups[near[0]]}?"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
