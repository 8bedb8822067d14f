"""The loop: fairness between arms, exact resume, folders, what goes wrong."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from filelock import FileLock

from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError, DataError, Interrupted, RunError
from structpred.experiment import Experiment
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.registry import objectives
from structpred.runs import Folder, Run, train
from structpred.sequences import Sequences
from structpred.text import read_predictions
from structpred.training import Adam, Constant, Cosine, InverseSquareRoot, Trainer, checkpoint
from structpred.training.data import EncodedData
from structpred.training.distributed import cpu_has_bf16
from structpred.training.monitoring import Progress, ignore
from structpred.training.trainer import Training
from tests.support.forked import forks, hear_ctrl_c
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=3, batch_tokens=40),
)


def training(experiment: Experiment) -> Training:
    return Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu", observer=ignore)


def stop_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is None


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


def test_arms_of_a_seed_start_from_the_same_weights_and_meet_the_same_dropout() -> None:
    first, second, other = (
        training(TINY),
        training(replace(TINY, objective=RML())),
        training(replace(TINY, seed=1)),
    )
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    assert any(not torch.equal(v, other.model.state_dict()[n]) for n, v in first.model.state_dict().items())


def test_the_dropout_of_one_arm_is_not_shifted_by_the_draws_of_another() -> None:
    states = []
    for objective in (MaximumLikelihood(), RML(), LabelSmoothing()):
        arm = training(replace(TINY, objective=objective))
        arm.rehearse(3)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


@pytest.mark.parametrize("objective", [MaximumLikelihood(), RML(), LabelSmoothing(prior="unigram")])
@pytest.mark.parametrize("steps", [1, 5])
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    objective: Objective, steps: int, tmp_path: Path
) -> None:
    experiment = replace(TINY, objective=objective)
    undisturbed = train(experiment, root=tmp_path / "undisturbed")
    for interruption in range(2):
        with pytest.raises(Interrupted):
            train(experiment, root=tmp_path / "interrupted", stopping=stop_after(steps + interruption))
    resumed = train(experiment, root=tmp_path / "interrupted")
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(resumed)[name]), name
    timeless = [
        [replace(epoch, seconds=0.0, costs={**epoch.costs, "cpu_seconds": 0.0}) for epoch in run.result.history]
        for run in (undisturbed, resumed)
    ]
    assert timeless[0] == timeless[1]
    assert undisturbed.result.scores == resumed.result.scores
    assert not resumed.folder.checkpoint.exists()


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = train(TINY, root=tmp_path)
    written = first.folder.result.stat().st_mtime_ns
    again = train(TINY, root=tmp_path, stopping=lambda: pytest.fail("a step was taken"))
    assert again.folder == first.folder
    assert again.folder.result.stat().st_mtime_ns == written
    assert again.result == first.result


def test_every_field_the_data_and_the_seed_have_their_own_folder(tmp_path: Path) -> None:
    variants = [
        TINY,
        replace(TINY, seed=1),
        replace(TINY, optimiser=Adam(lr=2e-2)),
        replace(TINY, task=Copying(train=41)),
        replace(TINY, objective=RML()),
    ]
    identities = {each.identity(each.task.load().digest) for each in variants}
    assert len(identities) == len(variants)
    assert TINY.identity("data") != TINY.identity("other data")
    assert TINY.identity("data") != replace(TINY, start=TINY).identity("data")


def test_a_component_that_changed_its_meaning_changes_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TINY.identity("data")
    monkeypatch.setattr(MaximumLikelihood, "version", 2)
    assert TINY.identity("data") != before


def test_runs_made_before_ties_were_broken_and_batches_even_are_not_taken_for_new_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert train(TINY, root=tmp_path).result.trainer == Trainer.version == 2
    now = TINY.identity("data")
    monkeypatch.setattr(Trainer, "version", 1)
    assert TINY.identity("data") != now


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(TINY, root=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_runs_in_threads_take_turns(tmp_path: Path) -> None:
    """Dropout and initial weights come from PyTorch's one random state, which two runs at once would share."""
    began = threading.Event()
    seen: list[bool] = []
    other = threading.Thread(
        target=lambda: train(replace(TINY, seed=1), root=tmp_path, observer=lambda progress: began.set())
    )

    def stopping() -> bool:
        if not seen:
            other.start()
        seen.append(began.wait(0.5 if not seen else 0.0))
        return False

    train(replace(TINY, trainer=Trainer(epochs=1, batch_tokens=40)), root=tmp_path, stopping=stopping)
    other.join()
    assert began.is_set()
    assert not any(seen), "the second run began within the first"


@pytest.mark.parametrize("flushing", [False, True])
def test_subnormal_numbers_are_treated_afterwards_as_they_were_before(flushing: bool, tmp_path: Path) -> None:
    torch.set_flush_denormal(flushing)
    train(TINY, root=tmp_path)
    flushed = bool(torch.tensor(1e-308, dtype=torch.float64) / 10 == 0)
    torch.set_flush_denormal(False)
    assert flushed == flushing


