"""From an experiment to a finished run; interrupted at any moment, the same call goes on."""

import contextlib
import io
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from structpred.config import components
from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.metrics import Counts, score
from structpred.provenance import commit, device_name, environment
from structpred.results import RunResult
from structpred.runs import Folder, Run, write_data
from structpred.task import Example, Splits
from structpred.training import checkpoint
from structpred.training.data import Prepared, warn_of_unknown
from structpred.training.evaluation import predict, score_counts
from structpred.training.progress import Observer, Progress, ignore
from structpred.training.trainer import Interrupted, Training
from structpred.vocabulary import Symbols

WAIT = 0.5
"""Seconds between looks at a run that another process is training."""


def train(
    experiment: Experiment,
    *,
    root: str | Path = "runs",
    device: str = "auto",
    observer: Observer = ignore,
    stopping: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 30.0,
) -> Run:
    """Train, choose weights on dev, score dev and test, and leave a run folder named by the run's identity.

    A finished run is returned as it is; one that was interrupted goes on from its last checkpoint and ends with the
    weights it would have had. The run that the experiment starts from, if any, is found in the same root, or trained
    there first.

    Args:
        experiment: what to run.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        observer: told of progress.
        stopping: asked after every step; True saves a checkpoint and raises `Interrupted`.
        checkpoint_every: seconds between checkpoints.

    Raises:
        DataError: the task's data cannot be read.
        Busy: another process is at this run.
        RunError: training cannot go on.
        Interrupted: a signal or ``stopping`` ended it early.
    """
    splits = experiment.task.load()
    return _Session(Path(root), device, splits, stopping, checkpoint_every).run(experiment, observer)


class Busy(RunError):
    """Another process is training the run."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(f"{folder.path}: another process is training this run; wait for it or stop it")


@dataclass(frozen=True)
class _Session:
    """Where and how a run is trained, and before it the run that it starts from."""

    root: Path
    device: str
    splits: Splits
    stopping: Callable[[], bool]
    checkpoint_every: float

    def run(self, experiment: Experiment, observer: Observer) -> Run:
        """The finished run."""
        identity = experiment.identity(self.splits.digest)
        folder = Folder(self.root / identity[:16])
        folder.path.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for half_written in folder.path.glob(".*.unfinished"):  # by a process that was killed
                half_written.unlink()
            if not folder.finished:
                with _signals() as signalled, _without_subnormals(), torch.random.fork_rng():
                    session = replace(self, stopping=lambda: signalled() or self.stopping())
                    start = None if folder.checkpoint.exists() else session.start(experiment, observer)
                    run = _Making(experiment, self.splits, identity, folder, self.device, observer, start)
                    run.train(self.checkpoint_every, session.stopping)
        observer(Progress("done", done=1.0))
        return Run.load(folder.path)

    def start(self, experiment: Experiment, observer: Observer) -> Run | None:
        """The finished run that training starts from, if any; waits while another process is training it."""
        if experiment.start is None:
            return None
        while True:
            try:
                return self.run(experiment.start, _OfStart(observer))
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
        experiment: Experiment,
        splits: Splits,
        identity: str,
        folder: Folder,
        device: str,
        observer: Observer,
        start: Run | None,
    ) -> None:
        observer(Progress("preparing"))
        self.experiment, self.identity, self.folder, self.observer = experiment, identity, folder, observer
        self.prepared = Prepared.of(splits, experiment.model)
        warn_of_unknown(splits, self.prepared.codec)
        self.training = Training(experiment, self.prepared, device=device, observer=observer)
        if folder.checkpoint.exists():
            self.training.restore(checkpoint.newest(folder.checkpoint))
        elif start is not None:
            self.training.model.load_state_dict(checkpoint.load(start.folder.weights))
        write_atomically(folder.experiment, experiment.to_json())
        write_atomically(folder.data, write_data(self.prepared.codec.vocabularies, self.prepared.training.sizes))
        write_atomically(folder.record, json.dumps(self._record(), indent=1, ensure_ascii=False))

    def train(self, checkpoint_every: float, stopping: Callable[[], bool]) -> None:
        training, folder = self.training, self.folder
        training.run(
            save=lambda state: checkpoint.save(folder.checkpoint, state), save_every=checkpoint_every, stopping=stopping
        )
        assert training.best is not None
        tokens_per_second = training.clock.pace(1.0)[0]
        self.observer(Progress("testing", done=1.0))
        training.clock.start()
        training.model.load_state_dict(training.best.weights)
        counts = {split: self._test(split) for split in ("dev", "test")}
        write_atomically(folder.weights, _bytes_of(training.best.weights))
        write_atomically(folder.counts, _bytes_of_arrays(counts))
        training.clock.stop()
        write_atomically(folder.result, json.dumps(asdict(self._result(counts, tokens_per_second)), ensure_ascii=False))
        checkpoint.remove(folder.checkpoint)

    def _test(self, split: str) -> dict[str, Counts]:
        examples: tuple[Example, ...] = getattr(self.prepared.splits, split)
        sources = [example.source for example in examples]
        model = self.training.step.model
        outputs = predict(model, self.prepared.codec, sources, self.experiment.decoding)
        write_atomically(self.folder.predictions(split), self._table(examples, outputs))
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
            scores={split: {name: score(each) for name, each in by.items()} for split, by in counts.items()},
            signatures={metric.name: metric.signature for metric in self.experiment.task.metrics},
            best_epoch=training.best.epoch,
            steps=training.steps,
            seconds=training.clock.wall,
            cpu_seconds=training.clock.cpu,
            tokens_per_second=tokens_per_second,
            device=device_name(training.fabric.device),
            history=tuple(training.history),
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
    lock = FileLock(folder.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(folder) from None
    try:
        yield
    except BaseException:
        if not folder.checkpoint.exists() and not folder.finished:
            shutil.rmtree(folder.path)  # nothing in it is worth going on from
        raise
    finally:
        lock.release()


@contextlib.contextmanager
def _without_subnormals() -> Iterator[None]:
    """Flush subnormal numbers to zero: early in training they cost up to a third of the time.

    What was set before is set again: elsewhere in the process they may be meant.
    """
    smallest = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    flushing = bool(smallest / 2 == 0)  # torch has no way to ask
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushing)


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag, so that a checkpoint is written; a second one stops at once."""
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return

    def receive(number: int, frame: FrameType | None) -> None:
        del number, frame
        if received.is_set():
            raise KeyboardInterrupt
        received.set()

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bytes_of(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _bytes_of_arrays(counts: dict[str, dict[str, Counts]]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"{split}/{name}": each for split, by in counts.items() for name, each in by.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
