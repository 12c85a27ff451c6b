"""Curves on logarithmic axes as an SVG picture, without a plotting library."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zipmap_jax.bench.published import published

if TYPE_CHECKING:
    from zipmap_jax.bench.series import Result

_WIDTH, _HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 34, 48
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")

Curve = Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high`, drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten within the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
        return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]


def plot(result: Result) -> str:
    """Seconds against views of all series with two points, and the published curves, dashed."""
    ours = {
        name: {row.views: row.seconds or 0.0 for row in result.measured(name)}
        for name in result.names
    }
    others = published(result.config.preset, result.config.size)
    height, width = result.config.size
    title = f"{result.config.preset}, {height}x{width}, {result.config.dtype}, " + str(
        result.machine.get("device", "")
    )
    solid = {name: curve for name, curve in ours.items() if len(curve) > 1}
    dashed = {f"{name} (published)": curve for name, curve in others.items()}
    return svg(title, solid, dashed)


def svg(title: str, solid: Mapping[str, Curve], dashed: Mapping[str, Curve]) -> str:
    """Curves of seconds by number of views; both must be positive.

    Args:
      title: above the picture.
      solid: curves by name, drawn with markers.
      dashed: curves to compare them with.
    """
    points = [p for curve in (*solid.values(), *dashed.values()) for p in curve.items()]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 20, title, weight="bold"),
    ]
    if points:
        x = _axis([p[0] for p in points], _LEFT, _WIDTH - _RIGHT)
        y = _axis([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP)
        parts += _grid(x, y)
        styles = [(*item, "") for item in solid.items()]
        styles += [(*item, ' stroke-dasharray="5 4"') for item in dashed.items()]
        for number, (name, curve, dash) in enumerate(styles):
            parts += _curve(number, name, curve, dash, x, y)
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    return Axis(low / 1.15, high * 1.15, start, end)


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in x.ticks:
        parts.append(_line(x(value), y.start, x(value), y.end))
        parts.append(_text(x(value), y.start + 16, f"{value:g}", anchor="middle"))
    for value in y.ticks:
        parts.append(_line(x.start, y(value), x.end, y(value)))
        parts.append(_text(x.start - 6, y(value) + 4, f"{value:g}", anchor="end"))
    middle = (x.start + x.end) / 2
    return [
        *parts,
        _text(middle, y.start + 36, "views", anchor="middle"),
        _text(x.start - 50, y.end - 8, "seconds"),
    ]


def _curve(number: int, name: str, curve: Curve, dash: str, x: Axis, y: Axis) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(x(views), y(seconds)) for views, seconds in sorted(curve.items())]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    top = _TOP + 14 + 20 * number
    left = _WIDTH - _RIGHT + 12
    marks = [] if dash else [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py in places]
    return [
        f'<g fill="{colour}" stroke="none">{"".join(marks)}</g>',
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<line x1="{left}" y1="{top - 4}" x2="{left + 22}" y2="{top - 4}" stroke="{colour}" '
        f'stroke-width="2"{dash}/>',
        _text(left + 28, top, name),
    ]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{html.escape(text)}</text>"
    )
