"""The most probable outputs of one distribution in the order of another."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from structpred.distributions.protocols import Decoding, Ranked, WithinLengths
from structpred.errors import ConfigError
from structpred.sequences import Sequences


@dataclass(frozen=True)
class Reranked:
    """An n-best list of p in the order of log q.

    Attributes:
        p: finds the outputs.
        q: scores them.
        candidates: length of the list.
    """

    p: Any
    q: Any
    candidates: int

    @torch.no_grad()
    def n_best(self, k: int) -> Ranked:
        """The first ``k`` of the list in its new order, with their log q; −inf where the list is shorter."""
        found = self.p.n_best(max(self.candidates, k))
        outputs = Sequences(found.outputs.labels, found.outputs.lengths)
        scores = torch.where(found.log_probs.isneginf(), -torch.inf, self.q.log_prob(outputs))
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
        rows = torch.arange(len(order), device=order.device).unsqueeze(1)
        ranked = Sequences(outputs.labels[rows, order], outputs.lengths[rows, order])
        return Ranked(ranked, scores.gather(1, order))

    def decode(self, decoding: Decoding) -> Sequences:
        """The output of the list that is most probable under q."""
        del decoding
        best = self.n_best(1).outputs
        return Sequences(best.labels[:, 0], best.lengths[:, 0])

    def within(self, shortest: Int[Tensor, " batch"] | None, longest: Int[Tensor, " batch"] | None) -> "Reranked":
        """A list of outputs of these lengths.

        Raises:
            ConfigError: p cannot bound lengths.
        """
        if not isinstance(self.p, WithinLengths):
            raise ConfigError(
                f"length ratios need `within`, which {type(self.p).__name__} does not offer; leave them out"
            )
        return Reranked(self.p.within(shortest, longest), self.q, self.candidates)
