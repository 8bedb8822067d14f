"""log Z of a linear chain, its marginals and expectations, as autograd functions with gradients in closed form.

log Z is twice differentiable; its gradient (the marginals) and expectations of scores are differentiable once. Autograd
does not record single operations: a gradient costs one backward recursion, and the gradient of that two more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from structpred.distributions import scaled_messages as scaled
from structpred.distributions.layout import Packing, without_autocast

Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class ScaledMessages:
    """A chain whose transitions span at most `scaled_messages.widest`.

    Attributes:
        unary: u, ``[batch, time, labels]``, float32 or float64.
        transitions: T, of the same dtype.
        packing: the layout of the batch.
    """

    unary: Float[Tensor, "batch time labels"]
    transitions: Float[Tensor, "labels labels"]
    packing: Packing

    def log_partition(self) -> Float[Tensor, " batch"]:
        """log Z in float64, twice differentiable."""
        result: Tensor = _apply(_LogPartition, self.unary, self.transitions, self.packing)
        return result

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p_t(v), 0 beyond each length, once differentiable."""
        one = self.unary.new_ones(len(self.unary), dtype=torch.float64)
        result: Tensor = _apply(_Expectations, self.unary, self.transitions, one, self.packing)[0]
        return result

    def expected_score(
        self, scores: Float[Tensor, "batch time labels"], pair_scores: Float[Tensor, "labels labels"]
    ) -> Float[Tensor, " batch"]:
        """E[Σ_t v_t(y_t) + Σ_t S(y_t, y_t+1)] in float64, once differentiable; S must be finite."""
        v, s = scores.to(self.unary.dtype), pair_scores.to(self.unary.dtype)
        result: Tensor = _apply(_ExpectedScore, self.unary, self.transitions, v, s, self.packing)
        return result

    def log_alpha(self) -> Float[Tensor, "rows labels"]:
        """ln of the total weight of all prefixes that end in a label, packed, each row up to a constant."""
        return scaled.forward(self.unary, self.transitions, self.packing).alpha.log()


def _apply(function: type[torch.autograd.Function], *arguments: object) -> Any:
    apply: Callable[..., Any] = function.apply
    return apply(*arguments)


class _LogPartition(torch.autograd.Function):
    """log Z. Its gradient is recomputed as `_Expectations` only if that is to be differentiated again."""

    @staticmethod
    def forward(ctx: Any, unary: Tensor, transitions: Tensor, packing: Packing) -> Tensor:
        with without_autocast(unary.device):
            there = scaled.forward(unary, transitions, packing)
        ctx.packing = packing
        messages = (there.weights, there.potentials, there.alpha, there.scales, there.log_partition)
        ctx.save_for_backward(unary, transitions, *messages)
        return there.log_partition

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        unary, transitions, *messages = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            return (*_apply(_Expectations, unary, transitions, gradients[0], ctx.packing), None)
        with without_autocast(unary.device):
            there = scaled.Forward(*messages)
            means = scaled.expectations(there, scaled.backward(there, ctx.packing), gradients[0], ctx.packing)
        return means.unary, means.transitions, None


class _Expectations(torch.autograd.Function):
    """(w_b p_t(v), Σ_b w_b Σ_t P_t(i, j)): the gradient of Σ_b w_b log Z_b."""

    @staticmethod
    def forward(
        ctx: Any, unary: Tensor, transitions: Tensor, weights: Tensor, packing: Packing
    ) -> tuple[Tensor, Tensor]:
        with without_autocast(unary.device):
            there = scaled.forward(unary, transitions, packing)
            means = scaled.expectations(there, scaled.backward(there, packing), weights, packing)
        ctx.packing = packing
        ctx.save_for_backward(unary, transitions, weights)
        return means.unary, means.transitions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        unary, transitions, weights = ctx.saved_tensors
        with without_autocast(unary.device):
            there = scaled.forward(unary, transitions, ctx.packing)
            back = scaled.backward(there, ctx.packing)
            along = scaled.direction(there, back, gradients[0], gradients[1], ctx.packing)
            moved = scaled.tangent(there, back, along, weights, ctx.packing)
        return moved.unary, moved.transitions, along.values.to(weights.dtype), None


class _ExpectedScore(torch.autograd.Function):
    """E[v, S], linear in the scores v and S. Its gradient: the marginals for these, the tangent for the chain."""

    @staticmethod
    def forward(
        ctx: Any, unary: Tensor, transitions: Tensor, scores: Tensor, pair_scores: Tensor, packing: Packing
    ) -> Tensor:
        with without_autocast(unary.device):
            there = scaled.forward(unary, transitions, packing)
            along = scaled.direction(there, scaled.backward(there, packing), scores, pair_scores, packing)
        ctx.packing = packing
        ctx.save_for_backward(unary, transitions, scores, pair_scores)
        return along.values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        unary, transitions, scores, pair_scores = ctx.saved_tensors
        (weights,) = gradients
        with without_autocast(unary.device):
            there = scaled.forward(unary, transitions, ctx.packing)
            back = scaled.backward(there, ctx.packing)
            means = scaled.expectations(there, back, weights, ctx.packing)
            if not any(ctx.needs_input_grad[:2]):
                return None, None, means.unary, means.transitions, None
            along = scaled.direction(there, back, scores, pair_scores, ctx.packing)
            moved = scaled.tangent(there, back, along, weights, ctx.packing)
        return moved.unary, moved.transitions, means.unary, means.transitions, None
