"""Maximum likelihood."""

from dataclasses import dataclass

from structpred.distributions.protocols import LogProb
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives
from structpred.sequences import Sequences


@objectives.register("maximum-likelihood")
@dataclass(frozen=True, kw_only=True)
class MaximumLikelihood(Objective):
    """−log p(y*|x), in nats: cross-entropy from a point mass, the τ → 0 limit of RML."""

    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        """−log p(y*|x) of each example."""
        del context
        return Losses(-p.log_prob(targets.candidates()).squeeze(1))
