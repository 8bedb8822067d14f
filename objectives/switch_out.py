"""SwitchOut: payoff noise on both sides."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from structpred.distributions.protocols import LogProb, Sample
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.estimators import Sampled
from structpred.objectives.reward_augmented import RML
from structpred.payoffs import HammingPayoff, Payoff, Temperature
from structpred.registry import objectives
from structpred.sequences import Sequences


def switched(inputs: Sequences, temperature: Temperature, symbols: int, generator: torch.Generator | None) -> Sequences:
    """An exact sample from q(x̂|x) ∝ exp(−Hamming(x̂, x)/τ) over the symbols known from training.

    Positions are independent, so keeping unknown symbols does not affect the distribution of the others.

    Args:
        inputs: x, ``[batch, time]``; ids from ``symbols`` on stand for unknown symbols.
        temperature: τ.
        symbols: number of known symbols.
        generator: source of randomness.

    Examples:
        >>> cold = Temperature(literal=1e-3)
        >>> switched(Sequences.of([[0, 1, 9]]), cold, 3, None).labels.tolist()
        [[0, 1, 9]]
    """
    drawn = HammingPayoff(temperature=temperature).distribution(inputs, symbols).sample(1, generator).labels.squeeze(1)
    return Sequences(torch.where(inputs.labels < symbols, drawn, inputs.labels), inputs.lengths)


@objectives.register("switch-out")
@dataclass(frozen=True, kw_only=True)
class SwitchOut(Objective):
    """E[−log p(ŷ|x̂)] with noise from a payoff on both sides: x̂ around the input, ŷ around the reference, in nats.

    Wang et al. 2018, arXiv 1808.07512. It is `RML` with noise on the inputs too: x̂ ∼ q(x̂|x) ∝ exp(−Hamming(x̂, x)/τ)
    over the input symbols known from training, sampled once per step and shared by all samples of ŷ. Both distributions
    are exact, whereas the published sampler ignores how many sequences there are at each distance, and makes the
    sampled number of edits only on average. As both τ → 0 this becomes maximum likelihood.

    Attributes:
        source: τ of the noise on the input, in any of its conventions; V is the number of input symbols.
        target: q around the reference.
        estimator: how many samples of it are drawn.
    """

    requires = (LogProb,)
    exact: ClassVar[bool] = False  # both sides are sampled

    source: Temperature = Temperature(edit_rate=0.1)
    target: Payoff = HammingPayoff(temperature=Temperature(edit_rate=0.1))
    estimator: Sampled = Sampled(k=1)

    def check(self) -> None:
        """Refuse a payoff whose samples need weights."""
        if not issubclass(self.target.distribution_class, Sample):
            raise ConfigError(
                f"SwitchOut needs plain samples of its target payoff, but those of {type(self.target).__name__} have "
                "weights; use HammingPayoff, or RML with estimator=SelfNormalised(k=5)"
            )

    def check_model(self, model: Model) -> None:
        """Refuse inputs that are not symbols of a closed vocabulary, and target noise that the model cannot use."""
        super().check_model(model)
        self._clean().check_model(model)
        encoder = model.encoder()
        if encoder.open_vocabulary:
            raise ConfigError(
                f"SwitchOut swaps input symbols for others of a known vocabulary, but {type(encoder).__name__} of "
                f"{type(model).__name__} reads an open one; use inputs=SymbolEmbedding(), or RML, which leaves inputs "
                "alone"
            )

    def corrupt(self, inputs: Sequences, symbols: int, generator: torch.Generator | None) -> Sequences:
        """The inputs with noise; symbols unknown from training are kept.

        Raises:
            ConfigError: the inputs are not symbols.
        """
        if inputs.content != "symbols":
            raise ConfigError(
                f"SwitchOut swaps symbols, so inputs must be symbols, but got {inputs.content}; use RML, which leaves "
                "inputs alone"
            )
        return switched(inputs, self.source, symbols, generator)

    @property
    def drawn(self) -> int:
        """The number of samples that the estimator draws."""
        return self.estimator.drawn

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """Samples of ŷ around the targets."""
        return self._clean().draw(targets, num_labels, generator)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The mean of −log p(ŷ|x̂) over the samples of ŷ; p has read x̂. Diagnostics as in `RML`."""
        return self._clean().losses(p, targets, context)

    def _clean(self) -> RML:
        """The same objective with noise on the target side only."""
        return RML(payoff=self.target, estimator=self.estimator)
