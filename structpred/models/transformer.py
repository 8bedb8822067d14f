"""Transformer encoder-decoder, and its decoder over one encoded batch, which keeps keys and values between steps."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Distribution
from structpred.distributions.search import State
from structpred.errors import ConfigError
from structpred.models.attention import DecoderLayer, EncoderLayer, Positions, linear, sinusoids
from structpred.models.base import Featurizer, Model, SymbolEmbedding, built
from structpred.models.encoder import locked_dropout, with_end
from structpred.models.seq2seq import LinearReadOut
from structpred.registry import models
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count, Fraction, Interval, LengthRatio


@models.register("transformer")
@dataclass(frozen=True, kw_only=True)
class Transformer(Model):
    """Transformer encoder-decoder (Vaswani et al. 2017, arXiv 1706.03762), normalised before each part of a layer.

    With the normalisation before (pre-norm; Xiong et al. 2020, arXiv 2002.04745) it trains without a warm-up.
    Positions are sinusoids: unlike learned ones they have no longest length, so that any output has a probability.

    Attributes:
        inputs: what the encoder sees at every position.
        hidden: size of the vector at every position, and of embeddings of output labels; even, a multiple of ``heads``.
        heads: parts of the vector that attend separately.
        feedforward: size of the hidden layer between two attentions.
        encoder_layers, decoder_layers: number of layers.
        dropout: rate on embeddings and on what every part of a layer adds; masks are shared over time.
        tied: use the output embeddings as the output layer (Press and Wolf 2017).
        length_ratio, length_extra: outputs are searched up to ratio · input length + extra labels.
    """

    distribution: ClassVar[type[Distribution]] = Autoregressive
    attends: ClassVar[bool] = True
    embedder: ClassVar[str] = "reader"

    inputs: Featurizer = SymbolEmbedding()
    hidden: Annotated[int, Interval(least=2)] = 256
    heads: Count = 4
    feedforward: Count = 1024
    encoder_layers: Count = 3
    decoder_layers: Count = 3
    dropout: Fraction = 0.3
    tied: bool = False
    length_ratio: LengthRatio = 2.0
    length_extra: Count = 10

    def check(self) -> None:
        """Refuse a size that neither heads nor sines and cosines can share."""
        if self.hidden % self.heads or self.hidden % 2:
            raise ConfigError(
                f"Transformer.hidden must be even and a multiple of heads, {self.heads} here (each gets an equal part "
                f"of it), but got {self.hidden}"
            )

    def build(self, sizes: Sizes) -> "TransformerModule":
        """The network for the given numbers of input symbols and labels."""
        return TransformerModule(self, sizes)


class TransformerModule(nn.Module):
    """The network of `Transformer`; called on inputs, it returns p(·|x)."""

    def __init__(self, model: Transformer, sizes: Sizes) -> None:
        super().__init__()
        self.model, self.num_labels, self.recompute = model, sizes.num_labels, False
        hidden, shape = model.hidden, (model.hidden, model.heads, model.feedforward)
        self.reader = built(model.inputs, sizes, hidden)
        # Whatever the size and scale of what the reader gives, positions are neither drowned nor drown it.
        size: int = self.reader.size  # type: ignore[assignment]  # nn.Module types every attribute as Tensor or Module
        self.scaled = nn.Sequential(nn.Linear(size, hidden), nn.LayerNorm(hidden))
        self.end = nn.Parameter(torch.randn(hidden))
        self.encoder = nn.ModuleList(EncoderLayer(*shape) for _ in range(model.encoder_layers))
        self.encoded = nn.LayerNorm(hidden)
        self.pairs = nn.ModuleList(linear(hidden, 2 * hidden, bias=False) for _ in range(model.decoder_layers))
        # As an input, symbol V is the start; as an output, the end: the same row when tied.
        self.embedding = nn.Embedding(sizes.num_labels + 1, hidden)
        nn.init.normal_(self.embedding.weight, std=hidden**-0.5)
        self.decoder = nn.ModuleList(DecoderLayer(*shape) for _ in range(model.decoder_layers))
        self.decoded = nn.LayerNorm(hidden)
        self.output = nn.Linear(hidden, sizes.num_labels + 1)
        if model.tied:
            self.output.weight = self.embedding.weight

    def checkpoint_activations(self) -> None:
        """Keep only what enters each layer for the gradient; see `structpred.models.base.Recomputable`."""
        self.recompute = True

    def through(self, layer: nn.Module, *arguments: Any) -> Any:
        """What a layer returns; where activations are computed again, for the gradient it keeps the arguments only.

        A layer draws nothing, as it is given the dropout masks, so no random state has to be kept either.
        """
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=False)
        return layer(*arguments)

    def forward(self, inputs: Sequences) -> Autoregressive:
        """p(·|x) for inputs ``[batch, time]``."""
        batch = len(inputs.lengths)
        memory, mask = self._encoded(inputs, self._masks(batch, 1 + EncoderLayer.parts * len(self.encoder)))
        return Autoregressive(
            BoundTransformer(
                network=self,
                num_labels=self.num_labels,
                limits=(inputs.lengths * self.model.length_ratio).long() + self.model.length_extra,
                memory=memory,
                mask=mask,
                dropout=self._masks(batch, 1 + DecoderLayer.parts * len(self.decoder)),
            )
        )

    def _encoded(
        self, inputs: Sequences, dropout: Float[Tensor, "batch parts hidden"] | None
    ) -> tuple[tuple[Float[Tensor, "batch positions pair"], ...], Bool[Tensor, "batch 1 1 positions"]]:
        """Keys and values of the input and its end for each layer of the decoder, and which positions are real."""
        padded = with_end(self.scaled(self.reader(inputs)), inputs.lengths, self.end)
        time = torch.arange(padded.shape[1], device=padded.device)
        mask = (time <= inputs.lengths.unsqueeze(1)).unsqueeze(1)
        positions = Positions.real(mask)
        vectors = positions.packed(padded + sinusoids(time, self.model.hidden).to(padded.dtype))
        vectors = positions.dropped(vectors, *masks_of(dropout, 0, 1))
        for number, layer in enumerate(self.encoder):
            masks = masks_of(dropout, 1 + EncoderLayer.parts * number, EncoderLayer.parts)
            vectors = self.through(layer, vectors, positions, mask.unsqueeze(1), masks)
        vectors = self.encoded(vectors)
        return tuple(positions.padded(pairs(vectors)) for pairs in self.pairs), mask.unsqueeze(1)

    def _masks(self, batch: int, parts: int) -> Float[Tensor, "batch parts hidden"] | None:
        """A dropout mask for each example and part of the network; None where nothing is dropped."""
        if not (self.training and self.model.dropout):
            return None
        like = self.end.new_empty(batch, 1, parts * self.model.hidden)
        return locked_dropout(self, like, self.model.dropout).view(batch, parts, self.model.hidden)


def masks_of(
    dropout: Float[Tensor, "batch parts hidden"] | None, first: int, count: int
) -> tuple[Float[Tensor, "batch hidden"] | None, ...]:
    """The masks of some parts one after another."""
    return (None,) * count if dropout is None else dropout[:, first : first + count].unbind(1)


@dataclass(frozen=True)
class BoundTransformer(LinearReadOut):
    """The decoder over one encoded batch, dropout masks included; see `structpred.distributions.search.Decoder`.

    Every tensor has batch first, so that `select` can take some of the examples. A state is, for each layer, the keys
    and values of all steps so far, ``[batch, candidates, time, 2 · hidden]``: a step computes nothing of earlier ones
    again. Those of the input are computed once, and all candidates of an example look into the same.

    Attributes:
        memory: for each layer the input's keys and values.
        mask: True at real positions of the input.
        dropout: a mask for each part of the decoder; None where nothing is dropped.
    """

    network: "TransformerModule"
    memory: tuple[Float[Tensor, "batch positions pair"], ...]
    mask: Bool[Tensor, "batch 1 1 positions"]
    dropout: Float[Tensor, "batch parts hidden"] | None

    @property
    def differentiable(self) -> bool:
        """True if bound with gradient."""
        return any(pairs.requires_grad for pairs in self.memory)

    def features(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted features"]:
        """What the output layer reads along given outputs, at some steps."""
        vectors, along = self._along(outputs, len(self.memory))
        vectors = along.padded(vectors).flatten(0, 1).index_select(0, positions)
        features: Tensor = self.network.decoded(vectors)
        return features

    def log_attention(self, outputs: Sequences) -> Float[Tensor, "batch candidates steps positions"]:
        """ln of the weights of the input's positions and of its end in the last layer, their mean over heads."""
        last = len(self.memory) - 1
        vectors, positions = self._along(outputs, last)
        masks = masks_of(self.dropout, 1 + DecoderLayer.parts * last, DecoderLayer.parts)
        layer = self.network.decoder[last]
        assert isinstance(layer, DecoderLayer)
        found = layer.log_attention(vectors, positions, self.memory[last], self.mask, masks)
        return found.view(positions.batch, positions.candidates, positions.steps, -1)

    def start(self, candidates: int) -> State:
        """The state before the first symbol: no step has been seen."""
        return tuple(pairs.new_empty(len(pairs), candidates, 0, pairs.shape[-1]) for pairs in self.memory)

    def advance(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates features"], State]:
        """What the output layer reads at the next step, and the new state."""
        batch, candidates = previous.shape
        time = torch.full((1,), state[0].shape[2], device=previous.device)
        past = tuple(part.flatten(0, 1) for part in state)
        vectors, after = self._advanced(previous.unsqueeze(2), Positions(batch, candidates, 1), past, time)
        features = self.network.decoded(vectors).view(batch, candidates, -1)
        return features, tuple(each.view(batch, candidates, *each.shape[1:]) for each in after)

    def _along(self, outputs: Sequences, layers: int) -> tuple[Float[Tensor, "tokens hidden"], Positions]:
        """The vectors at all steps of given outputs after the first few layers."""
        previous = functional.pad(outputs.labels, (1, 0), value=self.num_labels)
        time = torch.arange(previous.shape[2], device=previous.device)
        positions = Positions.real(time <= outputs.lengths.unsqueeze(-1))
        return self._advanced(previous, positions, (None,) * layers, time)[0], positions

    def _advanced(
        self,
        previous: Int[Tensor, "batch candidates steps"],
        positions: Positions,
        past: tuple[Float[Tensor, "rows time pair"] | None, ...],
        time: Int[Tensor, " steps"],
    ) -> tuple[Float[Tensor, "tokens hidden"], list[Float[Tensor, "rows seen pair"]]]:
        """The vectors after as many layers as have a past, and the keys and values that each of them has seen."""
        network, hidden = self.network, self.network.model.hidden
        embedded = network.embedding(previous) * hidden**0.5
        vectors = positions.packed((embedded + sinusoids(time, hidden).to(embedded.dtype)).flatten(0, 1))
        vectors = positions.dropped(vectors, *masks_of(self.dropout, 0, 1))
        seen = []
        for number, (layer, before, memory) in enumerate(zip(network.decoder, past, self.memory, strict=False)):
            masks = masks_of(self.dropout, 1 + DecoderLayer.parts * number, DecoderLayer.parts)
            vectors, pairs = network.through(layer, vectors, positions, before, memory, self.mask, masks)
            seen.append(pairs)
        return vectors, seen

    def select(self, examples: Int[Tensor, " kept"]) -> "BoundTransformer":
        """The same decoder for some of the examples."""
        return replace(
            self,
            limits=self.limits[examples],
            memory=tuple(pairs[examples] for pairs in self.memory),
            mask=self.mask[examples],
            dropout=None if self.dropout is None else self.dropout[examples],
        )
