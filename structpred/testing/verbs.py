"""Whether the verbs of a distribution agree with its probabilities, by listing all of its outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot, pad

from structpred.distributions.protocols import Argmax, Decode, Decoding, Entropy, Marginals, NBest, TokenLogProbs
from structpred.sequences import Sequences
from structpred.testing.spaces import same_beginnings

CLOSE = 1e-9
"""How far numbers may differ by rounding, in float64."""


@dataclass(frozen=True)
class Space:
    """Every output for one input.

    Attributes:
        outputs: ``[1, outputs, time]``.
        log_probs: of each, detached, ``[outputs]``.
        fixed_length: True if the input decides the length of the output.
        where: names the input in messages.
    """

    outputs: Sequences
    log_probs: Float[Tensor, " outputs"]
    fixed_length: bool
    where: str

    @cached_property
    def whole(self) -> dict[tuple[int, ...], float]:
        """The log-probabilities of the outputs that were not cut, the most probable first."""
        found = zip(self.outputs.flatten().tolist(), self.log_probs.tolist(), self._ended.tolist(), strict=True)
        return dict(sorted(((tuple(row), value) for row, value, ended in found if ended), key=lambda each: -each[1]))

    def log_prob(self, output: Sequence[int], verb: str) -> float:
        """Of an output that a verb returned.

        Raises:
            AssertionError: there is no such output.
        """
        found = self.whole.get(tuple(output))
        assert found is not None, f"{self.where}: {verb} returns {list(output)}, which is no output for this input"
        return found

    def entropy(self) -> float:
        """−Σ_y p(y) log p(y)."""
        return float(torch.special.entr(self.log_probs.exp()).sum())

    def marginals(self, labels: int) -> Float[Tensor, "time labels"]:
        """p(y_t = v), of outputs of one length."""
        return (self.log_probs.exp().view(-1, 1, 1) * one_hot(self.outputs.labels[0], labels)).sum(0)

    def token_log_probs(self) -> Float[Tensor, "outputs steps"]:
        """log p(y_t | y_<t), from the probabilities of all outputs that begin so; 0 beyond an output.

        Where length is free the step after the last label is that of the end; a cut output, which stands for all
        outputs that begin with it, has none.
        """
        lengths, begins = self.outputs.lengths[0].unsqueeze(1), same_beginnings(self.outputs)[0]
        so_far = (begins * self.log_probs.exp().view(1, -1, 1)).sum(1).log()
        steps = torch.arange(self.outputs.labels.shape[-1])
        found = torch.where(steps < lengths, so_far.diff(dim=1), 0.0)
        if self.fixed_length:
            return found
        end = torch.where(self._ended.unsqueeze(1), self.log_probs.unsqueeze(1) - so_far.gather(1, lengths), 0.0)
        return pad(found, (0, 1)).scatter_add(1, lengths, end)

    @property
    def _ended(self) -> Tensor:
        every = torch.ones_like(self.log_probs, dtype=torch.bool)
        return every if self.outputs.ended is None else self.outputs.ended[0]


@torch.no_grad()
def check_verbs(p: Any, spaces: Sequence[Space]) -> None:
    """Check what a distribution over a batch offers against all outputs of each of its rows.

    Raises:
        AssertionError: a verb does not agree with the probabilities; the message says which, and for which input.
    """
    most = max(len(space.whole) for space in spaces)
    if isinstance(p, Argmax):
        _check_best(p.argmax(), spaces, "argmax")
    if isinstance(p, Decode):
        _check_best(p.decode(Decoding(beam=most)), spaces, f"decode with a beam of {most}, as wide as the outputs,")
    if isinstance(p, NBest):
        _check_ranked(p, spaces, most)
    if isinstance(p, TokenLogProbs):
        _check_token_log_probs(p, spaces)
    if not p.fixed_length:
        return
    if isinstance(p, Marginals):
        _check_marginals(p, spaces)
    if isinstance(p, Entropy):
        _check_entropy(p, spaces)


def _check_entropy(p: Entropy, spaces: Sequence[Space]) -> None:
    values = p.entropy()
    shape, came = [len(spaces)], list(values.shape)
    assert came == shape, f"{spaces[0].where}: entropy must return [batch] = {shape} numbers, but got shape {came}"
    for space, found in zip(spaces, values.tolist(), strict=True):
        expected = space.entropy()
        right = abs(found - expected) < CLOSE
        assert right, f"{space.where}: entropy returns {found:.9g}, but that of all outputs is {expected:.9g}"


def _check_best(found: Sequences, spaces: Sequence[Space], verb: str) -> None:
    rows = found.tolist()
    assert len(rows) == len(spaces), f"{spaces[0].where}: {verb} must return one output for each input"
    for space, row in zip(spaces, rows, strict=True):
        log_prob, (best, highest) = space.log_prob(row, verb), next(iter(space.whole.items()))
        assert log_prob > highest - CLOSE, (
            f"{space.where}: {verb} returns {row} of probability {math.exp(log_prob):.6f}, but the most probable "
            f"output is {list(best)} of {math.exp(highest):.6f}"
        )


def _check_ranked(p: NBest, spaces: Sequence[Space], most: int) -> None:
    ranked = p.n_best(most)
    verb, shape, came = f"n_best({most})", [len(spaces), most], list(ranked.outputs.lengths.shape)
    assert came == shape, f"{spaces[0].where}: {verb} must return outputs [batch, k] = {shape}, but got {came}"
    for i, space in enumerate(spaces):
        count = sum(log_prob > -math.inf for log_prob in space.whole.values())
        rows, values = ranked.outputs.select(torch.tensor([i])).flatten().tolist()[:count], ranked.log_probs[i].tolist()
        known = [space.log_prob(row, verb) for row in rows]
        once = len({tuple(row) for row in rows}) == count
        assert once, f"{space.where}: {verb} must return each of the {count} possible outputs once, but returns {rows}"
        close = all(abs(value - log_prob) < CLOSE for value, log_prob in zip(values[:count], known, strict=True))
        assert close, f"{space.where}: {verb} returns log-probabilities that are not those of its outputs"
        falling = all(one > other - CLOSE for one, other in pairwise(known))
        assert falling, f"{space.where}: {verb} must return the most probable output first, and so on"
        none = all(value == -math.inf for value in values[count:])
        assert none, f"{space.where}: {verb} must give −inf to what it returns beyond the {count} possible outputs"


def _check_token_log_probs(p: TokenLogProbs, spaces: Sequence[Space]) -> None:
    for i, space in enumerate(spaces):
        possible, expected = space.log_probs > -math.inf, space.token_log_probs()
        found = p.token_log_probs(for_all(space.outputs, len(spaces)))
        steps, came = expected.shape[1], list(found.shape)
        fits = came[:2] == [len(spaces), len(expected)] and len(came) == 3 and came[2] >= steps
        assert fits, (
            f"{space.where}: token_log_probs must be [batch, candidates, steps] = {[len(spaces), *expected.shape]} or "
            f"have more steps, but is {came}"
        )
        wide = pad(expected, (0, came[2] - steps))
        close = torch.allclose(found[i][possible], wide[possible], rtol=0, atol=CLOSE)
        assert close, f"{space.where}: token_log_probs are not log p(y_t | y_<t) as all outputs that begin so give it"


def _check_marginals(p: Any, spaces: Sequence[Space]) -> None:
    found = p.marginals()
    decoded = p.decode(Decoding(rule="hamming")).tolist() if isinstance(p, Decode) else None
    assert decoded is None or len(decoded) == len(spaces), (
        f"{spaces[0].where}: decode with rule='hamming' must return one output for each input"
    )
    for i, space in enumerate(spaces):
        expected = space.marginals(p.num_labels)
        time = len(expected)
        shape = found.ndim == 3 and len(found) == len(spaces) and found[i].shape[0] >= time
        close = shape and torch.allclose(found[i, :time], expected, rtol=0, atol=CLOSE) and not found[i, time:].any()
        assert close, f"{space.where}: marginals are not p(y_t = v) summed over all outputs, and 0 beyond their length"
        if decoded is None:
            continue
        space.log_prob(decoded[i], "decode with rule='hamming'")
        chosen = expected.gather(1, torch.tensor(decoded[i], dtype=torch.long).unsqueeze(1)).squeeze(1)
        assert (chosen > expected.amax(1) - CLOSE).all(), (
            f"{space.where}: decode with rule='hamming' must return the most probable label at each position, but "
            f"returns {decoded[i]}"
        )


def for_all(outputs: Sequences, batch: int) -> Sequences:
    """The same outputs ``[1, outputs, time]`` for every example of a batch."""
    ended = None if outputs.ended is None else outputs.ended.expand(batch, -1)
    return Sequences(outputs.labels.expand(batch, -1, -1), outputs.lengths.expand(batch, -1), ended)
