"""Baselines: what a return is compared with. They lower the variance of a policy gradient and leave its mean alone.

For that they may depend on the input, the reference and the *other* samples, never on the sample itself.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.distributions.protocols import Decode, Decoding
from structpred.objective import ObjectivePart
from structpred.registry import baselines
from structpred.sequences import Sequences
from structpred.task import Sizes

Returns = Float[Tensor, "batch candidates steps"]


@dataclass(frozen=True)
class Group:
    """The samples of each example, and whatever else a baseline may look at.

    Attributes:
        p: the distribution they were drawn from.
        targets: the references, ``[batch, time]``.
        rewards: of whole samples, ``[batch, candidates]``.
        returns: what each sample still earns from each step on, ``[batch, candidates, steps]``; one step where
            credit goes to whole outputs.
        mask: True at steps that a sample has.
        returns_of: the returns of other outputs, from their rewards alone.
    """

    p: Any
    targets: Sequences
    rewards: Float[Tensor, "batch candidates"]
    returns: Returns
    mask: Bool[Tensor, "batch candidates steps"]
    returns_of: Callable[[Sequences], Float[Tensor, "batch others given"]]

    @cached_property
    def reference_log_prob(self) -> Float[Tensor, "batch 1"]:
        """log p(y*|x), without gradient."""
        with torch.no_grad():
            known: Tensor = self.p.log_prob(self.targets.candidates())
        return known


@dataclass(frozen=True, kw_only=True)
class Baseline(ObjectivePart):
    """A way to guess the return of a sample without looking at it.

    Attributes:
        least_samples: how many samples of each example it takes.
    """

    family = baselines
    least_samples: ClassVar[int] = 1

    def state(self, sizes: Sizes) -> nn.Module | None:
        """What it learns from one step for the next; None for nothing."""

    @abstractmethod
    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """What to subtract, detached; candidates and steps may be one for all."""

    def learn(self, group: Group, state: nn.Module | None) -> None:
        """Take in the samples, after their values were used."""

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Float[Tensor, " batch"]]:
        """What it can tell beside the values."""
        del group, values
        return {}


@baselines.register("none")
@dataclass(frozen=True, kw_only=True)
class NoBaseline(Baseline):
    """0: the bare score-function estimator (Williams 1992)."""

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """0."""
        del state
        return torch.zeros_like(group.returns)


@baselines.register("leave-one-out")
@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Baseline):
    """The mean return of an example's other samples (Kool et al. 2019); a sample that has ended earns 0.

    Where all samples earn the same the gradient is exactly 0. The mean over *all* samples would instead shrink the
    gradient to (k − 1)/k of the true one.
    """

    least_samples: ClassVar[int] = 2

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """(Σ_j R_j − R_k) / (k − 1), as differences to the first sample so that rounding cannot break a tie."""
        del state
        first = group.returns[:, :1]
        apart = group.returns - first
        return first + (apart.sum(1, keepdim=True) - apart) / (apart.shape[1] - 1)


@baselines.register("greedy")
@dataclass(frozen=True, kw_only=True)
class Greedy(Baseline):
    """The return of the greedy output, under the same dropout mask: self-critical training (Rennie et al. 2017).

    The published code decodes without dropout; any output chosen without looking at the sample will do.
    """

    requires = (Decode,)
    instead = "baseline=LeaveOneOut()"

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """The greedy output's returns, 0 after its end."""
        del state
        returns = group.returns_of(group.p.decode(Decoding(beam=1)).candidates())
        return pad_or_trim(returns, group.returns.shape[-1]).to(group.returns.dtype)

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Float[Tensor, " batch"]]:
        """``gap``: by how much the mean sample earns more than the greedy output; far below 0 before learning."""
        return {"gap": (group.rewards - values[..., 0]).mean(1)}


def pad_or_trim(values: Float[Tensor, "batch candidates given"], steps: int) -> Returns:
    """Padded with zeros or cut to ``steps``."""
    return pad(values, (0, max(0, steps - values.shape[-1])))[..., :steps]
