"""A task's examples as flat tensors, and the batches of an epoch, planned in advance with the payoff's samples."""

import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import digest
from structpred.errors import DataError
from structpred.models.base import Featurizer, Model
from structpred.objective import Objective
from structpred.returned import checked, described, refuse
from structpred.rewards.reading import asks_for_examples
from structpred.seeds import generator
from structpred.sequences import FlatSequences, Recording, Sequences, Source, spelt
from structpred.task import Example, Sizes, Splits
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary

Tensors = tuple[Any, ...]
"""Tensors; for outputs followed by their total number of labels and the weights of draws."""


class UnknownSymbolWarning(UserWarning):
    """Held-out inputs contain symbols that do not occur in training."""


@dataclass(frozen=True)
class Tokenizer:
    """Maps symbols to tensors and back.

    Attributes:
        vocabularies: the symbols of inputs and outputs.
        encoder: how the model reads its inputs.
    """

    vocabularies: Vocabularies
    encoder: Featurizer

    @classmethod
    def of(cls, examples: Sequence[Example], encoder: Featurizer, labels: Vocabulary | None = None) -> "Tokenizer":
        """From all labels of the training examples, and the input symbols that the encoder asks for.

        Args:
            examples: for training.
            encoder: how the model reads its inputs.
            labels: what outputs are made of, where the model decides.

        Raises:
            DataError: a reference has another label.
        """
        sources = _fitting([example.source for example in examples], encoder)
        references = (reference for example in examples for reference in example.references)
        known = sources if encoder.symbolic else []
        found = Vocabularies.of(known, references, min_count=encoder.min_count)
        return cls(
            found if labels is None else replace(found, labels=_covering(labels, found.labels, examples)), encoder
        )

    def read(self, sources: Sequence[Source]) -> FlatSequences:
        """Encode sources as a model's inputs.

        Raises:
            DataError: the encoder reads another kind of source.
        """
        return self.encoder.read(_fitting(sources, self.encoder), self.vocabularies)

    def write(self, labels: Sequence[int]) -> Symbols:
        """Decode an output to symbols."""
        return self.vocabularies.labels.decode(labels)


def _covering(labels: Vocabulary, found: Vocabulary, examples: Sequence[Example]) -> Vocabulary:
    """The labels of a model, once it is sure that they cover those of the references."""
    if strange := set(labels.unknown(found.symbols)):
        where, label = next(
            (example.where, label)
            for example in examples
            for reference in example.references
            for label in reference
            if label in strange
        )
        raise DataError(
            f"{where}: {label!r} is none of the {len(labels)} labels that the model can output; let the task "
            "'pretrained-pieces' cut its text into the pieces of the same model, or set PretrainedSeq2Seq.symbols to "
            "'task'"
        )
    return labels


def _fitting(sources: Sequence[Source], encoder: Featurizer) -> Sequence[Any]:
    """Check that the encoder reads this kind of source, and return the sources."""
    for source in sources:
        if isinstance(source, Recording) != encoder.recorded:
            symbols, recording = ("symbols", "'symbols' or 'words'"), ("a recording", "'frames'")
            expected, (found, advice) = (recording[0], symbols) if encoder.recorded else (symbols[0], recording)
            raise DataError(
                f"the input {' '.join(spelt(source))[:40]!r} must be {expected} for a model whose inputs are "
                f"{type(encoder).__name__}, but it is {found}; give the model inputs such as {advice}"
            )
    return sources


@dataclass(frozen=True)
class TrainingData:
    """Encoded training examples.

    Attributes:
        inputs: one sequence per example.
        references: all references of all examples, in order.
        first: index of each example's first reference, ``[n]``.
        variants: number of references of each example, ``[n]``.
        sizes: sizes for models and objectives.
    """

    inputs: FlatSequences
    references: FlatSequences
    first: Int[Tensor, " n"]
    variants: Int[Tensor, " n"]
    sizes: Sizes

    @classmethod
    def of(cls, examples: Sequence[Example], codec: Tokenizer) -> "TrainingData":
        """Encode the training examples.

        Raises:
            DataError: there are no training examples.
        """
        if not examples:
            raise DataError("expected training examples, but the task has none; check its files and its size")
        variants = torch.tensor([len(example.references) for example in examples])
        encode = codec.vocabularies.labels.encode
        references = FlatSequences.of([encode(each) for example in examples for each in example.references])
        inputs = codec.read([example.source for example in examples])
        sizes = sizes_of(codec.vocabularies, references)
        return cls(inputs, references, variants.cumsum(0) - variants, variants, sizes)

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "TrainingData":
        """The same data on another device."""
        return TrainingData(
            self.inputs.to(device),
            self.references.to(device),
            self.first.to(device),
            self.variants.to(device),
            self.sizes,
        )

    @cached_property
    def longest(self) -> Int[Tensor, " n"]:
        """Length of each example's longest reference plus one for the end: the maximum cost of the example."""
        owner = torch.repeat_interleave(torch.arange(len(self)), self.variants)
        return torch.zeros_like(self.first).scatter_reduce(0, owner, self.references.lengths, "amax") + 1


