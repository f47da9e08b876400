"""Writes docs/reference.md from the code: options, settings, endpoints, problems, platforms.

`python scripts/reference.py` after changing one of them; a test compares the page with the code.
"""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from omnishot_ray.api.application import describe_api
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.api.openapi import INFO_SCHEMA
from omnishot_ray.api.problems import STATUS
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.limits import ENCODING_BYTES, Limits, most_output_pixels
from omnishot_ray.imaging.option_table import SPECS
from omnishot_ray.imaging.platforms import PLATFORMS
from omnishot_ray.jobs.building import JobSettings, build_jobs
from omnishot_ray.settings import PREFIX, Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"


def build_reference() -> str:
    """The whole page as Markdown."""
    return "\n".join(
        [
            "# Reference",
            "",
            "Written by `scripts/reference.py` from the code; edit there.",
            "",
            *_section("Options of a rendition", _options()),
            *_section("Endpoints", _endpoints()),
            *_section("Fields of `/api/info`", _info_fields()),
            *_section("Problems", _problems()),
            *_section("Settings", _settings()),
            *_section("Platforms", _platforms()),
        ]
    )


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def _options() -> list[str]:
    return _table(
        ("name", "values", "default", "what it does"),
        [(f"`{s.name}`", s.allowed, s.default, s.help) for s in SPECS],
    )


def _endpoints() -> list[str]:
    document = describe_api(LocalOptimizer(Limits()), ApiConfig(), build_jobs(JobSettings()))
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            rows.append((f"`{method.upper()} {path}`", operation["summary"]))
    rows += [("`GET /docs`", "This API to read and try"), ("`GET /openapi.json`", "OpenAPI 3.1")]
    return _table(("endpoint", "answer"), rows)


def _info_fields() -> list[str]:
    rows = [
        (f"`{name}`", _kind(schema), schema.get("description", ""))
        for name, schema in INFO_SCHEMA["properties"].items()
    ]
    return _table(("name", "type", "what it is"), rows)


def _kind(schema: dict[str, Any]) -> str:
    kinds = schema.get("type") or [one["type"] for one in schema["anyOf"]]
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _problems() -> list[str]:
    rows = sorted(
        (str(status), f"`{cls.code}`", cls.title, (cls.__doc__ or "").splitlines()[0])
        for cls, status in STATUS.items()
    )
    return _table(("status", "code", "title", "when"), rows)


def _settings() -> list[str]:
    intro = [
        "In a YAML file for `omnishot serve --config`, as `args` in `serve_config.yaml`, or in the",
        f"environment: `dispatch.inline_ms` is `{PREFIX}DISPATCH__INLINE_MS`, a list has commas.",
        f"Keys come from the environment alone, `{PREFIX}API_KEYS=shop:0123…,other:4567…`; each is",
        "sent as `Authorization: Bearer …` or `X-API-Key`, the log calls it by its name.",
        f"`{PREFIX}REDIS_URL` is `api.redis_url`, in which all gateways count together.",
        "",
        "Ray's HAProxy does not say who asks: without another proxy before it, which writes",
        "`X-Forwarded-For` and is named in `api.trusted_proxies`, all addresses are its own, and",
        "`api.rate_limit` without keys limits all callers together.",
        "",
    ]
    most = [
        "",
        "`limits.max_task_mb` bounds a rendition in megapixels, beside 8192 a side: of a source",
        "of 12 megapixels, opaque or with alpha; `format=auto` steps back to a format that holds:",
        "",
        *_table(("format", "opaque", "with alpha"), _output_rows()),
    ]
    return intro + _table(("setting", "default"), _setting_rows(Settings, "")) + most


def _output_rows() -> list[tuple[str, ...]]:
    opaque = Header(Format.JPEG, 4000, 3000)
    headers = opaque, replace(opaque, alpha=True)
    return [
        (
            f"`{format.value}`",
            *(f"{most_output_pixels(header, format, Limits()) / 1e6:.1f}" for header in headers),
        )
        for format in ENCODING_BYTES
    ]


_BY_MACHINE = {"gateways.replicas": "cores, at most 4", "resizers.max_replicas": "cores"}


def _setting_rows(config: type, prefix: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    defaults = config()
    for item in fields(config):  # type: ignore[arg-type]
        name = f"{prefix}{item.name}"
        value = getattr(defaults, item.name)
        if is_dataclass(value):
            rows += _setting_rows(type(value), f"{name}.")
        else:
            shown = "none" if value in ("", ()) else f"{value}"
            rows.append((f"`{name}`", _BY_MACHINE.get(name, shown)))
    return rows


def _platforms() -> list[str]:
    return _table(
        ("name", "pixels", "fit", "format", "groups", "source"),
        [
            (
                f"`{p.name}`",
                f"{p.width}×{p.height}",
                p.fit,
                p.format,
                ", ".join(p.groups),
                f"[{p.year}]({p.source})",
            )
            for p in PLATFORMS.values()
        ],
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(build_reference())
