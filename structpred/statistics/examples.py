"""Tests over examples, for models that are given: they hold for new examples, not for new seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Counts = Float[np.ndarray, "examples statistics"]
Totals = Float[np.ndarray, " statistics"]

TRIALS = 1000
_AT_ONCE = 100  # trials whose weights of examples are held in memory together


@dataclass(frozen=True)
class ExamplesTest:
    """What the examples say of two arms whose models are given.

    Attributes:
        difference: score of one minus that of the other, each the mean over its models.
        low, high: 95 % interval by the paired bootstrap over examples, percentiles.
        p: two-sided, by approximate randomisation of examples.
        examples: how many there are.
        models: of each arm.
    """

    difference: float
    low: float
    high: float
    p: float
    examples: int
    models: int


def over_examples(
    ones: Sequence[Counts],
    others: Sequence[Counts],
    score: Callable[[Totals], float],
    *,
    trials: int = TRIALS,
    seed: int = 0,
) -> ExamplesTest:
    """Compare given models on the same examples, by a metric that is made of sums over them.

    Approximate randomisation (Noreen 1989): under the null of exchangeable arms the outputs of an example may be
    swapped, here for all models of the two arms together; p = (1 + the number of trials at least as extreme) / (1 +
    trials). The paired bootstrap (Koehn 2004) draws examples with replacement, the same for all models. For BLEU, whose
    sums are those of n-grams, both are the procedures of sacrebleu.

    Args:
        ones: for every model of one arm the statistics of each example.
        others: the same for the other arm.
        score: makes a number of statistics summed over examples.
        trials: of each procedure.
        seed: of the trials.

    Raises:
        ValueError: the arms differ in the number of models, or models in their examples.
    """
    table = stacked(ones, others)
    examples = table.shape[2]

    def difference(totals: Float[np.ndarray, "2 models statistics"]) -> float:
        first, second = ([score(each) for each in arm] for arm in totals)
        return float(np.mean(first) - np.mean(second))

    observed = difference(table.sum(2))
    generator = np.random.default_rng(seed)
    swapped = np.array(
        [
            difference(table.sum(2) + np.stack([moved, -moved]))
            for swaps in _chunks(trials, lambda some: generator.random((some, examples)) < 0.5)
            for moved in np.tensordot(swaps, table[1] - table[0], ([1], [1]))
        ]
    )
    uniform = np.full(examples, 1 / examples)
    drawn = np.array(
        [
            difference(totals)
            for weights in _chunks(trials, lambda some: generator.multinomial(examples, uniform, some))
            for totals in np.tensordot(weights, table, ([1], [2]))
        ]
    )
    tolerance = 1e-9 * max(1.0, abs(observed))  # sums in another order differ by rounding
    extreme = int((np.abs(swapped) >= abs(observed) - tolerance).sum())
    low, high = np.quantile(drawn, (0.025, 0.975))
    return ExamplesTest(
        difference=observed,
        low=float(low),
        high=float(high),
        p=(1 + extreme) / (1 + trials),
        examples=examples,
        models=len(ones),
    )


def stacked(ones: Sequence[Counts], others: Sequence[Counts]) -> Float[np.ndarray, "2 models examples statistics"]:
    """The statistics of two arms' models.

    Raises:
        ValueError: the arms differ in the number of models, or models in their examples.
    """
    shapes = {counts.shape for counts in (*ones, *others)}
    if len(ones) != len(others) or len(shapes) != 1:
        raise ValueError(
            "expected as many models of each arm, on the same examples, but got statistics of shape "
            f"{[counts.shape for counts in ones]} and {[counts.shape for counts in others]}"
        )
    return np.stack([np.stack(ones), np.stack(others)])


def _chunks(trials: int, draw: Callable[[int], np.ndarray]) -> Iterator[np.ndarray]:
    """Weights of examples for all trials, few at a time."""
    for first in range(0, trials, _AT_ONCE):
        yield draw(min(_AT_ONCE, trials - first)).astype(float)