def sizes_of(vocabularies: Vocabularies, references: FlatSequences) -> Sizes:
    """Sizes of the training data, for models and objectives."""
    labels = len(vocabularies.labels)
    sides = (vocabularies.inputs, vocabularies.labels, vocabularies.characters)
    return Sizes(
        num_inputs=len(vocabularies.inputs),
        num_labels=labels,
        label_counts=tuple(torch.bincount(references.labels, minlength=labels).tolist()),
        references=len(references),
        characters=len(vocabularies.characters),
        symbols=digest([list(side.symbols) for side in sides]),
        label_symbols=digest(list(vocabularies.labels.symbols)),
    )


@dataclass(frozen=True)
class EncodedData:
    """A task's data, read and encoded for a model."""

    splits: Splits
    codec: Tokenizer
    training: TrainingData

    @classmethod
    def of(cls, splits: Splits, model: Model) -> "EncodedData":
        """Build vocabularies from the training examples and encode them.

        Raises:
            DataError: there are no training examples, or an output differs in length from an input that fixes it.
        """
        if model.distribution.fixed_length:
            _refuse_other_lengths(splits, model)
        codec = Tokenizer.of(splits.train, model.encoder(), model.labels())
        if codec.encoder.strict:
            _refuse_unreadable((*splits.train, *splits.dev, *splits.test), codec)
        return cls(splits, codec, TrainingData.of(splits.train, codec))


def _refuse_unreadable(examples: Sequence[Example], codec: Tokenizer) -> None:
    """Refuse examples that the encoder refuses, naming the place of the first."""
    try:
        codec.read([example.source for example in examples])
    except DataError:
        for example in examples:
            try:
                codec.read([example.source])
            except DataError as error:
                raise DataError(f"{example.where}: {error}") from None
        raise


def _refuse_other_lengths(splits: Splits, model: Model) -> None:
    for example in (*splits.train, *splits.dev, *splits.test):
        for reference in example.references:
            if len(reference) != len(example.source):
                raise DataError(
                    f"{example.where}: {type(model).__name__} predicts one label per input symbol, but here "
                    f"{len(example.source)} symbols have {len(reference)} labels; use a model of free length such as "
                    "Seq2Seq, or a tagging task"
                )


def warn_of_unknown(splits: Splits, codec: Tokenizer) -> None:
    """Warn once about held-out inputs with symbols that training never saw, naming the first.

    Models with an open vocabulary expect them, so there is no warning.
    """
    strange = [] if codec.encoder.open_vocabulary else list(_unknown(splits, codec.vocabularies))
    if strange:
        example, symbols = strange[0]
        warnings.warn(
            f"{example.where}: the symbol {symbols[0]!r} never occurs in the training inputs and is read as unknown "
            f"({len(strange)} held-out inputs have such symbols)",
            UnknownSymbolWarning,
            stacklevel=2,
        )


def _unknown(splits: Splits, vocabularies: Vocabularies) -> Iterator[tuple[Example, Symbols]]:
    for example in (*splits.dev, *splits.test):
        if symbols := vocabularies.inputs.unknown(spelt(example.source)):
            yield example, symbols


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
        _check_drawn(objective, drawn, len(rows))
        if drawn is None:
            return None
        blocks.append(FlatSequences.packed(drawn.flatten()))
        weights += [] if drawn.weights is None else [drawn.weights.to(torch.get_default_dtype())]
    return Draws(FlatSequences.joined(blocks), torch.cat(weights) if weights else None, objective.drawn)


def _check_drawn(objective: Objective, found: object, examples: int) -> None:
    """Refuse draws whose number differs from the objective's, which would be assigned to other examples."""
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
