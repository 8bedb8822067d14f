"""Batched sampling, greedy search and beam search over any step-wise decoder."""

from collections.abc import Callable
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.next_symbol import inverse_cdf, likeliest
from structpred.distributions.protocols import Ranked
from structpred.errors import ConfigError
from structpred.protocols import Checkable
from structpred.sequences import Sequences

State = tuple[Tensor, ...]
"""A decoder's state between steps: tensors ``[batch, candidates, ...]``."""


@runtime_checkable
class Decoder(Checkable, Protocol):
    """Next-symbol scores given an encoded batch of inputs. Symbols 0..V-1 are labels; symbol V is the end."""

    @property
    def num_labels(self) -> int:
        """V."""

    @property
    def limits(self) -> Int[Tensor, " batch"]:
        """The maximum length of outputs, per example, in labels."""

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """Scores of all V + 1 next symbols along given outputs, at some of the time + 1 steps.

        Args:
            outputs: ``[batch, candidates, time]``.
            positions: the steps to score, as indices into all steps ``[batch · candidates · (time + 1)]``.
        """

    def start(self, candidates: int) -> State:
        """The state before the first symbol."""

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """Scores of the next symbol after ``previous`` (V at the start), and the new state.

        Scores may have any memory layout; with symbols first they need not be copied.
        """

    def select(self, examples: Int[Tensor, " kept"]) -> "Decoder":
        """The same decoder for some of the examples."""


@runtime_checkable
class Attends(Checkable, Protocol):
    """A decoder whose attention to the input is known."""

    def log_attention(self, outputs: Sequences) -> Float[Tensor, "batch candidates steps positions"]:
        """ln of the weight of each input position at each of the time + 1 steps along given outputs; −inf at padding.

        Args:
            outputs: ``[batch, candidates, time]``; what stands at steps beyond an output's end means nothing.
        """


def decode_loop(decoder: Decoder, k: int, choose: Callable[[Tensor], Tensor]) -> Sequences:
    """``[batch, k, time]`` outputs grown symbol by symbol.

    An output that does not end within the limit is cut after limit + 1 labels. It represents every string with that
    prefix; together with the strings that end, these events exhaust all possibilities.

    Args:
        decoder: next-symbol scores.
        k: outputs per example.
        choose: picks symbols ``[batch, k]`` from scores ``[batch, k, symbols]``.
    """
    limits = decoder.limits.unsqueeze(1)
    if not len(limits) * k:
        none = limits.new_zeros(len(limits), k)
        return Sequences(none.unsqueeze(-1)[..., :0], none, none > 0)
    state = decoder.start(1)
    lengths = limits.repeat(1, k) + 1
    previous = torch.full_like(limits, decoder.num_labels)
    growing = torch.ones_like(lengths, dtype=torch.bool)
    ended = ~growing
    columns: list[Tensor] = []
    for time in range(int(limits.max()) + 1):
        logits, state = decoder.step(previous, state)
        if time == 0:  # all start from the same state
            logits, *parts = (part.expand(-1, k, *part.shape[2:]) for part in (logits, *state))
            state = tuple(parts)
        symbols = choose(logits)
        ends = growing & (symbols == decoder.num_labels)
        lengths = torch.where(ends, time, lengths)
        ended, growing = ended | ends, growing & ~ends
        previous = torch.where(growing, symbols, 0)
        columns.append(previous)
        growing = growing & (time < limits)
        if not growing.any():
            break
    labels = torch.stack(columns, -1)[..., : int(lengths.max())]
    return Sequences(labels, lengths, ended)


@torch.no_grad()
def continuations(decoder: Decoder, prefixes: Sequences, k: int, generator: torch.Generator | None = None) -> Sequences:
    """``[batch, k, time]`` independent samples from p(y | y begins with its prefix, x), including the prefix.

    A prefix beyond the limit is cut with its output.

    Args:
        decoder: next-symbol scores.
        prefixes: ``[batch, time]``.
        k: outputs per example.
        generator: source of randomness.
    """
    inside, clock = prefixes.mask(), count()

    def choose(logits: Float[Tensor, "batch k symbols"]) -> Int[Tensor, "batch k"]:
        drawn, time = inverse_cdf(logits, generator), next(clock)
        if time >= inside.shape[1]:
            return drawn
        return torch.where(inside[:, time, None], prefixes.labels[:, time, None], drawn)

    return decode_loop(decoder, k, choose)


