"""log Z and scores of a linear chain on CUDA, two kernels each: when they can be used, and their autograd functions."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions.forward_backward import ScaledMessages
from structpred.distributions.log_space import LogMessages

Messages = ScaledMessages | LogMessages

LABELS = 128
"""Maximum number of labels whose transition table fits into the registers of one program."""


def fits(unary: Float[Tensor, "batch time labels"], transitions: Float[Tensor, "labels labels"]) -> bool:
    """Whether the kernels support this chain: float32 on CUDA, at most `LABELS` labels, and Triton is installed."""
    return (
        unary.is_cuda
        and unary.dtype == transitions.dtype == torch.float32
        and 0 < unary.shape[2] <= LABELS
        and unary.shape[1] > 0
        and installed()
    )


@cache
def installed() -> bool:
    """Whether Triton is installed, as it is with PyTorch for CUDA on Linux."""
    return find_spec("triton") is not None


def log_partition(
    unary: Float[Tensor, "batch time labels"],
    transitions: Float[Tensor, "labels labels"],
    lengths: Int[Tensor, " batch"],
    otherwise: Callable[[Tensor, Tensor], Messages],
) -> Float[Tensor, " batch"]:
    """log Z in float64, twice differentiable, without waiting for the device.

    Args:
        unary: u.
        transitions: T, of any range; −inf forbids.
        lengths: the length of each output. A length beyond the padded time cannot be refused without waiting; its log Z
            is NaN.
        otherwise: computes messages from u and T, which are used if the gradient itself is differentiated
            (``create_graph``).
    """
    apply: Callable[..., Tensor] = _LogPartition.apply
    return apply(unary, transitions, lengths.contiguous(), otherwise)


def score(
    unary: Float[Tensor, "batch time labels"],
    transitions: Float[Tensor, "labels labels"],
    lengths: Int[Tensor, " batch"],
    outputs: Int[Tensor, "batch candidates given"],
    otherwise: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, "batch candidates"]:
    """The scores in float64 of outputs of the right length, twice differentiable, without waiting for the device.

    Args:
        unary: u.
        transitions: T.
        lengths: the length of each output.
        outputs: labels, which may be anything beyond a length. An invalid label cannot be refused without waiting; the
            score of its output is NaN.
        otherwise: computes the scores from u and T, which is done if the gradient itself is differentiated
            (``create_graph``).
    """
    apply: Callable[..., Tensor] = _Score.apply
    return apply(unary, transitions, lengths.contiguous(), outputs, otherwise)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        unary: Tensor,
        transitions: Tensor,
        lengths: Tensor,
        otherwise: Callable[[Tensor, Tensor], Messages],
    ) -> Tensor:
        from structpred.distributions import chain_kernels

        log_z, alpha = chain_kernels.forward(unary.contiguous(), transitions.contiguous(), lengths)
        ctx.save_for_backward(unary, transitions, lengths, alpha)
        ctx.otherwise = otherwise
        return log_z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from structpred.distributions import chain_kernels

        unary, transitions, lengths, alpha = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            log_z = ctx.otherwise(unary, transitions).log_partition()
            return (*_differentiable(log_z, (unary, transitions), gradients), None, None)
        marginals, pairs = chain_kernels.backward(
            unary.contiguous(), transitions.contiguous(), lengths, alpha, gradients[0].float()
        )
        return marginals, pairs, None, None


class _Score(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        unary: Tensor,
        transitions: Tensor,
        lengths: Tensor,
        outputs: Tensor,
        otherwise: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        from structpred.distributions import chain_kernels

        outputs = outputs.contiguous()
        ctx.save_for_backward(unary, transitions, lengths, outputs)
        ctx.otherwise = otherwise
        return chain_kernels.score(unary.contiguous(), transitions.contiguous(), lengths, outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from structpred.distributions import chain_kernels

        unary, transitions, lengths, outputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            found = _differentiable(ctx.otherwise(unary, transitions), (unary, transitions), gradients)
        else:
            found = chain_kernels.score_backward(gradients[0].contiguous(), unary, transitions, lengths, outputs)
        return (*found, None, None, None)


def _differentiable(
    values: Tensor, leaves: tuple[Tensor, Tensor], gradients: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    """The gradients to the leaves, with a graph of their own; None for a leaf that wants none."""
    wanted = [each for each in leaves if each.requires_grad]
    found = iter(torch.autograd.grad(values, wanted, gradients, create_graph=True, allow_unused=True))
    return tuple(next(found) if each.requires_grad else None for each in leaves)
