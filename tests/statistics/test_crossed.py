"""The crossed model of seeds and examples against restricted maximum likelihood, the t test, and simulation."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy import optimize, stats

from structpred.metrics import Bleu, SymbolErrorRate, counts
from structpred.statistics import over_seeds_and_examples, over_seeds_and_examples_of_pairs
from structpred.statistics.examples import crossed


def drawn(generator: np.random.Generator, seeds: int, examples: int, parts: tuple[float, float, float]) -> np.ndarray:
    """A table of differences around 0, of these standard deviations."""
    by_seed, by_example, rest = (
        deviation * generator.standard_normal(shape)
        for deviation, shape in zip(parts, [(seeds, 1), (1, examples), (seeds, examples)], strict=True)
    )
    table: np.ndarray = by_seed + by_example + rest
    return table


def restricted(log_variances: np.ndarray, table: np.ndarray) -> float:
    """Minus twice the restricted log-likelihood of a crossed model with one mean, but for a constant."""
    seeds, examples = table.shape
    of_seeds, of_examples, rest = np.exp(log_variances)
    covariance = of_seeds * np.kron(np.eye(seeds), np.ones((examples, examples)))
    covariance += of_examples * np.kron(np.ones((seeds, seeds)), np.eye(examples)) + rest * np.eye(table.size)
    inverse, ones = np.linalg.inv(covariance), np.ones(table.size)
    information = ones @ inverse @ ones
    residual = table.ravel() - ones @ inverse @ table.ravel() / information
    found: float = np.linalg.slogdet(covariance)[1] + np.log(information) + residual @ inverse @ residual
    return found


def test_components_are_those_of_restricted_maximum_likelihood() -> None:
    table = drawn(np.random.default_rng(2), 4, 7, (1.0, 2.0, 0.7))
    found = crossed(table)
    assert found is not None
    fitted = optimize.minimize(restricted, np.zeros(3), (table,), method="Nelder-Mead", options={"xatol": 1e-7})
    expected = np.exp(fitted.x) / [4, 7, 28]
    assert [found.of_seeds, found.of_examples, found.of_both] == pytest.approx(expected, rel=1e-4)


def test_without_differences_between_examples_it_is_the_t_test_over_seeds() -> None:
    by_seed = np.array([0.3, -0.2, 0.9, 0.5])
    found = crossed(np.repeat(by_seed[:, None], 6, axis=1))
    assert found is not None
    t_test = stats.ttest_1samp(by_seed, 0.0)
    low, high = t_test.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, t_test.pvalue))
    assert (found.of_examples, found.of_both) == pytest.approx((0.0, 0.0))


def test_an_interval_is_never_narrower_than_over_seeds() -> None:
    generator = np.random.default_rng(5)
    for parts in [(1.0, 0.1, 0.1), (0.1, 1.0, 0.5), (0.0, 0.0, 1.0), (0.3, 1.0, 3.0)]:
        table = drawn(generator, 5, 20, parts)
        found, over_seeds = crossed(table), stats.ttest_1samp(table.mean(1), 0.0).confidence_interval()
        assert found is not None
        assert found.low <= over_seeds.low + 1e-12
        assert found.high >= over_seeds.high - 1e-12


@pytest.mark.parametrize("parts", [(0.4, 0.0, 1.0), (0.3, 1.0, 1.0), (0.0, 1.0, 0.3)])
def test_the_level_is_kept(parts: tuple[float, float, float]) -> None:
    """1,000 null tables, seed 7: at a level of 5 % more than 74 alarms come once in a thousand runs of this test."""
    generator = np.random.default_rng(7)
    found = [crossed(drawn(generator, 5, 30, parts)) for _ in range(1000)]
    assert sum(each is not None and each.p <= 0.05 for each in found) <= 74
    covered = [each is not None and each.low <= 0 <= each.high for each in found]
    assert sum(covered) >= 926


def test_a_mean_over_examples_has_its_own_differences() -> None:
    generator = np.random.default_rng(3)
    tables = [[np.stack([generator.random(12), np.ones(12)], 1) for _ in range(3)] for _ in range(2)]
    differences = np.array([one[:, 0] - other[:, 0] for one, other in zip(*tables, strict=True)])
    found = over_seeds_and_examples(tables[0], tables[1], lambda totals: float(totals[0] / totals[1]))
    expected = crossed(differences)
    assert found is not None
    assert expected is not None
    assert asdict(found) == pytest.approx(asdict(expected))


def test_many_pairs_have_the_results_of_each_and_score_an_arm_once() -> None:
    generator, metric = np.random.default_rng(8), SymbolErrorRate()
    length = np.full(9, 5.0)
    arms = {
        arm: [np.stack([generator.binomial(5, 0.2, 9), length], 1) for _ in range(seeds)]
        for arm, seeds in (("a", 3), ("b", 3), ("c", 3), ("alone", 1), ("too", 1))
    }
    pairs, calls = [("a", "b"), ("a", "c"), ("c", "b"), ("alone", "too")], list[np.ndarray]()

    def counted(totals: np.ndarray) -> float:
        calls.append(totals)
        return metric.score(totals)

    found = over_seeds_and_examples_of_pairs(arms, pairs, counted)
    assert found == {
        (one, other): over_seeds_and_examples(arms[one], arms[other], metric.score) for one, other in pairs
    }
    assert found["alone", "too"] is None
    assert None not in [found[pair] for pair in pairs[:3]]
    assert len(calls) == 3 * 3 * (1 + 9)  # arms with several seeds, seeds, all examples and without each


def test_examples_count_as_often_for_bleu_as_the_bootstrap_says() -> None:
    """The jackknife's part of the examples, against 500 resamples of them; their spread is known to 7 % or so."""
    generator, metric = np.random.default_rng(4), Bleu()
    references = [(tuple(generator.choice(list("abcde"), 12)),) for _ in range(80)]

    def model(rate: float) -> np.ndarray:
        noisy = [
            tuple(generator.choice(list("abcde")) if generator.random() < rate else s for s in r[0]) for r in references
        ]
        return counts(metric, noisy, references)

    one, other = model(0.3), model(0.2)
    found = over_seeds_and_examples([one, one], [other, other], metric.score)
    assert found is not None
    weights = generator.multinomial(80, np.full(80, 1 / 80), 500)
    resampled = [metric.score(each @ one) - metric.score(each @ other) for each in weights]
    assert found.of_examples == pytest.approx(np.var(resampled), rel=0.3)
    assert found.difference == pytest.approx(metric.score(one.sum(0)) - metric.score(other.sum(0)))


def test_many_examples_are_left_out_in_groups() -> None:
    generator, metric = np.random.default_rng(6), SymbolErrorRate()
    length = np.full(4000, 5.0)
    tables = [[np.stack([generator.binomial(5, rate, 4000), length], 1) for _ in range(3)] for rate in (0.2, 0.25)]
    whole, grouped = (
        over_seeds_and_examples(tables[0], tables[1], metric.score, groups=groups) for groups in (4000, 400)
    )
    assert whole is not None
    assert grouped is not None
    assert grouped.difference == pytest.approx(whole.difference)
    assert grouped.variance == pytest.approx(whole.variance, rel=0.2)


@pytest.mark.parametrize(("seeds", "examples", "spread"), [(1, 9, 1.0), (3, 1, 1.0), (3, 9, 0.0)])
def test_nothing_is_said_where_nothing_can_be(seeds: int, examples: int, spread: float) -> None:
    generator = np.random.default_rng(1)
    tables = [
        [np.stack([rate + spread * generator.random(examples), np.ones(examples)], 1) for _ in range(seeds)]
        for rate in (1.0, 2.0)
    ]
    assert over_seeds_and_examples(tables[0], tables[1], lambda totals: float(totals[0] / totals[1])) is None
