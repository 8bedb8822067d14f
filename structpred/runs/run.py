"""A finished run: loaded and checked, its predictions, its scores, and its model for new inputs."""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor, nn

from structpred.config import Config, canonical, components
from structpred.errors import ConfigError, DataError, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.foreign import is_foreign, modules_of
from structpred.imports import way_back
from structpred.metrics import Metric, score
from structpred.models.sources import load_kept, may_lack
from structpred.results import Certainty, RunResult, stored
from structpred.runs.folder import Files, Folder, damaged, decoded_outputs, named, read_arrays, read_data
from structpred.runs.predictor import Predictor, with_kept
from structpred.task import Sizes, Splits, loaded
from structpred.text import Outcome, counted, read_predictions
from structpred.training.certainty import certainty_of
from structpred.training.checkpoint import decoded
from structpred.training.data import Tokenizer
from structpred.training.evaluation import score_counts, scores
from structpred.values import coerce, refuse
from structpred.vocabulary import Symbols, Vocabulary

Split = Literal["dev", "test"]


class OtherCodeWarning(UserWarning):
    """The code of a run's components, or a file that its model reads, has been edited since it was trained."""


@dataclass(frozen=True)
class Run(Predictor):
    """A finished run.

    Attributes:
        folder: its files.
        experiment: what was trained.
        result: its scores and history.
    """

    folder: Folder
    experiment: Experiment
    result: RunResult

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Run":
        """Load a finished run from its folder and check it.

        Every file that is read is compared with its checksum. A run older than checksums is accepted if its identity
        follows from its experiment and data, under the present or an earlier version of each component, and its scores
        follow from its counts; code from outside the package cannot be checked for such a run.

        Args:
            path: the folder, or a prefix of its name that no other run shares; the whole identity also works. A bare
                name is looked up in ``runs`` as well.

        Raises:
            RunError: the folder holds no run, or an unfinished or damaged one, or files of another run; or several
                runs share the prefix.
            ConfigError: the experiment uses a component that is not installed here, or the path is none.
        """
        if not isinstance(path, str | os.PathLike):
            refuse("the folder of a run", "text or a Path", path)
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
        experiment = _experiment(files, folder, record)
        run = cls(folder, experiment, result.known_by(experiment.task.metrics))
        run = replace(run, experiment=with_kept(experiment, run.kept))
        if files.checksums:
            _warn_of_other_code(run, record)
        else:
            _check_without_checksums(run, record)
        return run

    @classmethod
    def found(cls, folder: Folder, identity: str, processes: int | None) -> "Run":
        """Load a finished run instead of training it again, and check all of its files.

        Args:
            folder: the folder that the identity leads to.
            identity: the full identity; the folder's name is only a prefix of it.
            processes: how many processes would train the run now; None if that does not matter.

        Raises:
            RunError: as `load`; also if it is another run, if any file is damaged, or if its steps drew random numbers
                and another number of processes trained it.
        """
        run = cls.load(folder.path)
        if run.result.identity != identity:
            raise damaged(folder.result, f"is of another run: expected the identity {identity}")
        if processes is not None:
            trained_by(folder.path, run.result.processes, processes, draws=run.result.draws)
        files = Files(folder.path)
        files.verify()
        if not files.checksums:
            run.weights()
        return run

    def predictions(self, split: Split) -> list[Outcome]:
        """Source, prediction and references of every example of ``"dev"`` or ``"test"``, as the task writes them.

        The chosen weights predicted them at the end of training; nothing is decoded anew, and the data are not needed.

        Raises:
            ConfigError: there is no such split.
            RunError: the file is missing or damaged.
        """
        path = self.folder.predictions(str(coerce(split, Split, "split")))
        Files(self.folder.path).read(path.name)
        try:
            return read_predictions(path)
        except DataError as error:
            raise damaged(path, f"holds no predictions ({error})") from None

    def outputs(self, split: Split) -> list[Symbols]:
        """The same predictions as labels, which metrics score.

        Runs that do not keep outputs as label ids have only their text; its labels are then those that the task renders
        to that text.

        Raises:
            RunError: a file is damaged, or the labels behind a text are ambiguous.
        """
        path, labels = self.folder.outputs, self.codec.vocabularies.labels
        if path.name in Files(self.folder.path).checksums:
            arrays = read_arrays(path)
            try:
                return decoded_outputs(arrays[f"{split}/labels"], arrays[f"{split}/lengths"], labels)
            except (KeyError, IndexError, ValueError, TypeError):
                raise damaged(path, f"must hold the outputs for {split}, but holds something else") from None
        return [self._labels_of(row.prediction, labels) for row in self.predictions(split)]

    def _labels_of(self, text: str, labels: Vocabulary) -> Symbols:
        """The labels that were rendered to a text."""
        render, known = self.experiment.task.render, set(labels.symbols)
        ways = dict.fromkeys([(), (text,), tuple(text), tuple(text.split(" ")), tuple(text.split())])
        fitting = [symbols for symbols in ways if known.issuperset(symbols) and render(symbols) == text]
        if len(fitting) != 1:
            raise RunError(
                f"{self.folder.path}: this run keeps its outputs as text only, and the labels behind {text!r} are "
                "ambiguous, so no other metric can be computed; move the folder away and train it again"
            )
        return fitting[0]

    def certainty(self) -> Certainty | None:
        """Calibration and entropy on test, computed now where the run's result does not say; None where p fails to.

        Raises:
            RunError: the data are needed and have changed, or a file of the run is damaged.
        """
        if self.result.certainty is not None:
            return self.result.certainty
        task = self.experiment.task
        splits = loaded(task)
        if splits.digest != self.data:
            raise RunError(
                f"{self.folder.path}: calibration cannot be computed, because the task's data have changed since the "
                "run; put the files back, or train the run again"
            )
        return certainty_of(self.model, self.codec, splits.test, self.outputs("test"), modules_of([type(task)]))

    def reported_by(self, metrics: Sequence[Metric], splits: Splits | None = None) -> "Run":
        """The same run with scores by these metrics; missing scores are computed from `outputs`.

        Args:
            metrics: the metrics.
            splits: the data of its task, if the caller has read them already.

        Raises:
            RunError: the data have changed, or a file of the run is damaged.
        """
        known, own = self.result.signatures, {each.name for each in self.experiment.task.metrics}
        # The task's own metrics were computed when the run was trained, with the libraries of that time: they stay.
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
                f"{self.folder.path}: {missing[0].name} cannot be computed, because the task's data have changed since "
                "the run; put the files back, or train the run again"
            )
        completed = {}
        for split in get_args(Split):
            examples, outputs = getattr(splits, split), self.outputs(split)
            if len(examples) != len(outputs):
                raise damaged(
                    self.folder.predictions(split), f"holds {len(outputs)} outputs for {len(examples)} examples"
                )
            by_metric = scores(missing, score_counts(missing, examples, outputs))
            completed[split] = self.result.scores[split] | by_metric
        signatures = known | {each.name: each.signature for each in missing}
        return replace(self, result=replace(self.result, scores=completed, signatures=signatures))

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.folder.path)

    def kept(self, name: str) -> bytes:
        """The content of a file that the task keeps; see `Task.with_kept`.

        Raises:
            RunError: it is missing or damaged.
        """
        return Files(self.folder.path).read(self.folder.kept(name).name)

    @cached_property
    def data(self) -> str:
        """The digest of the data that the run was trained on."""
        return str(Files(self.folder.path).json(self.folder.record.name).get("data"))

    @cached_property
    def codec(self) -> Tokenizer:
        """Maps symbols to tensors and back."""
        return Tokenizer(read_data(self.folder)[0], self.experiment.model.encoder())

    @cached_property
    def sizes(self) -> Sizes:
        """The sizes that the network was built for."""
        return read_data(self.folder)[1]

    @cached_property
    def model(self) -> nn.Module:
        """The trained network, on the CPU and in evaluation mode; called on `Sequences` it returns p(·|x)."""
        sources = self.sources
        try:
            model = self.experiment.model.build(self.sizes)
        except (StructpredError, OSError) as error:
            if not sources:
                raise
            places = ", ".join(place for place, _ in sources.values())
            raise RunError(
                f"{self.folder.path} keeps only the weights that it trained, and the others cannot be read again from "
                f"{places} ({error}); put them back"
            ) from error
        self.start(model)
        return model.eval()

    @property
    def sources(self) -> dict[str, tuple[str, str]]:
        """Place and SHA-256 of the weights that were not trained and so are not in the folder, by module."""
        record = Files(self.folder.path).json(self.folder.record.name).get("weights_from", {})
        return {path: (each["place"], each["sha256"]) for path, each in record.items()}

    def start(self, model: nn.Module) -> None:
        """Copy the weights into a network of the same experiment, which has read those that the run does not keep.

        Raises:
            RunError: the weights are damaged, or the file of those that are not kept has changed.
        """
        try:
            weights, digests = self.weights(), {path: digest for path, (_, digest) in self.sources.items()}
            load_kept(model, weights, may_lack(model, digests))
        except (RuntimeError, TypeError, AttributeError) as error:
            if isinstance(error, RunError):
                raise
            network = type(self.experiment.model).__name__
            if Files(self.folder.path).checksums:  # they have been compared, so nothing is wrong with the file
                raise RunError(
                    f"{self.folder.weights} does not fit the {network} that is built now, because the code of the "
                    "run's components or the files that they read have changed since; put the earlier ones back"
                ) from error
            raise damaged(self.folder.weights, f"does not fit the {network} of its experiment") from error

    def weights(self) -> dict[str, Tensor]:
        """The weights that scored best on dev, by parameter name, without those that come from `sources`.

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


def trained_by(place: Path, processes: int, now: int, *, draws: bool) -> None:
    """Refuse a run that another number of processes trained, if that number affects the weights.

    Raises:
        RunError: it does, and the numbers differ.
    """
    if draws and processes != now:
        before, after = (counted(n, "process", "processes") for n in (processes, now))
        raise RunError(
            f"{place} was trained by {before}, and its steps draw random numbers (as for dropout), so {after} would "
            "have ended with other weights; train with as many processes, move the folder away, or use another --root"
        )


def not_finite(weights: Mapping[str, Any]) -> str | None:
    """The name of the first tensor with a value that is not finite; None if all are."""
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
        return RunResult.of(node)
    except ValueError:
        raise damaged(folder.result, "must hold the scores of a run, but holds something else") from None


def _check_without_checksums(run: Run, record: Mapping[str, Any]) -> None:
    """Check what can be checked of a run older than checksums."""
    if "checksums" in record:
        raise damaged(run.folder.checksums, "is missing")
    data, experiment = record.get("data"), run.experiment
    known = isinstance(data, str) and _of_the_package(experiment)
    if known and run.result.identity not in experiment.past_identities(str(data), code=False):
        raise damaged(run.folder.experiment, f"is of another run than {run.folder.result.name} and its identity")
    _check_scores(run)


def _warn_of_other_code(run: Run, record: Mapping[str, Any]) -> None:
    """Warn if components from outside the package, or files that the model reads, have been edited since the run."""
    classes = {cls for part in components(run.experiment) for cls in part.code() if is_foreign(cls)}
    parts = {type(part) for part in components(run.experiment.model)}
    reading = {cls for cls in parts if cls.fingerprint is not Config.fingerprint} - classes
    if not classes | reading:
        return
    try:
        same = run.result.identity in run.experiment.past_identities(str(record.get("data")), code=True)
    except (ConfigError, DataError, RunError):  # something is absent, such as a reward function, weights or a teacher
        return
    if not same:
        names = ", ".join(sorted(cls.__qualname__ for cls in classes | reading))
        what = f"code of {names} has" if not reading else f"{'code or files' if classes else 'files'} of {names} have"
        warnings.warn(
            f"{run.folder.path}: the {what} changed since this run was trained, so its predictions may no longer match "
            "its scores; train it again",
            OtherCodeWarning,
            stacklevel=3,
        )


def _of_the_package(experiment: Experiment) -> bool:
    """True if fields and versions alone determine the identity."""
    parts = [type(part) for part in components(experiment)]
    return all(part.__module__.startswith("structpred.") and part.fingerprint is Config.fingerprint for part in parts)


def _check_scores(run: Run) -> None:
    """Compare the scores with the counts behind them, for metrics whose signature is unchanged."""
    path = run.folder.counts
    counts = read_arrays(path)
    metrics = [each for each in run.experiment.task.metrics if run.result.signatures.get(each.name) == each.signature]
    for split, found in run.result.scores.items():
        for metric in metrics:
            count = stored(metric, counts, f"{split}/")
            number = math.nan if count is None or count.ndim != 2 else score(metric, count)
            if not math.isclose(number, found.get(metric.name, math.nan), abs_tol=1e-6):
                raise damaged(run.folder.result, f"says another {metric.name} on {split} than {path.name}")