@torch.no_grad()
def mixed_history(
    decoder: Decoder,
    targets: Sequences,
    own: Bool[Tensor, "batch candidates time"],
    generator: torch.Generator | None = None,
) -> Sequences:
    """``[batch, candidates, time]``: the targets, with the decoder's own symbols at the requested positions.

    Each is drawn from p(y_t | history_<t, x) restricted to labels, because the target continues there and so must its
    history. The history is the mixed one, symbol by symbol.

    Args:
        decoder: next-symbol scores.
        targets: ``[batch, candidates, time]``.
        own: True where a symbol is to be drawn; nothing is drawn beyond a target's length.
        generator: source of randomness.
    """
    inside = targets.mask()
    labels, own = torch.where(inside, targets.labels, 0), own & inside
    state = decoder.start(labels.shape[1])
    previous = torch.full_like(targets.lengths, decoder.num_labels)
    # on a device, do not check whether there is anything to draw: that would synchronise
    for time in range(labels.shape[-1] if own.device.type != "cpu" or own.any() else 0):
        logits, state = decoder.step(previous, state)
        drawn = inverse_cdf(logits[..., :-1], generator)
        previous = labels[..., time] = torch.where(own[..., time], drawn, labels[..., time])
    return Sequences(labels, targets.lengths)


@torch.no_grad()
def greedy_search(decoder: Decoder, *, shortest: Int[Tensor, " batch"] | None = None) -> Sequences:
    """``[batch, time]``: the most probable symbol at every step, up to the limit.

    Args:
        decoder: next-symbol scores.
        shortest: the least length per example, before which no output ends.
    """
    clock = count()

    def choose(logits: Float[Tensor, "batch k symbols"]) -> Int[Tensor, "batch k"]:
        if shortest is None:
            return logits.argmax(-1)
        early = (next(clock) < shortest).unsqueeze(1)
        return torch.where(early, logits[..., :-1].argmax(-1), logits.argmax(-1))

    outputs = decode_loop(decoder, 1, choose)
    lengths = outputs.lengths.squeeze(1).minimum(decoder.limits)
    inside = torch.arange(outputs.labels.shape[-1], device=lengths.device) < lengths.unsqueeze(1)
    return Sequences(torch.where(inside, outputs.labels.squeeze(1), 0), lengths)


@torch.no_grad()
def beam_search(
    decoder: Decoder, width: int, *, length_penalty: float = 0.0, shortest: Int[Tensor, " batch"] | None = None
) -> Ranked:
    """The best outputs found by a beam of ``width`` prefixes.

    Outputs are ranked by log p(y|x) / (length + 1)^penalty; penalty 0 ranks by probability. An output that ends leaves
    the beam, so ``width`` prefixes are always being extended. An example is finished, and dropped, once no prefix in
    its beam can beat its worst kept output. A beam as wide as the number of prefixes is exact.

    Args:
        decoder: next-symbol scores.
        width: prefixes kept per example, and outputs returned.
        length_penalty: exponent of the length normalisation, 0 or more.
        shortest: the least length per example; shorter outputs are not among those returned.

    Returns:
        ``width`` outputs per example, best first, with log-probabilities (not divided by length).
    """
    if width < 1:
        raise ConfigError(
            f"a beam search returns at least one output an example, but is asked for {width}; ask for more"
        )
    beam = _Beam(decoder, width, length_penalty, shortest)
    while beam.examples.numel():
        beam.extend()
        beam.drop_finished()
    return beam.ranked()


def normalised(
    log_probs: Float[Tensor, "*rows"], lengths: Int[Tensor, "*rows"], penalty: float
) -> Float[Tensor, "*rows"]:
    """log p / (length + 1)^penalty, by which a beam ranks outputs; −∞ stays −∞ where the power is too large to be told.

    Examples:
        >>> normalised(torch.tensor([-6.0, -torch.inf]), torch.tensor([2, 4]), 1.0)
        tensor([-2., -inf])
    """
    power = (lengths + 1.0) ** penalty
    return log_probs / power.clamp(max=torch.finfo(power.dtype).max)


