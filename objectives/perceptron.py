"""The structured perceptron."""

from dataclasses import dataclass

from structpred.distributions.protocols import Argmax, Score
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.max_margin import INSTEAD, Searched, margin
from structpred.registry import objectives
from structpred.sequences import Sequences


@objectives.register("perceptron")
@dataclass(frozen=True, kw_only=True)
class Perceptron(Objective):
    """max_y score(y) − score(y*), in nats: the structured hinge of `MaxMargin` without a cost (Collins 2002).

    The gradient is φ(ŷ) − φ(y*), with ŷ the prediction, and 0 once the reference is predicted. The published algorithm
    updates on one example at a time at a fixed rate and averages its weights; here the trainer takes the steps.
    """

    requires = (Argmax, Score)
    instead = INSTEAD

    def losses(self, p: Searched, targets: Sequences, context: StepContext) -> Losses:
        """The shortfall in score of each reference; the diagnostic is 1 if it is not predicted."""
        del context
        values = margin(p, p.argmax(), targets)
        return Losses(values, {"violated": (values.detach() > 0).to(values.dtype)})
