"""What every reward must satisfy."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from structpred.metrics import Metric
from structpred.rewards import Context, Reward, bind
from structpred.rewards.base import Decomposable, Incremental
from structpred.sequences import Sequences
from structpred.task import Example, Splits, Task
from structpred.testing.spaces import as_candidates, strings
from structpred.vocabulary import Symbols, Vocabulary

LABELS, LONGEST = 2, 3


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


def _known(references: Sequences) -> Sequences:
    """Of the only example."""
    return replace(references, examples=torch.zeros(len(references), dtype=torch.long))


def check_reward(reward: Reward) -> None:
    """Check a reward on all outputs and references of up to three labels out of two.

    One finite number per candidate, higher is better (nothing beats the reference itself); of several references the
    best counts, unless the class says that it `pools_references`: then their order does not matter, and one given twice
    is that one; the order of candidates and what stands in the padding do not matter; costs and increments, where there
    are any, add up to the reward. A reward of symbols or text sees the labels as the letters a and b, and as text
    with spaces between them.

    Raises:
        AssertionError: a property does not hold; the message says which, and for which reference.
    """
    reward = bind(
        reward, Context(_Letters(), Vocabulary(("a", "b")), (Example(("x",), (("a",),), "the only example"),))
    )
    for reference in strings(LABELS, LONGEST):
        shortest, longest = (len(reference),) * 2 if reward.same_length else (0, LONGEST)
        outputs = as_candidates(strings(LABELS, longest, shortest))
        references = _known(Sequences.of([reference]))
        where = f"{type(reward).__name__}, reference {reference}"
        scores = reward.score(outputs, references)
        assert scores.shape == outputs.lengths.shape, f"{where}: expected one number per candidate, got {scores.shape}"
        assert torch.isfinite(scores).all(), f"{where}: rewards must be finite"
        best = reward.score(references.candidates(), references)
        assert (scores <= best).all(), f"{where}: an output scores higher than the reference itself"
        _check_padding_and_order(reward, outputs, references, scores, where)
        _check_several(reward, outputs, reference, scores, where)
        _check_sums(reward, outputs, references, scores, best, where)


def _check_padding_and_order(
    reward: Reward, outputs: Sequences, references: Sequences, scores: Tensor, where: str
) -> None:
    wide = [torch.nn.functional.pad(each.labels, (0, 2), value=1) for each in (outputs, references)]
    padded = reward.score(Sequences(wide[0], outputs.lengths), _known(Sequences(wide[1], references.lengths)))
    assert torch.equal(padded, scores), f"{where}: what stands in the padding must not matter"
    turned = Sequences(outputs.labels.flip(1), outputs.lengths.flip(1))
    assert torch.equal(reward.score(turned, references).flip(1), scores), f"{where}: candidates must not interact"


def _check_several(reward: Reward, outputs: Sequences, reference: list[int], scores: Tensor, where: str) -> None:
    other = [1 - label for label in reference] + ([] if reward.same_length else [0])
    both = Sequences.of([reference, other])
    several = _known(Sequences(both.labels.unsqueeze(0), both.lengths.unsqueeze(0)))
    if reward.pools_references:
        _check_pooled(reward, outputs, several, reference, scores, where)
        return
    best = torch.maximum(scores, reward.score(outputs, _known(Sequences.of([other]))))
    assert torch.equal(reward.score(outputs, several), best), (
        f"{where}: of several references the best must count, or the class must say pools_references = True"
    )


def _check_pooled(
    reward: Reward, outputs: Sequences, several: Sequences, reference: list[int], scores: Tensor, where: str
) -> None:
    """Whatever references are worth together, their order says nothing, and one given twice is that one."""
    found = reward.score(outputs, several)
    assert found.shape == scores.shape, f"{where}: expected one number per candidate, got {found.shape}"
    assert torch.isfinite(found).all(), f"{where}: rewards must be finite"
    turned = _known(Sequences(several.labels.flip(1), several.lengths.flip(1)))
    assert torch.equal(reward.score(outputs, turned), found), f"{where}: the order of references must not matter"
    twice = Sequences.of([reference, reference])
    same = reward.score(outputs, _known(Sequences(twice.labels.unsqueeze(0), twice.lengths.unsqueeze(0))))
    assert torch.allclose(same, scores), f"{where}: a reference given twice must be worth what it is alone"


def _check_sums(
    reward: Reward, outputs: Sequences, references: Sequences, scores: Tensor, best: Tensor, where: str
) -> None:
    if isinstance(reward, Decomposable):
        costs = reward.costs(references, LABELS)
        assert (costs >= 0).all(), f"{where}: costs must not be negative"
        total = torch.zeros_like(scores)
        for t in range(min(costs.shape[1], outputs.labels.shape[-1])):
            total = total + torch.where(t < outputs.lengths, costs[:, t].gather(1, outputs.labels[..., t]), 0)
        assert torch.allclose(best - scores, total), f"{where}: costs must add up to what the reward falls short by"
    assert isinstance(reward, Decomposable) == reward.decomposes, f"{where}: `decomposes` says otherwise than `costs`"
    if isinstance(reward, Incremental):
        sums = reward.increments(outputs, references).sum(-1)
        assert torch.allclose(sums.to(scores.dtype), scores), f"{where}: increments must add up to the reward"
