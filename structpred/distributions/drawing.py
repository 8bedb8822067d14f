"""Samples of a step-wise decoder on a CPU, and their log-probabilities without computing any score a second time.

A sample that has ended leaves, and where samples of an example have begun alike, their next symbol is scored once. The
output layer costs most where symbols are many, so its scores are kept: log p of these samples then needs only the
features before that layer again, with gradient. The gradient is exact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from structpred.distributions.layout import at_least_float
from structpred.distributions.next_symbol import by_inversion
from structpred.distributions.search import Decoder, State
from structpred.sequences import Sequences

MANY = 256
"""Labels from which on the output layer costs enough. With fewer, runs keep the rounding that they have always had:
smaller matrix products round differently, and once in many runs another symbol is drawn."""


@runtime_checkable
class ReadOut(Decoder, Protocol):
    """A decoder whose scores, in `step` and in `logits`, are a linear layer of features and nothing else."""

    @property
    def differentiable(self) -> bool:
        """True if it was bound with gradient, so that log-probabilities of its samples may be asked for with one."""

    @property
    def output(self) -> nn.Linear:
        """The layer, from features to the scores of all V + 1 symbols."""

    def features(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted features"]:
        """What the layer reads along given outputs, where `Decoder.logits` gives the scores."""

    def advance(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates features"], State]:
        """What the layer reads at the next step, where `Decoder.step` gives the scores, and the new state."""


def reads_out(decoder: Decoder) -> TypeGuard[ReadOut]:
    """Whether a decoder is a `ReadOut` itself: one that only passes on what it lacks may change the scores."""
    return hasattr(type(decoder), "advance") and isinstance(decoder, ReadOut)


def applies(decoder: Decoder) -> TypeGuard[ReadOut]:
    """Whether samples are drawn in this way: from a `ReadOut` on a CPU, over at least `MANY` symbols."""
    return decoder.limits.device.type == "cpu" and decoder.num_labels >= MANY and reads_out(decoder)


@dataclass(frozen=True)
class Step:
    """The scores of one step: of every different prefix that still grows, once.

    Attributes:
        scores: symbols first, as they were computed.
        log_mass: log Σ exp(score) of each prefix.
        firsts: an output that has each prefix, as an index into ``[batch · k]``.
        rows: the outputs that still grow, indices alike.
        kinds: the prefix of each of them.
        symbols: what each of them drew.
    """

    scores: Float[Tensor, "symbols kinds"]
    log_mass: Float[Tensor, " kinds"]
    firsts: Int[Tensor, " kinds"]
    rows: Int[Tensor, " rows"]
    kinds: Int[Tensor, " rows"]
    symbols: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Drawn:
    """Samples and the scores that they were drawn from.

    Attributes:
        outputs: ``[batch, k, time]``.
        steps: what was scored at each; empty where the decoder was bound without gradient, which then is not asked for.
    """

    outputs: Sequences
    steps: Sequence[Step]

    def token_log_probs(self, decoder: ReadOut) -> Float[Tensor, "batch k steps"]:
        """log p(y_t | y_<t, x) of each label, then of the end; 0 beyond it.

        Gradients, of any order, reach the decoder through its features and its output layer.

        Args:
            decoder: the one that drew.
        """
        shape = (*self.outputs.lengths.shape, self.outputs.labels.shape[-1] + 1)
        firsts = [each.firsts * shape[-1] + time for time, each in enumerate(self.steps)]
        places = [each.rows * shape[-1] + time for time, each in enumerate(self.steps)]
        features, layer = decoder.features(self.outputs, torch.cat(firsts)), decoder.output
        values: Tensor = _KnownScores.apply(features, layer.weight, layer.bias, self.steps)  # type: ignore[no-untyped-call]  # torch does not type it
        return values.new_zeros(shape).flatten().index_copy(0, torch.cat(places), values).view(shape)


@torch.no_grad()
def draw(decoder: ReadOut, k: int, generator: torch.Generator | None = None) -> Drawn:
    """``k`` independent samples for each example, cut as `structpred.distributions.search.decode_loop` cuts them.

    At every step each of the ``batch · k`` samples takes one number from the generator, whether it still grows or not.

    Args:
        decoder: in main memory.
        k: samples per example.
        generator: source of randomness.
    """
    growing, steps, columns = _Growing(decoder, k), list[Step](), list[Tensor]()
    while growing.rows.numel():
        uniform = torch.rand((len(decoder.limits), k, 1), generator=generator, dtype=torch.float64)
        step = growing.step(uniform.view(-1, 1))
        steps += [step] if decoder.differentiable else []
        columns.append(growing.previous)
    time = int(growing.lengths.max()) if growing.lengths.numel() else 0
    labels = torch.stack([*columns, torch.zeros_like(growing.previous)], -1)[..., :time]
    return Drawn(Sequences(labels, growing.lengths, growing.ended), steps)


KEPT = 0.8
"""Examples are dropped once no more than this part of those still decoded has a sample that grows."""


class _Growing:
    """The samples that have not ended, as indices ``rows`` into ``[batch · k]``.

    The decoder advances whole examples: ``examples`` are those that it still holds, ``places`` where.
    """

    def __init__(self, decoder: ReadOut, k: int) -> None:
        batch = len(decoder.limits)
        self.decoder, self.k, self.time, self.state = decoder, k, 0, decoder.start(1)
        self.limits, self.num_labels, self.layer = decoder.limits, decoder.num_labels, decoder.output
        self.examples = self.places = torch.arange(batch)
        self.rows = torch.arange(batch * k)
        self.prefixes = self.rows // max(k, 1)  # equal where samples of an example began alike
        self.previous = torch.full((batch, k), self.num_labels)
        self.lengths = self.limits.unsqueeze(1).repeat(1, k) + 1
        self.ended = torch.zeros_like(self.lengths, dtype=torch.bool)

    def step(self, uniform: Float[Tensor, "outputs 1"]) -> Step:
        """Grow all of them by one symbol; ``previous`` then has it, and 0 where none was drawn, or the end."""
        rows, features = self.rows, self._features()
        kept, kinds = torch.unique(self.prefixes, return_inverse=True)
        firsts = torch.empty_like(kept).scatter_(0, kinds, rows)
        place = self.places[firsts // self.k] * self.k + firsts % self.k
        layer, seen = self.layer, features.flatten(0, 1).index_select(0, place)
        scores = torch.addmm(layer.bias.unsqueeze(1), layer.weight, seen.t())
        drawn = by_inversion(scores, uniform.index_select(0, rows), kinds)
        self._take(drawn.symbols, kinds)
        return Step(scores, drawn.log_mass, firsts, rows, kinds, drawn.symbols)

    def _features(self) -> Float[Tensor, "examples k features"]:
        self._drop_examples()
        previous = self.previous[self.examples]
        features, self.state = self.decoder.advance(previous if self.time else previous[:, :1], self.state)
        if self.time == 0:  # all start from the same state
            features, *parts = (part.expand(-1, self.k, *part.shape[2:]) for part in (features, *self.state))
            self.state = tuple(parts)
        return features

    def _take(self, symbols: Int[Tensor, " rows"], kinds: Int[Tensor, " rows"]) -> None:
        ends = symbols == self.num_labels
        done = self.rows[ends]
        self.lengths.view(-1)[done] = self.time
        self.ended.view(-1)[done] = True
        self.previous = torch.zeros_like(self.previous)
        self.previous.view(-1)[self.rows] = torch.where(ends, 0, symbols)
        on = ~ends & (self.limits[self.rows // self.k] > self.time)
        self.rows, self.prefixes = self.rows[on], (kinds * (self.num_labels + 1) + symbols)[on]
        self.time += 1

    def _drop_examples(self) -> None:
        going = torch.zeros_like(self.limits, dtype=torch.bool)
        going[self.rows // self.k] = True
        kept = going[self.examples].nonzero().squeeze(1)
        if self.time == 0 or len(kept) > KEPT * len(self.examples):
            return
        self.decoder = self._narrowed(kept)
        self.state = tuple(part[kept] for part in self.state)
        self.examples = self.examples[kept]
        self.places = torch.zeros_like(self.limits).index_copy(0, self.examples, torch.arange(len(kept)))

    def _narrowed(self, kept: Int[Tensor, " kept"]) -> ReadOut:
        fewer = self.decoder.select(kept)
        assert isinstance(fewer, ReadOut), "a decoder selects from its own kind"
        return fewer


class _KnownScores(torch.autograd.Function):
    """log softmax(W f + b)[y] of drawn symbols y, where W f + b is known already.

    Let g_v be the sum of the gradients in the values of a prefix that drew symbol v. The gradient in its scores is
    g_v − softmax_v Σ g, as for any log-softmax; the layer and the features get theirs from it. Where that is to be
    differentiated again, which hardly anybody asks for, the scores are computed again.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, steps: Sequence[Step]) -> Tensor:
        ctx.save_for_backward(features, weight, bias)
        ctx.steps = steps
        chosen = [at_least_float(each.scores[each.symbols, each.kinds]) - each.log_mass[each.kinds] for each in steps]
        return torch.cat(chosen)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable((features, weight, bias), ctx.steps, gradient), None
        of_features, of_weight, of_bias = torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)
        seen = drew = 0
        for each in ctx.steps:
            kinds, rows = slice(seen, seen + len(each.firsts)), slice(drew, drew + len(each.rows))
            seen, drew = kinds.stop, rows.stop
            given = gradient[rows].to(each.log_mass.dtype)
            total = torch.zeros_like(each.log_mass).index_add(0, each.kinds, given)
            of_scores = (at_least_float(each.scores) - each.log_mass).exp_().mul_(-total)
            of_scores.index_put_((each.symbols, each.kinds), given, accumulate=True)
            of_bias += of_scores.sum(1)
            of_scores = of_scores.to(each.scores.dtype)
            of_features[kinds] = of_scores.t() @ weight.to(of_scores.dtype)
            of_weight += of_scores @ features[kinds].to(of_scores.dtype)
        return of_features, of_weight, of_bias, None


def _differentiable(inputs: tuple[Tensor, ...], steps: Sequence[Step], gradient: Tensor) -> Iterator[Tensor | None]:
    """The gradients of `_KnownScores` in those of its inputs that have any, with a graph."""
    starts = accumulate((len(each.firsts) for each in steps), initial=0)
    kinds = torch.cat([each.kinds + start for each, start in zip(steps, starts, strict=False)])
    values = functional.linear(*inputs).log_softmax(-1)[kinds, torch.cat([each.symbols for each in steps])]
    wanted = [each for each in inputs if each.requires_grad]
    found = iter(torch.autograd.grad(values, wanted, gradient.to(values.dtype), create_graph=True))
    return (next(found) if each.requires_grad else None for each in inputs)
