"""A decoder made of one function, from prefixes to the scores of every next symbol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from structpred.distributions.search import State
from structpred.errors import ConfigError
from structpred.returned import checked, may_look
from structpred.sequences import Sequences
from structpred.values import Count, coerce, refuse

FUNCTION = "the function given to Autoregressive.from_logits"
"""For messages."""

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
            ConfigError: labels are not a whole number from 1 on, or limits not one from 0 on for each example.
        """
        if not callable(function):
            raise ConfigError(
                "Autoregressive.from_logits needs a function from prefixes and examples to scores, but got "
                f"{function!r:.80}"
            )
        count: int = coerce(labels, Count, "labels of Autoregressive.from_logits")  # type: ignore[assignment]  # so made
        found = _limits(limits)
        return cls(function, count, found, torch.arange(len(found), device=found.device))

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """Scores of every next symbol along given outputs, at some steps, in one call."""
        prefixes = functional.pad(outputs.labels, (1, 0), value=self.num_labels)
        scores, possible = (part.flatten(0, 2).index_select(0, positions) for part in self._scores(prefixes))
        return _numbers(scores, possible.squeeze(1))

    def start(self, candidates: int) -> State:
        """Nothing has been read."""
        return (self.examples.new_empty(len(self.examples), candidates, 0),)

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """Scores of the next symbol, and the longer prefix."""
        prefixes = torch.cat([state[0], previous.unsqueeze(2)], 2)
        scores, possible = (part[:, :, -1] for part in self._scores(prefixes))
        return _numbers(scores, possible.squeeze(-1)), (prefixes,)

    def select(self, examples: Int[Tensor, " kept"]) -> "PrefixDecoder":
        """The same decoder for some of the examples."""
        return replace(self, limits=self.limits[examples], examples=self.examples[examples])

    def _scores(
        self, prefixes: Int[Tensor, "batch candidates steps"]
    ) -> tuple[Float[Tensor, "batch candidates steps symbols"], Bool[Tensor, "batch candidates steps 1"]]:
        """Scores of the symbol after every step, and whether what was read until then is possible and has not ended."""
        batch, candidates, steps = prefixes.shape
        if batch != len(self.examples):
            raise ConfigError(
                "outputs must be of as many examples as there are limits of Autoregressive.from_logits, "
                f"{len(self.examples)}, but are of {batch}; give outputs [batch, candidates, time] of the same batch"
            )
        rows = self.examples.repeat_interleave(candidates)
        found = checked(
            self.function(prefixes.flatten(0, 1).clone(), rows),  # both are copies, which it may write into
            (len(rows), steps, self.num_labels + 1),
            what=FUNCTION,
            axes="[rows, steps, labels + 1]",
            like=prefixes.device,
            finite=False,  # a symbol may be forbidden
        )
        scores = found.view(batch, candidates, steps, -1)
        read = prefixes[:, :, 1:].unsqueeze(-1)
        over = scores[:, :, :-1].gather(-1, read).isneginf() | (read == self.num_labels)
        return scores, functional.pad(over.cumsum(2), (0, 0, 1, 0)) == 0


def _limits(given: Tensor | Sequence[int]) -> Int[Tensor, " batch"]:
    """The limits as a tensor, refused if they are anything but whole numbers from 0 on."""
    try:
        limits = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        limits = refuse("limits of Autoregressive.from_logits", "a whole number for each example", given)
    limits = limits if limits.numel() else limits.long()  # of an empty list
    if limits.dim() != 1 or limits.dtype != torch.long:
        raise ConfigError(
            "Autoregressive.from_logits needs limits, the maximum length of each example's outputs as whole "
            f"numbers [batch], but got numbers of shape {tuple(limits.shape)} and {limits.dtype}"
        )
    if may_look(limits.device) and (limits < 0).any():
        raise ConfigError(f"Autoregressive.from_logits needs limits of at least 0, but got {int(limits.min())}")
    return limits


def _numbers(scores: Float[Tensor, "*rows symbols"], possible: Bool[Tensor, "*rows"]) -> Float[Tensor, "*rows symbols"]:
    """The scores, unless they are no distribution; of padding, which nobody reads, none are asked for.

    After what has probability 0 everything may be forbidden; any scores then lead to the same probability, 0. So too
    after an end, which nobody reads.

    Raises:
        ConfigError: a score is not a number or is +inf, or everything is forbidden after what is possible.
    """
    dead = scores.isneginf().all(-1)
    if may_look(scores.device):
        wanted = f"{FUNCTION} must return scores, −inf for a symbol that is forbidden"
        if not bool((scores < torch.inf).all()):
            if bool(scores.isnan().any()):
                raise ConfigError(f"{wanted}, but returned nan; look for a row of which everything is masked")
            raise ConfigError(f"{wanted}, but returned inf; where a symbol is certain, forbid the others")
        if bool((dead & possible).any()):
            raise ConfigError(
                f"{wanted}, but forbids every label and the end after a prefix that it allows; allow one of them"
            )
    return scores.masked_fill(dead.unsqueeze(-1), 0.0)
