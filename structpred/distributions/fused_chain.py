"""log Z of a linear chain on CUDA in two kernels: when they can be used, and what autograd sees of them."""

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
"""The most labels whose table of pairs fits into the registers of one program."""


def fits(unary: Float[Tensor, "batch time labels"], transitions: Float[Tensor, "labels labels"]) -> bool:
    """Whether the kernels compute this chain: float32 on CUDA, of at most `LABELS` labels, and Triton is installed."""
    return (
        unary.is_cuda
        and unary.dtype == transitions.dtype == torch.float32
        and 0 < unary.shape[2] <= LABELS
        and unary.shape[1] > 0
        and installed()
    )


@cache
def installed() -> bool:
    """Whether Triton is there, as it is with PyTorch for CUDA on Linux."""
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
        lengths: of each output. One beyond the positions there are cannot be refused without waiting: its log Z is NaN.
        otherwise: makes messages of u and T, which are differentiated instead where the gradient is (``create_graph``).
    """
    apply: Callable[..., Tensor] = _LogPartition.apply
    return apply(unary, transitions, lengths, otherwise)


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
            wanted = [each for each in (unary, transitions) if each.requires_grad]
            found = iter(torch.autograd.grad(log_z, wanted, gradients, create_graph=True, allow_unused=True))
            return (*(next(found) if each.requires_grad else None for each in (unary, transitions)), None, None)
        marginals, pairs = chain_kernels.backward(
            unary.contiguous(), transitions.contiguous(), lengths, alpha, gradients[0].float()
        )
        return marginals, pairs, None, None
