"""Layers of a Transformer, normalised before each part, over the real positions of a padded batch."""

import contextlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

WORTH = 0.9
"""Padding is left out if less than this fraction of the positions is real, because packing takes time, too."""

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""The kernels of attention used on CUDA: cuDNN's plans anew for every shape, five sixths of a step on an H100."""


@dataclass(frozen=True)
class Positions:
    """The positions of a padded batch that layers compute: all of them, or the real ones, end to end.

    Attributes:
        batch: examples.
        candidates: outputs of each example; 1 for inputs.
        steps: positions of each, padding included.
        index: of the positions that are computed, among ``batch · candidates · steps``; None for all, in order.
    """

    batch: int
    candidates: int
    steps: int
    index: Int[Tensor, " tokens"] | None = None

    @classmethod
    def real(cls, mask: Bool[Tensor, "batch candidates steps"]) -> "Positions":
        """Those where the mask is True; on a device, which would have to synchronise, all."""
        shape = mask.shape[0], mask.shape[1], mask.shape[2]
        if mask.device.type != "cpu":
            return cls(*shape)
        index = mask.flatten().nonzero().squeeze(1)
        return cls(*shape, index if len(index) < WORTH * mask.numel() else None)

    def packed(self, padded: Float[Tensor, "rows steps size"]) -> Float[Tensor, "tokens size"]:
        """The vectors at these positions."""
        every = padded.flatten(0, -2)
        return every if self.index is None else every.index_select(0, self.index)

    def padded(self, packed: Float[Tensor, "tokens size"]) -> Float[Tensor, "rows steps size"]:
        """A row for each output, with zeros elsewhere."""
        shape = self.batch * self.candidates, self.steps, packed.shape[-1]
        if self.index is None:
            return packed.view(shape)
        return packed.new_zeros(math.prod(shape[:2]), shape[2]).index_copy(0, self.index, packed).view(shape)

    def dropped(
        self, vectors: Float[Tensor, "tokens size"], mask: Float[Tensor, "batch size"] | None
    ) -> Float[Tensor, "tokens size"]:
        """The vectors under the dropout mask of their example, or as they are without one."""
        if mask is None:
            return vectors
        if self.index is None:
            each = vectors.view(self.batch, self.candidates * self.steps, vectors.shape[-1])
            return (each * mask.unsqueeze(1)).view_as(vectors)
        return vectors * mask.index_select(0, self.index // (self.candidates * self.steps))


def sinusoids(times: Int[Tensor, " steps"], size: int) -> Float[Tensor, "steps size"]:
    """Sines, then cosines, of each time at size / 2 frequencies from 1 down to 1/10,000.

    Vaswani et al. 2017, section 3.5, where sines and cosines alternate; the order means nothing to what is learned.
    """
    rates = torch.arange(size // 2, device=times.device) * (-math.log(10_000) / max(size // 2 - 1, 1))
    angles = times.unsqueeze(1) * rates.exp()
    return torch.cat([angles.sin(), angles.cos()], 1)


def linear(size: int, features: int, *, bias: bool = True) -> nn.Linear:
    """A layer that keeps the scale of its inputs, with Glorot and Bengio's uniform weights, and no bias yet."""
    layer = nn.Linear(size, features, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def attended(
    queries: Float[Tensor, "rows steps hidden"],
    pairs: Float[Tensor, "rows positions pair"],
    heads: int,
    *,
    mask: Bool[Tensor, "rows 1 1 positions"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "rows steps hidden"]:
    """Scaled dot-product attention of some heads.

    Args:
        queries: of every step.
        pairs: the keys and, behind them, the values of every position that may be seen.
        heads: equal parts of each vector that attend separately.
        mask: True at real positions; None where all are.
        causal: each query sees only its own position and earlier ones.
    """
    parts = [queries, *pairs.chunk(2, -1)]
    if slow := queries.device.type == "cpu" and queries.dtype == torch.bfloat16:
        parts = [part.float() for part in parts]  # PyTorch 2.13 takes 7 times as long for the gradient in bf16
    q, k, v = (part.view(*part.shape[:2], heads, part.shape[-1] // heads).transpose(1, 2) for part in parts)
    with (
        torch.autocast(queries.device.type, enabled=False) if slow else contextlib.nullcontext(),
        sdpa_kernel(KERNELS) if queries.is_cuda else contextlib.nullcontext(),
    ):
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return found.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Every position sees others of the same row."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.normalised = nn.LayerNorm(hidden)
        self.projected = linear(hidden, 3 * hidden, bias=False)  # that of keys would change nothing
        self.combined = linear(hidden, hidden)

    def forward(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        *,
        mask: Bool[Tensor, "rows 1 1 positions"] | None = None,
        past: Float[Tensor, "rows time pair"] | None = None,
    ) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "rows seen pair"]]:
        """What each position finds, and the keys and values of all that may be seen.

        Args:
            vectors: at the positions.
            positions: which these are.
            mask: True at real positions of the input; None where each position sees itself and earlier ones.
            past: keys and values of earlier positions, where one more position is given; None where all are.
        """
        projected = positions.padded(self.projected(self.normalised(vectors)))
        queries, pairs = projected[..., : self.hidden], projected[..., self.hidden :]
        seen = pairs if past is None else torch.cat([past, pairs], 1)
        found = attended(queries, seen, self.heads, mask=mask, causal=mask is None and past is None)
        return self.combined(positions.packed(found)), seen


class InputAttention(nn.Module):
    """Every position of an output sees the input, whose keys and values are computed once."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.normalised = nn.LayerNorm(hidden)
        self.queries = linear(hidden, hidden, bias=False)
        self.combined = linear(hidden, hidden)

    def forward(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        memory: Float[Tensor, "batch positions pair"],
        mask: Bool[Tensor, "batch 1 1 positions"],
    ) -> Float[Tensor, "tokens hidden"]:
        """What each position finds; all candidates of an example look into one copy of its memory."""
        queries = positions.padded(self.queries(self.normalised(vectors)))
        shape = positions.batch, positions.candidates * positions.steps, queries.shape[-1]
        queries = queries.reshape(shape)
        found: Tensor = self.combined(positions.packed(attended(queries, memory, self.heads, mask=mask)))
        return found

    def log_weights(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        memory: Float[Tensor, "batch positions pair"],
        mask: Bool[Tensor, "batch 1 1 positions"],
    ) -> Float[Tensor, "batch steps positions"]:
        """ln of the weights that each position gives the positions of the input, their mean over heads."""
        batch, heads = positions.batch, self.heads
        queries = positions.padded(self.queries(self.normalised(vectors))).reshape(
            batch, -1, heads, memory.shape[2] // 2 // heads
        )
        keys = memory.chunk(2, -1)[0].view(batch, memory.shape[1], heads, -1)
        scores: Tensor = torch.einsum("bshd,bphd->bhsp", queries, keys) / queries.shape[-1] ** 0.5
        return scores.masked_fill(~mask, -torch.inf).log_softmax(-1).logsumexp(1) - math.log(heads)


class FeedForward(nn.Sequential):
    """One hidden layer of rectified linear units, the same at every position."""

    def __init__(self, hidden: int, features: int) -> None:
        super().__init__(nn.LayerNorm(hidden), linear(hidden, features), nn.ReLU(), linear(features, hidden))


class EncoderLayer(nn.Module):
    """Every position of the input sees every other, then goes through a feed-forward network."""

    parts = 2

    def __init__(self, hidden: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.itself, self.feedforward = SelfAttention(hidden, heads), FeedForward(hidden, feedforward)

    def forward(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        mask: Bool[Tensor, "batch 1 1 positions"],
        dropout: tuple[Float[Tensor, "batch hidden"] | None, ...],
    ) -> Float[Tensor, "tokens hidden"]:
        """One layer on. ``dropout`` has a mask for each of its ``parts``."""
        found, _ = self.itself(vectors, positions, mask=mask)
        vectors = vectors + positions.dropped(found, dropout[0])
        return vectors + positions.dropped(self.feedforward(vectors), dropout[1])


class DecoderLayer(nn.Module):
    """Every step sees itself and earlier ones, then the input, then goes through a feed-forward network."""

    parts = 3

    def __init__(self, hidden: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.itself, self.input = SelfAttention(hidden, heads), InputAttention(hidden, heads)
        self.feedforward = FeedForward(hidden, feedforward)

    def forward(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        past: Float[Tensor, "rows time pair"] | None,
        memory: Float[Tensor, "batch positions pair"],
        mask: Bool[Tensor, "batch 1 1 positions"],
        dropout: tuple[Float[Tensor, "batch hidden"] | None, ...],
    ) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "rows seen pair"]]:
        """One layer on, and the keys and values of all steps that have been seen.

        Args:
            vectors: of all steps of given outputs, or of one more step.
            positions: which these are.
            past: keys and values of the steps before, of which there may be none; None where all steps are given.
            memory: the input's keys and values.
            mask: True at real positions of the input.
            dropout: a mask for each of the ``parts``.
        """
        vectors, seen = self.looked_back(vectors, positions, past, dropout[0])
        vectors = vectors + positions.dropped(self.input(vectors, positions, memory, mask), dropout[1])
        return vectors + positions.dropped(self.feedforward(vectors), dropout[2]), seen

    def looked_back(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        past: Float[Tensor, "rows time pair"] | None,
        dropout: Float[Tensor, "batch hidden"] | None,
    ) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "rows seen pair"]]:
        """The first part of the layer alone."""
        found, seen = self.itself(vectors, positions, past=past)
        return vectors + positions.dropped(found, dropout), seen

    def log_attention(
        self,
        vectors: Float[Tensor, "tokens hidden"],
        positions: Positions,
        memory: Float[Tensor, "batch positions pair"],
        mask: Bool[Tensor, "batch 1 1 positions"],
        dropout: tuple[Float[Tensor, "batch hidden"] | None, ...],
    ) -> Float[Tensor, "batch steps positions"]:
        """ln of the weights of the input's positions where all steps are given; see `InputAttention.log_weights`."""
        vectors, _ = self.looked_back(vectors, positions, None, dropout[0])
        return self.input.log_weights(vectors, positions, memory, mask)
