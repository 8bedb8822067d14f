"""The loop that every objective is trained by."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor

from structpred.config import Config, Count, Positive
from structpred.decoding import Decoding
from structpred.errors import RunError
from structpred.metrics import score
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.results import Epoch
from structpred.seeds import stream
from structpred.task import Task
from structpred.training.batching import Batch, EpochPlan
from structpred.training.checkpoint import State
from structpred.training.data import Prepared
from structpred.training.evaluation import predict, score_counts
from structpred.training.optimisers import Optimiser
from structpred.training.progress import Observer, Progress
from structpred.training.step import TrainingStep, plain
from structpred.training.tallies import Clock, Totals

GREEDY = Decoding(beam=1)
SHOW_EVERY = 0.5
"""Seconds between reports of progress; reading a loss makes the device wait, so it is not done every step."""


@dataclass(frozen=True, kw_only=True)
class Trainer(Config):
    """The training budget, the same for every objective.

    The loss of a step is the sum of its examples' losses divided by their target tokens, so that every example
    weighs the same whatever the batch it falls into. After each epoch the dev set is predicted greedily, and the
    weights with the best first metric are kept.

    Attributes:
        epochs: passes over the training examples.
        batch_tokens: target tokens a batch, ends and padding included.
        clip: largest norm of the gradient.
        patience: stop after so many epochs without a better dev score; None trains to the end.
        precision: ``"fp32"``, or ``"bf16"`` for autocast; probabilities are in float32 either way.
    """

    epochs: Count = 30
    batch_tokens: Count = 256
    clip: Positive = 1.0
    patience: Count | None = None
    precision: Literal["fp32", "bf16"] = "fp32"


@runtime_checkable
class Recipe(Protocol):
    """The parts of an experiment that training uses; see `structpred.Experiment`."""

    @property
    def task(self) -> Task: ...  # noqa: D102 - the fields of Experiment, read-only because it is frozen

    @property
    def model(self) -> Model: ...  # noqa: D102

    @property
    def objective(self) -> Objective: ...  # noqa: D102

    @property
    def optimiser(self) -> Optimiser: ...  # noqa: D102

    @property
    def trainer(self) -> Trainer: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass
class Best:
    """The weights to keep."""

    epoch: int
    score: float
    weights: dict[str, Tensor]


class Training:
    """One run under way: everything a checkpoint must hold, and the loop that moves it on.

    Args:
        recipe: the experiment.
        prepared: its data.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        observer: told of progress.

    Raises:
        RunError: the device is not there.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared, *, device: str, observer: Observer) -> None:
        self.fabric = fabric_on(device, recipe.trainer.precision)
        self.recipe, self.prepared, self.observer = recipe, prepared, observer
        self.generator = torch.Generator(self.fabric.device)
        self.generator.manual_seed(stream(recipe.seed, "objective"))
        torch.manual_seed(stream(recipe.seed, "initialisation"))
        sizes = prepared.training.sizes
        self.model = recipe.model.build(sizes)
        kind = prepared.training.inputs.padded
        self.modules = TrainingStep(
            self.model, recipe.objective, recipe.objective.state(sizes), self.generator, kind=kind, symbols=sizes.inputs
        )
        trained = [parameter for parameter in self.modules.parameters() if parameter.requires_grad]
        self.step, self.optimizer = self.fabric.setup(self.modules, recipe.optimiser.build(trained))
        torch.manual_seed(stream(recipe.seed, "dropout"))  # the global state is the dropout's from here on
        self.resident = prepared.training.to(self.fabric.device)
        self.epoch, self.position, self.steps = 0, 0, 0
        self.history: list[Epoch] = []
        self.best: Best | None = None
        self.totals = Totals()
        self.clock = Clock()

    def run(self, *, save: Callable[[State], None], save_every: float, stopping: Callable[[], bool]) -> None:
        """Train to the end of the budget.

        Args:
            save: called with `state` now and then, and before stopping early.
            save_every: seconds between calls of ``save``.
            stopping: asked after every step; True ends the run at once.

        Raises:
            Interrupted: ``stopping`` said so; the state has been saved.
            RunError: the loss is no longer finite.
        """
        self.clock.start()
        saved = time.monotonic()
        while not self.finished():
            plan = self._plan()
            while self.position < len(plan):
                self._train(plan[self.position], self.position / len(plan))
                self.position += 1
                if stopping():
                    save(self.state())
                    raise Interrupted
                if time.monotonic() - saved > save_every:
                    save(self.state())
                    saved = time.monotonic()
            self._finish_epoch()
        self.clock.stop()

    def rehearse(self, steps: int) -> int:
        """Take a few steps that lead nowhere, to see how long they take; returns the steps of one epoch."""
        plan = self._plan()
        for position in range(steps):
            self._train(plan[position % len(plan)], 0.0)
        return len(plan)

    def finished(self) -> bool:
        """True at the end of the budget, or once patience is out."""
        trainer = self.recipe.trainer
        patience = trainer.patience or trainer.epochs
        waited = self.epoch - (self.best.epoch if self.best else 0)
        return self.epoch >= trainer.epochs or waited >= patience

    def _plan(self) -> EpochPlan:
        return EpochPlan(
            self.prepared.training,
            self.resident,
            self.recipe.objective,
            budget=self.recipe.trainer.batch_tokens,
            seed=self.recipe.seed,
            epoch=self.epoch,
        )

    def _train(self, batch: Batch, within: float) -> None:
        """One step of the optimiser."""
        done = (self.epoch + within) / self.recipe.trainer.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.optimiser.rate * self.recipe.optimiser.schedule.factor(done)
        losses, diagnostics = self.step(*plain(batch), self.steps, done)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.sum() / batch.tokens)
        self.fabric.clip_gradients(
            self.step, self.optimizer, max_norm=self.recipe.trainer.clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.steps += 1
        self.totals.add(losses.detach(), diagnostics, batch.tokens)
        self.clock.tokens += batch.tokens
        if self.clock.due(SHOW_EVERY):
            self._report("training", done)

    def _report(self, phase: str, done: float) -> None:
        loss = self.totals.loss()
        if not math.isfinite(loss):
            raise RunError(
                f"the loss became {loss} in epoch {self.epoch + 1}; lower the learning rate or the clip norm"
            )
        dev = self.history[-1].dev if self.history else {}
        epochs, (rate, left) = self.recipe.trainer.epochs, self.clock.pace(done)
        self.observer(Progress(phase, self.epoch + 1, epochs, done, rate, left, loss, dev, self.steps))

    def _finish_epoch(self) -> None:
        """Score the dev set, keep the weights if they are the best, and begin the next epoch."""
        metrics, dev = self.recipe.task.metrics, self.prepared.splits.dev
        predictions = predict(self.step.model, self.prepared.codec, [each.source for each in dev], GREEDY)
        scores = {name: score(counts) for name, counts in score_counts(metrics, dev, predictions).items()}
        self._report("training", (self.epoch + 1) / self.recipe.trainer.epochs)
        self.epoch, self.position = self.epoch + 1, 0
        self.history.append(
            Epoch(self.epoch, self.totals.loss(), scores, self.clock.seconds(), self.totals.diagnostics())
        )
        self.totals = Totals()
        primary = scores[metrics[0].name] * (1 if metrics[0].higher_is_better else -1)
        if self.best is None or primary > self.best.score:
            self.best = Best(self.epoch, primary, copy.deepcopy(self.model.state_dict()))

    def state(self) -> State:
        """Everything needed to go on exactly where this stands."""
        cuda = torch.cuda.get_rng_state(self.fabric.device) if self.fabric.device.type == "cuda" else None
        return {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": {"torch": torch.get_rng_state(), "cuda": cuda, "objective": self.generator.get_state()},
            "where": {"epoch": self.epoch, "position": self.position, "steps": self.steps},
            "best": asdict(self.best) if self.best else None,
            "history": [asdict(epoch) for epoch in self.history],
            "totals": vars(self.totals),
            "clock": self.clock.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"]["torch"])
        if state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.fabric.device)
        self.generator.set_state(state["random"]["objective"])
        self.epoch, self.position, self.steps = (state["where"][key] for key in ("epoch", "position", "steps"))
        self.best = Best(**state["best"]) if state["best"] else None
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.totals = Totals(**state["totals"])
        self.clock = Clock(**state["clock"])


def fabric_on(device: str, precision: Literal["fp32", "bf16"]) -> Fabric:
    """The engine on one device.

    Raises:
        RunError: the device is not there, or cannot do bf16.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("expected a CUDA device, but PyTorch sees none here; use the device 'cpu' or 'auto'")
    fabric = Fabric(accelerator=device, devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true")
    if precision == "bf16" and fabric.device.type == "cpu" and not processor_has_bf16():
        raise RunError(
            "expected a processor with bf16 instructions for precision 'bf16', but PyTorch finds none here; use 'fp32'"
        )
    return fabric


def processor_has_bf16() -> bool:
    """True where PyTorch can run recurrent networks in bf16 on the processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Interrupted(RunError):
    """Training was asked to stop; its checkpoint is on disk."""

    def __init__(self) -> None:
        super().__init__("interrupted; the same command goes on from here")
