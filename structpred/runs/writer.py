"""Train one run and write its folder."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from structpred.config import components
from structpred.distributions.protocols import Argmax
from structpred.errors import Interrupted, RunError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.imports import sources_of
from structpred.metrics import Counts
from structpred.provenance import commit, device_name, environment
from structpred.results import Certainty, RunResult
from structpred.runs.folder import Folder, decoded_outputs, encoded, sha256, write_data, written
from structpred.runs.predictor import with_kept
from structpred.runs.run import Run, not_finite, trained_by
from structpred.task import Example, Splits, Task, rendered, shown
from structpred.text import Outcome, predictions_table
from structpred.training import checkpoint
from structpred.training.certainty import certainty_of
from structpred.training.data import EncodedData, warn_of_unknown
from structpred.training.distributed import DistributedContext
from structpred.training.evaluation import refuse_asking, score_counts, scores
from structpred.training.meters import NotFinite
from structpred.training.monitoring import JsonlLogger, Logger, Observer, Progress, shape_of
from structpred.training.searching import Searched, warn_of_search
from structpred.training.trainer import GREEDY, Training
from structpred.vocabulary import Symbols


@dataclass(frozen=True)
class Conditions:
    """Everything about training a run that its experiment does not say.

    Attributes:
        splits: the data of its task.
        ranks: the processes that train it.
        stopping: called after every step, and every batch that is scored; True saves a checkpoint and raises
            `Interrupted`.
        checkpoint_every: seconds between checkpoints.
        loggers: receive the numbers of training in the first process, besides the run's own log.
    """

    splits: Splits
    ranks: DistributedContext
    stopping: Callable[[], bool]
    checkpoint_every: float
    loggers: tuple[Logger, ...]


class RunWriter:
    """Trains a run and writes its folder, `Folder.result` last.

    Args:
        experiment: what to train.
        identity: the run's identity.
        folder: its folder, locked by the caller.
        conditions: how to train it.
        observer: receives progress.
        start: the finished run whose weights training starts from; ignored if there is a checkpoint.
    """

    def __init__(
        self,
        experiment: Experiment,
        identity: str,
        folder: Folder,
        conditions: Conditions,
        observer: Observer,
        start: Run | None,
    ) -> None:
        observer(Progress("preparing"))
        refuse_asking(experiment.decoding)
        experiment = with_kept(experiment, conditions.splits.kept.__getitem__)
        self.experiment, self.identity, self.folder = experiment, identity, folder
        self.conditions, self.observer = conditions, observer
        self.prepared = EncodedData.of(conditions.splits, experiment.model)
        warn_of_unknown(conditions.splits, self.prepared.codec)
        log = JsonlLogger(folder.log)
        self.training = Training(
            experiment, self.prepared, observer=observer, ranks=conditions.ranks, loggers=(log, *conditions.loggers)
        )
        self.beginning = self.training.stepper.random()
        if checkpoint.all_of(folder.checkpoint):
            self._restore(checkpoint.newest(folder.checkpoint))
        elif start is not None:
            start.start(self.training.model)
            self.training.stepper.keep(start.weights())
        observer(Progress("preparing", memory=self.training.memory().total))
        if conditions.ranks.first:
            log.rewind(self.training.steps, self.training.epoch)
            folder.not_finite.unlink(missing_ok=True)
        self.written: dict[str, str] = {}
        self.outputs: dict[str, dict[str, np.ndarray]] = {}
        self.shapes: dict[str, dict[str, float]] = {}
        self.certainty: Certainty | None = None
        # the record comes first, because it says which run the folder belongs to
        self._write(folder.record, json.dumps(self._record(), indent=1, ensure_ascii=False))
        self._write(folder.experiment, replace(experiment, metrics=()).to_json())  # they are no part of the run
        self._write(folder.data, write_data(self.prepared.codec.vocabularies, self.prepared.training.sizes))
        for name, content in conditions.splits.kept.items():
            self._write(folder.kept(name), content)

    def train(self) -> None:
        """Train to the end of the budget, test, and write everything.

        Raises:
            RunError: training cannot go on, or it failed: no step was taken, or the best weights are not finite.
            Interrupted: ``stopping`` returned True.
        """
        training, folder = self.training, self.folder
        self._run()
        tokens_per_second = training.clock.pace(1.0)[0]
        self.observer(Progress("testing", done=1.0))
        training.clock.start()
        weights = training.choose_best()
        self._refuse_failed_training(weights)
        try:
            counts = {split: self._test(split) for split in ("dev", "test")}
        except Interrupted:
            self._save(training.state())
            raise
        training.clock.stop()
        self.certainty = self._certain()
        self._warn_of_search(counts["dev"])
        self._write(folder.weights, _bytes_of(weights))
        self._write(folder.counts, _bytes_of_arrays(counts))
        self._write(folder.outputs, _bytes_of_arrays(self.outputs))
        result = json.dumps(asdict(self._result(counts, tokens_per_second)), ensure_ascii=False)
        self._write(folder.checksums, written(self.written | {folder.result.name: sha256(result.encode())}))
        self._write(folder.result, result)
        if self.conditions.ranks.first:
            checkpoint.remove(folder.checkpoint)
            folder.traceback.unlink(missing_ok=True)  # of an attempt that failed
        self.conditions.ranks.from_first(None)  # the other processes wait until everything is written

    def _run(self) -> None:
        """Train to the end of the budget."""
        try:
            self.training.run(
                save=self._save, save_every=self.conditions.checkpoint_every, stopping=self.conditions.stopping
            )
        except NotFinite as error:
            if self.conditions.ranks.first:
                write_atomically(self.folder.not_finite, json.dumps(error.batch, indent=1, ensure_ascii=False))
            raise RunError(f"{error} in {self.folder.not_finite}") from error

    def _refuse_failed_training(self, weights: dict[str, torch.Tensor]) -> None:
        training = self.training
        if training.steps <= int(training.guard.skipped):
            raise RunError(
                f"{self.folder.path}: not one of {training.steps} steps was taken, because loss or gradient was never "
                "finite; lower the learning rate or the clip norm, or look at the objective"
            )
        if (name := not_finite(weights)) is not None:
            raise RunError(
                f"{self.folder.path}: the weights that scored best are not finite, such as {name}; lower the learning "
                "rate or the clip norm"
            )

    def _save(self, state: checkpoint.State) -> None:
        if self.conditions.ranks.first:
            of_whom = {"identity": self.identity, "processes": self.conditions.ranks.world, "draws": self._draws()}
            checkpoint.save(self.folder.checkpoint, state | of_whom)

    def _restore(self, state: checkpoint.State) -> None:
        """Resume from a checkpoint.

        Raises:
            RunError: it is of another run, or it draws random numbers and another number of processes wrote it.
        """
        path = self.folder.checkpoint
        if state.get("identity", self.identity) != self.identity:
            raise RunError(f"{path} is of another run than its folder's; delete it to start this run again")
        world = self.conditions.ranks.world
        trained_by(self.folder.path, state.get("processes", world), world, draws=state.get("draws", False))
        try:
            self.training.restore(state)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, RunError):
                raise RunError(f"{path}: {error}") from error
            raise RunError(f"{path} does not fit this run; delete it to start this run again") from error

    def _draws(self) -> bool:
        """True once steps have drawn random numbers, which shows in the state of the generators."""
        now = self.training.stepper.random()
        return any(each is not None and not torch.equal(each, now[name]) for name, each in self.beginning.items())

    def _write(self, path: Path, content: str | bytes) -> None:
        """Write a file and keep its checksum."""
        if self.conditions.ranks.first:
            write_atomically(path, content)
            self.written[path.name] = sha256(content.encode() if isinstance(content, str) else content)

    def _test(self, split: str) -> dict[str, Counts]:
        examples: tuple[Example, ...] = getattr(self.prepared.splits, split)
        sources = [example.source for example in examples]
        outputs = self.training.predict(sources, self.experiment.decoding, self.conditions.stopping)
        self._write(self.folder.predictions(split), self._table(examples, outputs))
        self.outputs[split] = encoded(outputs, self.prepared.codec.vocabularies.labels)
        self.shapes[split] = shape_of(outputs, examples)
        return score_counts(self.experiment.scored, examples, outputs)

    def _certain(self) -> Certainty | None:
        """Calibration and entropy of the chosen weights on test, in the first process."""
        if not self.conditions.ranks.first:
            return None
        prepared, kept = self.prepared, self.outputs["test"]
        outputs = decoded_outputs(kept["labels"], kept["lengths"], prepared.codec.vocabularies.labels)
        training = self.training
        return certainty_of(training.stepper.scored, prepared.codec, prepared.splits.test, outputs, training.users)

    def _warn_of_search(self, counts: dict[str, Counts]) -> None:
        """Compare the outputs for dev with the greedy ones that chose the weights."""
        best, decoding = self.training.best, self.experiment.decoding
        assert best is not None
        chosen = next(epoch for epoch in self.training.history if epoch.epoch == best.epoch)
        exact = issubclass(self.experiment.model.distribution, Argmax)
        if exact or decoding == GREEDY or not self.conditions.ranks.first:
            return
        found = Searched(scores(self.experiment.scored, counts), self.shapes["dev"])
        greedy = Searched(chosen.dev, chosen.shape)
        warn_of_search(self.experiment.search, decoding, self.experiment.task.metrics[0], found, greedy)

    def _table(self, examples: tuple[Example, ...], outputs: list[Symbols]) -> str:
        task = self.experiment.task
        return predictions_table(
            Outcome(shown(task, example.source), rendered(task, output), references_of(example, task))
            for example, output in zip(examples, outputs, strict=True)
        )

    def _result(self, counts: dict[str, dict[str, Counts]], tokens_per_second: float) -> RunResult:
        training = self.training
        assert training.best is not None
        return RunResult(
            identity=self.identity,
            scores={split: scores(self.experiment.scored, each) for split, each in counts.items()},
            signatures={metric.name: metric.signature for metric in self.experiment.scored},
            best_epoch=training.best.epoch,
            steps=training.steps,
            seconds=training.clock.wall,
            cpu_seconds=training.clock.cpu,
            tokens_per_second=tokens_per_second,
            device=device_name(training.stepper.device),
            history=tuple(training.history),
            skipped=int(training.guard.skipped),
            trainer=self.experiment.trainer.version,
            processes=self.conditions.ranks.world,
            draws=self._draws(),
            length_ratios={split: shape["length_ratio"] for split, shape in self.shapes.items()},
            certainty=self.certainty,
        )

    def _record(self) -> dict[str, object]:
        data, start = self.prepared.splits.digest, self.experiment.start
        parts = list(components(replace(self.experiment, metrics=())))
        left_out = self.training.stepper.left_out
        sources = {path: {"place": left_out.places[path], "sha256": each} for path, each in left_out.digests.items()}
        return {
            "identity": self.identity,
            "data": data,
            "start": None if start is None else start.identity(data),
            "processes": self.conditions.ranks.world,
            "checksums": self.folder.checksums.name,  # so that a missing file is noticed; older runs have none
            **({"weights_from": sources} if sources else {}),
            **asdict(environment()),
            **commit(),
            "modules": sorted({type(part).__module__ for part in parts}),
            "imports": sources_of(map(type, parts)),
        }


def references_of(example: Example, task: Task) -> tuple[str, ...]:
    """An example's references as text: as they were written, where the symbols are pieces of words."""
    if example.wording is not None:
        return tuple(map(" ".join, example.wording.references))
    return tuple(rendered(task, reference) for reference in example.references)


def _bytes_of(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _bytes_of_arrays(counts: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"{split}/{name}": each for split, by in counts.items() for name, each in by.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
