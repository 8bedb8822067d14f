"""Decoders made of other decoders: the average of several, and one with other limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions.layout import at_least_float
from structpred.distributions.search import Attends, Decoder, State
from structpred.sequences import Sequences


def log_mean(scores: Sequence[Float[Tensor, "*rows symbols"]]) -> Float[Tensor, "*rows symbols"]:
    """ln of the mean of the softmax of each: the arithmetic mean of probabilities, in nats.

    Examples:
        >>> log_mean([torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 3.0]).log()]).exp()
        tensor([0.3750, 0.6250])
    """
    log_probs = torch.stack([at_least_float(each).log_softmax(-1) for each in scores])
    return log_probs.logsumexp(0) - math.log(len(scores))


@dataclass(frozen=True)
class MeanDecoder:
    """p(y_t | y_<t, x) = Σ_m p_m(y_t | y_<t, x) / M: the probabilities of every next symbol, averaged.

    Its states are those of its members, one after another. Outputs may be as long as the most generous member allows,
    as far as all members can score them.

    Attributes:
        members: decoders over the same labels and the same batch of inputs.
    """

    members: tuple[Decoder, ...]

    @property
    def num_labels(self) -> int:
        """V."""
        return self.members[0].num_labels

    @cached_property
    def limits(self) -> Int[Tensor, " batch"]:
        """The largest limit of any member, per example, but no longer than any can score (``most``)."""
        largest = torch.stack([member.limits for member in self.members]).amax(0)
        for member in self.members:
            most: Tensor | None = getattr(member, "most", None)
            largest = largest if most is None else torch.minimum(largest, most)
        return largest

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """Log-probabilities of all next symbols along given outputs, at some of the steps."""
        return log_mean([member.logits(outputs, positions) for member in self.members])

    def start(self, candidates: int) -> State:
        """The states of all members before the first symbol."""
        return tuple(part for member in self.members for part in member.start(candidates))

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """Log-probabilities of the next symbol, and the new states."""
        scores: list[Tensor] = []
        after: list[Tensor] = []
        begin = 0
        for member, parts in zip(self.members, self._parts, strict=True):
            found, own = member.step(previous, state[begin : begin + parts])
            scores.append(found)
            after += own
            begin += parts
        return log_mean(scores), tuple(after)

    def select(self, examples: Int[Tensor, " kept"]) -> "MeanDecoder":
        """The same average for some of the examples."""
        return MeanDecoder(tuple(member.select(examples) for member in self.members))

    def __getattr__(self, name: str) -> Any:
        """``log_attention``, of the mean of all, where all members have it (`structpred.protocols`)."""
        if name == "log_attention" and all(isinstance(member, Attends) for member in self.members):
            return self._log_attention
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _log_attention(self, outputs: Sequences) -> Float[Tensor, "batch candidates steps positions"]:
        weights = [member.log_attention(outputs) for member in self.members if isinstance(member, Attends)]
        return torch.stack(weights).logsumexp(0) - math.log(len(weights))

    @cached_property
    def _parts(self) -> tuple[int, ...]:
        """The number of tensors in each member's state, which every step keeps."""
        return tuple(len(member.start(1)) for member in self.members)


@dataclass(frozen=True)
class Limited:
    """A decoder with other limits.

    Attributes:
        decoder: everything else is its own.
        limits: the maximum length of outputs, per example.
    """

    decoder: Decoder
    limits: Int[Tensor, " batch"]

    @property
    def num_labels(self) -> int:
        """V."""
        return self.decoder.num_labels

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """The decoder's scores along given outputs."""
        return self.decoder.logits(outputs, positions)

    def start(self, candidates: int) -> State:
        """The decoder's state before the first symbol."""
        return self.decoder.start(candidates)

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """The decoder's scores of the next symbol."""
        return self.decoder.step(previous, state)

    def __getattr__(self, name: str) -> Any:
        """``log_attention``, which it has where the decoder has it."""
        if name == "log_attention":
            return getattr(self.decoder, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def select(self, examples: Int[Tensor, " kept"]) -> "Limited":
        """The same decoder for some of the examples."""
        return replace(self, decoder=self.decoder.select(examples), limits=self.limits[examples])
