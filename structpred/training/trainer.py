"""The loop that every objective is trained by."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from structpred.decoding import Decoding
from structpred.errors import RunError
from structpred.results import Epoch
from structpred.seeds import stream
from structpred.training.average import Average
from structpred.training.batching import EpochPlan
from structpred.training.care import Care, NotFinite, described, give_back, step_unless
from structpred.training.checkpoint import State
from structpred.training.collapse import shape_of, warn_of_collapse
from structpred.training.data import Prepared
from structpred.training.evaluation import predict, score_counts, scores
from structpred.training.gradient import Gradient
from structpred.training.logbook import Logger, of_epoch
from structpred.training.progress import Observer, Progress, ignore
from structpred.training.ranks import Ranks
from structpred.training.settings import Recipe, Trainer
from structpred.training.step import TrainingStep
from structpred.training.tallies import Best, Clock, Every, Totals
from structpred.vocabulary import Symbols

__all__ = ["Interrupted", "Recipe", "Trainer", "Training"]

GREEDY = Decoding(beam=1)
SHOW_EVERY = 0.5
"""Seconds between reports of progress; reading a loss makes the device wait, so it is not done every step."""
LOG_EVERY = 10.0
"""Seconds between entries of the log within an epoch."""


class Training:
    """One run under way: everything a checkpoint must hold, and the loop that moves it on.

    Args:
        recipe: the experiment.
        prepared: its data.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; unless ``ranks`` says where to train.
        observer: told of progress, in the first process.
        ranks: the processes at work; this one alone by default.
        loggers: given numbers every few seconds and at the end of every epoch, in the first process.

    Raises:
        RunError: the device is not there.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        *,
        device: str = "auto",
        observer: Observer = ignore,
        ranks: Ranks | None = None,
        loggers: Sequence[Logger] = (),
    ) -> None:
        self.ranks = ranks or Ranks(device)
        self.fabric = self.ranks.fabric(recipe.trainer.precision)
        self.recipe, self.prepared = recipe, prepared
        self.observer, self.loggers = (observer, loggers) if self.ranks.first else (ignore, ())
        self.generator = torch.Generator(self.fabric.device)
        self.generator.manual_seed(self._stream("objective"))
        torch.manual_seed(stream(recipe.seed, "initialisation"))
        self.modules = self._modules()
        self.model = self.modules.model
        self.parameters = [each for each in self.modules.parameters() if each.requires_grad]
        self.step, self.optimizer = self.fabric.setup(self.modules, recipe.optimiser.build(self.parameters))
        torch.manual_seed(self._stream("dropout"))  # the global state is the dropout's from here on
        self.gradient = Gradient(self.fabric, self.step, self.ranks, recipe.trainer.accumulate)
        self.average = None if recipe.trainer.average is None else Average(self.model, recipe.trainer.average)
        self.buffers = [] if self.modules.state is None else list(self.modules.state.buffers())
        self.resident = prepared.training.to(self.fabric.device)
        self.epoch, self.position, self.steps = 0, 0, 0
        self.out_of_time = False
        self.history: list[Epoch] = []
        self.best: Best | None = None
        self.totals, self.clock, self.care = Totals(), Clock(), Care(self.fabric.device)
        self._show, self._log = Every(SHOW_EVERY), Every(LOG_EVERY)

    def run(self, *, save: Callable[[State], None], save_every: float, stopping: Callable[[], bool]) -> None:
        """Train to the end of the budget.

        Args:
            save: called with `state` now and then, and before stopping early.
            save_every: seconds between calls of ``save``.
            stopping: asked after every step; True ends the run at once.

        Raises:
            Interrupted: ``stopping`` said so; the state has been saved.
            NotFinite: too many steps in a row had a loss or a gradient that is not finite.
        """
        self.clock.start()
        saved = time.monotonic()
        while not self.finished():
            plan = self._plan()
            while self.position < len(plan) and not self._spent():
                self._train(plan)
                self.position += 1
                if not self.ranks.turn(self.steps):
                    continue
                stop, due, late = self.ranks.agree(stopping(), time.monotonic() - saved > save_every, self._late())
                self.out_of_time = late
                if stop or due:
                    save(self.state())
                    saved = time.monotonic()
                if stop:
                    raise Interrupted
            self._refuse_what_is_not_finite(plan)
            self._finish_epoch()
        self.clock.stop()

    def rehearse(self, steps: int) -> int:
        """Take a few steps that lead nowhere, to see how long they take; returns the steps of one epoch."""
        plan = self._plan()
        for number in range(steps):
            self.position = number % len(plan)
            self._train(plan, share=0.0)
        self.position = 0
        return len(plan)

    def finished(self) -> bool:
        """True at the end of the budget, or once patience is out; never within an epoch, whose end has its score."""
        trainer = self.recipe.trainer
        waited = self.epoch - (self.best.epoch if self.best else 0)
        over = self.epoch >= trainer.epochs or waited >= (trainer.patience or trainer.epochs) or self._spent()
        return over and self.position == 0

    def predict(self, sources: Sequence[Symbols], decoding: Decoding) -> list[Symbols]:
        """The output for each source by the weights as they are scored, shared out over the processes."""
        model, codec = self._scored(), self.prepared.codec
        return self.ranks.spread(lambda part: predict(model, codec, part, decoding), sources)

    def choose_best(self) -> dict[str, Tensor]:
        """Let `predict` use the weights that scored best, and return them."""
        assert self.best is not None
        self._scored().load_state_dict(self.best.weights)
        return self.best.weights

    def _modules(self) -> TrainingStep:
        recipe, sizes = self.recipe, self.prepared.training.sizes
        model = recipe.model.build(sizes)
        state = recipe.objective.state(sizes)
        kind = self.prepared.training.inputs.padded
        return TrainingStep(model, recipe.objective, state, self.generator, kind=kind, symbols=sizes.inputs)

    def _stream(self, name: str) -> int:
        """A seed of this process's own; the first one's is that of a process on its own."""
        return stream(self.recipe.seed, name, *([] if self.ranks.first else [self.ranks.rank]))

    def _scored(self) -> nn.Module:
        return self.step.model if self.average is None else self.average.model

    def _spent(self) -> bool:
        limit = self.recipe.trainer.max_steps
        return self.out_of_time or (limit is not None and self.steps >= limit)

    def _late(self) -> bool:
        limit = self.recipe.trainer.max_seconds
        return limit is not None and self.clock.seconds() >= limit

    def _plan(self) -> EpochPlan:
        return EpochPlan(
            self.prepared.training,
            self.resident,
            self.recipe.objective,
            budget=self.recipe.trainer.batch_tokens,
            seed=self.recipe.seed,
            epoch=self.epoch,
        )

    def _train(self, plan: EpochPlan, share: float | None = None) -> None:
        """One step of the optimiser; ``share`` of the training is done, by default what really is."""
        recipe = self.recipe
        if share is None:
            share = recipe.trainer.share(self.epoch + self.position / len(plan), self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.optimiser.rate * recipe.optimiser.schedule.factor(share)
        before = [buffer.clone() for buffer in self.buffers]
        self.optimizer.zero_grad()
        scored = self.gradient.of(plan, self.position, self.steps, share)
        doubtful = self.ranks.add_gradients(self.parameters, ~scored.losses.sum().isfinite())
        norm = self.fabric.clip_gradients(
            self.step, self.optimizer, max_norm=recipe.trainer.clip, error_if_nonfinite=False
        )
        assert norm is not None
        skip = doubtful | ~norm.isfinite()
        step_unless(skip, self.optimizer)
        give_back(self.buffers, before, skip)
        self.steps += 1
        if self.average is not None:
            self.average.follow(self.steps)
        self.care.count(skip, self.position)
        self.totals.add(scored.losses, scored.diagnostics, scored.tokens, skip)
        self.clock.tokens += plan.tokens(self.position)
        if self._show.due():
            self._report(share)
            self._refuse_what_is_not_finite(plan)

    def _report(self, share: float) -> None:
        dev = self.history[-1].dev if self.history else {}
        epochs, loss, (rate, left) = self.recipe.trainer.epochs, self.totals.loss(), self.clock.pace(share)
        self.observer(Progress("training", self.epoch + 1, epochs, share, rate, left, loss, dev, self.steps))
        if self._log.due():
            skipped, seconds = float(self.care.skipped), self.clock.seconds()
            within = {"loss": loss, "tokens_per_second": rate, "skipped": skipped, "seconds": seconds}
            self._log_numbers({"epoch": self.epoch + 1, **within})

    def _log_numbers(self, numbers: dict[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics(numbers, self.steps)

    def _refuse_what_is_not_finite(self, plan: EpochPlan) -> None:
        most = int(self.care.longest)
        if most >= self.recipe.trainer.tolerate:
            batch = described(plan, int(self.care.position), self.prepared)
            raise NotFinite(most, self.epoch + 1, batch)

    def _finish_epoch(self) -> None:
        """Score the dev set, keep the weights if they are the best, and begin the next epoch."""
        metrics, dev = self.recipe.task.metrics, self.prepared.splits.dev
        predictions = self.predict([each.source for each in dev], GREEDY)
        found = scores(metrics, score_counts(metrics, dev, predictions))
        self.totals = Totals.of(self.ranks.gather(self.totals.numbers()))
        self._report(self.recipe.trainer.share(self.epoch + 1, self.steps))
        self.epoch, self.position = self.epoch + 1, 0
        loss, diagnostics = self.totals.loss(), self.totals.diagnostics()
        self.history.append(
            Epoch(self.epoch, loss, found, self.clock.seconds(), diagnostics, shape_of(predictions, dev))
        )
        if self.ranks.first:
            warn_of_collapse(self.history, self.recipe.trainer.epochs)
        self._log_numbers(of_epoch(self.history[-1]))
        self.totals = Totals()
        primary = found[metrics[0].name] * (1 if metrics[0].higher_is_better else -1)
        if self.best is None or primary > self.best.score:
            self.best = Best(self.epoch, primary, copy.deepcopy(self._scored().state_dict()))

    def state(self) -> State:
        """Everything needed to go on exactly where this stands; all processes take part."""
        random, *others = self.ranks.gather(self._random())
        return {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "random": random,
            "random_of_others": others,
            "where": {"epoch": self.epoch, "position": self.position, "steps": self.steps},
            "best": asdict(self.best) if self.best else None,
            "history": [asdict(epoch) for epoch in self.history],
            "totals": vars(Totals.of(self.ranks.gather(self.totals.numbers()))),
            "clock": self.clock.state(),
            "care": self.care.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self._set_random([state["random"], *state.get("random_of_others", [])])
        self.epoch, self.position, self.steps = (state["where"][key] for key in ("epoch", "position", "steps"))
        self.best = Best(**state["best"]) if state["best"] else None
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.totals = Totals(**state["totals"]) if self.ranks.first else Totals()
        self.clock = Clock(**state["clock"])
        if "care" in state:  # not in checkpoints of version 0.1
            self.care.restore(state["care"])

    def _random(self) -> State:
        cuda = torch.cuda.get_rng_state(self.fabric.device) if self.fabric.device.type == "cuda" else None
        return {"torch": torch.get_rng_state(), "cuda": cuda, "objective": self.generator.get_state()}

    def _set_random(self, states: Sequence[State]) -> None:
        """Of every process; one that there was not when they were saved begins its own."""
        if self.ranks.rank >= len(states):
            return
        state = states[self.ranks.rank]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.fabric.device)
        self.generator.set_state(state["objective"])


class Interrupted(RunError):
    """Training was asked to stop; its checkpoint is on disk."""

    def __init__(self) -> None:
        super().__init__("interrupted; the same command goes on from here")
