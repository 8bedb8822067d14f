"""The conformance kit refuses objectives whose losses depend on the other examples of the batch."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from structpred.distributions.protocols import LogProb
from structpred.objective import Losses, Objective, StepContext
from structpred.sequences import Sequences
from structpred.testing import check_objective
from tests.support.tiny import QUICK


@dataclass(frozen=True, kw_only=True)
class Mixing(Objective):
    """Likelihood, of which the rest of the batch takes its share in a way chosen by name."""

    requires = (LogProb,)

    how: str

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        plain = -p.log_prob(targets.candidates()).squeeze(1)
        if "drawn" in self.how:
            plain = plain * torch.rand(len(targets), generator=context.generator, dtype=plain.dtype)
        if "by length" in self.how:
            return Losses(plain * (targets.lengths + 1) / (targets.lengths + 1.0).mean())
        return Losses(plain - 0.5 * plain.mean() if "centred" in self.how else plain)


@pytest.mark.parametrize("how", ["by length", "centred"])
def test_an_objective_whose_losses_depend_on_other_examples_is_told_so(how: str) -> None:
    with pytest.raises(AssertionError, match=r"must not depend on the other examples of the batch, but together they"):
        check_objective(Mixing(how=how), models=QUICK)
    assert check_objective(Mixing(how=how), models=QUICK, apart=False) == tuple(QUICK)


def test_so_is_one_that_draws() -> None:
    with pytest.raises(AssertionError, match=r"but beside others of the same lengths that of example 0 is"):
        check_objective(Mixing(how="drawn, centred"), models=QUICK)
    assert check_objective(Mixing(how="drawn, centred"), models=QUICK, apart=False) == tuple(QUICK)
    assert check_objective(Mixing(how="drawn"), models=QUICK) == tuple(QUICK)
