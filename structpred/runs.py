"""A run's folder, and what a finished run is good for: predictions and scores."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from structpred.config import Config, canonical, components
from structpred.decoding import Decoding
from structpred.errors import ConfigError, DataError, RunError
from structpred.experiment import Experiment
from structpred.folders import Folder, named, read_data
from structpred.foreign import is_foreign
from structpred.imports import way_back
from structpred.integrity import Files, damaged
from structpred.metrics import Metric, score
from structpred.results import Epoch, RunResult
from structpred.sequences import Source, spelt
from structpred.tables import read_predictions
from structpred.task import Example, Sizes, Splits, loaded
from structpred.training.checkpoint import decoded
from structpred.training.data import Tokenizer
from structpred.training.evaluation import Hypothesis, n_best, predict, score_counts, scores
from structpred.vocabulary import Symbols, Vocabulary

__all__ = ["Folder", "Run", "decoded_outputs", "encoded", "named", "not_finite", "trained_by"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: its files.
        experiment: what was run.
        result: what came out.
    """

    folder: Folder
    experiment: Experiment
    result: RunResult

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """A finished run from its folder.

        What is read is compared with the run's checksums (see `structpred.integrity`). A run from before there were
        any is taken where its identity is that of its experiment and data, under the present or an earlier version of
        each component, and where its scores are those of its counts; what code from outside the package has to do with
        it cannot be told.

        Args:
            path: the folder, or the beginning of its name as long as no other run's name begins so; the whole identity
                will do too. A name alone is looked for in ``runs`` as well.

        Raises:
            RunError: the folder holds no run, or one that is not finished, or whose files are damaged or not its own;
                or several runs have a name that begins so.
            ConfigError: the experiment uses a component that is not installed here.
        """
        folder = named(Path(path))
        if not folder.path.is_dir() or not (folder.experiment.exists() or folder.record.exists()):
            raise RunError(f"{path}: expected the folder of a run, but there is no experiment.json in it")
        if not folder.finished:
            raise RunError(f"{path}: this run is not finished; start it again with the command that began it")
        files = Files(folder.path)
        record, result = files.json(folder.record.name), _result(files, folder)
        if record.get("identity") != result.identity:
            raise damaged(folder.result, f"is of another run than {folder.record.name}: their identities differ")
        if result.steps <= result.skipped:
            raise damaged(folder.result, "says that not one step was taken")
        run = cls(folder, _experiment(files, folder, record), result)
        if files.checksums:
            _warn_of_other_code(run, record)
        else:
            _check_without_checksums(run, record)
        return run

    @classmethod
    def found(cls, folder: Folder, identity: str, processes: int) -> "Run":
        """The run that was found finished where one of this identity was looked for.

        Args:
            folder: where.
            identity: what it must be; the name of the folder is only the beginning of it.
            processes: how many would have trained it now.

        Raises:
            RunError: as `load`, and where it is another run, where any of its files is damaged, or where steps drew
                random numbers and other processes than these were at it.
        """
        run = cls.load(folder.path)
        if run.result.identity != identity:
            raise damaged(folder.result, f"is of another run: expected the identity {identity}")
        trained_by(folder.path, run.result.processes, processes, draws=run.result.draws)
        files = Files(folder.path)
        files.verify()
        if not files.checksums:
            run.weights()
        return run

    def predict(
        self,
        texts: Sequence[str],
        *,
        decoding: Decoding | None = None,
        keep_unknown: bool = False,
        where: Sequence[str] | None = None,
    ) -> list[str]:
        """The output for each line of text, read and written the way the task's files are.

        Args:
            texts: one input each.
            decoding: how to search; None for the experiment's own way.
            keep_unknown: read symbols unknown from training as unknown instead of refusing them.
            where: where each input stands, for messages; ``"input 1"``, ``"input 2"``, … by default.

        Raises:
            DataError: an input is empty, or holds a symbol unknown from training; the message says where.
        """
        sources = self._parse(texts, keep_unknown, where)
        outputs = predict(self.model, self.codec, sources, decoding or self.experiment.decoding)
        return [self.experiment.task.render(output) for output in outputs]

    def n_best(
        self, texts: Sequence[str], k: int, *, keep_unknown: bool = False, where: Sequence[str] | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        """The ``k`` best outputs of each input with log-probabilities in nats, the best first; see `predict`."""
        return n_best(self.model, self.codec, self._parse(texts, keep_unknown, where), k)

    def read(self, text: str, *, keep_unknown: bool = False, where: str = "the input") -> Source:
        """What the model predicts from, given a line of text; see `predict`.

        Raises:
            DataError: it is empty, is not what the model's inputs are, or holds a symbol unknown from training.
        """
        encoder = self.codec.encoder
        try:
            source = self.experiment.task.parse(text)
            if not encoder.symbolic:
                self.codec.read([source])
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        strange = (
            () if keep_unknown or encoder.open_vocabulary else self.codec.vocabularies.inputs.unknown(spelt(source))
        )
        if strange:
            raise DataError(
                f"{where}: the symbol {strange[0]!r} never occurs in the training data, which knows "
                f"{len(self.codec.vocabularies.inputs)} symbols; give --keep-unknown, or keep_unknown=True in Python, "
                "to have it read as unknown"
            )
        return source

    def predictions(self, split: str) -> list[Symbols]:
        """What was predicted for ``"dev"`` or ``"test"`` by the chosen weights at the end of training, in order.

        Runs from before outputs were kept as label ids have texts only: then it is looked for the labels that the task
        renders so.

        Raises:
            RunError: a file is damaged, or a text cannot be taken apart without doubt.
        """
        path, labels = self.folder.outputs, self.codec.vocabularies.labels
        if path.name in Files(self.folder.path).checksums:
            arrays = _arrays(path)
            try:
                return decoded_outputs(arrays[f"{split}/labels"], arrays[f"{split}/lengths"], labels)
            except (KeyError, IndexError, ValueError, TypeError):
                raise damaged(path, f"must hold the outputs for {split}, but holds something else") from None
        rows = read_predictions(self.folder.predictions(split))
        return [self._taken_apart(row.prediction, labels) for row in rows]

    def _taken_apart(self, text: str, labels: Vocabulary) -> Symbols:
        """The labels that a text was rendered from."""
        render, known = self.experiment.task.render, set(labels.symbols)
        ways = dict.fromkeys([(), (text,), tuple(text), tuple(text.split(" ")), tuple(text.split())])
        found = [symbols for symbols in ways if known.issuperset(symbols) and render(symbols) == text]
        if len(found) != 1:
            raise RunError(
                f"{self.folder.path}: this run keeps its outputs as text only, and it cannot be told which labels "
                f"{text!r} was made of, so no other metric can be computed; move the folder away and train it again"
            )
        return found[0]

    def reported_by(self, metrics: Sequence[Metric], splits: Splits | None = None) -> "Run":
        """The same run with scores by these metrics; those it was not scored by are computed from `predictions`.

        Args:
            metrics: the metrics.
            splits: the data of its task, where the caller has read them.

        Raises:
            RunError: the data are others now, or a file of the run is damaged.
        """
        known, own = self.result.signatures, {each.name for each in self.experiment.task.metrics}
        # by the task's own it was scored when it was trained, with the libraries that there were then
        missing = [
            each
            for each in metrics
            if each.name not in known or (each.name not in own and known[each.name] != each.signature)
        ]
        if not missing:
            return self
        splits = splits or loaded(self.experiment.task)
        if splits.digest != self.data:
            raise RunError(
                f"{self.folder.path}: {missing[0].name} cannot be computed, because the task reads other data now than "
                "the run did; put the files back, or train the run again"
            )
        found = {}
        for split in ("dev", "test"):
            examples, outputs = getattr(splits, split), self.predictions(split)
            if len(examples) != len(outputs):
                raise damaged(
                    self.folder.predictions(split), f"holds {len(outputs)} outputs for {len(examples)} examples"
                )
            by_metric = scores(missing, score_counts(missing, examples, outputs))
            found[split] = self.result.scores[split] | by_metric
        signatures = known | {each.name: each.signature for each in missing}
        return replace(self, result=replace(self.result, scores=found, signatures=signatures))

    def evaluate(
        self, examples: Sequence[Example], *, decoding: Decoding | None = None, metrics: Sequence[Metric] = ()
    ) -> dict[str, float]:
        """Other examples predicted and scored, in percent, by the given metrics or those of the experiment."""
        sources = [example.source for example in examples]
        outputs = predict(self.model, self.codec, sources, decoding or self.experiment.decoding)
        chosen = metrics or self.experiment.reported
        return scores(chosen, score_counts(chosen, examples, outputs))

    @cached_property
    def data(self) -> str:
        """The digest of the data that the run read."""
        return str(Files(self.folder.path).json(self.folder.record.name).get("data"))

    @cached_property
    def codec(self) -> Tokenizer:
        """From symbols to tensors and back."""
        return Tokenizer(read_data(self.folder)[0], self.experiment.model.encoder())

    @cached_property
    def sizes(self) -> Sizes:
        """What the network was built for."""
        return read_data(self.folder)[1]

    @cached_property
    def model(self) -> nn.Module:
        """The trained network, on the CPU and in evaluation mode; called on `Sequences` it returns p(·|x)."""
        model = self.experiment.model.build(self.sizes)
        self.start(model)
        return model.eval()

    def start(self, model: nn.Module) -> None:
        """Give the weights to a network that was built alike."""
        try:
            model.load_state_dict(self.weights())
        except (RuntimeError, TypeError, AttributeError) as error:
            if isinstance(error, RunError):
                raise
            network = type(self.experiment.model).__name__
            raise damaged(self.folder.weights, f"does not fit the {network} of its experiment") from error

    def weights(self) -> dict[str, Tensor]:
        """The weights that scored best on dev, by parameter.

        Raises:
            RunError: the file is damaged, or a weight is not finite.
        """
        path = self.folder.weights
        try:
            weights = decoded(Files(self.folder.path).read(path.name))
        except ValueError as error:
            raise damaged(path, f"cannot be read ({error})") from error
        if (name := not_finite(weights)) is not None:
            raise damaged(path, f"holds weights that are not finite, such as {name}")
        return weights

    def _parse(self, texts: Sequence[str], keep_unknown: bool, where: Sequence[str] | None) -> list[Source]:
        places = where or [f"input {number}" for number in range(1, len(texts) + 1)]
        return [
            self.read(text, keep_unknown=keep_unknown, where=place) for text, place in zip(texts, places, strict=True)
        ]


def encoded(outputs: Sequence[Symbols], labels: Vocabulary) -> dict[str, np.ndarray]:
    """Outputs as label ids, one after another, and their lengths; `decoded_outputs` reads them.

    >>> encoded([("b", "a"), ()], Vocabulary(("a", "b")))
    {'labels': array([1, 0], dtype=int32), 'lengths': array([2, 0], dtype=int32)}
    """
    flat = [label for output in outputs for label in labels.encode(output)]
    return {"labels": np.array(flat, np.int32), "lengths": np.array([len(output) for output in outputs], np.int32)}


def decoded_outputs(ids: np.ndarray, lengths: np.ndarray, labels: Vocabulary) -> list[Symbols]:
    """What `encoded` encoded.

    >>> decoded_outputs(np.array([1, 0]), np.array([2, 0]), Vocabulary(("a", "b")))
    [('b', 'a'), ()]
    """
    return [labels.decode(row.tolist()) for row in np.split(ids, lengths.cumsum()[:-1])] if len(lengths) else []


def trained_by(place: Path, processes: int, now: int, *, draws: bool) -> None:
    """Refuse a run that other processes have trained, where their number decides the weights.

    Raises:
        RunError: it does, and the numbers differ.
    """
    if draws and processes != now:
        raise RunError(
            f"{place} was trained by {_counted(processes)}, and its steps draw random numbers (as for dropout), so "
            f"that {_counted(now)} would have ended with other weights; train with as many processes, move the folder "
            "away, or use another --root"
        )


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def not_finite(weights: Mapping[str, Any]) -> str | None:
    """The name of the first tensor with a value that is not finite, if there is one."""
    tensors = (name for name, each in weights.items() if isinstance(each, Tensor) and not each.isfinite().all())
    return next(tensors, None)


def _experiment(files: Files, folder: Folder, record: Mapping[str, Any]) -> Experiment:
    node = files.json(folder.experiment.name)
    try:
        return Experiment.from_json(canonical(node))
    except (ConfigError, RecursionError, ValueError) as error:
        how = way_back(record)
        if not how:
            raise damaged(folder.experiment, f"holds no experiment that can be used here ({error})") from None
        raise ConfigError(f"{folder.path}: {error}; {how}") from None


def _result(files: Files, folder: Folder) -> RunResult:
    node = files.json(folder.result.name)
    try:
        result = RunResult(**node | {"history": tuple(Epoch(**epoch) for epoch in node["history"])})
        whole = _plausible(result)
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise damaged(folder.result, "must hold the scores of a run, but holds something else")
    return result


def _plausible(result: RunResult) -> bool:
    scores = [list(result.scores[split].items()) for split in ("dev", "test")]
    numbers = (result.seconds, result.cpu_seconds, result.tokens_per_second)
    counts = (result.best_epoch, result.steps, result.skipped, result.processes)
    return (
        isinstance(result.identity, str)
        and bool(scores[0])
        and all(isinstance(value, float | int) and math.isfinite(value) for split in scores for _, value in split)
        and all(isinstance(each, float | int) for each in numbers)
        and all(isinstance(each, int) for each in counts)
        and all(isinstance(epoch.dev, dict) and isinstance(epoch.loss, float | int) for epoch in result.history)
    )


def _check_without_checksums(run: Run, record: Mapping[str, Any]) -> None:
    """What can be said of a run from before there were checksums."""
    if "checksums" in record:
        raise damaged(run.folder.checksums, "is missing")
    data, experiment = record.get("data"), run.experiment
    known = isinstance(data, str) and _of_the_package(experiment)
    if known and run.result.identity not in experiment.past_identities(str(data), code=False):
        raise damaged(run.folder.experiment, f"is of another run than {run.folder.result.name} and its identity")
    _check_scores(run)


class OtherCodeWarning(UserWarning):
    """A run is used with other code than it was trained with."""


def _warn_of_other_code(run: Run, record: Mapping[str, Any]) -> None:
    """Say where components from outside the package have been edited since: their answers may be others too."""
    classes = {cls for part in components(run.experiment) for cls in part.code() if is_foreign(cls)}
    if not classes:
        return
    try:
        same = run.result.identity in run.experiment.past_identities(str(record.get("data")), code=True)
    except (ConfigError, RunError):  # what an identity needs is not here, such as a reward function or a teacher
        return
    if not same:
        warnings.warn(
            f"{run.folder.path}: the code of {', '.join(sorted(cls.__qualname__ for cls in classes))} is not what this "
            "run was trained with, so what it predicts may not be what it scored; train it again",
            OtherCodeWarning,
            stacklevel=3,
        )


def _of_the_package(experiment: Experiment) -> bool:
    """True where nothing but fields and versions decides the identity."""
    parts = [type(part) for part in components(experiment)]
    return all(part.__module__.startswith("structpred.") and part.sources is Config.sources for part in parts)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file of a run."""
    try:
        with np.load(io.BytesIO(Files(path.parent).read(path.name)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except RunError:
        raise
    except Exception as error:  # as many kinds as there are ways to damage an archive
        raise damaged(path, f"cannot be read as {path.stem}") from error


def _check_scores(run: Run) -> None:
    """Compare the scores with the counts that they were made of, for metrics that still count the same way."""
    path = run.folder.counts
    counts = _arrays(path)
    metrics = [each for each in run.experiment.task.metrics if run.result.signatures.get(each.name) == each.signature]
    for split, told in run.result.scores.items():
        for metric in metrics:
            found = counts.get(f"{split}/{metric.name}")
            number = math.nan if found is None or found.ndim != 2 else score(metric, found)
            if not math.isclose(number, told.get(metric.name, math.nan), abs_tol=1e-6):
                raise damaged(run.folder.result, f"says another {metric.name} on {split} than {path.name}")
