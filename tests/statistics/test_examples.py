"""Tests over examples against enumeration and sacrebleu."""

import logging
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from structpred.metrics import Bleu, SymbolErrorRate, counts
from structpred.statistics import over_examples, over_examples_of_pairs
from structpred.statistics.examples import Counts, Totals

LENGTHS = np.array([4.0, 7.0, 3.0, 6.0, 5.0, 9.0])
FIRST = np.stack([[1.0, 3.0, 0.0, 2.0, 1.0, 2.0], LENGTHS], 1)
SECOND = np.stack([[2.0, 3.0, 1.0, 2.0, 3.0, 5.0], LENGTHS], 1)


def rate(totals: Totals) -> float:
    return float(100 * totals[0] / totals[1])


@pytest.mark.slow
def test_randomisation_agrees_with_all_swaps() -> None:
    observed = rate(FIRST.sum(0)) - rate(SECOND.sum(0))
    every = []
    for swaps in product((False, True), repeat=6):
        swap = np.array(swaps)[:, None]
        every.append(rate(np.where(swap, SECOND, FIRST).sum(0)) - rate(np.where(swap, FIRST, SECOND).sum(0)))
    exact = np.mean(np.abs(every) >= abs(observed) - 1e-9)
    found = over_examples([FIRST], [SECOND], rate, trials=20_000)
    assert found.difference == pytest.approx(observed)
    assert found.p == pytest.approx(exact, abs=0.01)  # five standard errors and more


@pytest.mark.slow
def test_the_bootstrap_agrees_with_all_resamples() -> None:
    some, others = FIRST[:5], SECOND[:5]
    every = [rate(some[list(rows)].sum(0)) - rate(others[list(rows)].sum(0)) for rows in product(range(5), repeat=5)]
    found = over_examples([some], [others], rate, trials=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(every, (0.025, 0.975))), abs=0.6)
    assert found.low < found.difference < found.high


def test_models_of_an_arm_are_averaged_and_swapped_together() -> None:
    ones, others = [FIRST, SECOND], [SECOND, SECOND + np.array([1.0, 0.0])]
    found = over_examples(ones, others, rate)
    mean = [np.mean([rate(table.sum(0)) for table in arm]) for arm in (ones, others)]
    assert found.difference == pytest.approx(mean[0] - mean[1])
    assert (found.models, found.examples) == (2, 6)
    assert over_examples(others, ones, rate).difference == pytest.approx(-found.difference)


def test_many_pairs_have_the_results_of_each_and_score_an_arm_once_in_a_bootstrap() -> None:
    arms = {"a": [FIRST], "b": [SECOND], "c": [FIRST + np.array([1.0, 2.0])], "d": [SECOND + np.array([0.0, 1.0])]}
    pairs, calls = list(combinations(arms, 2)), list[Totals]()

    def counted(totals: Totals) -> float:
        calls.append(totals)
        return rate(totals)

    found = over_examples_of_pairs(arms, pairs, counted, trials=50)
    assert list(found) == pairs
    assert found == {(one, other): over_examples(arms[one], arms[other], rate, trials=50) for one, other in pairs}
    observed_and_swapped = len(pairs) * 2 * (1 + 50)
    assert len(calls) == observed_and_swapped + len(arms) * 50
    assert over_examples_of_pairs(arms, [], rate) == {}


def test_equal_models_have_p_one() -> None:
    found = over_examples([FIRST], [FIRST.copy()], rate)
    assert (found.difference, found.p, found.low, found.high) == (0.0, 1.0, 0.0, 0.0)


@pytest.mark.slow(seconds=2)
def test_the_level_is_kept() -> None:
    """400 null comparisons, seed 9: at 5 % more than 36 alarms come once in a thousand runs of this test."""
    generator, alarms = np.random.default_rng(9), 0
    for _ in range(400):
        errors = generator.poisson(1.0, (2, 40)).astype(float)
        lengths = np.full(40, 6.0)
        one, other = (np.stack([each, lengths], 1) for each in errors)
        alarms += over_examples([one], [other], rate, trials=99).p <= 0.05
    assert 4 <= alarms <= 36


def sentences(generator: np.random.Generator, noise: float, references: list[list[str]]) -> list[list[str]]:
    return [
        [word if generator.random() > noise else f"w{generator.integers(30)}" for word in reference]
        for reference in references
    ]


def test_bleu_agrees_with_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both p values of 2,000 trials have a standard error of 0.011 at most."""
    monkeypatch.setenv("SACREBLEU_SEED", "1")
    monkeypatch.setattr(logging.getLogger("sacrebleu"), "disabled", True)
    generator = np.random.default_rng(2)
    references = [[f"w{generator.integers(30)}" for _ in range(12)] for _ in range(60)]
    systems = [sentences(generator, noise, references) for noise in (0.30, 0.33)]
    texts = [[" ".join(output) for output in system] for system in systems]
    given = [[" ".join(reference) for reference in references]]
    named: list[tuple[str, Sequence[str]]] = [("one", texts[0]), ("other", texts[1])]
    test = PairedTest(named, {"BLEU": BLEU(tokenize="none", force=True)}, given, "ar", 2000)
    expected = test()[1]["BLEU"][1]
    metric = Bleu()
    tables = [counts(metric, [tuple(each) for each in system], [(tuple(r),) for r in references]) for system in systems]
    found = over_examples([tables[1]], [tables[0]], metric.score, trials=2000)
    assert not isinstance(expected, str)
    scores = [metric.score(table.sum(0)) for table in tables]
    assert scores[1] == pytest.approx(expected.score, abs=1e-6)
    assert found.difference == pytest.approx(scores[1] - scores[0])
    assert found.p == pytest.approx(expected.p_value, abs=0.05)


@pytest.mark.parametrize("others", [[FIRST, FIRST], []])
def test_arms_must_have_models_on_the_same_examples(others: list[Counts]) -> None:
    with pytest.raises(ValueError, match="as many models of each arm, on the same examples"):
        over_examples([FIRST], others, SymbolErrorRate().score)
