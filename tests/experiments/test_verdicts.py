"""Simulated verdicts: the record's promises, and that the simulation says what the product says."""

import json
from pathlib import Path

import numpy as np
import pytest

from structpred.comparison.analysis import contrasts
from structpred.experiments.benchmarks.verdicts import MOST, Looks, figures
from structpred.statistics import Rule

RECORD = Path(__file__).resolve().parents[2] / "experiments" / "records" / "benchmarks" / "verdicts.json"
RULES: tuple[Rule, ...] = ("fixed", "anytime")


def check(found: dict[str, float], slack: float) -> None:
    """What the issue of this experiment promises, with slack for the number of comparisons."""
    for name in ("false_difference", "false_difference_family", "false_equivalence"):
        assert found[name] <= 0.05 + slack, name
    for seeds in (5, 10, 20):
        assert found[f"false_equivalence_at_{seeds}"] <= 0.05 + slack
        assert 0.94 - slack <= found[f"covered_at_{seeds}"] <= 0.96 + slack
    assert found["covered_at_all_looks"] >= 0.95 - slack
    least = {"found_by_15": 0.6, "found_by_20": 0.8, "found_by_15_family": 0.4, "found_by_20_family": 0.65}
    for name, share in (least | {"equivalence_found_by_20": 0.65}).items():
        assert found[name] >= share - slack, name


def test_the_record_keeps_every_promise() -> None:
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    assert found["comparisons"] == 10_000
    check(found, 0.0)


def test_few_comparisons_keep_them_within_chance() -> None:
    """1,000 comparisons, seed 5: a share that is just kept exceeds a slack of four standard errors once in 30,000."""
    found = figures(1000, seed=5)
    check(found, 4 * np.sqrt(0.25 / 1000))
    assert found["false_difference_student"] > 0.15
    assert found["false_equivalence_tost"] > 0.1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("effects", [(0.0,), (1.2, 0.0, 0.6)])
def test_the_simulation_decides_as_a_comparison_does(effects: tuple[float, ...], rule: Rule) -> None:
    generator = np.random.default_rng(4)
    looks = Looks.drawn(effects, 12, np.random.default_rng(4))
    baseline, arms = generator.normal(size=(12, 1, MOST)), generator.normal(size=(12, len(effects), MOST))
    baseline = baseline / np.sqrt(2)
    arms = arms / np.sqrt(2) + np.reshape(effects, (1, -1, 1))
    shown, within = looks.holm(rule), looks.within(1.0, 0.05, rule)
    for comparison in range(12):
        scores = {"baseline": baseline[comparison, 0]} | dict(enumerate(arms[comparison]))
        for seeds in (3, 4, 6, 9, 14, 20):
            some = {str(arm): values[:seeds] for arm, values in scores.items()}
            pairs = [(str(arm), "baseline") for arm in range(len(effects))]
            found = contrasts(some, pairs, higher_is_better=True, margin=1.0, rule=rule)
            verdicts = [found[pair].verdict in ("better", "worse") for pair in pairs]
            assert verdicts == shown[comparison, :, seeds - 2].tolist()
            equivalent = [(found[pair].equivalence_p or 0) <= 0.05 for pair in pairs]
            assert equivalent == within[comparison, :, seeds - 2].tolist()
