"""Taggers of fixed length, over a bidirectional LSTM or none: one that labels every position by itself, and a chain."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torchcrf
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions.factorised import Factorised
from structpred.distributions.linear_chain import LinearChain
from structpred.distributions.protocols import Distribution
from structpred.errors import ConfigError
from structpred.models.base import Featurizer, Model, SymbolEmbedding, built
from structpred.models.encoder import RecurrentEncoder
from structpred.registry import models
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count, Fraction, Interval


@dataclass(frozen=True, kw_only=True)
class Tagger(Model):
    """What models have in common that score every label at every input position, by default by a bidirectional LSTM.

    Attributes:
        inputs: what the model sees at every position.
        embedding: size of the vectors that ``inputs`` is asked for.
        hidden: size of the two directions together; even.
        layers: number of bidirectional layers; with 0, the scores at a position are linear in the vector of that
            position and depend on no other.
        dropout: rate on the inputs' vectors and on every layer's output; masks are shared over time.
    """

    embedder: ClassVar[str] = "scores.encoder.reader"

    inputs: Featurizer = SymbolEmbedding()
    embedding: Count = 128
    hidden: Annotated[int, Interval(least=2)] = 256
    layers: Annotated[int, Interval(least=0)] = 1
    dropout: Fraction = 0.3

    def check(self) -> None:
        """Refuse an odd state size, which two directions cannot share, and one that no layer would have."""
        if not self.layers and self.hidden != type(self).hidden:
            raise ConfigError(
                f"{type(self).__name__}.hidden is the size of recurrent layers, but layers is 0; leave hidden out, or "
                "set the size of the inputs' vectors"
            )
        if self.hidden % 2:
            raise ConfigError(
                f"{type(self).__name__}.hidden must be even (each direction gets half of it), but got {self.hidden}"
            )


@models.register("lstm-tagger")
@dataclass(frozen=True, kw_only=True)
class LSTMTagger(Tagger):
    """A bidirectional LSTM and one softmax a position; labels are independent of each other given the input."""

    distribution: ClassVar[type[Distribution]] = Factorised

    def build(self, sizes: Sizes) -> nn.Module:
        """The network for the given numbers of input symbols and labels."""
        return LSTMTaggerModule(LabelScores(self, sizes))


class LSTMTaggerModule(nn.Module):
    """The network of `LSTMTagger`; called on inputs, it returns p(·|x)."""

    def __init__(self, scores: "LabelScores") -> None:
        super().__init__()
        self.scores = scores

    def forward(self, inputs: Sequences) -> Factorised:
        """p(·|x) for inputs ``[batch, time]``."""
        return Factorised(self.scores(inputs), inputs.lengths)


class LabelScores(nn.Module):
    """A score for every label at every position: the encoder and one linear layer."""

    def __init__(self, tagger: Tagger, sizes: Sizes) -> None:
        super().__init__()
        reader = built(tagger.inputs, sizes, tagger.embedding)
        self.encoder = RecurrentEncoder(
            reader,
            hidden=tagger.hidden // 2,
            layers=tagger.layers,
            dropout=tagger.dropout,
            end_mark=tagger.layers > 0,  # so that an empty input is an input to the LSTM too
        )
        self.output = nn.Linear(self.encoder.size, sizes.num_labels)

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time labels"]:
        """Scores at the inputs' positions, of which the end mark is none."""
        memory = self.encoder(inputs).memory
        scores: Tensor = self.output(memory if self.encoder.end is None else memory[:, :-1])
        return scores


@models.register("crf")
@dataclass(frozen=True, kw_only=True)
class CRF(Tagger):
    """A bidirectional LSTM under a linear chain (Huang, Xu and Yu 2015, arXiv 1508.01991).

    With ``layers=0`` it is a chain over the vector of each position: over pixels as they are, ``BitImages()``, the
    linear CRF of Lafferty, McCallum and Pereira 2001; over a hidden layer, ``BitImages(hidden=1000)``, the conditional
    neural field of Peng, Bo and Xu 2009, with rectified linear units.

    The score of an output is the sum of its labels' scores, of a learned score for each pair of neighbours and of
    one for its first and its last label.
    """

    distribution: ClassVar[type[Distribution]] = LinearChain

    def build(self, sizes: Sizes) -> nn.Module:
        """The network for the given numbers of input symbols and labels."""
        return CRFModule(LabelScores(self, sizes), sizes.num_labels)


class CRFModule(nn.Module):
    """The network of `CRF`; called on inputs, it returns p(·|x).

    Args:
        scores: the scores of labels.
        labels: their number.
    """

    def __init__(self, scores: LabelScores, labels: int) -> None:
        super().__init__()
        self.scores = scores
        self.chain = torchcrf.CRF(labels, batch_first=True)  # holds the parameters; the algorithms are ours

    def forward(self, inputs: Sequences) -> LinearChain:
        """p(·|x) for inputs ``[batch, time]``."""
        chain = self.chain
        return LinearChain.with_ends(
            self.scores(inputs), chain.transitions, chain.start_transitions, chain.end_transitions, inputs.lengths
        )
