"""Line charts of training curves as inline SVG: presentation attributes and classes only, no style, no script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_POINTS = 240  # a line; more cannot be told apart at the width drawn
WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 20, 28

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Tick:
    at: float  # px
    label: str


@dataclass(frozen=True, kw_only=True)
class Line:
    name: str
    index: int  # which colour
    paths: tuple[str, ...]  # one a stage: no line is drawn across a stage's start
    last: str  # the newest value, written out


@dataclass(frozen=True, kw_only=True)
class Chart:
    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    boundaries: tuple[Tick, ...]  # where a stage begins
    clipped: int  # points outside the range shown
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, kw_only=True)
class StageCurves:
    """The curves of one stage run; images are counted from the stage's start."""

    label: str
    images: float  # length of the stage
    curves: Mapping[str, Sequence[Point]]


def line_chart(title: str, names: Sequence[str], stages: Sequence[StageCurves]) -> Chart | None:
    """The named curves of consecutive stages over the images seen since 4 px; None where there is nothing to draw."""
    starts, total = [], 0.0
    for stage in stages:
        starts.append(total)
        total += stage.images
    values = [y for stage in stages for name in names for _, y in stage.curves.get(name, ()) if math.isfinite(y)]
    if not values or total <= 0:
        return None
    low, high = value_range(values)

    def x_pixel(images: float) -> float:
        return LEFT + images / total * (WIDTH - LEFT - RIGHT)

    def y_pixel(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    lines = []
    for index, name in enumerate(names):
        paths, last = [], None
        for start, stage in zip(starts, stages, strict=True):
            points = [(x, y) for x, y in stage.curves.get(name, ()) if math.isfinite(y)]
            if not points:
                continue
            last = points[-1][1]
            shown = thinned(points)
            paths.append("M" + " L".join(f"{x_pixel(start + x):.1f},{y_pixel(y):.1f}" for x, y in shown))
        if last is not None:
            lines.append(Line(name=name, index=index, paths=tuple(paths), last=f"{last:.3g}"))
    return Chart(
        title=title,
        lines=tuple(lines),
        x_ticks=tuple(Tick(at=x_pixel(x), label=short_count(x)) for x in ticks(0, total, 6)),
        y_ticks=tuple(Tick(at=y_pixel(y), label=f"{y:.4g}") for y in ticks(low, high, 5)),
        boundaries=tuple(
            Tick(at=x_pixel(start), label=stage.label) for start, stage in zip(starts, stages, strict=True)
        ),
        clipped=sum(not low <= value <= high for value in values),
    )


def value_range(values: Sequence[float]) -> Point:
    """The range shown: all values, or the middle 98 % where single peaks would flatten everything else."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    inner_low, inner_high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    if high - low > 5 * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = max(0.5, abs(high) * 0.1)
        return low - margin, high + margin
    return low, high


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most MAX_POINTS of them, each the mean of its neighbours, so that noise does not alias."""
    if len(points) <= MAX_POINTS:
        return points
    step = math.ceil(len(points) / MAX_POINTS)
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers inside the range, at most `most` of them."""
    span = high - low
    size = 10 ** math.floor(math.log10(span / most))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if span / (size * factor) <= most - 1)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def short_count(value: float) -> str:
    """A count of images in few characters: 950, 12k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
