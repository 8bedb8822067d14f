"""Baselines, which are subtracted from returns to reduce the variance of a policy gradient without changing its mean.

To stay unbiased, a baseline may depend on the input, the reference and the *other* samples, never on the sample itself.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.distributions.protocols import Decode, Decoding, StepScores
from structpred.foreign import is_foreign
from structpred.objective import ObjectivePart
from structpred.registry import baselines
from structpred.returned import checked, described, refuse
from structpred.sequences import Sequences
from structpred.task import Sizes

Returns = Float[Tensor, "batch candidates steps"]


@dataclass(frozen=True)
class Group:
    """The samples of each example, and everything else a baseline may use.

    Attributes:
        p: the distribution they were drawn from.
        targets: the references, ``[batch, time]``.
        outputs: the samples, ``[batch, candidates, time]``.
        rewards: rewards of whole samples, ``[batch, candidates]``.
        returns: the reward of each sample from each step on, ``[batch, candidates, steps]``; one step if credit goes to
            whole outputs.
        mask: True at steps that a sample has.
        returns_of: computes the returns of other outputs from their rewards.
    """

    p: Any
    targets: Sequences
    outputs: Sequences
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
    """An estimate of a sample's return that does not depend on the sample.

    Attributes:
        least_samples: the number of samples per example that it needs.
    """

    family = baselines
    least_samples: ClassVar[int] = 1

    def state(self, sizes: Sizes) -> nn.Module | None:
        """A module for what it learns from step to step; None for nothing."""

    @abstractmethod
    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """The values to subtract; the candidate and step axes may have size 1.

        A gradient may reach the parameters of the state, for `loss`, but never p.
        """

    def loss(self, group: Group, values: Returns, state: nn.Module | None) -> Float[Tensor, " batch"] | None:
        """What trains the parameters of the state, added to the objective's loss; None for a state without any.

        Args:
            group: the samples.
            values: what `values` returned for them.
            state: the state.
        """

    def learn(self, group: Group, state: nn.Module | None) -> None:
        """Update the buffers of the state with the samples, after `values` and `loss` were used."""

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Float[Tensor, " batch"]]:
        """Diagnostics of the baseline."""
        del group, values
        return {}


def values_of(baseline: Baseline, group: Group, state: nn.Module | None) -> Returns:
    """`Baseline.values`, checked: one of another shape would be broadcast, and every sample get the wrong one.

    A baseline from outside the package is given copies, which it may write into.

    Raises:
        ConfigError: it is no tensor of floating-point numbers whose axes are those of the returns, or 1 but for batch.
    """
    what = f"{type(baseline).__name__}.values"
    found: object = baseline.values(_lent(group, baseline), state)
    shape = group.returns.shape
    fitting = isinstance(found, Tensor) and found.ndim == len(shape) and found.shape[0] == shape[0]
    if isinstance(found, Tensor) and not (
        fitting and all(size in (1, wanted) for size, wanted in zip(found.shape, shape, strict=True))
    ):
        expected = f"a tensor [batch, candidates, steps] of shape {tuple(shape)}"
        advice = "only candidates and steps may have size 1"
        refuse(what, expected, f"one of shape {tuple(found.shape)}", advice)
    shape = found.shape if isinstance(found, Tensor) else shape
    return checked(found, shape, what=what, axes="[batch, candidates, steps]", like=group.returns.device, finite=False)


def loss_of(
    baseline: Baseline, group: Group, values: Returns, state: nn.Module | None
) -> Float[Tensor, " batch"] | None:
    """`Baseline.loss`, checked.

    Raises:
        ConfigError: it is neither None nor one number for each example.
    """
    found: object = baseline.loss(_lent(group, baseline), values, state)
    if found is None:
        return None
    what, like = f"{type(baseline).__name__}.loss", group.returns.device
    return checked(found, group.rewards.shape[:1], what=what, axes="[batch]", like=like, finite=False)


def diagnostics_of(baseline: Baseline, group: Group, values: Returns) -> dict[str, Tensor]:
    """`Baseline.diagnostics`; what is in it is checked with the objective's own.

    Raises:
        ConfigError: it is no dictionary.
    """
    found: object = baseline.diagnostics(_lent(group, baseline), values)
    if not isinstance(found, dict):
        what, advice = f"{type(baseline).__name__}.diagnostics", "give each diagnostic a name"
        refuse(what, "a dictionary", described(found), advice)
    assert isinstance(found, dict)
    return found


def _lent(group: Group, baseline: Baseline) -> Group:
    """The group, and for a baseline from outside the package one whose numbers it may write into."""
    if not is_foreign(type(baseline)):
        return group
    return replace(group, rewards=group.rewards.clone(), returns=group.returns.clone(), mask=group.mask.clone())


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

    If all samples have the same return, the gradient is exactly 0. The mean over *all* samples would instead shrink the
    gradient to (k − 1)/k of the true one.
    """

    least_samples: ClassVar[int] = 2

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """(Σ_j R_j − R_k) / (k − 1), from differences to the first sample so that rounding cannot break a tie."""
        del state
        first = group.returns[:, :1]
        apart = group.returns - first
        return first + (apart.sum(1, keepdim=True) - apart) / (apart.shape[1] - 1)


