"""How the output to predict is looked for."""

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from structpred.config import Config, Count, Interval
from structpred.protocols import Checkable
from structpred.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Decoding(Config):
    """Beam search where the output grows symbol by symbol; models with an exact argmax take that instead.

    Attributes:
        beam: prefixes kept per example; 1 is greedy search.
        length_penalty: outputs are ranked by log p / (length + 1)^penalty; 0 ranks by probability.
        rule: ``"argmax"`` predicts the most probable output; ``"hamming"`` the most probable label at each position,
            which has the least expected Hamming distance (minimum Bayes risk), and needs a model with marginals.
    """

    beam: Count = 5
    length_penalty: Annotated[float, Interval(least=0)] = 0.0
    rule: Literal["argmax", "hamming"] = "argmax"


@runtime_checkable
class Decode(Checkable, Protocol):
    """``decode``: the output a distribution predicts."""

    def decode(self, decoding: Decoding) -> Sequences:
        """One output per example, ``[batch, time]``, without gradient."""
