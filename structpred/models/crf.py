"""A linear-chain conditional random field over a bidirectional LSTM."""

from dataclasses import dataclass
from typing import ClassVar

import torchcrf
from torch import nn

from structpred.distributions.linear_chain import LinearChain
from structpred.distributions.protocols import Distribution
from structpred.models.lstm_tagger import LabelScores, Tagger
from structpred.registry import models
from structpred.sequences import Inputs
from structpred.task import Sizes


@models.register("crf")
@dataclass(frozen=True, kw_only=True)
class CRF(Tagger):
    """A bidirectional LSTM under a linear chain (Huang, Xu and Yu 2015, arXiv 1508.01991).

    The score of an output is the sum of its labels' scores, of a learned score for each pair of neighbours and of
    one for its first and its last label.
    """

    distribution: ClassVar[type[Distribution]] = LinearChain

    def build(self, sizes: Sizes) -> nn.Module:
        """The network for the given numbers of input symbols and labels."""
        return CRFModule(LabelScores(self, sizes), sizes.labels)


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

    def forward(self, inputs: Inputs) -> LinearChain:
        """p(·|x) for inputs ``[batch, time]``."""
        chain = self.chain
        return LinearChain.with_ends(
            self.scores(inputs), chain.transitions, chain.start_transitions, chain.end_transitions, inputs.lengths
        )
