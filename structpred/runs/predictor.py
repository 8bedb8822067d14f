"""What predicts for new inputs: a finished run, or several of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from structpred.distributions.protocols import Decoding
from structpred.errors import AbsentError, ConfigError, DataError
from structpred.experiment import Experiment, check_decoding
from structpred.metrics import Metric
from structpred.rewards import Context, bind
from structpred.sequences import Recording, Source, spelt
from structpred.task import Example, parsed, rendered
from structpred.training.data import Tokenizer
from structpred.training.evaluation import Hypothesis, n_best, predict, score_counts, scores
from structpred.values import Count, coerce, refuse, shown
from structpred.vocabulary import Symbols


class Predictor(ABC):
    """Predictions and scores from an experiment, a network and the symbols that it knows.

    Attributes:
        experiment: what was trained; its task reads inputs and renders outputs, and its decoding is the default.
    """

    experiment: Experiment

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The trained network, in evaluation mode; called on `Sequences` it returns p(·|x)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The folder, or the folders, for messages."""

    @abstractmethod
    def kept(self, name: str) -> bytes:
        """The content of a file that the task keeps; see `Task.with_kept`."""

    @property
    @abstractmethod
    def codec(self) -> Tokenizer:
        """Maps symbols to tensors and back."""

    def predict(
        self,
        texts: Iterable[str],
        *,
        decoding: Decoding | None = None,
        keep_unknown: bool = False,
        where: Sequence[str] | None = None,
    ) -> list[str]:
        """The output for each line of text, in the format of the task's files.

        Args:
            texts: the inputs, one line each.
            decoding: how to search; the experiment's own decoding by default.
            keep_unknown: read symbols that training never saw as unknown instead of refusing them.
            where: the place of each input for messages; ``"input 1"``, ``"input 2"``, … by default.

        Raises:
            DataError: an input is empty or holds a symbol that training never saw; the message says where.
            ConfigError: the arguments are something else, or the model cannot serve the settings.
        """
        sources = self._parse(texts, keep_unknown, where)
        outputs = self.decode(sources, decoding)
        return [rendered(self.experiment.task, output) for output in outputs]

    def n_best(
        self, texts: Iterable[str], k: int, *, keep_unknown: bool = False, where: Sequence[str] | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        """The ``k`` best outputs of each input with log-probabilities in nats, the best first; see `predict`."""
        return self.hypotheses(self._parse(texts, keep_unknown, where), k)

    def decode(self, sources: Iterable[Source], decoding: Decoding | None = None) -> list[Symbols]:
        """The output for each source, as symbols.

        Args:
            sources: the inputs, as `read` returns them or as they stand in examples.
            decoding: how to choose; the experiment's own decoding by default.

        Raises:
            ConfigError: the model cannot serve these settings.
        """
        sources = [_source(source, number) for number, source in enumerate(_several(sources, "sources"), start=1)]
        chosen = _decoding(decoding) or self.experiment.decoding
        self.check_decoding(chosen)
        context = Context(self.experiment.task, self.codec.vocabularies.labels, ())
        return predict(self.model, self.codec, sources, bind(chosen, context))

    def check_decoding(self, decoding: Decoding) -> None:
        """Refuse settings that the model cannot serve.

        Raises:
            ConfigError: it cannot.
        """
        check_decoding(decoding, self.experiment.model)

    def search(self, decoding: Decoding) -> str:
        """How outputs are chosen, as a message: ``"a beam of 5"``."""
        return replace(self.experiment, decoding=decoding).search

    def hypotheses(
        self, sources: Iterable[Source], k: int, decoding: Decoding | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        """The ``k`` most probable outputs of each source, of lengths that the decoding allows.

        Raises:
            ConfigError: the arguments are something else.
        """
        sources = [_source(source, number) for number, source in enumerate(_several(sources, "sources"), start=1)]
        many: int = coerce(k, Count, "k")  # type: ignore[assignment]  # `coerce` makes it so
        return n_best(self.model, self.codec, sources, many, _decoding(decoding) or self.experiment.decoding)

    def read(self, text: str, *, keep_unknown: bool = False, where: str = "the input") -> Source:
        """Parse a line of text into a source for the model; see `predict`.

        Raises:
            DataError: it is empty, does not fit the model's inputs, or holds a symbol that training never saw.
            AbsentError: a file that the model or the task needs is gone.
        """
        encoder = self.codec.encoder
        try:
            source = parsed(self.experiment.task, text)
            if not encoder.symbolic:
                self.codec.read([source])
        except AbsentError:  # what the model reads is gone, whatever the input
            raise
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        strange = (
            () if keep_unknown or encoder.open_vocabulary else self.codec.vocabularies.inputs.unknown(spelt(source))
        )
        if strange:
            few = [repr(each) for each in dict.fromkeys(strange)][:3]
            never = f"symbol {few[0]} never occurs" if len(few) == 1 else f"symbols {', '.join(few)} never occur"
            raise DataError(
                f"{where}: the {never} in the training data, which knows "
                f"{len(self.codec.vocabularies.inputs)} symbols; give --keep-unknown, or keep_unknown=True in Python, "
                "to have it read as unknown"
            )
        return source

    def evaluate(
        self, examples: Iterable[Example], *, decoding: Decoding | None = None, metrics: Sequence[Metric | str] = ()
    ) -> dict[str, float]:
        """Predict and score other examples, in percent, by the given metrics or those of the experiment.

        Raises:
            ConfigError: the arguments are something else, or the model cannot serve the settings.
        """
        examples = [
            each if isinstance(each, Example) else refuse(f"example {number}", "an Example", each)
            for number, each in enumerate(_several(examples, "examples"), start=1)
        ]
        given: tuple[Metric, ...] = coerce(metrics, tuple[Metric, ...], "metrics")  # type: ignore[assignment]
        if not examples:
            raise ConfigError("examples must hold at least one example, but there is none, and nothing to score")
        outputs = self.decode([example.source for example in examples], decoding)
        chosen = given or self.experiment.reported
        return scores(chosen, score_counts(chosen, examples, outputs))

    def _parse(self, texts: Iterable[str], keep_unknown: bool, where: Sequence[str] | None) -> list[Source]:
        texts = _several(texts, "texts")
        for number, text in enumerate(texts, start=1):
            if not isinstance(text, str):
                refuse(f"input {number}", "text, one line of the task's files", text)
        if where is not None and len(where) != len(texts):
            raise ConfigError(f"where must name a place for each of {len(texts)} inputs, but names {len(where)}")
        places = where or [f"input {number}" for number in range(1, len(texts) + 1)]
        return [
            self.read(text, keep_unknown=keep_unknown, where=place) for text, place in zip(texts, places, strict=True)
        ]


def _several(found: Any, name: str) -> list[Any]:
    """Things of any iterable as a list; a single text, which is iterable as well, is none."""
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        refuse(name, "several of them, such as a list", found)
    return list(found)


def _source(found: object, number: int) -> Source:
    if isinstance(found, Recording):
        return found
    if isinstance(found, list | tuple) and all(isinstance(symbol, str) for symbol in found):
        return tuple(found)
    refuse(f"source {number}", "a tuple of symbols or a Recording, as `read` makes it of text", found)
    raise AssertionError


def _decoding(found: object) -> Decoding | None:
    return coerce(found, Decoding | None, "decoding")  # type: ignore[return-value]  # `coerce` makes it one


def with_kept(experiment: Experiment, read: Callable[[str], bytes]) -> Experiment:
    """The experiment, whose task takes from ``read`` what it learnt from its training data; see `Task.with_kept`."""
    task = experiment.task.with_kept(read)
    return experiment if task is experiment.task else replace(experiment, task=task)


_SHARED: dict[str, Callable[[Predictor], object]] = {
    "task": lambda each: each.experiment.task,
    "way of reading inputs": lambda each: each.experiment.model.encoder(),
    "symbols": lambda each: each.codec.vocabularies,
}


def check_alike(first: Predictor, other: Predictor, *, purpose: str, kind: Callable[[Predictor], object]) -> None:
    """Refuse to use two predictors together that differ in task, inputs, symbols or kind of model.

    Args:
        first: one.
        other: another.
        purpose: what they are used for, for the message: ``"the runs of an ensemble"``.
        kind: what counts as the kind of model.

    Raises:
        ConfigError: they differ; the message names the first difference.
    """
    for what, of in (_SHARED | {"kind of model": kind}).items():
        if of(first) != of(other):
            raise ConfigError(
                f"{purpose} must have the same {what}, but {first.name} and {other.name} differ"
                f"{'' if what == 'symbols' else f' ({shown(of(first))} and {shown(of(other))})'}; leave one out"
            )
