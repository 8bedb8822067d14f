"""What every reward must satisfy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from structpred.metrics import Metric
from structpred.rewards import Context, Reward, bind
from structpred.rewards.base import Decomposable, Incremental
from structpred.sequences import Sequences
from structpred.task import Example, Splits, Task
from structpred.testing.spaces import as_candidates, same_beginnings, strings
from structpred.vocabulary import Symbols, Vocabulary

LABELS, LONGEST = 2, 3

EXAMPLES = tuple(Example(("x",) * (i + 1), (each,), f"example {i}") for i, each in enumerate((("a",), ("b", "a"), ())))
"""What a reward may look up; references of the batch are of these in turn."""


@dataclass(frozen=True, kw_only=True)
class _Letters(Task):
    """Renders letters."""

    metrics: ClassVar[tuple[Metric, ...]] = ()

    def load(self) -> Splits:
        """Nothing."""
        return Splits((), (), (), "letters")

    def parse(self, text: str) -> Symbols:
        """The letters between spaces."""
        return tuple(text.split())

    def render(self, output: Symbols) -> str:
        """Spaces between them."""
        return " ".join(output)


def check_reward(reward: Reward) -> None:
    """Check a reward on all outputs and references of up to three labels out of two, one by one and in one batch.

    One finite number per candidate, higher is better (nothing beats the reference itself); of several references the
    best counts, unless the class says that it `pools_references`: then their order does not matter, and one given twice
    is that one; the order of candidates and what stands in the padding do not matter; costs and increments, where there
    are any, add up to the reward, increments of several references too, and outputs that begin alike have the same
    increments up to there. In a batch of all references, each beside candidates in an order of its own, rewards, costs
    and increments are those that each has alone, with one reference and with two. A reward of symbols or text sees the
    labels as the letters a and b, and as text with spaces between them.

    Raises:
        AssertionError: a property does not hold; the message says which, and for which reference.
    """
    reward = bind(reward, Context(_Letters(), Vocabulary(("a", "b")), EXAMPLES))
    assert isinstance(reward, Decomposable) == reward.decomposes, (
        f"{type(reward).__name__}: `decomposes` says otherwise than `costs`"
    )
    each = [_alone(reward, row, reference) for row, reference in enumerate(strings(LABELS, LONGEST))]
    for one in each:
        best = reward.score(one.references.candidates(), one.references)
        assert (one.scores <= best).all(), f"{one.where}: an output scores higher than the reference itself"
        _check_padding_and_order(one)
        _check_several(one)
        _check_sums(one, best)
    _check_together(each)


@dataclass(frozen=True)
class _Asked:
    """Outputs and references of an example or of several, and what a reward says of them.

    Attributes:
        reward: the reward.
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, time]``.
        several: two references each, ``[batch, references, time]``, the first of them those above.
        where: what messages begin with.
    """

    reward: Any
    outputs: Sequences
    references: Sequences
    several: Sequences
    where: str

    @cached_property
    def scores(self) -> Tensor:
        """Of one reference, ``[batch, candidates]``."""
        return self._scores(self.references)

    @cached_property
    def of_several(self) -> Tensor:
        """Of several references, ``[batch, candidates]``."""
        return self._scores(self.several)

    @cached_property
    def costs(self) -> Tensor:
        """``[batch, time, labels]``, where there are any."""
        shape = (*self.references.labels.shape, LABELS)
        return self._shaped(self.reward.costs(self.references, LABELS), shape, "costs [batch, time, labels]")

    @cached_property
    def increments(self) -> Tensor:
        """Of one reference, ``[batch, candidates, time + 1]``, where there are any."""
        return self._increments(self.references)

    @cached_property
    def increments_of_several(self) -> Tensor:
        """Of several references, ``[batch, candidates, time + 1]``, where there are any."""
        return self._increments(self.several)

    def answers(self) -> dict[str, Tensor]:
        """All that the reward says, by what it is."""
        found = {"rewards": self.scores, "rewards for several references": self.of_several}
        if isinstance(self.reward, Decomposable):
            found["costs"] = self.costs
        if isinstance(self.reward, Incremental):
            found |= {"increments": self.increments, "increments for several references": self.increments_of_several}
        return found

    def _scores(self, references: Sequences) -> Tensor:
        shape, what = tuple(self.outputs.lengths.shape), "one number per candidate, [batch, candidates]"
        found = self._shaped(self.reward.score(self.outputs, references), shape, what)
        assert torch.isfinite(found).all(), f"{self.where}: rewards must be finite"
        return found

    def _increments(self, references: Sequences) -> Tensor:
        shape = (*self.outputs.lengths.shape, self.outputs.labels.shape[-1] + 1)
        found = self.reward.increments(self.outputs, references)
        return self._shaped(found, shape, "increments [batch, candidates, time + 1]")

    def _shaped(self, found: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
        came = tuple(found.shape)
        assert came == shape, f"{self.where}: expected {what}, of shape {shape}, but got shape {came}"
        return found


def _known(references: Sequences, rows: Sequence[int]) -> Sequences:
    """References that say which examples they are of."""
    examples = torch.tensor(rows) % len(EXAMPLES)
    return Sequences(references.labels, references.lengths, examples=examples)


def _grouped(rows: Sequence[Sequence[int]], size: int) -> Sequences:
    """``[batch, size, time]`` from so many sequences for each example, one example after another."""
    flat = Sequences.of(rows)
    batch = len(flat) // size
    return Sequences(flat.labels.view(batch, size, flat.labels.shape[-1]), flat.lengths.view(batch, size))


def _alone(reward: Reward, row: int, reference: list[int]) -> _Asked:
    shortest, longest = (len(reference),) * 2 if reward.same_length else (0, LONGEST)
    outputs = as_candidates(strings(LABELS, longest, shortest))
    other = [1 - label for label in reference] + ([] if reward.same_length else [0])
    single, both = _known(Sequences.of([reference]), [row]), _known(_grouped([reference, other], 2), [row])
    return _Asked(reward, outputs, single, both, f"{type(reward).__name__}, reference {reference}")


def _check_padding_and_order(one: _Asked) -> None:
    reward, outputs, references = one.reward, one.outputs, one.references
    wide = [torch.nn.functional.pad(each.labels, (0, 2), value=1) for each in (outputs, references)]
    padded = Sequences(wide[1], references.lengths, examples=references.examples)
    same = torch.equal(reward.score(Sequences(wide[0], outputs.lengths), padded), one.scores)
    assert same, f"{one.where}: what stands in the padding must not matter"
    turned = Sequences(outputs.labels.flip(1), outputs.lengths.flip(1))
    same = torch.equal(reward.score(turned, references).flip(1), one.scores)
    assert same, f"{one.where}: candidates must not interact"


def _check_several(one: _Asked) -> None:
    if one.reward.pools_references:
        _check_pooled(one)
        return
    other = Sequences(one.several.labels[:, 1], one.several.lengths[:, 1], examples=one.several.examples)
    best = torch.maximum(one.scores, one.reward.score(one.outputs, other))
    assert torch.equal(one.of_several, best), (
        f"{one.where}: of several references the best must count, or the class must say pools_references = True"
    )


def _check_pooled(one: _Asked) -> None:
    """Whatever references are worth together, their order says nothing, and one given twice is that one."""
    labels, lengths, examples = one.several.labels.flip(1), one.several.lengths.flip(1), one.several.examples
    found = one.reward.score(one.outputs, Sequences(labels, lengths, examples=examples))
    assert torch.equal(found, one.of_several), f"{one.where}: the order of references must not matter"
    labels, lengths = one.references.labels, one.references.lengths
    twice = Sequences(labels.unsqueeze(1).repeat(1, 2, 1), lengths.unsqueeze(1).repeat(1, 2), examples=examples)
    same = torch.allclose(one.reward.score(one.outputs, twice), one.scores)
    assert same, f"{one.where}: a reference given twice must be worth what it is alone"


def _check_sums(one: _Asked, best: Tensor) -> None:
    outputs, scores = one.outputs, one.scores
    if isinstance(one.reward, Decomposable):
        assert (one.costs >= 0).all(), f"{one.where}: costs must not be negative"
        total = torch.zeros_like(scores)
        for t in range(min(one.costs.shape[1], outputs.labels.shape[-1])):
            total = total + torch.where(t < outputs.lengths, one.costs[:, t].gather(1, outputs.labels[..., t]), 0)
        assert torch.allclose(best - scores, total), f"{one.where}: costs must add up to what the reward falls short by"
    if not isinstance(one.reward, Incremental):
        return
    sums, of_several = one.increments.sum(-1), one.increments_of_several.sum(-1)
    assert torch.allclose(sums.to(scores.dtype), scores), f"{one.where}: increments must add up to the reward"
    assert torch.allclose(of_several.to(scores.dtype), one.of_several), (
        f"{one.where}: increments for several references must add up to the reward for them"
    )


def _check_together(each: Sequence[_Asked]) -> None:
    """In a batch of all of them the reward says of every one what it says of it alone."""
    most = max(one.outputs.lengths.shape[1] for one in each)
    order = [(torch.arange(most) + row) % one.outputs.lengths.shape[1] for row, one in enumerate(each)]
    outputs = [one.outputs.flatten().select(chosen).tolist() for one, chosen in zip(each, order, strict=True)]
    references = Sequences.of([row for one in each for row in one.references.tolist()])
    several = _grouped([row for one in each for row in one.several.flatten().tolist()], 2)
    rows, reward = range(len(each)), each[0].reward
    where = f"{type(reward).__name__}, {len(each)} references in one batch"
    batch = _Asked(
        reward,
        _grouped([row for candidates in outputs for row in candidates], most),
        _known(references, rows),
        _known(several, rows),
        where,
    )
    for what, together in batch.answers().items():
        for row, one in enumerate(each):
            alone = one.answers()[what][0]
            expected = alone if what == "costs" else alone[order[row]]
            found = together[row][tuple(slice(size) for size in expected.shape)]
            same = torch.allclose(found, expected, atol=1e-6)
            assert same, f"{one.where}: other examples of the batch, or padding, change the {what}"
        if what.startswith("increments"):
            _check_beginnings(batch, together, each)


def _check_beginnings(batch: _Asked, increments: Tensor, each: Sequence[_Asked]) -> None:
    """No increment depends on a later label: outputs that begin alike have the same ones up to there."""
    found = increments[..., :-1]
    close = torch.isclose(found.unsqueeze(2), found.unsqueeze(1), atol=1e-6)
    wrong = (same_beginnings(batch.outputs)[..., 1:] & ~close).nonzero().tolist()
    if not wrong:
        return
    row, first, second, t = wrong[0]
    outputs, values = batch.outputs.select(torch.tensor([row])).flatten().tolist(), found[row, :, t].tolist()
    raise AssertionError(
        f"{each[row].where}: an increment must not depend on later labels, but label {t + 1} adds {values[first]:.6g} "
        f"in {outputs[first]} and {values[second]:.6g} in {outputs[second]}"
    )
