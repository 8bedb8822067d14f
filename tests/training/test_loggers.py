"""What is logged elsewhere than in a run's own log."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lightning_fabric.loggers.csv_logs import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from structpred.cli import main
from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.training import Trainer
from structpred.training.monitoring import Progress, TensorBoard
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=4),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=3, batch_tokens=40),
)


def stop_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is None


def read_back(run: Run, tag: str) -> list[tuple[int, float]]:
    """Steps and values, as TensorBoard shows them."""
    events = EventAccumulator(str(run.folder.path / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_reads_every_epoch_once_also_of_a_run_that_was_killed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(TINY, root=tmp_path, checkpoint_every=0.0, loggers=[TensorBoard, BreaksOff()])
    run = train(TINY, root=tmp_path, loggers=[TensorBoard])
    shown, per_epoch = read_back(run, "dev/PER"), run.result.steps // 3
    assert [step for step, _ in shown] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert [value for _, value in shown] == pytest.approx([epoch.dev["PER"] for epoch in run.result.history])


class BreaksOff:
    """Ends training after the second epoch is logged, while no checkpoint says that it has ended."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if metrics["epoch"] == 2 and "dev/PER" in metrics:
            raise KeyboardInterrupt


def test_loggers_of_the_engine_hold_everything_in_the_end(tmp_path: Path) -> None:
    run = train(TINY, root=tmp_path / "runs", loggers=[CSVLogger(tmp_path, name="csv", version="")])
    with (tmp_path / "csv" / "metrics.csv").open(encoding="utf-8") as stream:
        epochs = [row for row in csv.DictReader(stream) if row["dev/PER"]]
    assert [float(row["loss"]) for row in epochs] == pytest.approx([epoch.loss for epoch in run.result.history])


def test_the_last_progress_of_an_epoch_shows_its_own_scores(tmp_path: Path) -> None:
    seen: list[Progress] = []
    history = train(TINY, root=tmp_path, observer=lambda progress: seen.append(progress)).result.history
    last = {progress.epoch: progress.dev for progress in seen if progress.phase == "training"}
    assert last == {epoch.epoch: epoch.dev for epoch in history}


def test_loggers_of_an_interrupted_run_are_told_so(tmp_path: Path) -> None:
    said: list[str] = []

    class Told:
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            pass

        def finalize(self, status: str) -> None:
            said.append(status)

    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path, loggers=[Told()], stopping=stop_after(2))
    train(TINY, root=tmp_path, loggers=[Told()])
    train(replace(TINY, start=TINY), root=tmp_path, loggers=[Told()])
    assert said == ["failed", "success", "success"]


def test_tensorboard_from_the_command_line_and_without_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, pairs in {"train": "ab\ta b\nba\tb a\n", "dev": "aab\ta a b\n", "test": "abb\ta b b\n"}.items():
        Path(f"{split}.tsv").write_text(pairs, encoding="utf-8")
    words = [f"task.{split}={split}.tsv" for split in ("train", "dev", "test")]
    command = ["train", "task=tsv", *words, "model.hidden=4", "model.embedding=4", "trainer.epochs=1"]
    assert main([*command, "--logger", "tensorboard"]) == 0
    (folder,) = Path("runs").iterdir()
    run = Run.load(folder)
    assert [step for step, _ in read_back(run, "loss")][-1] == run.result.steps
    monkeypatch.setattr("structpred.training.monitoring.find_spec", lambda name: None)
    assert main([*command, "seed=1", "--logger", "tensorboard"]) == 2
    assert "pip install structpred[tensorboard]" in capsys.readouterr().err
