"""SVG charts made by hand: a frame with axes, and marks in its coordinates. Every text is escaped; colours are CSS classes of the page."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 270
_TOP, _BOTTOM, _LEFT, _RIGHT = 14, 46, 58, 24
_LABEL_GAP = 14
_TICKS = 5

Point = tuple[float, float]


def percent(value: float) -> str:
    """A ratio as a percentage with at most one decimal."""
    return f"{round(value * 100, 1):g} %"


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis measures, from where to where."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    form: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Place of ``value`` between the ends, 0 to 1."""
        span = self.high - self.low
        return (min(max(value, self.low), self.high) - self.low) / span if span else 0.5


def round_axis(label: str, values: Sequence[float], form: Callable[[float], str] = "{:g}".format) -> Axis:
    """An axis with round ticks around ``values``."""
    low, high = min(values), max(values)
    raw = (high - low) / _TICKS or 1.0
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = [round(tick * step, 10) for tick in range(first, last + 1)]
    return Axis(label, ticks[0], ticks[-1], ticks, form)


def count_axis(label: str, highest: float, steps: int = 5) -> Axis:
    """An axis of whole numbers from 0 on."""
    step = next(factor * 10**power for power in itertools.count() for factor in (1, 2, 5) if factor * 10**power * steps >= highest)
    ticks = [float(step * tick) for tick in range(max(1, math.ceil(highest / step)) + 1)]
    return Axis(label, ticks[0], ticks[-1], ticks, "{:,.0f}".format)


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps values to pixels and draws the axes. ``right`` is the room for labels beside the plot."""

    x: Axis
    y: Axis
    right: int = _RIGHT

    def at(self, x: float, y: float) -> Point:
        """Pixel of a value."""
        return (
            round(_LEFT + self.x.share(x) * (WIDTH - _LEFT - self.right), 1),
            round(HEIGHT - _BOTTOM - self.y.share(y) * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    def line(self, points: Iterable[Point], style: str) -> Markup:
        """Points joined by straight lines."""
        path = " ".join(f"{x},{y}" for x, y in (self.at(*point) for point in points))
        return Markup('<polyline class="line {}" points="{}"/>').format(style, path)

    def dot(self, point: Point, style: str, note: str, radius: float = 4) -> Markup:
        """A dot with a note that shows under the pointer."""
        x, y = self.at(*point)
        return Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(style, x, y, radius, note)

    def whisker(self, x: float, low: float, high: float, style: str) -> Markup:
        """A vertical interval with caps."""
        (left, bottom), (_, top) = self.at(x, low), self.at(x, high)
        path = f"M{left},{bottom}V{top}M{left - 4},{bottom}h8M{left - 4},{top}h8"
        return Markup('<path class="whisker {}" d="{}"/>').format(style, path)

    def bar(self, left: float, right: float, low: float, high: float, style: str, note: str) -> Markup:
        """A rectangle between values, with a note."""
        (x1, y1), (x2, y2) = self.at(left, low), self.at(right, high)
        return Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            style, x1, y2, round(x2 - x1, 1), round(y1 - y2, 1), note
        )

    def levels(self, levels: Sequence[tuple[float, str, str]]) -> Markup:
        """Horizontal reference lines (value, label, style), labelled beside the plot without overlap."""
        parts, end = [], WIDTH - self.right
        drawn = sorted(levels)
        heights = [self.at(self.x.low, value)[1] for value, _, _ in drawn]
        for (_, label, style), y, beside in zip(drawn, heights, _apart(heights), strict=True):
            parts.append(Markup('<path class="level {}" d="M{},{}H{}"/>').format(style, _LEFT, y, end))
            parts.append(Markup('<text class="note {}" x="{}" y="{}">{}</text>').format(style, end + 4, round(beside + 4, 1), label))
        return Markup("").join(parts)

    def diagonal(self) -> Markup:
        """Where x equals y."""
        low, high = max(self.x.low, self.y.low), min(self.x.high, self.y.high)
        (x1, y1), (x2, y2) = self.at(low, low), self.at(high, high)
        return Markup('<path class="level c-quiet" d="M{},{}L{},{}"/>').format(x1, y1, x2, y2)

    def draw(self, title: str, marks: Iterable[Markup]) -> Markup:
        """The whole chart; ``title`` is what a screen reader says."""
        start = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, escape(title))
        return start + self._axes() + Markup("").join(marks) + Markup("</svg>")

    def _axes(self) -> Markup:
        bottom, end = HEIGHT - _BOTTOM, WIDTH - self.right
        parts = []
        for tick in self.y.ticks:
            _, y = self.at(self.x.low, tick)
            parts.append(Markup('<path class="grid" d="M{},{}H{}"/>').format(_LEFT, y, end))
            parts.append(Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(_LEFT - 6, y + 4, self.y.form(tick)))
        for tick in self.x.ticks:
            x, _ = self.at(tick, self.y.low)
            parts.append(Markup('<text class="tick middle" x="{}" y="{}">{}</text>').format(x, bottom + 17, self.x.form(tick)))
        middle = (_TOP + bottom) // 2
        parts.append(Markup('<path class="axis" d="M{},{}H{}"/>').format(_LEFT, bottom, end))
        parts.append(Markup('<text class="label middle" x="{}" y="{}">{}</text>').format((_LEFT + end) // 2, HEIGHT - 8, self.x.label))
        parts.append(Markup('<text class="label middle" transform="translate(11,{}) rotate(-90)">{}</text>').format(middle, self.y.label))
        return Markup("").join(parts)


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights, lowest line first, moved up so that labels there do not overlap, and down again where they would leave the plot."""
    up = list(itertools.accumulate(heights, lambda below, y: min(y, below - _LABEL_GAP)))
    down = itertools.accumulate(reversed(up), lambda above, y: max(y, above + _LABEL_GAP), initial=float(_TOP - _LABEL_GAP))
    return list(down)[:0:-1]
