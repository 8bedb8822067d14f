"""The conformance kit refuses rewards that mix up the examples of a batch, or whose increments look ahead."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from structpred.rewards import EditDistance, Hamming
from structpred.sequences import Sequences
from structpred.testing import check_reward


def first_of(batch: Sequences) -> Sequences:
    """The first example's in place of everyone's."""
    return batch.select(torch.zeros(len(batch), dtype=torch.long))


@dataclass(frozen=True, kw_only=True)
class PlantedDistance(EditDistance):
    """With a fault chosen by name."""

    fault: str

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        if self.fault == "scores of the first reference":
            return super().score(outputs, first_of(references))
        if self.fault == "scores of the first outputs":
            return super().score(first_of(outputs), references)
        if self.fault == "several of the first" and references.lengths.ndim == 2:
            return super().score(outputs, first_of(references))
        return super().score(outputs, references)

    def increments(self, outputs: Sequences, references: Sequences) -> Tensor:
        if self.fault == "one of several" and references.lengths.ndim == 2:
            references = Sequences(references.labels[:, 0], references.lengths[:, 0])
        found = super().increments(outputs, first_of(references) if self.fault == "increments" else references)
        if self.fault == "look ahead":
            found = torch.cat([self.score(outputs, references).unsqueeze(-1), torch.zeros_like(found[..., 1:])], -1)
        return found[..., :-1] if self.fault == "no end" else found


@dataclass(frozen=True, kw_only=True)
class PlantedHamming(Hamming):
    """Whose costs are those of the first reference."""

    def costs(self, references: Sequences, labels: int) -> Tensor:
        found = super().costs(references, labels)
        return found[:1].expand_as(found)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("scores of the first reference", "other examples of the batch, or padding, change the rewards$"),
        ("scores of the first outputs", "other examples of the batch, or padding, change the rewards$"),
        ("several of the first", "other examples of the batch, or padding, change the rewards for several references"),
        ("increments", "other examples of the batch, or padding, change the increments$"),
        ("look ahead", r"an increment must not depend on later labels, but label 1 adds -?\d in \[\d"),
        ("one of several", "increments for several references must add up to the reward for them"),
        ("no end", r"expected increments \[batch, candidates, time \+ 1\], of shape .*, but got shape"),
    ],
)
def test_a_reward_that_mixes_examples_or_looks_ahead_is_told_so(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_reward(PlantedDistance(fault=fault))
    check_reward(PlantedDistance(fault="none"))


def test_costs_of_the_first_reference_are_found() -> None:
    with pytest.raises(AssertionError, match=r"other examples of the batch, or padding, change the costs"):
        check_reward(PlantedHamming())
