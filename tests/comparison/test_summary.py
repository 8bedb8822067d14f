"""What a report concludes in words."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy import stats

from structpred.comparison.design import Design
from structpred.comparison.report import Report
from structpred.report import markdown
from structpred.statistics import seeds_for_equivalence
from tests.support.reports import ML, NEAR, RML, a_report


def test_conclusion_names_what_differs_and_what_does_not(report: Report) -> None:
    headline, near, better = report.conclusion()
    assert headline == "On test PER, at the 5 % level, RML is better than ML; smoothing is within ±0.5 of ML."
    assert near.startswith(
        "smoothing is within ±0.5 of ML: PER 12.16 against 12.20, difference -0.04 ± 0.24, p = 0.6702, p = 0.00"
    )
    assert near.endswith(" for equivalence.")
    assert better.startswith("RML is better than ML: PER 11.28 against 12.20, difference -0.92 ± ")
    assert better.endswith(f"p = {2 * stats.ttest_rel(RML, ML).pvalue:.4f}.")


def test_a_difference_that_is_shown_may_be_within_the_margin(report: Report) -> None:
    wide = replace(report, design=Design(margins={"PER": 2.0}))
    assert wide.table()[2].verdict == "better"
    assert "It is within ±2 all the same (p " in wide.conclusion()[2]


def test_what_is_undecided_says_what_it_would_take(report: Report) -> None:
    narrow = replace(report, design=Design(margins={"PER": 0.1}))
    headline, near, _ = narrow.conclusion()
    assert headline == "On test PER, at the 5 % level, RML is better than ML; smoothing is undecided."
    contrast = narrow.table()[1].contrast
    assert contrast is not None
    assert (contrast.verdict, contrast.decided) == ("undecided", False)
    by_equivalence = seeds_for_equivalence(contrast.difference.mean, 0.195, 0.1, level=0.025, rule="anytime")
    assert contrast.seeds_to_decide == pytest.approx(by_equivalence, abs=2)
    assert near.startswith("smoothing and ML: undecided (PER 12.16 against 12.20, difference -0.04 ± 0.24, p = 0.6702)")
    assert f" {(contrast.seeds_to_decide or 0) - 5} more seeds would decide four times in five" in near
    assert near.endswith(f"the present 5 would show a difference of {contrast.detectable:.2f} or more that often.")


def test_worse_is_said_too() -> None:
    report = a_report(RML=RML, ML=ML)
    assert report.conclusion()[0] == "On test PER, at the 5 % level, ML is worse than RML."


def test_what_is_not_significant_is_not_called_equal() -> None:
    narrow = replace(a_report(ML=ML, smoothing=NEAR), design=Design(margins={"PER": 0.1}))
    assert narrow.conclusion()[0] == (
        "On test PER, at the 5 % level, nothing is decided between ML and smoothing: neither a difference nor "
        "equivalence is shown."
    )


def test_one_seed_supports_no_claim() -> None:
    report = a_report(ML=ML[:1], RML=RML[:1])
    expected = "One seed supports no claim about an objective; run at least 2, better 5."
    assert report.conclusion() == (expected,)
    assert report.table()[1].verdict == "one seed: no claim"
    assert " ± " not in "".join(str(row.test) for row in report.table())


def test_one_arm_compares_nothing() -> None:
    (sentence,) = a_report(ML=ML).conclusion()
    assert sentence.startswith("Only one arm was run, so there is nothing to compare: ML has PER 12.20 ± 0.4")


def test_identical_results_are_called_so() -> None:
    report = a_report(ML=ML, again=ML)
    assert report.table()[1].verdict == "same in every seed"
    assert "again scores the same as ML in every seed" in report.conclusion()[1]


def test_skipped_steps_are_in_the_table_of_runs_and_in_the_conclusion(report: Report) -> None:
    assert not any("left out" in sentence for sentence in report.conclusion())
    first, second, *others = report.results["smoothing"]
    runs = (replace(first, skipped=1100), replace(second, skipped=3), *others)
    skipping = replace(report, results={**report.results, "smoothing": runs})
    assert skipping.conclusion()[:-1] == report.conclusion()
    assert skipping.conclusion()[-1] == (
        "smoothing left out 1,103 of its 6,000 steps, whose loss or gradient was not finite (1,100 of 1,200 under "
        "seed 0 and 3 of 1,200 under seed 1); what is said of it rests on the steps that it took."
    )
    text = markdown.render(skipping.document())
    header, _, *rows = [[c.strip() for c in line.split("|")] for line in text.partition("## Runs")[2].splitlines()[2:]]
    column = header.index("skipped")
    assert {row[1]: row[column] for row in rows if row[2:3] == ["0"]} == {"ML": "0", "smoothing": "1,100", "RML": "0"}


@pytest.mark.parametrize("rates", [{"nan": ML}, {"ML": ML[:1], "nan": ML[:1]}, {"ML": ML, "nan": ML}])
def test_skipped_steps_are_told_of_one_arm_of_one_seed_and_of_equal_arms(rates: dict[str, Sequence[float]]) -> None:
    whole = a_report(**rates)
    results = {arm: tuple(replace(run, skipped=7) for run in whole.results[arm]) for arm in ["nan"]}
    said = replace(whole, results={**whole.results, **results}).conclusion()
    assert said[-1].startswith(f"nan left out {7 * len(whole.seeds)} of its ")


def test_a_constant_difference_says_what_would_show_it() -> None:
    two = a_report(ML=ML[:2], RML=[rate - 1 for rate in ML[:2]])
    assert two.table()[1].verdict == "undecided"
    assert (
        "The difference is the same in every seed; if that continued, 4 more seeds would decide." in two.conclusion()[1]
    )
    six = a_report(ML=[*ML, 12.0], RML=[rate - 1 for rate in [*ML, 12.0]])
    assert "sign flips" in six.conclusion()[1]
    assert six.table()[1].verdict == "better"


def test_other_pairs_that_are_equal_or_open_are_said_to_be_so() -> None:
    report = replace(a_report(ML=ML, RML=RML, again=RML, NEAR=NEAR), design=Design(pairs="all", margins={"PER": 0.01}))
    (said,) = (sentence for sentence in report.conclusion() if sentence.startswith("Of the other pairs"))
    assert said == (
        "Of the other pairs, NEAR is worse than RML; NEAR is worse than again; again scores the same as RML in every "
        "seed."
    )
    unclear = replace(a_report(A=ML, B=NEAR, C=[12.2, 12.3, 12.1, 11.8, 12.5]), design=report.design)
    assert "Of the other pairs, none is decided." in unclear.conclusion()
    many = replace(a_report(**dict.fromkeys("ABCDEFG", ML)), design=report.design)
    assert "Of the other 15 pairs 15 are decided; the table of all pairs shows which." in many.conclusion()
