"""p(y|x) = Π_t p(y_t | y_<t, x) · p(end | y, x): a distribution over strings of every length."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from structpred.distributions.decoders import Limited, MeanDecoder
from structpred.distributions.drawing import Drawn, applies, draw
from structpred.distributions.layout import at_least_float
from structpred.distributions.next_symbol import inverse_cdf
from structpred.distributions.prefix_scores import PrefixDecoder, PrefixScores
from structpred.distributions.protocols import Decoding, Ranked, Steps
from structpred.distributions.search import (
    Attends,
    Decoder,
    beam_search,
    continuations,
    decode_loop,
    greedy_search,
    mixed_history,
    normalised,
)
from structpred.errors import ConfigError
from structpred.sequences import Sequences
from structpred.tally import passed_decoder


class Autoregressive:
    """A decoder bound to one encoded batch of inputs; the input is encoded once however many outputs are scored.

    The decoder holds the dropout masks, so an output is scored under the same mask that it was sampled with. The end of
    sequence is the last of the V + 1 next symbols and is part of every probability. A sequence that was cut (``ended``
    False) has the probability of its prefix, so `sample` draws exactly from the strings up to the length limit and the
    prefixes just beyond it.

    Args:
        decoder: next-symbol scores, see `structpred.distributions.search.Decoder`.
        shortest: the least length of outputs that are searched for, per example; see `within`.
    """

    fixed_length: ClassVar[bool] = False

    def __init__(self, decoder: Decoder, shortest: Int[Tensor, " batch"] | None = None) -> None:
        self.decoder = decoder
        self.shortest = shortest
        self.num_labels = decoder.num_labels
        self._drawn: Drawn | None = None

    @classmethod
    def from_logits(cls, function: PrefixScores, labels: int, limits: Tensor | Sequence[int]) -> "Autoregressive":
        """The distribution of any function that scores next symbols: p(y_t | y_<t, x) = softmax(scores after y_<t).

        The function takes prefixes ``[rows, steps]`` and the example that each row belongs to, ``[rows]``, from 0 to
        batch − 1. A prefix begins with the start, which has the id V. It returns scores ``[rows, steps, V + 1]``, at
        each step those of the symbol after it; the last one is the end. They may depend on the symbols up to that
        step and on the example, and on nothing else: not on later symbols, other rows, or chance such as dropout.
        A forbidden symbol has the score −inf; after a prefix that is allowed, a label or the end must be allowed too.
        The function may write into what it is given. With gradient, if the function has one.

        It reads a prefix from the start at every step of a search. A `structpred.distributions.search.Decoder` of your
        own can keep what it has computed, see `structpred.models.transformer.BoundTransformer`.

        Args:
            function: from prefixes and examples to scores.
            labels: V.
            limits: the maximum length of outputs, in labels, for each example; on the device of what it returns.

        Raises:
            ConfigError: labels or limits are no such numbers; or, from the verbs, the function returned something else.
        """
        return cls(PrefixDecoder.of(function, labels, limits))

    def token_log_probs(self, outputs: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """log p(y_t | y_<t, x) of each label, then of the end; 0 beyond it.

        Args:
            outputs: ``[batch, candidates, time]``; the result has time + 1 steps.
        """
        if self._drawn is not None and self._drawn.outputs is outputs and applies(self.decoder):
            passed_decoder(outputs.lengths.numel())
            return self._drawn.token_log_probs(self.decoder)
        return self.token_log_probs_given(outputs, outputs)

    def token_log_probs_given(self, outputs: Sequences, history: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """log p(y_t | history_<t, x) of each label of ``outputs``, then of the end; 0 beyond it.

        Raises:
            ConfigError: the histories do not have the shape of the outputs.
        """
        if history.labels.shape != outputs.labels.shape:
            raise ConfigError(
                f"a history must have the shape of its outputs, {tuple(outputs.labels.shape)}, but got "
                f"{tuple(history.labels.shape)}; give one history symbol per output symbol"
            )
        passed_decoder(outputs.lengths.numel())
        targets, mask = self._targets(outputs)
        if not mask.numel():  # a network need not know what to do with nothing
            return torch.zeros(mask.shape, device=mask.device)
        positions = _positions(mask, outputs)
        logits = at_least_float(self.decoder.logits(history, positions))
        losses = functional.cross_entropy(logits, targets.flatten().index_select(0, positions), reduction="none")
        return losses.new_zeros(mask.numel()).index_copy(0, positions, -losses).view(mask.shape)

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """log p(y|x) in nats: the sum of `token_log_probs`, end included."""
        return self.token_log_probs(outputs).sum(-1)

    def steps(self, outputs: Sequences) -> Steps:
        """Log-probabilities of every next symbol, given each output's own history."""
        passed_decoder(outputs.lengths.numel())
        targets, mask = self._targets(outputs)
        if not mask.numel():
            return Steps(torch.zeros(*mask.shape, self.num_labels + 1, device=mask.device), targets, mask)
        positions = _positions(mask, outputs)
        log_probs = at_least_float(self.decoder.logits(outputs, positions)).log_softmax(-1)
        table = log_probs.new_zeros(mask.numel(), log_probs.shape[-1]).index_copy(0, positions, log_probs)
        return Steps(table.view(*mask.shape, log_probs.shape[-1]), targets, mask)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` independent samples; those beyond the length limit are cut and marked as not ended."""
        passed_decoder(len(self.decoder.limits) * k)
        if not applies(self.decoder):
            return decode_loop(self.decoder, k, lambda logits: inverse_cdf(logits, generator))
        drawn = draw(self.decoder, k, generator)
        self._drawn = drawn if drawn.steps else None
        return drawn.outputs

    def continuations(self, prefixes: Sequences, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` independent samples that begin with their prefix; see `search.continuations`."""
        passed_decoder(len(self.decoder.limits) * k)
        return continuations(self.decoder, prefixes, k, generator)

    def mixed_history(
        self,
        targets: Sequences,
        own: Bool[Tensor, "batch candidates time"],
        generator: torch.Generator | None = None,
    ) -> Sequences:
        """The targets, with the model's own symbols where ``own`` is True; see `search.mixed_history`."""
        passed_decoder(targets.lengths.numel())
        return mixed_history(self.decoder, targets, own, generator)

    def greedy(self) -> Sequences:
        """``[batch, time]``: the most probable symbol at each step, which need not be the most probable output."""
        passed_decoder(len(self.decoder.limits))
        return greedy_search(self.decoder, shortest=self.shortest)

    def beam(self, width: int, *, length_penalty: float = 0.0) -> Ranked:
        """The ``width`` best outputs found by a beam of that width; see `beam_search`."""
        passed_decoder(len(self.decoder.limits) * width)
        return beam_search(self.decoder, width, length_penalty=length_penalty, shortest=self.shortest)

    def within(self, shortest: Int[Tensor, " batch"] | None, longest: Int[Tensor, " batch"] | None) -> "Autoregressive":
        """The same distribution, whose greedy, beam and n-best searches return only outputs of these lengths.

        Log-probabilities stay those of the whole distribution. The decoder's own limits hold as well; where no length
        fits, ``shortest`` gives way to the limits, and ``longest`` to ``shortest``.
        """
        limits = self.decoder.limits
        shortest = None if shortest is None else shortest.minimum(limits)
        if longest is None:
            return Autoregressive(self.decoder, shortest)
        longest = longest if shortest is None else longest.maximum(shortest)
        return Autoregressive(Limited(self.decoder, longest.minimum(limits)), shortest)

    @classmethod
    def averages(cls) -> str:
        """What `mean` averages."""
        return "the probabilities of each next symbol"

    @classmethod
    def mean(cls, members: "tuple[Autoregressive, ...]") -> "Autoregressive":
        """p(y_t | y_<t, x) = Σ_m p_m(y_t | y_<t, x) / M at every step."""
        return cls(MeanDecoder(tuple(member.decoder for member in members)))

    def decode(self, decoding: Decoding) -> Sequences:
        """``[batch, time]``: the best output of a greedy or beam search.

        Raises:
            ConfigError: the rule needs marginals, which have no closed form for this distribution, or there is a
                coverage penalty and the decoder's attention is not known.
        """
        if decoding.rule != "argmax":
            raise ConfigError(
                f"Decoding(rule={decoding.rule!r}) needs `marginals`, which Autoregressive does not offer; "
                "use rule='argmax'"
            )
        if decoding.beam == 1:
            return self.greedy()
        ranked = self.beam(decoding.beam, length_penalty=decoding.length_penalty)
        outputs, rows = ranked.outputs, torch.arange(len(ranked.outputs), device=ranked.outputs.device)
        best = torch.zeros_like(rows)
        if decoding.coverage_penalty:
            ranks = normalised(ranked.log_probs, outputs.lengths, decoding.length_penalty)
            best = (ranks + decoding.coverage_penalty * self.coverage(outputs)).argmax(1)
        return Sequences(outputs.labels[rows, best], outputs.lengths[rows, best])

    @torch.no_grad()
    def coverage(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """Σ_i ln min(Σ_t a_ti, 1) over input positions i and steps t, the end's included; 0 for full coverage.

        Raises:
            ConfigError: the decoder's attention is not known.
        """
        if not isinstance(self.decoder, Attends):
            raise ConfigError(
                f"Decoding.coverage_penalty needs `log_attention`, which {type(self.decoder).__name__} does not offer; "
                "leave it out, or use seq2seq"
            )
        weights = self.decoder.log_attention(outputs)
        time = torch.arange(weights.shape[2], device=weights.device)
        counted = (time <= outputs.lengths.unsqueeze(-1)).unsqueeze(-1)
        total = torch.where(counted, weights, -torch.inf).logsumexp(2).clamp(max=0.0)
        return torch.where(total.isneginf(), 0.0, total).sum(-1)  # padding counts as covered

    def n_best(self, k: int) -> Ranked:
        """The ``k`` best outputs found by a beam of width ``k``, by log-probability."""
        return self.beam(k)

    def _targets(
        self, outputs: Sequences
    ) -> tuple[Int[Tensor, "batch candidates steps"], Bool[Tensor, "batch candidates steps"]]:
        """The symbol at each step, the end (id V) at step ``length``, and which steps count."""
        lengths = outputs.lengths.unsqueeze(-1)
        targets = functional.pad(outputs.labels, (0, 1)).scatter(-1, lengths, self.num_labels)
        time = torch.arange(targets.shape[-1], device=outputs.device)
        counted = lengths if outputs.ended is None else lengths - (~outputs.ended).long().unsqueeze(-1)
        return targets, time <= counted


def _positions(mask: Bool[Tensor, "batch candidates steps"], outputs: Sequences) -> Int[Tensor, " counted"]:
    """Indices where the mask is True, without synchronising if their number is known."""
    if outputs.total is None or outputs.ended is not None:
        return mask.flatten().nonzero().squeeze(1)
    every = outputs.total + outputs.lengths.numel()  # plus one end each
    return torch.nonzero_static(mask.flatten(), size=every).squeeze(1)
