"""Baselines that learn: linear functions of features known before an output is drawn, fitted without gradients."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError
from structpred.objectives.baselines import Baseline, Group, Returns
from structpred.registry import baselines
from structpred.running import Running
from structpred.task import Sizes
from structpred.values import Fraction

IMPOSSIBLE = -1e3
"""The value in nats that replaces −∞ in features."""


class Fit(Running):
    """Least squares with exponential forgetting, in closed form: w minimises Σ decay^age (return − w·φ)².

    It has buffers and no parameters, so it affects neither the model's gradient nor the norm used for clipping.

    Args:
        features: size of φ.
        decay: the factor by which old data fade at each step.
    """

    gram: Tensor
    moments: Tensor

    def __init__(self, features: int, decay: float) -> None:
        super().__init__(features * (features + 1) + 1)
        self.decay = decay
        self.register_buffer("gram", torch.zeros(features, features, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(features, dtype=torch.float64))

    def weights(self) -> Float[Tensor, " features"]:
        """The minimum-norm w; 0 before the first update."""
        inverse: Tensor = torch.linalg.pinv(self.gram, hermitian=True, rtol=1e-9)
        return inverse @ self.moments

    @torch.no_grad()
    def take_in(self, features: Float[Tensor, "rows features"], returns: Float[Tensor, " rows"]) -> None:
        """Fade old data and add the new, as a mean over rows; does nothing in evaluation mode."""
        phi = features.double()
        rows = phi.new_full((1,), len(phi))
        self.add(torch.cat([(phi.T @ phi).flatten(), phi.T @ returns.double(), rows]))

    def fade_in(self, sums: Float[Tensor, " numbers"]) -> None:
        """Take in Σ φφᵀ, Σ return · φ and the number of rows; a step without rows changes nothing."""
        means, size = sums[:-1] / sums[-1].clamp(min=1), self.gram.numel()
        kept = torch.where(sums[-1] > 0, self.decay, 1.0)
        self.gram.mul_(kept).add_(means[:size].view_as(self.gram), alpha=1 - self.decay)
        self.moments.mul_(kept).add_(means[size:], alpha=1 - self.decay)


@dataclass(frozen=True, kw_only=True)
class Fitted(Baseline):
    """A linear function of features that do not depend on the sample, fitted to the returns of earlier steps.

    Attributes:
        decay: the factor by which old data fade at each step.
    """

    size: ClassVar[int]

    decay: Fraction = 0.99

    @abstractmethod
    def features(self, group: Group) -> Float[Tensor, "batch steps features"]:
        """φ."""

    def state(self, sizes: Sizes) -> nn.Module:
        """The fit, as buffers of a fixed size."""
        del sizes
        return Fit(self.size, self.decay)

    @torch.no_grad()
    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """w·φ, equal for all samples of an example."""
        weights = self._fit(state).weights()
        return (self.features(group).double() @ weights).unsqueeze(1).to(group.returns.dtype)

    def learn(self, group: Group, state: nn.Module | None) -> None:
        """Update the fit with all steps of all samples."""
        features = self.features(group).unsqueeze(1).expand(*group.returns.shape, self.size)
        self._fit(state).take_in(features[group.mask], group.returns[group.mask])

    def _fit(self, state: nn.Module | None) -> Fit:
        if not isinstance(state, Fit):
            raise ConfigError(f"{type(self).__name__} needs its learned state: pass state=objective.state(sizes)")
        return state


@baselines.register("running-mean")
@dataclass(frozen=True, kw_only=True)
class RunningMean(Fitted):
    """An exponential moving average of earlier returns, without the bias towards 0 of an average that starts at 0."""

    size: ClassVar[int] = 1

    def features(self, group: Group) -> Float[Tensor, "batch steps features"]:
        """1."""
        batch, _, steps = group.returns.shape
        return group.returns.new_ones(batch, steps, 1)


@baselines.register("learned")
@dataclass(frozen=True, kw_only=True)
class Learned(Fitted):
    """A linear critic of 1, the reference's length, log p(y*|x) and the position in the output."""

    requires = (LogProb,)
    instead = "baseline=LeaveOneOut()"

    size: ClassVar[int] = 4

    def features(self, group: Group) -> Float[Tensor, "batch steps features"]:
        """1, m, log p(y*|x) and t."""
        batch, _, steps = group.returns.shape
        known = group.reference_log_prob.clamp(min=IMPOSSIBLE)
        lengths = group.targets.lengths.unsqueeze(1)
        time = torch.arange(steps, device=lengths.device).expand(batch, -1)
        columns = (torch.ones_like(known), lengths, known, time)
        return torch.stack([column.double().expand(batch, steps) for column in columns], -1)
