"""Recurrent encoder-decoder with attention."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from structpred.config import Count, Fraction, Interval, Positive
from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Distribution
from structpred.errors import ConfigError
from structpred.models.base import Model
from structpred.models.decoder import BoundDecoder
from structpred.models.encoder import RecurrentEncoder, locked_dropout
from structpred.models.inputs import InputEncoder, SymbolEmbedding
from structpred.registry import models
from structpred.sequences import Inputs
from structpred.task import Sizes


@models.register("seq2seq")
@dataclass(frozen=True, kw_only=True)
class Seq2Seq(Model):
    """LSTM encoder-decoder with attention after the recurrent pass (Luong et al. 2015, arXiv 1508.04025, section 3).

    The decoder's LSTM reads labels only (no input feeding), so that scoring a whole output is one fused call.
    Attention is scaled dot product over the encoder's states.

    Attributes:
        inputs: what the encoder sees at every position.
        embedding: size of embeddings of output labels, and of input symbols.
        hidden: size of the decoder's state, and of the two directions of the encoder together; even.
        encoder_layers, decoder_layers: number of recurrent layers.
        dropout: rate on embeddings, encoder outputs and the decoder's read-out; masks are shared over time.
        tied: use the output embeddings as the output layer (Press and Wolf 2017).
        length_ratio, length_extra: outputs are searched up to ratio · input length + extra labels.
    """

    distribution: ClassVar[type[Distribution]] = Autoregressive

    inputs: InputEncoder = SymbolEmbedding()
    embedding: Count = 128
    hidden: Annotated[int, Interval(least=2)] = 256
    encoder_layers: Count = 1
    decoder_layers: Count = 1
    dropout: Fraction = 0.3
    tied: bool = False
    length_ratio: Positive = 2.0
    length_extra: Count = 10

    def check(self) -> None:
        """Refuse an odd state size, which two directions cannot share."""
        if self.hidden % 2:
            raise ConfigError(f"Seq2Seq.hidden must be even (each direction gets half of it), but got {self.hidden}")

    def encoder(self) -> InputEncoder:
        """How inputs are read."""
        return self.inputs

    def build(self, sizes: Sizes) -> "Seq2SeqModule":
        """The network for the given numbers of input symbols and labels."""
        return Seq2SeqModule(self, sizes)


class Seq2SeqModule(nn.Module):
    """The network of `Seq2Seq`; called on inputs, it returns p(·|x)."""

    def __init__(self, model: Seq2Seq, sizes: Sizes) -> None:
        super().__init__()
        self.model, self.labels = model, sizes.labels
        hidden, read_out = model.hidden, model.embedding if model.tied else model.hidden
        self.encoder = RecurrentEncoder(
            model.inputs.build(sizes, model.embedding),
            hidden=hidden // 2,
            layers=model.encoder_layers,
            dropout=model.dropout,
            end_mark=True,
        )
        # As an input, symbol V is the start; as an output, the end: the same row when tied.
        self.embedding = nn.Embedding(sizes.labels + 1, model.embedding)
        nn.init.normal_(self.embedding.weight, std=model.embedding**-0.5)
        self.bridge = nn.Linear(hidden, 2 * model.decoder_layers * hidden)
        self.recurrent = nn.LSTM(model.embedding, hidden, model.decoder_layers, batch_first=True)
        self.keys = nn.Linear(hidden, hidden, bias=False)
        self.combine = nn.Linear(2 * hidden, read_out)
        self.output = nn.Linear(read_out, sizes.labels + 1)
        if model.tied:
            self.output.weight = self.embedding.weight

    def forward(self, inputs: Inputs) -> Autoregressive:
        """p(·|x) for inputs ``[batch, time]``."""
        encoded = self.encoder(inputs)
        batch, layers, hidden = len(inputs.lengths), self.model.decoder_layers, self.model.hidden
        initial = self.bridge(encoded.summary).tanh().view(batch, 1, 2, layers, hidden)
        padding = torch.zeros_like(encoded.mask, dtype=initial.dtype)
        examples = torch.arange(batch, device=initial.device)
        decoder = BoundDecoder(
            network=self,
            labels=self.labels,
            limits=(inputs.lengths * self.model.length_ratio).long() + self.model.length_extra,
            keys=self.keys(encoded.memory).transpose(1, 2) / hidden**0.5,
            values=functional.linear(encoded.memory, self.combine.weight[:, hidden:]),
            padding=padding.masked_fill(~encoded.mask, -torch.inf).unsqueeze(1),
            initial=(initial[:, :, 0], initial[:, :, 1], examples.view(batch, 1, 1, 1)),
            input_dropout=self._mask(batch, self.model.embedding),
            read_out_dropout=self._mask(batch, self.combine.out_features),
        )
        return Autoregressive(decoder)

    def _mask(self, batch: int, features: int) -> Float[Tensor, "batch 1 features"] | None:
        """A dropout mask for each example; None where nothing is dropped."""
        if not (self.training and self.model.dropout):
            return None
        return locked_dropout(self, self.output.weight.new_empty(batch, 1, features), self.model.dropout)
