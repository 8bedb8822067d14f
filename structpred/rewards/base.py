"""What a reward is."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from structpred.config import Config
from structpred.registry import rewards
from structpred.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Reward(Config):
    """r(y, y*): one number per candidate, higher is better.

    A class of your own needs `score` and a name
    (``@rewards.register("mine")``).

    Attributes:
        decomposes: True where r is a sum over positions of outputs as long as the reference.
    """

    family = rewards
    decomposes: ClassVar[bool] = False

    @abstractmethod
    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The reward of each candidate.

        Args:
            outputs: ``[batch, candidates, time]``.
            references: ``[batch, time]``, or ``[batch, references, time]`` of which the best counts.
        """
