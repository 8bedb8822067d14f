"""What a payoff is."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from structpred.config import Config
from structpred.distributions.protocols import Sample
from structpred.payoffs.temperature import Temperature
from structpred.registry import payoffs
from structpred.rewards.base import Reward
from structpred.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Payoff(Config):
    """The exponentiated payoff distribution q(y|y*) ∝ exp(r(y, y*)/τ) (Norouzi et al. 2016, arXiv 1609.00150).

    Attributes:
        temperature: τ, in any of its conventions.
        distribution: the class of q; objectives are checked against its verbs.
        keeps_length: True where every draw is as long as its reference, so that a tagger can be trained on it.
    """

    family = payoffs
    distribution: ClassVar[type]
    keeps_length: ClassVar[bool]

    temperature: Temperature

    @property
    @abstractmethod
    def reward(self) -> Reward:
        """r: see the payoff's formula."""

    @abstractmethod
    def literal(self, labels: int) -> float:
        """τ as it stands in the formula, for V = ``labels``."""

    @abstractmethod
    def around(self, references: Sequences, labels: int) -> Sample:
        """q around each reference ``[batch, time]``, over the labels 0..``labels``−1 and nothing else."""
