"""Maximum likelihood."""

from dataclasses import dataclass

from structpred.distributions.protocols import LogProb
from structpred.objective import Given, Losses, Need, Objective
from structpred.registry import objectives
from structpred.sequences import Sequences


@objectives.register("maximum-likelihood")
@dataclass(frozen=True, kw_only=True)
class MaximumLikelihood(Objective):
    """−log p(y*|x), in nats: cross-entropy from a point mass, the τ → 0 limit of RML."""

    def needs(self) -> tuple[Need, ...]:
        """``log_prob``."""
        return (Need(LogProb, "MaximumLikelihood"),)

    def losses(self, p: LogProb, targets: Sequences, given: Given) -> Losses:
        """−log p(y*|x) of each example."""
        del given
        return Losses(-p.log_prob(targets.candidates()).squeeze(1))