class _Beam:
    """The prefixes of every unfinished example, and the best ended outputs of all examples.

    Prefixes are ``[active, grown, time]``, with one per example at first and then ``width``; ``examples`` maps each
    active row to its row in the results.
    """

    def __init__(self, decoder: Decoder, width: int, penalty: float, shortest: Int[Tensor, " batch"] | None) -> None:
        batch, longest = len(decoder.limits), int(decoder.limits.max()) if len(decoder.limits) else 0
        device = decoder.limits.device
        self.decoder, self.width, self.penalty, self.time = decoder, width, penalty, 0
        self.shortest = shortest
        self.examples = torch.arange(batch, device=device)
        self.state = decoder.start(1)
        self.prefixes = torch.zeros(batch, 1, longest, dtype=torch.long, device=device)
        self.log_probs = torch.zeros(batch, 1, device=device, dtype=torch.float64)
        self.previous = torch.full((batch, 1), decoder.num_labels, device=device)
        self.labels = self.prefixes.repeat(1, width, 1)
        self.lengths = torch.zeros(batch, width, dtype=torch.long, device=device)
        self.ended_log_probs = torch.full((batch, width), -torch.inf, device=device, dtype=torch.float64)

    def extend(self) -> None:
        """Extend every prefix by one symbol; those that end compete for a place among the outputs."""
        logits, self.state = self.decoder.step(self.previous, self.state)
        likely = likeliest(logits, min(self.width + 1, logits.shape[-1]))  # one more, because the end may be among them
        ended = self.log_probs + likely.end
        if self.shortest is not None:
            ended = ended.masked_fill((self.time < self.shortest[self.examples]).unsqueeze(1), -torch.inf)
        self._keep_ended(ended)
        totals = self.log_probs.unsqueeze(-1) + likely.log_probs
        totals = totals.masked_fill(likely.symbols == self.decoder.num_labels, -torch.inf).flatten(1)
        best = totals.topk(min(self.width, totals.shape[1]), dim=1)
        symbols = likely.symbols.flatten(1).gather(1, best.indices)
        self._grow(best.indices // likely.symbols.shape[-1], symbols, best.values)

    def _grow(self, parents: Tensor, symbols: Tensor, log_probs: Tensor) -> None:
        if self.time == self.prefixes.shape[-1]:  # nothing may grow beyond the longest limit
            self.log_probs = log_probs.fill_(-torch.inf)
            return
        rows = torch.arange(len(parents), device=parents.device).unsqueeze(1)
        self.prefixes = self.prefixes[rows, parents]
        self.prefixes[:, :, self.time] = symbols
        self.state = tuple(part[rows, parents] for part in self.state)
        self.previous, self.time = symbols, self.time + 1
        inside = self.time <= self.decoder.limits.unsqueeze(1)
        self.log_probs = torch.where(inside, log_probs, -torch.inf)

    def _keep_ended(self, log_probs: Float[Tensor, "active grown"]) -> None:
        """Merge outputs that end at this step with the best earlier ones, and keep ``width`` of them."""
        rows = self.examples
        labels = torch.cat([self.labels[rows], self.prefixes], 1)
        lengths = torch.cat([self.lengths[rows], torch.full_like(self.previous, self.time)], 1)
        candidates = torch.cat([self.ended_log_probs[rows], log_probs], 1)
        order = normalised(candidates, lengths, self.penalty).topk(self.width, dim=1).indices
        self.labels[rows] = labels.gather(1, order.unsqueeze(-1).expand(-1, -1, labels.shape[-1]))
        self.lengths[rows] = lengths.gather(1, order)
        self.ended_log_probs[rows] = candidates.gather(1, order)

    def finished(self) -> Bool[Tensor, " active"]:
        """True if no prefix can still beat the worst kept output.

        Extending a prefix only lowers its log-probability, and dividing by the maximum length favours it most.
        """
        bound = normalised(self.log_probs.max(1).values, self.decoder.limits, self.penalty)
        worst = normalised(self.ended_log_probs, self.lengths, self.penalty)[self.examples].min(1).values
        return (bound <= worst) | torch.isneginf(bound)

    def drop_finished(self) -> None:
        """Continue with only the unfinished examples."""
        kept = (~self.finished()).nonzero().squeeze(1)
        if len(kept) == len(self.examples):
            return
        self.decoder = self.decoder.select(kept)
        self.examples, self.log_probs, self.previous = self.examples[kept], self.log_probs[kept], self.previous[kept]
        self.prefixes, self.state = self.prefixes[kept], tuple(part[kept] for part in self.state)

    def ranked(self) -> Ranked:
        longest = int(self.lengths.max()) if self.lengths.numel() else 0
        time = torch.arange(longest, device=self.lengths.device)
        labels = torch.where(time < self.lengths.unsqueeze(-1), self.labels[:, :, :longest], 0)
        return Ranked(Sequences(labels, self.lengths), self.ended_log_probs)
