"""Scores against a number in which arms differ."""

from dataclasses import replace

import pytest

from structpred.comparison.axes import figures, numeric_axes
from structpred.comparison.report import Report
from structpred.report.document import Curves
from tests.support.reports import METRICS, ML, NEAR, RML, Method, Trial, a_report


def of(values: dict[str, float | None], hidden: dict[str, int] | None = None) -> Report:
    """Arms by name with their temperatures."""
    rates = dict(zip(values, [ML, NEAR, RML, ML, NEAR], strict=False))
    report = a_report(METRICS[:1], **rates)
    arms = {
        arm: Trial(method=Method(temperature=value), hidden=(hidden or {}).get(arm, 8)) for arm, value in values.items()
    }
    return replace(report, arms=arms)


@pytest.mark.figures
def test_arms_that_differ_in_one_number_are_drawn_against_it() -> None:
    report = of({"ML": None, "hot": 0.9, "cold": 0.1, "warm": 0.3})
    (axis,) = numeric_axes(report)
    assert (axis.field, axis.name, list(axis.values.items())) == (
        "method.temperature",
        "temperature",
        [("cold", 0.1), ("warm", 0.3), ("hot", 0.9)],
    )
    (figure,) = figures(report, METRICS[0], "One dot per seed")
    assert figure.caption == "Test PER against temperature, all else alike. One dot per seed; dashed: ML."
    chart = figure.chart
    assert isinstance(chart, Curves)
    assert chart.joined
    assert list(chart.levels) == pytest.approx([12.2])
    table = {row.arm: row.test for row in report.table()}
    for curve in chart.curves:
        (value,), (mean,), (low,), (high,) = curve.x["temperature"], curve.mean, curve.low, curve.high
        assert value == axis.values[curve.arm]
        assert mean == table[curve.arm].mean
        assert (low + high) / 2 == pytest.approx(mean)
        assert high - low == pytest.approx(2 * (table[curve.arm].half_width or 0))
    drawn = figure.draw()
    assert drawn.startswith("<svg ")
    assert "temperature, log scale" in drawn
    assert "Test PER against temperature" in str(report.document())


def test_two_values_or_arms_that_differ_in_more_make_no_curve() -> None:
    assert numeric_axes(of({"ML": None, "cold": 0.1, "hot": 0.9})) == ()
    assert numeric_axes(of({"a": 0.1, "b": 0.2, "c": 0.3}, {"c": 16})) == ()
    both = numeric_axes(of({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.3, "e": 0.3}, {"d": 16, "e": 32}))
    assert {each.name: list(each.values) for each in both} == {
        "hidden": ["c", "d", "e"],
        "temperature": ["a", "b", "c"],
    }


def test_a_baseline_among_the_values_has_no_line_of_its_own() -> None:
    (figure,) = figures(of({"a": 0.1, "b": 0.2, "c": 0.3}), METRICS[0], "One seed")
    assert isinstance(figure.chart, Curves)
    assert figure.chart.levels == ()
    assert "dashed" not in figure.caption
    assert "log scale" not in figure.draw()
