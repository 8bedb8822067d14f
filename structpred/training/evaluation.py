"""Predictions and scores."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from structpred.blame import blaming
from structpred.config import components
from structpred.distributions.decoding import bounded, decode
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError, DataError, Interrupted, StructpredError
from structpred.foreign import modules_of
from structpred.metrics import Counts, Metric, OfUnknown, counts, score
from structpred.rewards.reading import asks_for_examples
from structpred.seeds import stream
from structpred.sequences import FlatSequences, Sequences, Source, spelt
from structpred.task import Example, Splits, Task
from structpred.training.data import Tokenizer
from structpred.vocabulary import Symbols

DECODING_ROWS = 256
"""Number of inputs decoded together."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Hypothesis:
    """One output of an n-best list.

    Attributes:
        output: the symbols.
        log_prob: log p(output | input), in nats.
    """

    output: Symbols
    log_prob: float


def never() -> bool:
    """Do not stop: the answer by default where work may be stopped."""
    return False


def predict(
    model: nn.Module,
    codec: Tokenizer,
    sources: Sequence[Source],
    decoding: Decoding,
    *,
    stopping: Callable[[], bool] = never,
) -> list[Symbols]:
    """The model's output for each source, in order.

    Where outputs are chosen from samples, those are drawn from the same random stream at every call; which of its
    numbers an input meets depends on the inputs beside it.

    Args:
        model: returns p when called on inputs.
        codec: maps symbols to tensors and back.
        sources: the inputs.
        decoding: how to choose; a reward that reads more than ids must be bound (`structpred.rewards.bind`).
        stopping: called before every batch; True gives up.

    Raises:
        ConfigError: the model cannot serve the settings, or the reward asks for an example.
        Interrupted: ``stopping`` returned True.
        DataError: an input encoder of one's own reads an input as more or fewer positions than there are labels.
    """
    refuse_asking(decoding)
    streams: dict[torch.device, torch.Generator] = {}

    def decoded(p: Any, inputs: Sequences, rows: Tensor) -> list[Symbols]:
        _refuse_other_positions(p, codec, [sources[i] for i in rows.tolist()], inputs)
        device = inputs.device
        if device not in streams:
            streams[device] = torch.Generator(device).manual_seed(stream(0, "decoding"))
        return [codec.write(ids) for ids in decode(p, decoding, inputs.lengths, streams[device]).tolist()]

    users = modules_of(map(type, components(decoding)))
    return by_length(model, codec.read(sources), decoded, users, stopping=stopping)


def refuse_asking(decoding: Decoding) -> None:
    """Refuse a reward that asks for the example of a reference: outputs are compared with outputs, which have none.

    Raises:
        ConfigError: it does, or it is a function that cannot be imported.
    """
    if asks_for_examples(decoding):
        raise ConfigError(
            f"Decoding.reward compares outputs with each other, but {type(decoding.reward).__name__} asks for the "
            "source or the metadata of an example, which an output does not have; use a reward of two outputs, such as "
            "edit-distance"
        )


def n_best(
    model: nn.Module, codec: Tokenizer, sources: Sequence[Source], k: int, decoding: Decoding | None = None
) -> list[tuple[Hypothesis, ...]]:
    """The ``k`` best outputs of each source, best first; fewer if there are fewer.

    Args:
        model: returns p when called on inputs.
        codec: maps symbols to tensors and back.
        sources: the inputs.
        k: how many outputs.
        decoding: its bounds on lengths hold, and nothing else of it.
    """

    def rank(p: Any, inputs: Sequences, rows: Tensor) -> list[tuple[Hypothesis, ...]]:
        _refuse_other_positions(p, codec, [sources[i] for i in rows.tolist()], inputs)
        ranked = bounded(p, decoding or Decoding(), inputs.lengths).n_best(k)
        outputs = iter(ranked.outputs.flatten().tolist())
        return [
            tuple(Hypothesis(codec.write(next(outputs)), log_prob) for log_prob in row)
            for row in ranked.log_probs.tolist()
        ]

    lists = by_length(model, codec.read(sources), rank)
    return [tuple(each for each in hypotheses if each.log_prob > -float("inf")) for hypotheses in lists]


def _refuse_other_positions(p: Any, codec: Tokenizer, sources: Sequence[Source], inputs: Sequences) -> None:
    """Refuse positions that are no labels, where the input decides how many labels there are; as for training data."""
    if not getattr(p, "fixed_length", False):
        return
    for source, found in zip(sources, inputs.lengths.tolist(), strict=True):
        if found != len(source):
            raise DataError(
                f"the input {' '.join(spelt(source))[:40]!r} must be read as {len(source)} positions, one a label, but "
                f"{type(codec.encoder).__name__} reads {found}; let it read each symbol, or use a model of free length"
            )


