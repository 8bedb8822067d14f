"""The batches of an epoch, planned in advance with the samples that the objective asks for."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.objective import Objective
from structpred.returned import check_lengths, checked, described, refuse
from structpred.rewards.reading import asks_for_examples
from structpred.seeds import generator
from structpred.sequences import FlatSequences, Sequences
from structpred.training.data import TrainingData

Tensors = tuple[Any, ...]
"""Tensors; for outputs followed by their total number of labels and the weights of draws."""

DRAW_BLOCK = 4096
"""Number of examples whose samples are drawn together."""


def token_batches(costs: Int[Tensor, " n"], budget: int, source: torch.Generator) -> list[Int[Tensor, " batch"]]:
    """Batches of examples of similar cost, in random order: as few and as even as the budget allows.

    The size of a batch times its largest cost stays within the budget; an example that alone exceeds it is a batch of
    its own. If all examples cost the same, batch sizes differ by at most one. In general every batch is either full
    (one more example of its largest cost would exceed the budget) or costs at least the mean of itself and all batches
    of cheaper examples, less half an example.

    Args:
        costs: target tokens of each example, including the end.
        budget: target tokens of a batch, including padding.
        source: the only source of randomness for composition and order.

    Returns:
        The indices of each batch's examples.
    """
    shuffled = torch.randperm(len(costs), generator=source)
    order = shuffled[costs[shuffled].argsort(stable=True)]
    batches = torch.tensor_split(order, _even_starts(costs[order].tolist(), budget)[1:])
    return [batches[i] for i in torch.randperm(len(batches), generator=source).tolist()]


def _even_starts(costs: Sequence[int], budget: int) -> list[int]:
    """The start of each batch in ascending costs: each takes its share of the remaining cost, the dearest batch first.

    The minimum number of batches leaves a choice: the examples before a batch are at most as many as fill the batches
    before it, and at least as many as do not fit into it.
    """
    latest, start = [0], 0
    for i, cost in enumerate(costs):  # ascending, so the latest is the largest
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
    """The data of one step.

    Attributes:
        inputs: the model's inputs.
        targets: ``[batch, time]``.
        draws: the payoff's draws, ``[batch, candidates, time]``, or None.
        tokens: target tokens, including ends.
    """

    inputs: Sequences
    targets: Sequences
    draws: Sequences | None
    tokens: int

    def tensors(self) -> tuple[Tensors, Tensors, Tensors]:
        """The first arguments of `TrainingStep.forward`: inputs, targets and draws."""
        drawn = () if self.draws is None else self.draws.tensors()
        return self.inputs.tensors(), self.targets.tensors(), drawn


class EpochPlan:
    """The batches of one epoch, a function of (seed, epoch) only.

    Order and targets do not depend on the objective; draws have a random stream of their own.

    Args:
        data: the training examples, in main memory.
        resident: the same data on the device where batches are gathered.
        objective: makes the draws.
        budget: target tokens per batch.
        seed, epoch: determine all randomness.
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
        self.wants_examples = asks_for_examples(objective)
        self.resident = resident
        draws = draw_ahead(data, chosen, objective, generator(seed, "draws", epoch))
        self.draws = None if draws is None else draws.to(resident.first.device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self._batch(self.rows[position])

    def tokens(self, position: int) -> int:
        """Target tokens of a whole batch, including ends."""
        return self._tokens(self.rows[position])

    def parts(self, position: int, count: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """The share of a batch of process ``rank`` of ``world``, in at most ``count`` pieces."""
        rows = self.rows[position][rank::world]
        return [self._batch(part) for part in rows.tensor_split(min(count, len(rows)))] if len(rows) else []

    def _tokens(self, rows: Int[Tensor, " batch"]) -> int:
        return int(self.target_lengths[rows].sum()) + len(rows)

    def _batch(self, rows: Int[Tensor, " batch"]) -> Batch:
        """Gather a batch; rows in main memory avoid synchronising with the device."""
        tokens = self._tokens(rows)
        inputs, targets = self.resident.inputs.gather(rows), self.resident.references.gather(self.chosen[rows])
        if self.wants_examples:
            targets = replace(targets, examples=rows)
        return Batch(inputs, targets, None if self.draws is None else self.draws.gather(rows), tokens)


@dataclass(frozen=True)
class Draws:
    """The draws for a whole epoch.

    Attributes:
        outputs: ``per_example`` draws for each example, end to end.
        weights: their weights, ``[n, candidates]``; None weighs all the same.
        per_example: the number of draws for each example.
    """

    outputs: FlatSequences
    weights: Float[Tensor, "n candidates"] | None
    per_example: int

    def gather(self, rows: Int[Tensor, " batch"]) -> Sequences:
        """The draws of the given examples, ``[batch, candidates, time]``."""
        k = self.per_example
        flat = self.outputs.gather((rows.unsqueeze(1) * k + torch.arange(k)).flatten())
        weights = None if self.weights is None else self.weights[rows.to(self.weights.device, non_blocking=True)]
        labels, lengths = flat.labels.view(len(rows), k, -1), flat.lengths.view(len(rows), k)
        return Sequences(labels, lengths, total=flat.total, weights=weights)

    def to(self, device: torch.device) -> "Draws":
        """A copy on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        return Draws(self.outputs.to(device), weights, self.per_example)


def draw_ahead(
    data: TrainingData, chosen: Int[Tensor, " n"], objective: Objective, source: torch.Generator
) -> Draws | None:
    """The draws for a whole epoch, made in large blocks; None if the objective makes none."""
    blocks, weights = [], []
    wants_examples = asks_for_examples(objective)
    for rows in torch.split(torch.arange(len(chosen)), DRAW_BLOCK):
        targets = data.references.gather(chosen[rows])
        if wants_examples:
            targets = replace(targets, examples=rows)
        drawn = objective.draw(targets, data.sizes.num_labels, source)
        _check_drawn(objective, drawn, len(rows), data.sizes.num_labels)
        if drawn is None:
            return None
        blocks.append(FlatSequences.packed(drawn.flatten()))
        weights += [] if drawn.weights is None else [drawn.weights.to(torch.get_default_dtype())]
    return Draws(FlatSequences.joined(blocks), torch.cat(weights) if weights else None, objective.drawn)


def _check_drawn(objective: Objective, found: object, examples: int, labels: int) -> None:
    """Refuse draws whose number differs from the objective's, which would be assigned to other examples.

    So are ids that are no labels, on which a device fails without saying why.
    """
    what, wanted = f"{type(objective).__name__}.draw", (examples, objective.drawn)
    advice = "its property `drawn` must say how many there are, 0 for None"
    if found is None and not objective.drawn:
        return
    if not isinstance(found, Sequences):
        refuse(what, f"Sequences [batch, candidates, time] of {wanted} outputs", described(found), advice)
    if tuple(found.lengths.shape) != wanted:
        shape = tuple(found.lengths.shape)
        refuse(what, f"Sequences [batch, candidates, time] of {wanted} outputs", f"{shape} of them", advice)
    check_lengths(found.lengths, found.labels.shape[-1], what)
    ids = found.labels[found.mask()]
    if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < labels):
        strange = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        refuse(what, f"outputs of the labels 0 to {labels - 1}", f"the label {strange}", "draw others")
    if found.weights is not None:
        checked(found.weights, wanted, what=f"{what}, weights,", axes="[batch, candidates]", like=found.device)
