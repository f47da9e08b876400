"""Measures the cases and prints them as a page."""

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from benchmarks import machine
from benchmarks.parts import alerts, analytics, api, fetch, jobs, logs, metrics, webhooks
from benchmarks.parts.case import Case, Figures, default_of, measure

CASES: tuple[Case, ...] = (
    *api.CASES,
    *metrics.CASES,
    *alerts.CASES,
    *fetch.CASES,
    *webhooks.CASES,
    *jobs.CASES,
    *analytics.CASES,
    *logs.CASES,
)


def rows(case: Case, found: Sequence[Figures]) -> list[str]:
    """A row of the table for each value."""
    default = default_of(case.setting)
    lines = []
    for value, figures in zip(case.values, found, strict=True):
        told = "; ".join(f"{_number(figure)} {name}" for name, figure in figures.items())
        kept = " (default)" if value == default else ""
        lines.append(f"| `{case.setting}` | {_shown(value)}{kept} | {case.what} | {told} |")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    if isinstance(value, str):
        return f"{value[:24]}…" if len(value) > 40 else value or "empty"
    return f"{value:,}".replace(",", " ") if type(value) is int else str(value)


def _number(figure: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{figure:,.0f}".replace(",", " ") if abs(figure) >= 100 else f"{figure:.3g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="settings, or beginnings of them")
    given = parser.parse_args()
    logging.getLogger("omnishot_ray").setLevel(logging.CRITICAL)
    wanted = [one for one in CASES if not given.only or one.setting.startswith(tuple(given.only))]
    print(machine.page_head("What settings beside the pixels do"))
    print("| setting | value | what is done | figures |\n|---|---|---|---|", flush=True)
    asyncio.run(print_all(wanted))
    return 0


async def print_all(wanted: Sequence[Case]) -> None:
    """Those that wait are measured first, all at once; then the others in their order."""
    waiting = [case for case in wanted if case.waits]
    waited = dict(zip(waiting, await asyncio.gather(*map(measure, waiting)), strict=True))
    for case in wanted:
        began = perf_counter()
        # What others have left behind is not gone through while this one is measured.
        gc.collect()
        gc.freeze()
        found = waited[case] if case.waits else await measure(case)
        print("\n".join(rows(case, found)), flush=True)
        print(f"{case.setting} {perf_counter() - began:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
