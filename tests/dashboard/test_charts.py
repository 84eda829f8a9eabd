import math

from dashboard.charts import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, StageCurves, line_chart, ticks


def stage(label: str, **curves) -> StageCurves:
    return StageCurves(label=label, images=100, curves=curves)


def points(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in path[1:].split(" L")]


def test_stages_follow_one_another_and_values_fill_the_height() -> None:
    chart = line_chart(
        "Losses", ["a"], [stage("4 px", a=[(0, 0.0), (100, 1.0)]), stage("8 px", a=[(0, 1.0), (100, 0.5)])]
    )
    first, second = (points(path) for path in chart.lines[0].paths)
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert first == [(LEFT, HEIGHT - BOTTOM), (middle, TOP)]
    assert second[0] == (middle, TOP)
    assert second[1][0] == WIDTH - RIGHT
    assert [tick.label for tick in chart.boundaries] == ["4 px", "8 px"]
    assert chart.lines[0].last == "0.5"


def test_nothing_to_draw_gives_no_chart() -> None:
    assert line_chart("x", ["a"], []) is None
    assert line_chart("x", ["a"], [stage("4 px", b=[(0, 1.0)])]) is None
    assert line_chart("x", ["a"], [stage("4 px", a=[(0, math.nan), (1, math.inf)])]) is None


def test_a_constant_and_a_single_point_are_drawn_inside() -> None:
    for values in ([(0, 2.0), (50, 2.0)], [(10, 0.0)]):
        chart = line_chart("x", ["a"], [stage("4 px", a=values)])
        assert all(TOP < y < HEIGHT - BOTTOM for _, y in points(chart.lines[0].paths[0]))


def test_a_peak_does_not_flatten_the_rest() -> None:
    values = [(x, math.sin(x)) for x in range(300)] + [(99, 1e6)]
    chart = line_chart("x", ["a"], [stage("4 px", a=values)])
    assert chart.clipped >= 1
    assert len(chart.y_ticks) >= 3
    assert all(abs(float(tick.label)) <= 1 for tick in chart.y_ticks)


def test_long_curves_are_thinned() -> None:
    chart = line_chart("x", ["a"], [stage("4 px", a=[(x / 100, float(x % 7)) for x in range(10_000)])])
    assert len(points(chart.lines[0].paths[0])) <= MAX_POINTS


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 100, 6) == [0, 20, 40, 60, 80, 100]
    for low, high in ((-3.7, 12.1), (0.0001, 0.0002), (5, 5e6)):
        found = ticks(low, high, 5)
        assert 2 <= len(found) <= 5
        assert all(low <= tick <= high for tick in found)
