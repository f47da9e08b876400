"""A batch job as one value, and how its renditions and sources are read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from omnishot_ray import __version__
from omnishot_ray.errors import FieldError, InvalidParameters
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options, unknown_name
from omnishot_ray.imaging.platforms import GROUPS, in_group
from omnishot_ray.storage.fetch import FetchConfig

OUTPUT_KINDS = ("folder", "webdataset", "parquet", "zip")
ON_ERROR = ("skip", "copy", "fail")
_FOLDER_SHARD, _PACKED_SHARD = 64, 512
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What is to be made of what, and where to."""

    sources: tuple[str, ...]
    out: str
    renditions: tuple[Options, ...]
    to: str = "folder"
    match: str = ""
    """A glob for the names of members, instead of the suffixes of pictures."""
    column: str | None = None
    """Of tables and listings: where the pictures or their addresses are."""
    shard_members: int = 0
    """Pictures of one shard; 0 takes 64 for folders, 512 for outputs that are packed."""
    shard_bytes: int = 64 * 1024 * 1024
    """Bytes of the sources of one shard, beyond its first picture."""
    max_source_bytes: int = 32 * 1024 * 1024
    max_members: int = 100_000_000
    """Of one container; beyond them it counts as a bomb."""
    on_error: str = "skip"
    max_errors: int | None = None
    """Pictures that may fail in one run before it ends."""
    retry_failed: bool = False
    """Whether a run that goes on makes shards anew that hold failures of the moment."""
    time_limit_s: float = 60.0
    """For one picture with all its renditions; then it is tried once more, alone."""
    limits: Limits = field(default_factory=Limits)
    fetch: FetchConfig = field(default_factory=FetchConfig)

    def __post_init__(self) -> None:
        for name, known in (("to", OUTPUT_KINDS), ("on_error", ON_ERROR)):
            if getattr(self, name) not in known:
                raise _invalid(name, unknown_name(getattr(self, name), dict.fromkeys(known)))
        if not self.sources:
            raise _invalid("sources", "name at least one")
        if not self.renditions:
            raise _invalid("renditions", "name platforms, a group or variants")
        names = [options.name for options in self.renditions]
        for name in names:
            if names.count(name) > 1:
                raise _invalid("renditions", f"two are named {name!r}; name each differently")
            if not name or not set(name) <= _NAME_LETTERS or len(name) > 64:
                raise _invalid(
                    "renditions", f"{name[:40]!r} has to be 1 to 64 letters, digits, - or _"
                )
        for name in ("shard_bytes", "max_source_bytes", "max_members"):
            if getattr(self, name) < 1:
                raise _invalid(name, "must be at least 1")
        if self.shard_members < 0 or self.time_limit_s <= 0:
            raise _invalid("shard_members, time_limit_s", "must not be negative")

    @property
    def members_per_shard(self) -> int:
        """Pictures of one shard, at most."""
        default = _FOLDER_SHARD if self.to == "folder" else _PACKED_SHARD
        return self.shard_members or default

    @property
    def fingerprint(self) -> str:
        """Of all that decides on the bytes of the outputs: equal jobs have equal fingerprints."""
        value = {
            "version": __version__,
            "renditions": [asdict(options) for options in self.renditions],
            "to": self.to,
            "match": self.match,
            "column": self.column,
            "shard": [self.members_per_shard, self.shard_bytes],
            "limits": asdict(self.limits),
            "max_source_bytes": self.max_source_bytes,
            "on_error": "copy" if self.on_error == "copy" else "skip",  # the rest keeps the same
        }
        text = json.dumps(value, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def read_renditions(
    platforms: Sequence[str] = (),
    group: str | None = None,
    variants: Sequence[Mapping[str, Any]] = (),
    given: Mapping[str, Any] | None = None,
) -> tuple[Options, ...]:
    """Renditions by presets, a group of them, and variants of one's own, in that order.

    `given` are options that lie over every preset and under every variant; alone they are one
    rendition, `optimized`.

    Raises:
        InvalidParameters, ContradictoryOptions: as `parse_options` says.
    """
    shared = dict(given or {})
    names = [name for text in platforms for name in text.split(",") if name]
    if group is not None:
        if group not in GROUPS:
            raise _invalid(
                "group", f"{group[:40]!r} is {unknown_name(group, dict.fromkeys(GROUPS))}"
            )
        names += [platform.name for platform in in_group(group)]
    wanted = [parse_options({"platform": name, **shared}) for name in dict.fromkeys(names)]
    for number, variant in enumerate(variants, 1):
        if not isinstance(variant, Mapping):
            raise _invalid("variants", "each has to be a set of names and values")
        values = {**shared, **variant}
        name = values.pop("name", values.get("platform", f"variant-{number}"))
        wanted.append(replace(parse_options(values), name=str(name)))
    if not wanted and shared:
        wanted.append(replace(parse_options(shared), name="optimized"))
    return tuple(wanted)


def read_variants_file(path: Path) -> list[Mapping[str, Any]]:
    """Variants of a YAML (or JSON) file: a list, or a mapping of names to options.

    Raises `InvalidParameters`.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _invalid("variants", f"{path.name} cannot be read: {error}") from None
    if isinstance(document, dict) and isinstance(document.get("variants"), list | dict):
        document = document["variants"]
    if isinstance(document, dict) and all(isinstance(v, dict) for v in document.values()):
        document = [{"name": name, **options} for name, options in document.items()]
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise _invalid(
            "variants", f"{path.name} has to hold a list of options, or names with their options"
        )
    return document


def _invalid(name: str, detail: str) -> InvalidParameters:
    return InvalidParameters(f"{name}: {detail}", (FieldError(name, detail),))
