"""What a comparison shows, in plain sentences that claim no more than the tests do."""

from collections.abc import Mapping, Sequence

from structpred.comparison.analysis import Contrast, Row
from structpred.report.document import joined
from structpred.results import Measure, RunResult
from structpred.statistics import LEVEL, MOST_SEEDS, fixed

_NAMED = 4  # arms that the headline names; more are counted


def conclusion(rows: Sequence[Row], baseline: str, metric: Measure, seeds: int) -> tuple[str, ...]:
    """The conclusion on the primary metric: a headline, then one sentence or two for every compared arm."""
    compared = [row for row in rows if row.contrast is not None]
    if not compared:
        return (f"Only one arm was run, so there is nothing to compare: {baseline} has {metric.name} {rows[0].test}.",)
    if seeds == 1:
        return ("One seed supports no claim about an objective; run at least 2, better 5.",)
    reference = next(row for row in rows if row.contrast is None)
    return (_headline(compared, baseline, metric), *(_sentence(row, reference, metric, seeds) for row in compared))


def skips(results: Mapping[str, Sequence[RunResult]], seeds: Sequence[int]) -> tuple[str, ...]:
    """For every arm that left out steps a sentence on how many, and in which of its runs; none for the others."""
    told = []
    for arm, runs in results.items():
        found = {seed: run for seed, run in zip(seeds, runs, strict=True) if run.skipped}
        if found:
            steps, skipped = sum(run.steps for run in runs), sum(run.skipped for run in runs)
            each = joined([f"{run.skipped:,} of {run.steps:,} under seed {seed}" for seed, run in found.items()])
            told.append(
                f"{arm} left out {skipped:,} of its {steps:,} steps, whose loss or gradient was not finite ({each}); "
                "what is said of it rests on the steps that it took."
            )
    return tuple(told)


def _headline(compared: Sequence[Row], baseline: str, metric: Measure) -> str:
    where = f"On test {metric.name}, at the {100 * LEVEL:.0f} % level"
    findings = []
    for verdict in ("better", "worse"):
        arms = [row.arm for row in compared if row.verdict == verdict]
        if arms:
            findings.append(f"{_subject(arms, len(compared))} {verdict} than {baseline}")
    if findings:
        return f"{where}, {joined(findings)}."
    names = [row.arm for row in compared]
    others = joined(names, last="or") if len(names) <= _NAMED else f"any of the {len(names)} others"
    return f"{where}, no difference is shown between {baseline} and {others}; that does not show that they are equal."


def _subject(arms: Sequence[str], compared: int) -> str:
    if len(arms) > _NAMED:
        return f"{len(arms)} of the {compared} other arms are"
    return f"{joined(arms)} {'is' if len(arms) == 1 else 'are'}"


def _sentence(row: Row, reference: Row, metric: Measure, seeds: int) -> str:
    contrast = row.contrast
    assert contrast is not None
    if contrast.verdict == "same in every seed":
        return (
            f"{row.arm} scores the same as {reference.arm} in every seed, so nothing tells them apart on this metric."
        )
    found = (
        f"{metric.name} {fixed(row.test.mean)} against {fixed(reference.test.mean)}, "
        f"difference {contrast.difference.signed}, {probability_text(contrast.corrected_p)}"
    )
    if contrast.verdict == "no difference shown":
        return (
            f"{row.arm} and {reference.arm}: nothing can be concluded ({found}). {_what_it_would_take(contrast, seeds)}"
        )
    return f"{row.arm} is {contrast.verdict} than {reference.arm}: {found}.{_constant_note(contrast)}"


def _constant_note(contrast: Contrast) -> str:
    if not contrast.constant:
        return ""
    return " The difference is the same in every seed, so the p value is the sign-flip test's, not Student's."


def _what_it_would_take(contrast: Contrast, seeds: int) -> str:
    needed = seeds_text(contrast.seeds_needed)
    if contrast.constant:
        return f"The difference is the same in every seed; if that went on, {needed} seeds would show it."
    assert contrast.detectable is not None
    return (
        f"If difference and spread are really as observed, {needed} seeds would show it four times in five; "
        f"the present {seeds} do so for a difference of {fixed(contrast.detectable)} or more."
    )


def seeds_text(needed: int | None) -> str:
    """A number of seeds, or that it is beyond the largest considered."""
    return f"more than {MOST_SEEDS:,}" if needed is None else str(needed)


def probability_text(p: float | None) -> str:
    """A p value with four decimals; no test says so.

    >>> probability_text(0.03125), probability_text(1e-9), probability_text(None)
    ('p = 0.0312', 'p < 0.0001', 'no test')
    """
    if p is None:
        return "no test"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
