"""Tables and verdicts, against scipy and by simulation."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from structpred.comparison import analysis, record
from structpred.comparison.design import Design
from structpred.comparison.report import Report
from structpred.metrics import Accuracy, Metric, SymbolErrorRate
from structpred.report import markdown
from tests.support.reports import METRICS, ML, NEAR, RML, a_report, a_run

DATA = {"ML": ML, "smoothing": NEAR, "RML": RML}


def test_table_by_scipy(report: Report) -> None:
    baseline, near, better = report.table()
    assert (baseline.arm, baseline.contrast, baseline.verdict) == ("ML", None, "baseline")
    assert baseline.test.mean == pytest.approx(12.2)
    assert baseline.dev.mean == pytest.approx(11.95)
    p_near, p_better = stats.ttest_rel(NEAR, ML).pvalue, stats.ttest_rel(RML, ML).pvalue
    assert near.contrast is not None
    assert better.contrast is not None
    assert (near.contrast.p, better.contrast.p) == pytest.approx((p_near, p_better))
    assert (near.contrast.corrected_p, better.contrast.corrected_p) == pytest.approx((p_near, 2 * p_better))
    assert (near.verdict, better.verdict) == ("within ±0.5", "better")
    assert (near.contrast.verdict, near.reference, baseline.reference) == ("equivalent", "ML", None)


def test_direction_follows_the_metric() -> None:
    scores = {"ML": np.array(ML), "RML": np.array(RML)}
    pair = ("RML", "ML")
    assert analysis.contrasts(scores, [pair], higher_is_better=False)[pair].verdict == "better"
    assert analysis.contrasts(scores, [pair], higher_is_better=True)[pair].verdict == "worse"


@pytest.fixture
def no_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the number of seeds that would decide, which says nothing of a verdict and takes most of its time."""
    monkeypatch.setattr(analysis, "_seeds_to_decide", lambda test, margin, level: None)


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "tolerance"), [(1, 0.012), (3, 0.012)])
def test_false_alarms_stay_near_the_level(arms: int, tolerance: float, no_plans: None) -> None:
    """Under the null, a family of arms holds any claim in 5 % of comparisons, or fewer where Holm is conservative.

    2,000 comparisons: 2.4 standard errors of a share of 5 % are 0.012.
    """
    generator, alarms, repetitions = np.random.default_rng(1), 0, 2000
    for _ in range(repetitions):
        shared = generator.normal(12, 1, 5)  # a seed moves all its arms, as weights and data order do
        scores = {f"arm {i}": shared + generator.normal(0, 0.3, 5) for i in range(arms + 1)}
        pairs = [(f"arm {i + 1}", "arm 0") for i in range(arms)]
        contrasts = analysis.contrasts(scores, pairs, higher_is_better=False)
        alarms += any(contrast.verdict in ("better", "worse") for contrast in contrasts.values())
    share = alarms / repetitions
    assert share <= 0.05 + tolerance
    assert share >= (0.05 if arms == 1 else 0.025) - tolerance


def test_real_differences_are_found_as_often_as_promised(no_plans: None) -> None:
    generator, found = np.random.default_rng(2), 0
    difference = 1.6836 * 0.3 * math.sqrt(2)  # what 5 pairs detect with 80 % power, by G*Power: d_z = 1.6836
    for _ in range(1000):
        scores = {"ML": generator.normal(12, 0.3, 5), "RML": generator.normal(12 - difference, 0.3, 5)}
        contrasts = analysis.contrasts(scores, [("RML", "ML")], higher_is_better=False)
        found += contrasts["RML", "ML"].verdict == "better"
    assert found / 1000 == pytest.approx(0.8, abs=0.035)


def test_all_pairs_are_one_family_with_a_matrix_and_ranks() -> None:
    report = replace(a_report(METRICS, **DATA), design=Design(pairs="all"))
    tests = report.tests()
    assert list(tests) == [("smoothing", "ML"), ("RML", "ML"), ("RML", "smoothing")]
    p_values = {(one, other): stats.ttest_rel(DATA[one], DATA[other]).pvalue for one, other in tests}
    smallest = min(p_values, key=lambda pair: p_values[pair])
    assert tests[smallest].corrected_p == pytest.approx(3 * p_values[smallest])
    assert "Of the other pairs, RML is better than smoothing." in report.conclusion()
    matrix = markdown.render(report.document()).partition("## All pairs on PER")[2].partition("## ")[0].splitlines()
    rows = {row[1]: row[2:-1] for row in ([cell.strip() for cell in line.split("|")] for line in matrix) if row[2:]}
    assert rows["RML"] == ["1.00", "-0.92\\*", "-0.88\\*", ""]
    assert rows["ML"] == ["2.40", "", "+0.04≈", "+0.92\\*"]
    assert json.loads(record.encode(report))["pairs"]["PER"][2]["reference"] == "smoothing"


def test_groups_have_baselines_of_their_own_in_one_family() -> None:
    design = Design(groups={"CRF": ("chain",)})
    report = replace(a_report(ML=ML, smoothing=NEAR, CRF=RML, chain=NEAR), design=design)
    assert [(row.arm, row.reference) for row in report.table()] == [
        ("ML", None), ("smoothing", "ML"), ("CRF", None), ("chain", "CRF"),
    ]  # fmt: skip
    worse = report.tests()["chain", "CRF"]
    assert worse.verdict == "worse"
    assert worse.corrected_p == pytest.approx(2 * stats.ttest_rel(NEAR, RML).pvalue)
    assert report.conclusion()[0] == (
        "On test PER, at the 5 % level, chain is worse than CRF; smoothing is within ±0.5 of ML."
    )


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_ranks_are_scipys_with_ties(higher_is_better: bool) -> None:
    table = np.random.default_rng(0).integers(4, size=(5, 6)).astype(float)  # 5 arms, 6 seeds, few values
    metric: Metric = Accuracy() if higher_is_better else SymbolErrorRate()
    run = a_run(0.0)
    results = {
        f"arm {i}": tuple(replace(run, scores={"test": {metric.name: score}}) for score in row.tolist())
        for i, row in enumerate(table)
    }
    expected = stats.rankdata(-table if higher_is_better else table, axis=0).mean(axis=1)
    assert list(analysis.mean_ranks(results, metric).values()) == pytest.approx(expected.tolist(), rel=1e-15)
