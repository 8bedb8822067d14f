"""What a comparison shows, in plain sentences that claim no more than the tests do."""

from collections.abc import Collection, Mapping, Sequence

from structpred.comparison.analysis import Contrast, Row
from structpred.comparison.design import Design, Pair
from structpred.report.document import joined
from structpred.results import Measure, RunResult
from structpred.statistics import LEVEL, MOST_SEEDS, fixed
from structpred.text import counted

_NAMED = 4  # arms that the headline names; more are counted
_TOLD = 12  # other pairs that are told one by one; more are counted


def conclusion(rows: Sequence[Row], metric: Measure, seeds: int) -> tuple[str, ...]:
    """The conclusion on the primary metric: a headline, then one sentence or two for every compared arm."""
    compared = [row for row in rows if row.contrast is not None]
    if not compared:
        arm = rows[0]
        return (f"Only one arm was run, so there is nothing to compare: {arm.arm} has {metric.name} {arm.test}.",)
    if seeds == 1:
        return ("One seed supports no claim about an objective; run at least 2, better 5.",)
    by_name = {row.arm: row for row in rows}
    sentences = (_sentence(row, by_name[row.reference or ""], metric, seeds) for row in compared)
    return (_headline(compared, metric), *sentences)


def others(tests: Mapping[Pair, Contrast], told: Collection[tuple[str, str | None]]) -> tuple[str, ...]:
    """What is shown of pairs other than those ``told`` already; nothing where there are none."""
    rest = {pair: contrast for pair, contrast in tests.items() if pair not in told}
    if not rest:
        return ()
    same = [f"{one} scores the same as {other} in every seed" for (one, other), test in rest.items() if _same(test)]
    shown = [f"{one} is {_is(test)} {other}" for (one, other), test in rest.items() if test.decided and not _same(test)]
    left = len(rest) - len(shown) - len(same)
    if len(shown) + len(same) > _TOLD:
        return (f"Of the other {len(rest)} pairs {len(rest) - left} are decided; the table of all pairs shows which.",)
    undecided = f"{left} are undecided" if shown or same else "none is decided"
    return (f"Of the other pairs, {'; '.join([*shown, *same, *([undecided] if left else [])])}.",)


def _same(contrast: Contrast) -> bool:
    return contrast.verdict == "same in every seed"


def after_looks(design: Design) -> tuple[str, ...]:
    """That seeds were added after a look, where they were."""
    if design.rule == "fixed":
        return ()
    return (
        "Seeds were added after results had been seen, so the verdict rests on the anytime-valid t test, which holds "
        "however often one looks.",
    )


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


def _headline(compared: Sequence[Row], metric: Measure) -> str:
    where = f"On test {metric.name}, at the {100 * LEVEL:.0f} % level"
    found: dict[tuple[str, str], list[str]] = {}
    for row in compared:
        assert row.contrast is not None
        if row.contrast.verdict in ("better", "worse", "equivalent"):
            found.setdefault((_is(row.contrast), row.reference or ""), []).append(row.arm)
    order = ("better", "worse", "within")
    findings = [
        f"{_subject(arms, len(compared))} {words} {reference}"
        for (words, reference), arms in sorted(found.items(), key=lambda item: order.index(item[0][0].split()[0]))
    ]
    if findings:
        undecided = [row.arm for row in compared if row.contrast is not None and row.contrast.verdict == "undecided"]
        left = [f"{_subject(undecided, len(compared))} undecided"] if undecided else []
        return f"{where}, {'; '.join([*findings, *left])}."
    names = [row.arm for row in compared]
    named = joined(names, last="or") if len(names) <= _NAMED else f"any of the {len(names)} others"
    references = joined(list(dict.fromkeys(row.reference or "" for row in compared)), last="or")
    return (
        f"{where}, nothing is decided between {references} and {named}: neither a difference nor equivalence is shown."
    )


def _is(contrast: Contrast) -> str:
    """What stands between two arms' names after "is"."""
    if contrast.verdict in ("better", "worse"):
        return f"{contrast.verdict} than"
    return f"within ±{contrast.margin:g} of"


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
    numbers = (
        f"{metric.name} {fixed(row.test.mean)} against {fixed(reference.test.mean)}, "
        f"difference {contrast.difference.signed}, {probability_text(contrast.corrected_p)}"
    )
    equivalence = f"{probability_text(contrast.corrected_equivalence_p)} for equivalence"
    if contrast.verdict == "undecided":
        return f"{row.arm} and {reference.arm}: undecided ({numbers}). {_what_it_would_take(contrast, seeds)}"
    if contrast.verdict == "equivalent":
        return f"{row.arm} is {_is(contrast)} {reference.arm}: {numbers}, {equivalence}."
    within = f" It is within ±{contrast.margin:g} all the same ({equivalence})." if contrast.within else ""
    return f"{row.arm} is {contrast.verdict} than {reference.arm}: {numbers}.{within}{_constant_note(contrast)}"


def _constant_note(contrast: Contrast) -> str:
    if not contrast.constant:
        return ""
    return " The difference is the same in every seed, so the p value is that of sign flips, not of a t test."


def _what_it_would_take(contrast: Contrast, seeds: int) -> str:
    more = _more_seeds(contrast, seeds)
    if contrast.constant:
        return f"The difference is the same in every seed; if that continued, {more} would decide."
    if contrast.detectable is None:
        present = f"with {seeds} seeds only the largest differences are shown"
    else:
        present = f"the present {seeds} would show a difference of {fixed(contrast.detectable)} or more that often"
    return f"If the true difference and spread are as observed, {more} would decide four times in five; {present}."


def _more_seeds(contrast: Contrast, seeds: int) -> str:
    if contrast.seeds_to_decide is None:
        return f"more than {MOST_SEEDS:,} seeds"
    more = max(1, contrast.seeds_to_decide - seeds)  # power is a guess from the same seeds, and they did not decide
    return counted(more, "more seed")


def probability_text(p: float | None) -> str:
    """A p value with four decimals; no test says so.

    Examples:
        >>> probability_text(0.03125), probability_text(1e-9), probability_text(None)
        ('p = 0.0312', 'p < 0.0001', 'no test')
    """
    if p is None:
        return "no test"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
