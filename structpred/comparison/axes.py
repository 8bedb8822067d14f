"""Arms that differ in one number, such as the edit rate, and their scores against it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from structpred.comparison.analysis import Row, scores
from structpred.comparison.findings import ComparisonResult, leaves_of
from structpred.report.document import Curve, Curves, Figure
from structpred.report.drawing import draw_curves, looks
from structpred.results import Measure, direction

LEAST = 3
"""Values of a number from which on a curve is drawn: two say nothing of its shape."""
FAR = 5
"""An axis is logarithmic where values span this factor."""


@dataclass(frozen=True)
class Axis:
    """Arms that are alike but for one number.

    Attributes:
        field: the dotted name of the number.
        values: by arm the number, increasing.
    """

    field: str
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """The last part of the field, as words, such as ``"edit rate"``."""
        return self.field.rpartition(".")[2].replace("_", " ")


def numeric_axes(report: ComparisonResult) -> tuple[Axis, ...]:
    """Every set of at least three arms that differ in one number alone."""
    leaves = {arm: leaves_of(config) for arm, config in report.arms.items()}
    found = []
    for field in report.differences():
        alike: dict[frozenset[tuple[str, str]], dict[str, float]] = defaultdict(dict)
        for arm, own in leaves.items():
            number = _number(own.get(field, ""))
            if number is not None:
                rest = {name: value for name, value in own.items() if name not in (field, "seed")}
                alike[frozenset(rest.items())][arm] = number
        kept = [values for values in alike.values() if len(set(values.values())) >= LEAST]
        found += [Axis(field, dict(sorted(values.items(), key=lambda item: item[1]))) for values in kept]
    return tuple(found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def figures(report: ComparisonResult, metric: Measure, said: str) -> tuple[Figure, ...]:
    """The scores on test against each such number.

    Args:
        report: the comparison.
        metric: of the scores.
        said: what the dots, bars and lines mean.
    """
    rows = {row.arm: row for row in report.table(metric)}
    return tuple(_figure(report, metric, axis, rows, said) for axis in numeric_axes(report))


def _figure(report: ComparisonResult, metric: Measure, axis: Axis, rows: Mapping[str, Row], said: str) -> Figure:
    values = {arm: scores(report.results[arm], "test", metric.name).tolist() for arm in axis.values}
    label = f"test {metric.name} (%), {direction(metric)}"
    apart = report.baseline not in axis.values
    levels = (float(rows[report.baseline].test.mean),) if apart else ()
    points = tuple(Curve.point(arm, {axis.name: axis.values[arm]}, values[arm], rows[arm].test) for arm in axis.values)
    places = [*axis.values.values()]
    log = min(places) > 0 and max(places) >= FAR * min(places)
    chart = Curves(label, points, levels, joined=True, log=log)
    colours = {arm: look.colour for arm, look in looks(list(report.arms)).items()}
    dashed = f"; dashed: {report.baseline}" if apart else ""
    caption = f"Test {metric.name} against {axis.name}, all else alike. {said}{dashed}."
    return Figure(partial(draw_curves, chart, colours), caption, chart=chart)
