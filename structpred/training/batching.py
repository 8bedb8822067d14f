"""One epoch, planned ahead: batches of similar length, a target for each example, and the payoff's draws."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.objective import Objective
from structpred.returned import checked, described, refuse
from structpred.rewards.reading import asks_for_examples
from structpred.seeds import generator
from structpred.sequences import FlatSequences, Inputs, Sequences
from structpred.training.data import TrainingData

DRAW_BLOCK = 4096
"""Examples whose draws are made together."""


def token_batches(costs: Int[Tensor, " n"], budget: int, source: torch.Generator) -> list[Int[Tensor, " batch"]]:
    """Indices in batches of similar cost, in random order: as few batches as the budget allows, as even as it allows.

    A batch times its largest cost stays within the budget; an example that alone exceeds it is a batch of its own. Of
    examples that all cost the same, two batches differ by one example at most. In general every batch either is full
    (one more example of its largest cost would exceed the budget) or costs at least as much as the mean of itself and
    all batches of cheaper examples, less half an example.

    Args:
        costs: target tokens of each example, end included.
        budget: target tokens a batch, padding included.
        source: decides who meets whom and in which order; nothing else does.
    """
    shuffled = torch.randperm(len(costs), generator=source)
    order = shuffled[costs[shuffled].argsort(stable=True)]
    batches = torch.tensor_split(order, _even_starts(costs[order].tolist(), budget)[1:])
    return [batches[i] for i in torch.randperm(len(batches), generator=source).tolist()]


def _even_starts(costs: Sequence[int], budget: int) -> list[int]:
    """Where each batch starts in ascending costs: each takes its share of what is left, the dearest batch first.

    As few batches as there can be leave room for choice: the examples before a batch are at most those that fill the
    batches before it, and at least those for which it has no room.
    """
    latest, start = [0], 0
    for i, cost in enumerate(costs):  # ascending, so the newest is the largest
        if i > start and (i - start + 1) * cost > budget:
            latest.append(start := i)
    before = [0, *accumulate(costs)]
    starts, end = [0] * len(latest), len(costs)
    for number in range(len(latest) - 1, 0, -1):
        earliest = end - max(1, budget // costs[end - 1])
        share = before[end] * number / (number + 1)
        nearest = bisect_left(before, share)
        if share - before[nearest - 1] <= before[nearest] - share:
            nearest -= 1
        starts[number] = end = min(max(nearest, earliest), latest[number])
    return starts


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        inputs: what the model reads.
        targets: ``[batch, time]``.
        draws: the payoff's draws, ``[batch, candidates, time]``, or None.
        tokens: target tokens, ends included.
    """

    inputs: Inputs
    targets: Sequences
    draws: Sequences | None
    tokens: int


class EpochPlan:
    """The batches of one epoch, a function of (seed, epoch) and nothing else.

    The order and the targets are the same whatever the objective; draws have a stream of their own.

    Args:
        data: the training examples, in main memory.
        resident: the same on the device where batches are gathered.
        objective: says what to draw ahead.
        budget: target tokens a batch.
        seed, epoch: decide everything random.
    """

    def __init__(
        self,
        data: TrainingData,
        resident: TrainingData,
        objective: Objective,
        *,
        budget: int,
        seed: int,
        epoch: int,
    ) -> None:
        self.rows = token_batches(data.longest, budget, generator(seed, "order", epoch))
        variant = torch.rand(len(data), generator=generator(seed, "variants", epoch)) * data.variants
        chosen = data.first + variant.long()
        self.target_lengths = data.references.lengths[chosen]
        self.chosen = chosen
        self.told = asks_for_examples(objective)
        self.resident = resident
        draws = draw_ahead(data, chosen, objective, generator(seed, "draws", epoch))
        self.draws = None if draws is None else draws.to(resident.first.device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self._batch(self.rows[position])

    def tokens(self, position: int) -> int:
        """Target tokens of a whole batch, ends included."""
        return self._tokens(self.rows[position])

    def parts(self, position: int, count: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """The examples of a batch that fall to process ``rank`` of ``world``, in at most ``count`` pieces."""
        rows = self.rows[position][rank::world]
        return [self._batch(part) for part in rows.tensor_split(min(count, len(rows)))] if len(rows) else []

    def _tokens(self, rows: Int[Tensor, " batch"]) -> int:
        return int(self.target_lengths[rows].sum()) + len(rows)

    def _batch(self, rows: Int[Tensor, " batch"]) -> Batch:
        """What is gathered by rows in main memory is gathered without waiting for the device."""
        tokens = self._tokens(rows)
        inputs, targets = self.resident.inputs.gather(rows), self.resident.references.gather(self.chosen[rows])
        if self.told:
            targets = replace(targets, examples=rows)
        return Batch(inputs, targets, None if self.draws is None else self.draws.gather(rows), tokens)


@dataclass(frozen=True)
class Draws:
    """What was drawn for a whole epoch.

    Attributes:
        outputs: as many of each example, end to end.
        weights: of each, ``[n, candidates]``; None weighs all alike.
        per_example: how many there are of each example.
    """

    outputs: FlatSequences
    weights: Float[Tensor, "n candidates"] | None
    per_example: int

    def gather(self, rows: Int[Tensor, " batch"]) -> Sequences:
        """Those of the given examples, ``[batch, candidates, time]``."""
        k = self.per_example
        flat = self.outputs.gather((rows.unsqueeze(1) * k + torch.arange(k)).flatten())
        weights = None if self.weights is None else self.weights[rows.to(self.weights.device, non_blocking=True)]
        labels, lengths = flat.labels.view(len(rows), k, -1), flat.lengths.view(len(rows), k)
        return Sequences(labels, lengths, total=flat.total, weights=weights)

    def to(self, device: torch.device) -> "Draws":
        """The same on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        return Draws(self.outputs.to(device), weights, self.per_example)


def draw_ahead(
    data: TrainingData, chosen: Int[Tensor, " n"], objective: Objective, source: torch.Generator
) -> Draws | None:
    """The draws for a whole epoch, made in large blocks, with their weights if they have any; None for none."""
    blocks, weights = [], []
    told = asks_for_examples(objective)
    for rows in torch.split(torch.arange(len(chosen)), DRAW_BLOCK):
        targets = data.references.gather(chosen[rows])
        drawn = objective.draw(replace(targets, examples=rows) if told else targets, data.sizes.labels, source)
        _check_drawn(objective, drawn, len(rows))
        if drawn is None:
            return None
        blocks.append(FlatSequences.packed(drawn.flatten()))
        weights += [] if drawn.weights is None else [drawn.weights.to(torch.get_default_dtype())]
    return Draws(FlatSequences.joined(blocks), torch.cat(weights) if weights else None, objective.drawn)


def _check_drawn(objective: Objective, found: object, examples: int) -> None:
    """Refuse what is not as many sequences for each example as the objective says; they would go to other examples."""
    what, wanted = f"{type(objective).__name__}.draw", (examples, objective.drawn)
    advice = "its property `drawn` must say how many there are, 0 for None"
    if found is None and not objective.drawn:
        return
    if not isinstance(found, Sequences):
        refuse(what, f"Sequences [batch, candidates, time] of {wanted} outputs", described(found), advice)
    if tuple(found.lengths.shape) != wanted:
        shape = tuple(found.lengths.shape)
        refuse(what, f"Sequences [batch, candidates, time] of {wanted} outputs", f"{shape} of them", advice)
    if found.weights is not None:
        checked(found.weights, wanted, what=f"{what}, weights,", axes="[batch, candidates]", like=found.device)
