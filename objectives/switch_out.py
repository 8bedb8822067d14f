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
    """An exact draw from q(x̂|x) ∝ exp(−Hamming(x̂, x)/τ) over the symbols known from training.

    Positions are independent, so leaving unknown symbols alone leaves the law of the others as it is.

    Args:
        inputs: x, ``[batch, time]``; ids of ``symbols`` and above are unknown ones.
        temperature: τ.
        symbols: number of known symbols.
        generator: source of randomness.

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

    Wang et al. 2018, arXiv 1808.07512. It is `RML` whose inputs are noised too: x̂ ∼ q(x̂|x) ∝ exp(−Hamming(x̂, x)/τ)
    over the input symbols known from training, one draw each step, for all draws of ŷ. Both laws are exact,
    where the published sampler does not count how many sequences there are at each distance, and meets the number of
    edits that it draws on average only. As both τ → 0 this is maximum likelihood.

    Attributes:
        source: τ of the noise on the input, in any of its conventions; V is the number of input symbols.
        target: q around the reference.
        estimator: how many draws are made of it.
    """

    requires = (LogProb,)
    exact: ClassVar[bool] = False  # both sides are drawn

    source: Temperature = Temperature(edit_rate=0.1)
    target: Payoff = HammingPayoff(temperature=Temperature(edit_rate=0.1))
    estimator: Sampled = Sampled(k=1)

    def check(self) -> None:
        """Refuse a payoff whose draws need weights."""
        if not issubclass(self.target.distribution_class, Sample):
            raise ConfigError(
                f"SwitchOut takes plain draws of its target payoff, but those of {type(self.target).__name__} have "
                "weights; use HammingPayoff, or RML with estimator=SelfNormalised(k=5)"
            )

    def check_model(self, model: Model) -> None:
        """Refuse inputs that are not symbols of a closed vocabulary, and a target noise that the model cannot take."""
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
        """The inputs with noise in them; symbols unknown from training are left alone.

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
        """As many as the estimator draws."""
        return self.estimator.drawn

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """Draws of ŷ around the targets."""
        return self._clean().draw(targets, num_labels, generator)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The mean of −log p(ŷ|x̂) over the draws of ŷ; p has read x̂. The diagnostic is that of `RML`."""
        return self._clean().losses(p, targets, context)

    def _clean(self) -> RML:
        """The same noise on the target's side alone."""
        return RML(payoff=self.target, estimator=self.estimator)
