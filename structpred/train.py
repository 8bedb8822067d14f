"""From an experiment to a finished run; interrupted at any moment, the same call goes on."""

import contextlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from structpred.config import components
from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.metrics import Counts
from structpred.provenance import commit, device_name, environment
from structpred.results import RunResult
from structpred.runs import Folder, Run, write_data
from structpred.task import Example, Splits
from structpred.training import checkpoint
from structpred.training.care import NotFinite
from structpred.training.data import Prepared, warn_of_unknown
from structpred.training.evaluation import score_counts, scores
from structpred.training.logbook import Logbook, Logger
from structpred.training.process import signals, without_subnormals
from structpred.training.progress import Observer, Progress, ignore
from structpred.training.ranks import Ranks
from structpred.training.trainer import Interrupted, Training
from structpred.vocabulary import Symbols

WAIT = 0.5
"""Seconds between looks at a run that another process is training."""


def train(
    experiment: Experiment,
    *,
    root: str | Path = "runs",
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    observer: Observer = ignore,
    stopping: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 30.0,
    loggers: Sequence[Logger] = (),
) -> Run:
    """Train, choose weights on dev, score dev and test, and leave a run folder named by the run's identity.

    A finished run is returned as it is; one that was interrupted goes on from its last checkpoint and ends with the
    weights it would have had. The run that the experiment starts from, if any, is found in the same root, or trained
    there first.

    Args:
        experiment: what to run.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        devices: how many on each machine; each has a process, which runs this same program.
        nodes: how many machines; several need a launcher such as ``torchrun`` or SLURM, and a root that all of them
            see.
        observer: told of progress.
        stopping: asked after every step; True saves a checkpoint and raises `Interrupted`.
        checkpoint_every: seconds between checkpoints.
        loggers: given numbers as training goes on, beside the run's own log.

    Raises:
        DataError: the task's data cannot be read.
        Busy: another process is at this run.
        RunError: training cannot go on.
        Interrupted: a signal or ``stopping`` ended it early.
    """
    splits = experiment.task.load()
    ranks = Ranks(device, devices, nodes)
    return _Session(Path(root), ranks, splits, stopping, checkpoint_every, tuple(loggers)).run(experiment, observer)


