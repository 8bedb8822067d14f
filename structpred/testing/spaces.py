"""Spaces small enough to list every output of, and distributions whose draws are dictated."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.distributions.protocols import LogProb
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq, Transformer
from structpred.sequences import Sequences
from structpred.task import Sizes

INPUTS = 3
"""Input symbols of the tiny networks."""


def strings(labels: int, longest: int, shortest: int = 0) -> list[list[int]]:
    """Every string of labels between two lengths.

    Examples:
        >>> strings(2, 1)
        [[], [0], [1]]
    """
    lengths = range(shortest, longest + 1)
    return [list(each) for length in lengths for each in itertools.product(range(labels), repeat=length)]


def as_candidates(rows: Sequence[Sequence[int]], batch: int = 1) -> Sequences:
    """The same candidates ``[batch, candidates, time]`` for every example."""
    flat = Sequences.of(rows)
    return Sequences(flat.labels.expand(batch, -1, -1), flat.lengths.expand(batch, -1))


@contextmanager
def double_precision() -> Iterator[None]:
    """float64 for everything built inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def tiny_models() -> dict[str, Model]:
    """Our own models, tiny, by name; outputs whose length is free have at most two labels."""
    return {
        "crf": CRF(embedding=3, hidden=4, dropout=0.0),
        "lstm-tagger": LSTMTagger(embedding=3, hidden=4, dropout=0.0),
        "seq2seq": Seq2Seq(embedding=3, hidden=4, dropout=0.0, length_ratio=1e-9, length_extra=2),
        "transformer": Transformer(
            hidden=4,
            heads=2,
            feedforward=4,
            encoder_layers=1,
            decoder_layers=1,
            dropout=0.0,
            length_ratio=1e-9,
            length_extra=2,
        ),
    }


def sizes_of(labels: int) -> Sizes:
    """The sizes of a task with so many labels, as often as their number, and `INPUTS` input symbols."""
    return Sizes(num_inputs=INPUTS, num_labels=labels, label_counts=tuple(range(1, labels + 1)), references=3)


def built(model: Model, labels: int = 2, *, seed: int = 0, sharpness: float = 3.0) -> nn.Module:
    """A network in float64, its weights scaled up so that its probabilities are far from uniform."""
    with torch.random.fork_rng(), double_precision():
        torch.default_generator.manual_seed(seed)
        network = model.build(sizes_of(labels))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(sharpness)
    return network


def targets_for(model: Model, inputs: Sequences, labels: int = 2) -> Sequences:
    """References that the model can give: as long as the input where that decides, shorter or empty elsewhere."""
    lengths = inputs.lengths.tolist()
    if not model.distribution.fixed_length:
        lengths = [0 if i % 3 == 2 else min(length, 2) for i, length in enumerate(lengths)]
    rows = [[(i + t) % labels for t in range(length)] for i, length in enumerate(lengths)]
    return Sequences.of(rows)


def every_output(p: Any, length: int, longest: int = 2) -> Sequences:
    """``[1, outputs, time]``: all that p can draw, with probabilities that sum to one.

    Where length is free these are the strings up to ``longest`` and, cut, the prefixes just beyond it.

    Args:
        p: a distribution.
        length: how long outputs are where the input decides.
        longest: the limit that the distribution cuts at elsewhere.
    """
    if p.fixed_length:
        return as_candidates(strings(p.num_labels, length, shortest=length))
    rows = strings(p.num_labels, longest + 1)
    every = as_candidates(rows)
    return Sequences(every.labels, every.lengths, torch.tensor([[len(row) <= longest for row in rows]]))


@dataclass(frozen=True)
class Dictated:
    """A distribution whose next draws are given, and which is p in everything else.

    Attributes:
        p: the distribution, for a batch of one row for each draw.
        outputs: what `sample` returns, ``[batch, k, time]``.
    """

    p: Any
    outputs: Sequences

    def __getattr__(self, verb: str) -> Any:
        """Any other verb is p's."""
        return getattr(self.p, verb)

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """What was dictated."""
        del generator
        assert self.outputs.lengths.shape[1] == k, "as many draws as were dictated"
        return self.outputs


def repeated(inputs: Sequences, times: int) -> Sequences:
    """One example, many times."""
    return Sequences(inputs.labels.expand(times, -1), inputs.lengths.expand(times))


def tuples_of(outputs: Sequences, k: int) -> Sequences:
    """``[tuples, k, time]``: every way to draw k outputs one after another, from ``[1, outputs, time]``."""
    count = outputs.lengths.shape[1]
    picked = torch.tensor(list(itertools.product(range(count), repeat=k)))
    ended = None if outputs.ended is None else outputs.ended[0][picked]
    return Sequences(outputs.labels[0][picked], outputs.lengths[0][picked], ended)


def same_beginnings(outputs: Sequences) -> Bool[Tensor, "batch candidates others times"]:
    """True where two candidates of an example both have t labels or more, and the same first t, for t = 0..time.

    Args:
        outputs: ``[batch, candidates, time]``.
    """
    real = outputs.mask()
    equal = outputs.labels.unsqueeze(2) == outputs.labels.unsqueeze(1)
    agree = equal & real.unsqueeze(2) & real.unsqueeze(1)
    return pad(agree.long().cumprod(-1).bool(), (1, 0), value=True)


def log_probs_of(p: LogProb, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
    """log p of the outputs, without gradient."""
    with torch.no_grad():
        return p.log_prob(outputs)
