"""Plots against time as an SVG: panels below each other, one time axis, written by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL_HEIGHT = 860, 130
_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 60, 20, 34, 26, 34
COLOURS = ("#1f77b4", "#d62728", "#7f7f7f", "#2ca02c", "#9467bd", "#ff7f0e")
_POINTS = WIDTH - _LEFT - _RIGHT
_SHORT_MIN = 3.0
"""Below this the time axis has seconds."""


@dataclass(frozen=True)
class Line:
    """Values by their place on the time axis."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Lines with one scale from 0 up."""

    title: str
    lines: Sequence[Line]


Tick = tuple[float, str]


def draw(
    title: str, seconds: Sequence[float], panels: Sequence[Panel], ticks: Sequence[Tick] = ()
) -> str:
    """The whole picture. All lines have as many values as there are `seconds`.

    Where the axis is not one of time, `ticks` are its places and what is written there.
    """
    height = _TOP + len(panels) * (PANEL_HEIGHT + _GAP) + _BOTTOM - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="15" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, seconds, _TOP + number * (PANEL_HEIGHT + _GAP))
    parts += (
        _axis(seconds, ticks, height - _BOTTOM) if ticks else _time_axis(seconds, height - _BOTTOM)
    )
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, seconds: Sequence[float], top: float) -> list[str]:
    highest = nice(max(max(line.values) for line in panel.lines))
    bottom = top + PANEL_HEIGHT
    parts = []
    for quarter in (0, 2, 4):
        y = bottom - PANEL_HEIGHT * quarter / 4
        parts.append(_stroke(f"M{_LEFT},{y:g}H{WIDTH - _RIGHT}", "#dddddd", 1))
        parts.append(_text(_LEFT - 6, y + 4, f"{highest * quarter / 4:g}", "end"))
    x = float(_LEFT)
    parts.append(_text(x, top - 6, panel.title))
    x += 7 * len(panel.title) + 10
    for line, colour in zip(panel.lines, COLOURS, strict=False):
        if len(panel.lines) > 1:
            parts.append(_text(x, top - 6, line.name, colour=colour))
            x += 7 * len(line.name) + 10
        parts.append(_stroke(_path(line, seconds, bottom, highest), colour, 1.5))
    return parts


def _path(line: Line, seconds: Sequence[float], bottom: float, highest: float) -> str:
    """No more points than pixels: of those that share one, the highest."""
    group = math.ceil(len(seconds) / _POINTS)
    points = []
    for first in range(0, len(seconds), group):
        x = _LEFT + _POINTS * seconds[first] / seconds[-1]
        value = max(line.values[first : first + group])
        points.append(f"{x:.1f},{bottom - PANEL_HEIGHT * value / highest:.1f}")
    return "M" + "L".join(points)


def _axis(places: Sequence[float], ticks: Sequence[Tick], y: float) -> list[str]:
    return [
        _text(
            _LEFT + _POINTS * at / places[-1],
            y + 18,
            text,
            "end" if at == places[-1] else "middle",  # or it would be cut off
        )
        for at, text in ticks
    ]


def _time_axis(seconds: Sequence[float], y: float) -> list[str]:
    minutes = seconds[-1] / 60.0
    if minutes < _SHORT_MIN:
        step = next(step for step in (1, 2, 5, 10, 20) if seconds[-1] / step <= 16 or step == 20)
        return [
            _text(_LEFT + _POINTS * second / seconds[-1], y + 18, f"{second} s", "middle")
            for second in range(0, int(seconds[-1]) + 1, step)
        ]
    step = next(step for step in (1, 2, 5, 10, 30, 60) if minutes / step <= 16 or step == 60)
    return [
        _text(_LEFT + _POINTS * minute / minutes, y + 18, f"{minute} min", "middle")
        for minute in range(0, int(minutes) + 1, step)
    ]


def nice(value: float) -> float:
    """The next round number."""
    size = 1.0
    while size < value:
        size *= 10.0
    return next(size * part for part in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if size * part >= value)


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "black") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _stroke(path: str, colour: str, width: float) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
