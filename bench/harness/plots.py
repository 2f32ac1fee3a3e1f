"""Plots as SVG, written by hand: horizontal bars, one panel for each workload, a whisker from the lowest round to the highest."""

import math
import os
from xml.sax.saxutils import escape

_LEFT, _WIDTH, _RIGHT = 150, 430, 170
_BAR, _STEP, _TITLE, _AXIS = 14, 22, 34, 26
# How high a panel of lines is.
_LINES = 110
_COLOURS = {"trireme": "#c0392b", "raw": "#999999"}
_OTHERS = ["#2c5f8a", "#4f93c4", "#9cc3e0", "#7a5195", "#3a7d44", "#86bb8d", "#b8860b"]


def draw_all(results, directory):
    """Writes throughput.svg and p99.svg; returns the names of those that have anything to show."""
    drawn = []
    for name, title, field, scale in [
        ("throughput.svg", "messages per second", "messages_per_second", Linear),
        ("p99.svg", "99th percentile of a send's latency, ms (logarithmic)", "latency.p99_us", Logarithmic),
    ]:
        panels = _panels(results, field)
        if panels:
            with open(os.path.join(directory, name), "w") as file:
                file.write(_draw(title, panels, scale, results.contenders))
            drawn.append(name)
    return drawn


def _panels(results, field):
    """(workload, [(contender, spread)]) for each workload that has any."""
    factor = 1e-3 if field.endswith("_us") else 1
    panels = []
    for workload in results.workloads:
        spreads = [(contender, results.spread(contender, workload, field)) for contender in results.contenders]
        bars = [
            (contender, (spread.min * factor, spread.median * factor, spread.max * factor))
            for contender, spread in spreads
            if spread
        ]
        if bars:
            panels.append((workload, bars))
    return panels


def draw_bars(title, panels, path):
    """Panels of bars in one colour: [(panel, [(bar, (lowest, median, highest))])]."""
    names = {bar: _COLOURS["trireme"] for _, bars in panels for bar, _ in bars}
    with open(path, "w") as file:
        file.write(_draw(title, panels, Linear, [], names))


def draw_lines(title, panels, path, unit):
    """Panels of lines over one axis: [(panel, {line: [(x, y)]})]. `unit` is that of x."""
    parts, top = [], 34
    for panel, lines in panels:
        parts.append(_text(_LEFT, top + 20, panel, weight="bold"))
        top += _TITLE
        points = [point for line in lines.values() for point in line]
        across, up = (Linear([point[axis] for point in points]) for axis in (0, 1))
        bottom = top + _LINES
        for tick in up.ticks():
            y = bottom - _LINES * up.at(tick)
            parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" stroke="#e0e0e0"/>')
            parts.append(_text(_LEFT - 6, y + 4, _number(tick), anchor="end", size=10, fill="#666"))
        for tick in across.ticks():
            x = _LEFT + _WIDTH * across.at(tick)
            parts.append(_text(x, bottom + 13, f"{_number(tick)} {unit}", anchor="middle", size=10, fill="#666"))
        for number, (name, line) in enumerate(lines.items()):
            colour = [_COLOURS["trireme"], *_OTHERS][number]
            drawn = " ".join(f"{_LEFT + _WIDTH * across.at(x):.1f},{bottom - _LINES * up.at(y):.1f}" for x, y in line)
            parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            parts.append(_text(_LEFT + _WIDTH + 10, top + 12 + 16 * number, name, fill=colour))
        top = bottom + _AXIS
    with open(path, "w") as file:
        file.write(_page(title, parts, top))


class Linear:
    """From zero, so that lengths can be compared."""

    def __init__(self, values):
        self.end = max(values) * 1.02 or 1

    def at(self, value):
        return value / self.end

    def ticks(self):
        step = 10 ** math.floor(math.log10(self.end))
        step = next(part for part in (step / 5, step / 2, step, step * 2) if self.end / part <= 6)
        return [number * step for number in range(int(self.end / step) + 1)]


class Logarithmic:
    """Whole decades around all values; a bar's length tells nothing, its end does."""

    def __init__(self, values):
        positive = [value for value in values if value > 0] or [1]
        self.first = math.floor(math.log10(min(positive)))
        self.last = max(math.ceil(math.log10(max(positive))), self.first + 1)

    def at(self, value):
        return (math.log10(max(value, 10**self.first)) - self.first) / (self.last - self.first)

    def ticks(self):
        return [10.0**power for power in range(self.first, self.last + 1)]


def _draw(title, panels, scale, contenders, colours=None):
    others = [contender for contender in contenders if contender not in _COLOURS]
    colours = colours or {**{name: _OTHERS[number % len(_OTHERS)] for number, name in enumerate(others)}, **_COLOURS}
    parts, top = [], 34
    for workload, bars in panels:
        parts.append(_text(_LEFT, top + 20, workload, weight="bold"))
        top += _TITLE
        axis = scale([value for _, spread in bars for value in spread])
        bottom = top + _STEP * len(bars)
        for tick in axis.ticks():
            x = _LEFT + _WIDTH * axis.at(tick)
            parts.append(f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}" stroke="#e0e0e0"/>')
            parts.append(_text(x, bottom + 13, _number(tick), anchor="middle", size=10, fill="#666"))
        for contender, spread in bars:
            parts.append(_bar(top, contender, spread, axis, colours[contender]))
            top += _STEP
        top += _AXIS
    return _page(title, parts, top)


def _page(title, parts, bottom):
    width, height = _LEFT + _WIDTH + _RIGHT, bottom + 8
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(_LEFT, 24, title, size=14),
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _bar(top, contender, spread, axis, colour):
    low, middle, high = (_LEFT + _WIDTH * axis.at(value) for value in spread)
    centre = top + _BAR / 2
    label = _number(spread[1])
    if spread[0] != spread[2]:
        label += f"  ({_number(spread[0])}..{_number(spread[2])})"
    return "\n".join([
        _text(_LEFT - 8, centre + 4, contender, anchor="end"),
        f'<rect x="{_LEFT}" y="{top}" width="{max(middle - _LEFT, 1):.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {centre}H{high:.1f}M{low:.1f} {centre - 4}v8M{high:.1f} {centre - 4}v8" stroke="#000"/>',
        _text(max(high, middle) + 6, centre + 4, label, size=11),
    ])  # fmt: skip


def _text(x, y, text, anchor="start", size=12, weight="normal", fill="#000"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{escape(text)}</text>'
    )


def _number(value):
    """Three digits."""
    if value >= 999_500:
        return f"{value / 1e6:.3g} M"
    if value >= 9_995:
        return f"{value / 1e3:.3g} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
