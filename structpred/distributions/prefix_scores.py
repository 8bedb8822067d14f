"""A decoder made of one function, from prefixes to the scores of every next symbol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from structpred.distributions.search import State
from structpred.errors import ConfigError
from structpred.returned import checked, may_look
from structpred.sequences import Sequences

PrefixScores = Callable[[Tensor, Tensor], Tensor]
"""From prefixes ``[rows, steps]``, the start first, and each row's example ``[rows]`` to ``[rows, steps, V + 1]``."""


@dataclass(frozen=True)
class PrefixDecoder:
    """The decoder of `Autoregressive.from_logits`; see `structpred.distributions.search.Decoder`.

    Its state is the prefix itself, which is read again from the start at every step.

    Attributes:
        function: scores of the symbol after each one of a prefix.
        num_labels: V.
        limits: the maximum length of outputs.
        examples: which of the examples that the function knows each one here is.
    """

    function: PrefixScores
    num_labels: int
    limits: Int[Tensor, " batch"]
    examples: Int[Tensor, " batch"]

    @classmethod
    def of(cls, function: PrefixScores, labels: int, limits: Tensor | Sequence[int]) -> "PrefixDecoder":
        """For as many examples as there are limits.

        Raises:
            ConfigError: there is no label, or limits are not one whole number from 0 on for each example.
        """
        if not callable(function):
            raise ConfigError(
                "Autoregressive.from_logits needs a function from prefixes and examples to scores, but got "
                f"{function!r:.80}"
            )
        if labels < 1:
            raise ConfigError(f"Autoregressive.from_logits needs at least one label, but got {labels}")
        limits = torch.as_tensor(limits)
        limits = limits if limits.numel() else limits.long()  # of an empty list
        if limits.dim() != 1 or limits.dtype != torch.long:
            raise ConfigError(
                "Autoregressive.from_logits needs limits, the maximum length of each example's outputs as whole "
                f"numbers [batch], but got numbers of shape {tuple(limits.shape)} and {limits.dtype}"
            )
        if may_look(limits.device) and (limits < 0).any():
            raise ConfigError(f"Autoregressive.from_logits needs limits of at least 0, but got {int(limits.min())}")
        return cls(function, labels, limits, torch.arange(len(limits), device=limits.device))

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """Scores of every next symbol along given outputs, at some steps, in one call."""
        scores = self._scores(functional.pad(outputs.labels, (1, 0), value=self.num_labels))
        return _numbers(scores.flatten(0, 2).index_select(0, positions))

    def start(self, candidates: int) -> State:
        """Nothing has been read."""
        return (self.examples.new_empty(len(self.examples), candidates, 0),)

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """Scores of the next symbol, and the longer prefix."""
        prefixes = torch.cat([state[0], previous.unsqueeze(2)], 2)
        return _numbers(self._scores(prefixes)[:, :, -1]), (prefixes,)

    def select(self, examples: Int[Tensor, " kept"]) -> "PrefixDecoder":
        """The same decoder for some of the examples."""
        return replace(self, limits=self.limits[examples], examples=self.examples[examples])

    def _scores(
        self, prefixes: Int[Tensor, "batch candidates steps"]
    ) -> Float[Tensor, "batch candidates steps symbols"]:
        batch, candidates, steps = prefixes.shape
        rows = self.examples.unsqueeze(1).expand(batch, candidates).flatten()
        found = checked(
            self.function(prefixes.flatten(0, 1), rows),
            (len(rows), steps, self.num_labels + 1),
            what="the function given to Autoregressive.from_logits",
            axes="[rows, steps, labels + 1]",
            like=prefixes.device,
            finite=False,  # a symbol may be forbidden
        )
        return found.view(batch, candidates, steps, -1)


def _numbers(scores: Tensor) -> Tensor:
    """The scores themselves, unless one is not a number; of padding, which nobody reads, none are asked for."""
    if may_look(scores.device) and bool(scores.isnan().any()):
        raise ConfigError(
            "the function given to Autoregressive.from_logits must return scores, −inf for a symbol that is forbidden, "
            "but returned nan; look for a row of which everything is masked"
        )
    return scores
