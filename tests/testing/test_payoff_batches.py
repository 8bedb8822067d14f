"""The conformance kit refuses payoffs that mix up the examples of a batch, and draws of the wrong law."""

from dataclasses import dataclass

import pytest
import torch

from structpred.payoffs import HammingPayoff, Temperature
from structpred.payoffs.hamming import HammingDistribution
from structpred.sequences import Sequences
from structpred.testing import check_payoff
from structpred.testing.draws import check_draws


@dataclass(frozen=True, kw_only=True)
class FirstPayoff(HammingPayoff):
    """q of every example around the labels of the first reference."""

    def distribution(self, targets: Sequences, num_labels: int) -> HammingDistribution:
        first = targets.select(torch.zeros(len(targets), dtype=torch.long))
        return super().distribution(Sequences(first.labels, targets.lengths), num_labels)


def test_a_payoff_around_the_first_reference_is_told_so() -> None:
    with pytest.raises(AssertionError, match=r"reference \[1\]: draws do not follow exp\(r/τ\): χ²"):
        check_payoff(FirstPayoff(temperature=Temperature(literal=0.6)))


def test_draws_of_what_cannot_be_and_of_rare_outputs_are_found() -> None:
    outputs, shares = [[0], [1], [2], [3]], [0.996, 0.002, 0.002, 0.0]
    check_draws([[0]] * 4980 + [[1]] * 20, outputs, shares, "p", "here")
    with pytest.raises(AssertionError, match=r"here: draws do not follow p: \[3\] has probability 0"):
        check_draws([[0]] * 4999 + [[3]], outputs, shares, "p", "here")
    with pytest.raises(AssertionError, match="here: draws do not follow p: χ² "):
        check_draws([[0]] * 4940 + [[2]] * 60, outputs, shares, "p", "here")


def test_outputs_that_expect_few_draws_share_a_cell() -> None:
    outputs = [[i] for i in range(1001)]
    shares = [0.5] + [0.5 / 1000] * 1000
    check_draws([[0]] * 1000 + [[1]] * 1000, outputs, shares, "p", "here")
    with pytest.raises(AssertionError, match=r"here: draws do not follow p: χ² .* on 1 degrees"):
        check_draws([[0]] * 1200 + [[1]] * 800, outputs, shares, "p", "here")
