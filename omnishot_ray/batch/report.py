"""`report.html`: how a job went, in one file that needs nothing else."""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from omnishot_ray.batch.manifest import iter_rows
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.progress import clock_text
from omnishot_ray.batch.run import Summary
from omnishot_ray.batch.sample import Thumbnail, choose, thumbnails

_SLOWEST, _FAILED, _PICTURES, _BARS = 15, 40, 24, 90
_IDLE_S = 60.0
"""A pause in which nothing was finished: the job was interrupted. It is left out of the chart."""


@dataclass(slots=True)
class _PerRendition:
    count: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class _Manifest:
    renditions: dict[str, _PerRendition] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    chosen: list[dict[str, Any]] = field(default_factory=list)


def write_report(out: Place, summary: Summary) -> None:
    """Read manifest and timings of a finished job and write the page. Raises `OSError`."""
    manifest = _read_manifest(out)
    bars, slowest = _read_timings(out)
    sheet = list(thumbnails(out, manifest.chosen))
    page = _page(summary, manifest, bars, slowest, sheet)
    (out / "report.html").write(page.encode("utf-8", "backslashreplace"))


def _read_manifest(out: Place) -> _Manifest:
    read = _Manifest()

    def counted(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            if row["error"]:
                read.failures += 1
                if len(read.failed) < _FAILED:
                    read.failed.append(row)
            if row["status"] == "ok":
                sums = read.renditions.setdefault(row["rendition"], _PerRendition())
                sums.count += 1
                sums.bytes_in += row["bytes_in"]
                sums.bytes_out += row["bytes_out"]
            yield row

    with (out / "manifest.parquet").open() as file:
        read.chosen = choose(counted(iter_rows(file)), _PICTURES)
    return read


def _read_timings(out: Place) -> tuple[list[tuple[float, float]], list[dict[str, Any]]]:
    """Pictures a second over the time of work, and the slowest of all."""
    with (out / "timings.parquet").open() as file:
        spent = ("decode_ms", "transform_ms", "encode_ms")
        slowest = heapq.nlargest(
            _SLOWEST, iter_rows(file), key=lambda row: sum(row[name] for name in spent)
        )
    seconds: dict[int, int] = {}  # a day of work is 86 400 of them
    with (out / "timings.parquet").open() as file:
        for row in iter_rows(file, ["finished_at"]):
            second = int(row["finished_at"])
            seconds[second] = seconds.get(second, 0) + 1
    return _bars(seconds), slowest


def _bars(seconds: dict[int, int]) -> list[tuple[float, float]]:
    worked: list[tuple[int, int]] = []
    at, before = 0, None
    for second in sorted(seconds):
        if before is not None:
            step = second - before
            at += step if step <= _IDLE_S else 1
        before = second
        worked.append((at, seconds[second]))
    width = max(1, math.ceil((at + 1) / _BARS))
    sums: dict[int, int] = {}
    for when, count in worked:
        sums[when // width] = sums.get(when // width, 0) + count
    return [(bar * width, sums.get(bar, 0) / width) for bar in range(at // width + 1)]


def _page(
    summary: Summary,
    manifest: _Manifest,
    bars: Sequence[tuple[float, float]],
    slowest: Sequence[dict[str, Any]],
    sheet: Sequence[Thumbnail],
) -> str:
    counts = summary.counts
    facts = [
        ("pictures", _number(counts.pictures)),
        ("renditions", _number(counts.renditions)),
        ("failed pictures", _number(counts.failed_pictures)),
        ("read", _size(counts.bytes_in)),
        ("written", _size(counts.bytes_out)),
        ("last run", clock_text(summary.seconds)),
    ]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    body = [
        f"<h1>Batch: {escape(summary.out)}</h1><p class=note>{now}</p>",
        "<dl>" + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts) + "</dl>",
        "<h2>Pictures a second</h2>" + _chart(bars),
        "<h2>Saved</h2>" + _savings(manifest.renditions),
        "<h2>Sample</h2>" + _sheet(sheet),
        "<h2>Slowest</h2>" + _slow(slowest),
        "<h2>Failed</h2>" + _failed(summary, manifest),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>Batch: {escape(summary.out)}</title><style>{_STYLE}</style>"
        f"<main>{''.join(body)}</main></html>\n"
    )


def _chart(bars: Sequence[tuple[float, float]]) -> str:
    if not bars:
        return "<p class=note>Nothing was finished.</p>"
    top = max(rate for _, rate in bars) or 1.0
    width, height = 900, 160
    step = width / len(bars)
    shapes = "".join(
        f"<rect x='{index * step:.1f}' y='{height - height * rate / top:.1f}' "
        f"width='{max(0.5, step - 1):.1f}' height='{height * rate / top:.1f}'>"
        f"<title>{clock_text(at)}: {rate:.1f}/s</title></rect>"
        for index, (at, rate) in enumerate(bars)
    )
    return (
        f"<figure><svg viewBox='0 0 {width} {height}' role=img "
        f"aria-label='pictures a second over the time of work'>{shapes}</svg>"
        f"<figcaption>at most {top:.1f}/s; {clock_text(bars[-1][0])} of work, pauses left out"
        "</figcaption></figure>"
    )


def _savings(renditions: dict[str, _PerRendition]) -> str:
    rows = [
        (
            escape(name),
            _number(sums.count),
            _size(sums.bytes_out),
            _size(sums.bytes_out / max(1, sums.count)),
            f"{100 * (1 - sums.bytes_out / sums.bytes_in):.0f} %" if sums.bytes_in else "",
        )
        for name, sums in renditions.items()
    ]
    return _table(("rendition", "made", "written", "each", "saved"), rows)


def _slow(slowest: Sequence[dict[str, Any]]) -> str:
    stages = ("read_ms", "decode_ms", "transform_ms", "encode_ms")
    rows = [(escape(row["member"]), *(f"{row[stage]:.0f}" for stage in stages)) for row in slowest]
    return _table(("member", "read ms", "decode ms", "transform ms", "encode ms"), rows)


def _failed(summary: Summary, manifest: _Manifest) -> str:
    if not manifest.failures:
        return "<p class=note>None.</p>"
    sums = ", ".join(f"{_number(n)} × {escape(code)}" for code, n in summary.errors.items())
    rows = [
        (
            escape(row["member"]),
            escape(row["rendition"]),
            escape(row["error"]),
            escape(row["detail"]),
        )
        for row in manifest.failed
    ]
    more = manifest.failures - len(rows)
    rest = f"<p class=note>{_number(more)} more in manifest.parquet.</p>" if more else ""
    return (
        f"<p>{sums}</p>" + _table(("member", "rendition", "error", "what was wrong"), rows) + rest
    )


def _sheet(sheet: Sequence[Thumbnail]) -> str:
    figures = "".join(
        f"<figure><img src='{one.data_uri}' alt='{escape(one.member, quote=True)}' loading=lazy>"
        f"<figcaption>{escape(one.rendition)}<br>{one.width}×{one.height}, {_size(one.bytes_out)}"
        "</figcaption></figure>"
        for one in sheet
    )
    return f"<div class=sheet>{figures}</div>" if figures else "<p class=note>Nothing to show.</p>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "&#8239;")


def _size(count: float) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


_STYLE = """
:root{color-scheme:light dark;--line:#8883;--bar:#3b82c4}
body{font:15px/1.45 system-ui,sans-serif;margin:0}
main{max-width:960px;margin:0 auto;padding:24px}
h1{font-size:22px;overflow-wrap:anywhere;margin:0}h2{font-size:17px;margin:32px 0 8px}
.note,figcaption{opacity:.7;font-size:13px}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px}
dl div{border:1px solid var(--line);border-radius:8px;padding:10px}
dt{font-size:12px;opacity:.7}dd{margin:0;font-size:20px}
table{border-collapse:collapse;width:100%;font-size:13px}
td,th{padding:4px 8px;text-align:left;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
figure{margin:0}svg{width:100%;fill:var(--bar)}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:12px}
.sheet img{width:100%;height:140px;object-fit:contain;background:var(--line);border-radius:6px}
"""
