"""How a comparison was decided, in plain sentences: the tests, the margins and what the seeds can show."""

from structpred.comparison.findings import ComparisonResult
from structpred.report.document import joined
from structpred.statistics import CLEAR, FEW, LEVEL, fewest_seeds
from structpred.text import counted


def notes(report: ComparisonResult) -> tuple[str, ...]:
    """What a reader must know about the tests, or that there were none, as with one seed or one arm."""
    seeds, pairs = len(report.seeds), len(report.design.family(list(report.arms), report.baseline))
    if seeds == 1 or not pairs:
        return ("Nothing was tested: tests need two arms and two seeds.",)
    level = LEVEL / pairs
    return (
        f"The unit of every test is the run (the seed), not the example: {seeds} runs per arm, paired by seed.",
        f"{_compared(report)} {_rule(report)}",
        f"p values are Holm-corrected over {'one pair' if pairs == 1 else f'the {pairs} pairs'} of arms, for each "
        "metric on its own and for differences and equivalence separately; the conclusion rests on "
        f"{report.metrics[0].name} alone.",
        _margins(report),
        f"At Holm's strictest level, {level:.2g}, a verdict takes at least "
        f"{fewest_seeds(level, report.design.rule)} seeds: fewer show only a mean difference of over {CLEAR:g} "
        "standard deviations.",
        _intervals(report),
        "The seeds that would decide, and the smallest difference that would be shown, are for 80 % power at that "
        "level; seeds to add are counted for the anytime-valid test. An observed difference is a rough guess of the "
        "true one, so these numbers are rough too.",
    )


def _compared(report: ComparisonResult) -> str:
    if report.design.pairs == "all":
        return "Every two arms are compared."
    if report.design.groups:
        groups = "; ".join(f"{joined(list(arms))} with {baseline}" for baseline, arms in report.design.groups.items())
        return f"Some arms have a baseline of their own ({groups}); all others are compared with {report.baseline}."
    return f"Each arm is compared with {report.baseline}; arms are not compared with one another."


def _rule(report: ComparisonResult) -> str:
    if report.design.rule == "fixed":
        return (
            "The number of seeds is taken to have been fixed before the first result was seen, so the verdict on a "
            f"difference rests on a two-sided paired t test over the seeds ({_freedom(report)}), and the one on "
            "equivalence on two one-sided tests."
        )
    return (
        "Seeds were added after a look, so the verdict rests on an anytime-valid t test: p is one over the largest "
        "likelihood ratio so far, of effects drawn from Cauchy(0, 1) against no effect. However often one looks, "
        "p falls to 5 % in at most 5 % of comparisons without an effect."
    )


def _margins(report: ComparisonResult) -> str:
    margins = {metric.name: report.design.margin(metric.name) for metric in report.metrics}
    values = joined([f"±{margin:g} for {name}" for name, margin in margins.items()])
    default = [name for name in margins if name not in report.design.margins]
    chosen = f" ({'the default' if len(default) == len(margins) else f'the default for {joined(default)}'})"
    return (
        f"A margin says which differences do not matter: {values}{chosen if default else ''}. It has to be chosen "
        "before results are seen; an arm is called within the margin if a larger difference is ruled out."
    )


def _intervals(report: ComparisonResult) -> str:
    if len(report.seeds) <= FEW:
        return (
            f"With {len(report.seeds)} seeds an interval would say more about the quantile of t than about the data, "
            "so each mean is followed by the lowest and the highest value."
        )
    kind = "95 % t interval" if report.design.rule == "fixed" else "95 % interval that holds at every number of seeds"
    return f"± is a {kind}, of paired differences where it follows a difference; it is not corrected for several arms."


def _freedom(report: ComparisonResult) -> str:
    return f"{counted(len(report.seeds) - 1, 'degree')} of freedom"