@baselines.register("optimal-token")
@dataclass(frozen=True, kw_only=True)
class OptimalToken(Baseline):
    """Σ_j W_jt R_jt / Σ_j W_jt over an example's other samples j that have a step t: the baseline of least variance.

    Li et al. 2026, arXiv 2602.07078: the variance of a step's gradient is least where b_t = E[W_t R_t] / E[W_t], with
    W_t the squared norm of the gradient up to t. W_t = Σ_s≤t (1 − 2 p_s(y_s) + Σ_v p_s(v)²) is that norm in the logits,
    which stands for the norm in the weights. Credit for whole outputs takes W of the whole output (Weaver and Tao
    2001). Departure: the paper's mean contains the own sample, which is biased; ours leaves it out, and is 0 where no
    other sample has the step. With 2 samples it equals `LeaveOneOut` where both have the step. Where all others are so
    certain that their weights cannot be told from 0, their returns count equally.
    """

    version: ClassVar[int] = 2  # 1 took weights below 1e-7 for 0 in single precision, and the baseline with them

    requires = (StepScores,)
    instead = "baseline=LeaveOneOut()"

    least_samples: ClassVar[int] = 2

    @torch.no_grad()
    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """The weighted mean, from differences to the first sample so that rounding cannot break a tie."""
        del state
        weights = self._energy(group)
        others = 1 - torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
        first = group.returns[:, :1]
        whole = group.returns.shape[-1] == 1  # credit goes to whole outputs, which every sample has
        there = torch.ones_like(weights) if whole else group.mask.to(weights.dtype)

        def mean(of: Returns, instead: Returns) -> Returns:
            total = torch.einsum("bjs,kj->bks", of, others)
            apart = torch.einsum("bjs,kj->bks", of * (group.returns - first), others)
            return torch.where(total > 0, first + apart / torch.where(total > 0, total, 1.0), instead)

        return mean(weights, mean(there, torch.zeros_like(weights)))

    def _energy(self, group: Group) -> Returns:
        """W_t where the sample has the step, else 0."""
        steps = group.p.steps(group.outputs)
        p = steps.log_probs.exp().scatter(-1, steps.targets.unsqueeze(-1), 0.0)
        norms = p.sum(-1).square() + p.square().sum(-1)  # (1 - p(y))^2 is the first, without cancellation
        each = torch.where(steps.mask, norms, 0.0).to(group.returns.dtype)
        if group.returns.shape[-1] == 1 != each.shape[-1]:
            return each.sum(-1, keepdim=True)
        return torch.where(group.mask, pad_or_trim(each, group.returns.shape[-1]).cumsum(-1), 0.0)


@baselines.register("greedy")
@dataclass(frozen=True, kw_only=True)
class Greedy(Baseline):
    """The return of the greedy output, under the same dropout mask: self-critical training (Rennie et al. 2017).

    The published code decodes without dropout; any output chosen independently of the sample is valid.
    """

    requires = (Decode,)
    instead = "baseline=LeaveOneOut()"

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """The greedy output's returns, 0 after its end."""
        del state
        returns = group.returns_of(group.p.decode(Decoding(beam=1)).candidates())
        return pad_or_trim(returns, group.returns.shape[-1]).to(group.returns.dtype)

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Float[Tensor, " batch"]]:
        """``gap``: mean return of the samples minus that of the greedy output; far below 0 before learning."""
        return {"gap": (group.rewards - values[..., 0]).mean(1)}


def pad_or_trim(values: Float[Tensor, "batch candidates given"], steps: int) -> Returns:
    """The values, padded with zeros or truncated to ``steps``."""
    return pad(values, (0, max(0, steps - values.shape[-1])))[..., :steps]