@torch.no_grad()
def by_length(
    model: nn.Module,
    inputs: FlatSequences,
    decoded: Callable[[Any, Sequences, Tensor], list[Item]],
    users: Iterable[str] = (),
    *,
    rows: int = DECODING_ROWS,
    stopping: Callable[[], bool] = never,
) -> list[Item]:
    """Apply ``decoded`` to p of batches of inputs of similar length; results in the order of the inputs.

    Errors in ``users``, modules of components from outside the package, are blamed on them.

    Args:
        model: returns p when called on inputs.
        inputs: all inputs.
        decoded: takes p, the inputs of a batch, and which of all inputs they are; returns one thing for each.
        users: modules.
        rows: inputs of a batch.
        stopping: called before every batch; True gives up.

    Raises:
        Interrupted: ``stopping`` returned True.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    users = modules_of(type(each) for each in model.modules()) | set(users)
    order = inputs.lengths.argsort(stable=True)
    results: dict[int, Item] = {}
    try:
        for chosen in torch.split(order, rows) if len(order) else ():  # nothing would be one batch of no inputs
            if stopping():
                raise Interrupted
            with blaming(users):
                batch = inputs.gather(chosen).to(device)
                outputs = decoded(model(batch), batch, chosen)
            results.update(zip(chosen.tolist(), outputs, strict=True))
    finally:
        model.train(training)
    return [results[i] for i in range(len(inputs))]


def score_counts(
    metrics: Sequence[Metric], examples: Sequence[Example], predictions: Sequence[Symbols]
) -> dict[str, Counts]:
    """The counts of every example, by metric name; in words where the symbols are pieces (`Example.wording`)."""
    pairs = [_as_scored(*pair) for pair in zip(examples, predictions, strict=True)]
    outputs, references = [output for output, _ in pairs], [right for _, right in pairs]
    unknown = [example.unknown for example in examples]
    return {metric.name: counts(metric, outputs, references, unknown) for metric in metrics}


def _as_scored(example: Example, output: Symbols) -> tuple[Symbols, tuple[Symbols, ...]]:
    """What metrics compare: an output, and the references."""
    wording = example.wording
    return (output, example.references) if wording is None else (wording.words(output), wording.references)


def scores(metrics: Sequence[Metric], counts: dict[str, Counts]) -> dict[str, float]:
    """The score from the counts, by metric name."""
    return {metric.name: score(metric, counts[metric.name]) for metric in metrics}


SCORED_TWICE = 100
"""Examples of which `check_metrics` sees whether a metric always gives the same."""


def check_metrics(metrics: Sequence[Metric], splits: Splits, task: Task) -> None:
    """Refuse metrics that cannot score a task, by scoring its references as if they were predictions.

    Raises:
        ConfigError: one fails, needs unknown words that the task does not mark, gives no finite number, or other ones
            for the same outputs.
    """
    examples = (*splits.dev, *splits.test)
    right = [example.references[0] for example in examples]
    for metric in metrics:
        misfit = f"the metric {metric.name} does not fit the task {type(task).__name__}"
        way_out = "choose another (structpred list metric)"
        if isinstance(metric, OfUnknown) and not any(any(example.unknown) for example in examples):
            raise ConfigError(f"{misfit}, which marks no word of dev or test as new; {way_out}")
        try:
            first = score_counts([metric], examples, right)[metric.name]
            scores([metric], {metric.name: first})
            again = score_counts([metric], examples[:SCORED_TWICE], right[:SCORED_TWICE])[metric.name]
            if not np.array_equal(first[:SCORED_TWICE], again):
                raise ConfigError(
                    f"{type(metric).__name__}.counts returned other numbers for the same outputs when it was called "
                    "again; let it draw nothing at random and keep nothing between calls"
                )
        except StructpredError as error:
            raise ConfigError(f"{misfit} ({error}); {way_out}") from error


def ranking(metrics: Sequence[Metric], found: Mapping[str, float]) -> tuple[float, ...]:
    """Scores as a tuple that compares larger for better ones; later metrics break ties.

    NaN is worse than any other score.
    """
    values = (found[metric.name] * (1 if metric.higher_is_better else -1) for metric in metrics)
    return tuple(-math.inf if math.isnan(value) else value for value in values)