def test_the_folder_holds_what_is_needed_to_redo_and_to_check(tmp_path: Path) -> None:
    run = train(TINY, root=tmp_path)
    assert Experiment.from_json(run.folder.experiment.read_text(encoding="utf-8")) == TINY
    record = json.loads(run.folder.record.read_text(encoding="utf-8"))
    assert record["identity"] == run.result.identity
    assert record["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    lines = run.folder.predictions("test").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(TINY.task.load().test)
    columns = [line.split("\t") for line in lines[1:]]
    assert {len(each) for each in columns} == {3}
    wrong = sum(row.prediction not in row.references for row in read_predictions(run.folder.predictions("test")))
    assert run.result.scores["test"]["WER"] == pytest.approx(100 * wrong / (len(lines) - 1))


@pytest.mark.slow
def test_training_learns_to_copy(tmp_path: Path) -> None:
    experiment = replace(
        TINY, model=Seq2Seq(embedding=16, hidden=32, dropout=0.0), trainer=Trainer(epochs=30, batch_tokens=40)
    )
    history = train(experiment, root=tmp_path).result.history
    assert history[-1].loss < history[0].loss / 3
    assert history[-1].dev["PER"] < history[0].dev["PER"]


def test_predictions_from_a_folder(tmp_path: Path) -> None:
    run = Run.load(train(TINY, root=tmp_path).folder.path)
    outputs = run.predict(["ab", "b"])
    assert len(outputs) == 2
    best = run.n_best(["ab", "b"], 3)
    assert all(len(each) == 3 for each in best)
    assert outputs == [run.experiment.task.render(each[0].output) for each in run.n_best(["ab", "b"], 5)]
    with pytest.raises(DataError, match=r"input 2: the symbol 'c' never occurs in the training data"):
        run.predict(["ab", "ac"])
    assert len(run.predict(["ac"], keep_unknown=True)) == 1
    assert run.evaluate(TINY.task.load().test) == pytest.approx(run.result.scores["test"])


def test_held_out_inputs_with_unknown_symbols_give_one_warning(tmp_path: Path) -> None:
    pairs = tmp_path / "train.tsv"
    pairs.write_text("".join(f"{w}\t{' '.join(w)}\n" for w in ("ab", "ba", "aab", "abb")), encoding="utf-8")
    held_out = tmp_path / "dev.tsv"
    held_out.write_text("b\tb\nac\ta b\ndc\tb a\n", encoding="utf-8")
    from structpred.tasks import Tsv

    task = Tsv(train=str(pairs), dev=str(held_out), test=str(held_out))
    with pytest.warns(UserWarning, match=r"dev\.tsv line 2: the symbol 'c' never occurs") as caught:
        train(replace(TINY, task=task, trainer=Trainer(epochs=1)), root=tmp_path)
    assert len(caught) == 1


def test_two_processes_cannot_train_the_same_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path / TINY.identity(TINY.task.load().digest)[:16])
    folder.path.mkdir()
    with FileLock(folder.path / ".lock"), pytest.raises(RunError, match="another process is training this run"):
        train(TINY, root=tmp_path)


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no experiment\.json in it"):
        Run.load(tmp_path)
    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path, stopping=stop_after(1))
    (folder,) = tmp_path.iterdir()
    with pytest.raises(RunError, match="this run is not finished"):
        Run.load(folder)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path, stopping=stop_after(3))
    (folder,) = tmp_path.iterdir()
    (folder / "checkpoint.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(RunError, match=r"checkpoint\.pt: the checkpoint cannot be read.*delete it"):
        train(TINY, root=tmp_path)


@objectives.register("test-infinite")
@dataclass(frozen=True, kw_only=True)
class Infinite(Objective):
    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        return Losses(p.log_prob(targets.candidates()).squeeze(1) * math.inf)


def test_a_loss_that_is_not_finite_ends_the_run_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not finite in .* lower the learning rate.*not_finite\.json"):
        train(replace(TINY, objective=Infinite()), root=tmp_path)


def test_patience_ends_training_early(tmp_path: Path) -> None:
    stuck = replace(TINY, optimiser=Adam(lr=1e-12), trainer=Trainer(epochs=50, batch_tokens=40, patience=2))
    assert [epoch.epoch for epoch in train(stuck, root=tmp_path).result.history] == [1, 2, 3]


FULL = (100.0, 60.0)


@pytest.mark.parametrize(
    ("dev", "patience", "best", "epochs"),
    [
        ([(100, 111), (100, 90), (100, 60), (100, 70), (100, 65)], None, 3, 5),  # the later metric decides
        ([(100, 111), (100, 90), (100, 60), (100, 70), (100, 65), FULL], 2, 3, 5),  # and is progress
        ([(90, 50), (80, 99), (80, 99), (90, 1)], None, 3, 4),  # the first metric first; then the later epoch
        ([FULL] * 5, 2, 3, 3),  # a mere tie is kept, but is no progress
        ([(math.nan, 1), (100, 60), (math.nan, 0)], None, 2, 3),
        ([(100, math.nan), FULL, (100, math.nan)], None, 2, 3),
    ],
)
@pytest.mark.parametrize("higher", [False, True])
def test_ties_on_dev_are_broken_by_later_metrics_and_then_by_the_later_epoch(
    dev: list[tuple[float, float]],
    patience: int | None,
    best: int,
    epochs: int,
    higher: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = TINY.task.metrics
    for metric in metrics:
        monkeypatch.setattr(type(metric), "higher_is_better", higher)
    found = iter({m.name: -x if higher else x for m, x in zip(metrics, each, strict=True)} for each in dev)
    monkeypatch.setattr("structpred.training.trainer.scores", lambda metrics, counts: next(found))
    run = training(replace(TINY, trainer=Trainer(epochs=len(dev), batch_tokens=400, patience=patience)))
    run.run(save=lambda state: None, save_every=math.inf, stopping=lambda: False)
    assert run.best is not None
    assert (run.best.epoch, run.epoch) == (best, epochs)


@dataclass(frozen=True, kw_only=True)
class WordsFirst(Copying):
    """Whole words choose the epoch; while none is right, symbols do."""

    metrics: ClassVar[tuple[Metric, ...]] = (WordErrorRate(), SymbolErrorRate())


def test_an_epoch_is_chosen_by_the_second_metric_while_no_output_is_right() -> None:
    task = WordsFirst(longest=6)
    run = training(replace(TINY, task=task, trainer=Trainer(epochs=4, batch_tokens=40, patience=1)))
    run.run(save=lambda state: None, save_every=math.inf, stopping=lambda: False)
    assert {epoch.dev["WER"] for epoch in run.history} == {100.0}
    falling = [epoch.dev["PER"] for epoch in run.history]
    assert run.best is not None
    assert len(falling) > 2, "patience counts the second metric"
    assert run.history[run.best.epoch - 1].dev["PER"] == min(falling)


def test_the_best_epoch_on_dev_is_kept(tmp_path: Path) -> None:
    result = train(replace(TINY, trainer=Trainer(epochs=6, batch_tokens=40)), root=tmp_path).result
    best = min(result.history, key=lambda epoch: (epoch.dev["PER"], epoch.dev["WER"], -epoch.epoch))
    assert best.epoch == result.best_epoch


def test_half_precision_trains_with_losses_in_single_precision(tmp_path: Path) -> None:
    bf16 = replace(TINY, trainer=Trainer(epochs=1, precision="bf16"))
    if not cpu_has_bf16():
        with pytest.raises(RunError, match="bf16 instructions"):
            train(bf16, root=tmp_path)
        return
    run = train(bf16, root=tmp_path)
    single = train(replace(TINY, trainer=Trainer(epochs=1)), root=tmp_path)
    assert run.result.history[0].loss == pytest.approx(single.result.history[0].loss, rel=0.02)
    assert run.result.history[0].loss != single.result.history[0].loss


def test_progress_names_every_phase(tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(TINY, root=tmp_path, observer=lambda progress: seen.append(progress))
    phases = list(dict.fromkeys(each.phase for each in seen))
    assert phases == ["preparing", "training", "testing", "done"]
    assert [each.done for each in seen if each.phase == "training"] == sorted(
        each.done for each in seen if each.phase == "training"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="PyTorch finds none"):
        train(TINY, root=tmp_path, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_device_starts_from_the_same_weights_and_learns(tmp_path: Path) -> None:
    here, there = (train(TINY, root=tmp_path / device, device=device) for device in ("cpu", "cuda"))
    assert there.result.history[0].loss == pytest.approx(here.result.history[0].loss, rel=0.1)
    assert there.result.history[-1].loss < there.result.history[0].loss


def test_schedules() -> None:
    assert Constant().factor(0.7) == 1.0
    assert Cosine(warmup=0.0).factor(0.5) == pytest.approx(0.5)
    assert Cosine(warmup=0.1).factor(0.05) == pytest.approx(0.5)
    assert Cosine(warmup=0.1).factor(1.0) == pytest.approx(0.0)
    with pytest.raises(
        ConfigError, match=r"^InverseSquareRoot.warmup must be above 0, because the rate falls from the"
    ):
        InverseSquareRoot(warmup=0.0).refuse_idle()
    assert InverseSquareRoot(warmup=0.1).factor(0.1) == pytest.approx(1.0)
    assert InverseSquareRoot(warmup=0.1).factor(0.4) == pytest.approx(0.5)
    assert InverseSquareRoot(warmup=0.0).factor(0.0) == 1.0


LONGER = replace(TINY, trainer=Trainer(epochs=30, batch_tokens=40))


def train_longer(root: Path) -> None:
    hear_ctrl_c()
    train(LONGER, root=root, checkpoint_every=0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return weights(train(LONGER, root=tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_killed_goes_on_to_the_same_weights(
    number: signal.Signals, undisturbed: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    process = forks().Process(target=train_longer, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(240)
    assert process.exitcode, "the run ended before the signal came; give it more epochs"
    (folder,) = tmp_path.iterdir()
    assert not (folder / "result.json").exists()
    resumed = weights(train(LONGER, root=tmp_path))
    assert all(torch.equal(value, resumed[name]) for name, value in undisturbed.items())