class Busy(RunError):
    """Another process is training the run."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(f"{folder.path}: another process is training this run; wait for it or stop it")


@dataclass(frozen=True)
class _Session:
    """Where and how a run is trained, and before it the run that it starts from."""

    root: Path
    ranks: Ranks
    splits: Splits
    stopping: Callable[[], bool]
    checkpoint_every: float
    loggers: tuple[Logger, ...]

    def run(self, experiment: Experiment, observer: Observer) -> Run:
        """The finished run."""
        identity = experiment.identity(self.splits.digest)
        folder = Folder(self.root / identity[:16])
        with _alone(folder) if self.ranks.first else contextlib.nullcontext():
            finished, under_way = self.ranks.from_first((folder.finished, folder.checkpoint.exists()))
            if not finished:
                with signals() as signalled, without_subnormals(), torch.random.fork_rng():
                    session = replace(self, stopping=lambda: signalled() or self.stopping())
                    start = None if under_way else session.start(experiment, observer)
                    run = _Making(session, experiment, identity, folder, observer, start)
                    run.train()
        observer(Progress("done", done=1.0))
        return Run.load(folder.path)

    def start(self, experiment: Experiment, observer: Observer) -> Run | None:
        """The finished run that training starts from, if any; waits while another process is training it."""
        if experiment.start is None:
            return None
        while True:
            try:
                return replace(self, loggers=()).run(experiment.start, _OfStart(observer))
            except Busy:
                observer(Progress("waiting for another process to train its start"))
                if self.stopping():
                    raise Interrupted from None
                time.sleep(WAIT)


@dataclass(frozen=True)
class _OfStart:
    """Tells of the run that training starts from: none of the training proper is done yet."""

    observer: Observer

    def __call__(self, progress: Progress) -> None:
        self.observer(replace(progress, phase=f"start, {progress.phase}", done=0.0))


class _Making:
    """A run folder being filled, `Folder.result` last."""

    def __init__(
        self,
        session: _Session,
        experiment: Experiment,
        identity: str,
        folder: Folder,
        observer: Observer,
        start: Run | None,
    ) -> None:
        observer(Progress("preparing"))
        self.session, self.experiment, self.identity = session, experiment, identity
        self.folder, self.observer = folder, observer
        self.prepared = Prepared.of(session.splits, experiment.model)
        warn_of_unknown(session.splits, self.prepared.codec)
        log = Logbook(folder.log)
        self.training = Training(
            experiment, self.prepared, observer=observer, ranks=session.ranks, loggers=(log, *session.loggers)
        )
        if folder.checkpoint.exists():
            self.training.restore(checkpoint.newest(folder.checkpoint))
        elif start is not None:
            self.training.model.load_state_dict(checkpoint.load(start.folder.weights))
        if session.ranks.first:
            log.rewind(self.training.steps, self.training.epoch)
            folder.not_finite.unlink(missing_ok=True)
        self._write(folder.experiment, experiment.to_json())
        self._write(folder.data, write_data(self.prepared.codec.vocabularies, self.prepared.training.sizes))
        self._write(folder.record, json.dumps(self._record(), indent=1, ensure_ascii=False))

    def train(self) -> None:
        training, folder = self.training, self.folder
        self._run()
        tokens_per_second = training.clock.pace(1.0)[0]
        self.observer(Progress("testing", done=1.0))
        training.clock.start()
        weights = training.choose_best()
        counts = {split: self._test(split) for split in ("dev", "test")}
        training.clock.stop()
        self._write(folder.weights, _bytes_of(weights))
        self._write(folder.counts, _bytes_of_arrays(counts))
        self._write(folder.result, json.dumps(asdict(self._result(counts, tokens_per_second)), ensure_ascii=False))
        if self.session.ranks.first:
            checkpoint.remove(folder.checkpoint)
        self.session.ranks.from_first(None)  # the others go on once everything is written

    def _run(self) -> None:
        """Train to the end of the budget."""
        try:
            self.training.run(save=self._save, save_every=self.session.checkpoint_every, stopping=self.session.stopping)
        except NotFinite as error:
            self._write(self.folder.not_finite, json.dumps(error.batch, indent=1, ensure_ascii=False))
            raise RunError(f"{error} in {self.folder.not_finite}") from error

    def _save(self, state: checkpoint.State) -> None:
        if self.session.ranks.first:
            checkpoint.save(self.folder.checkpoint, state)

    def _write(self, path: Path, content: str | bytes) -> None:
        if self.session.ranks.first:
            write_atomically(path, content)

    def _test(self, split: str) -> dict[str, Counts]:
        examples: tuple[Example, ...] = getattr(self.prepared.splits, split)
        sources = [example.source for example in examples]
        outputs = self.training.predict(sources, self.experiment.decoding)
        self._write(self.folder.predictions(split), self._table(examples, outputs))
        return score_counts(self.experiment.task.metrics, examples, outputs)

    def _table(self, examples: tuple[Example, ...], outputs: list[Symbols]) -> str:
        render = self.experiment.task.render
        lines = ["source\tprediction\treferences"]
        for example, output in zip(examples, outputs, strict=True):
            references = " | ".join(map(render, example.references))
            lines.append(f"{' '.join(example.source)}\t{render(output)}\t{references}")
        return "\n".join(lines) + "\n"

    def _result(self, counts: dict[str, dict[str, Counts]], tokens_per_second: float) -> RunResult:
        training = self.training
        assert training.best is not None
        return RunResult(
            identity=self.identity,
            scores={split: scores(self.experiment.task.metrics, each) for split, each in counts.items()},
            signatures={metric.name: metric.signature for metric in self.experiment.task.metrics},
            best_epoch=training.best.epoch,
            steps=training.steps,
            seconds=training.clock.wall,
            cpu_seconds=training.clock.cpu,
            tokens_per_second=tokens_per_second,
            device=device_name(training.fabric.device),
            history=tuple(training.history),
            skipped=int(training.care.skipped),
        )

    def _record(self) -> dict[str, object]:
        data, start = self.prepared.splits.digest, self.experiment.start
        return {
            "identity": self.identity,
            "data": data,
            "start": None if start is None else start.identity(data),
            **asdict(environment()),
            **asdict(commit()),
            "modules": sorted({type(part).__module__ for part in components(self.experiment)}),
        }


@contextlib.contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when the process ends, however it ends."""
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(folder) from None
    for half_written in folder.path.glob(".*.unfinished"):  # by a process that was killed
        half_written.unlink()
    try:
        yield
    except BaseException:
        if not (folder.checkpoint.exists() or folder.finished or folder.not_finite.exists()):
            shutil.rmtree(folder.path)  # nothing in it is worth going on from, or looking at
        raise
    finally:
        lock.release()


def _bytes_of(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _bytes_of_arrays(counts: dict[str, dict[str, Counts]]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"{split}/{name}": each for split, by in counts.items() for name, each in by.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
