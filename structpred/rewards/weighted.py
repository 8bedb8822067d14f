"""A weighted sum of rewards."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.config import Config
from structpred.errors import ConfigError
from structpred.registry import rewards
from structpred.rewards.base import Decomposable, Incremental, Reward, costs_of, increments_of, scores_of
from structpred.sequences import Sequences
from structpred.values import Positive


@dataclass(frozen=True, kw_only=True)
class WeightedReward(Config):
    """A part of a sum.

    Attributes:
        reward: the part.
        weight: what it is multiplied by; above 0, so that higher stays better.
    """

    reward: Reward
    weight: Positive = 1.0


@rewards.register("weighted")
@dataclass(frozen=True, kw_only=True)
class WeightedRewards(Reward):
    """r(y, y*) = Σ_i w_i r_i(y, y*), such as BLEU plus a little of a user's own function.

    It is a sum over positions where all parts are, says what each symbol adds where all parts do, and needs outputs as
    long as their references where any part does. Each part takes the best of several references for itself.

    Attributes:
        parts: the rewards with their weights.
    """

    parts: tuple[WeightedReward, ...]

    def check(self) -> None:
        """Refuse an empty sum."""
        if not self.parts:
            raise ConfigError("WeightedRewards needs at least one part, but got none; give it WeightedReward(reward=…)")
        own = {
            "decomposes": all(part.reward.decomposes for part in self.parts),
            "same_length": any(part.reward.same_length for part in self.parts),
            "pools_references": len(self.parts) > 1 or self.parts[0].reward.pools_references,
        }
        for name, value in own.items():  # a constant of other classes; of a sum its parts decide
            object.__setattr__(self, name, value)

    @property
    def asks_for_examples(self) -> bool:
        """True where a part asks."""
        return any(part.reward.asks_for_examples for part in self.parts)

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The weighted sum of the parts' rewards, in float64."""
        return self._sum([scores_of(each.reward, outputs, references, part=True).double() for each in self.parts])

    def __getattr__(self, name: str) -> Any:
        """``costs`` and ``increments``, which a sum has where all parts have them (`structpred.protocols`)."""
        if name == "costs" and all(isinstance(part.reward, Decomposable) for part in self.parts):
            return self._costs
        if name == "increments" and all(isinstance(part.reward, Incremental) for part in self.parts):
            return self._increments
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _costs(self, references: Sequences, labels: int) -> Float[Tensor, "batch time labels"]:
        found = [
            costs_of(each.reward, references, labels, part=True)
            for each in self.parts
            if isinstance(each.reward, Decomposable)
        ]
        return self._sum(found)

    def _increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        found = [
            increments_of(each.reward, outputs, references, part=True)
            for each in self.parts
            if isinstance(each.reward, Incremental)
        ]
        return self._sum(found)

    def _sum(self, values: list[Tensor]) -> Tensor:
        return reduce(torch.add, [part.weight * each for part, each in zip(self.parts, values, strict=True)])
