"""The training loop, the same for every objective."""

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from torch import Tensor, nn

from structpred.blame import blaming
from structpred.config import Config, components
from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Decoding
from structpred.errors import Interrupted
from structpred.foreign import modules_of
from structpred.objective import updates_of
from structpred.results import Epoch, renamed
from structpred.returned import waiting
from structpred.rewards import Context, bind
from structpred.sequences import Source
from structpred.tally import Tally, counting
from structpred.training.batching import EpochPlan
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext
from structpred.training.evaluation import never, predict, ranking, score_counts, scores
from structpred.training.memory import Memory, activations, needed
from structpred.training.meters import Best, Clock, NonfiniteGuard, NotFinite, Totals, batch_in_symbols
from structpred.training.monitoring import (
    Logger,
    Observer,
    Reporter,
    ignore,
    shape_of,
    warn_of_collapse,
    warn_of_diagnostics,
    warn_of_poor_weights,
)
from structpred.training.settings import Recipe
from structpred.training.step import Stepper
from structpred.vocabulary import Symbols

GREEDY = Decoding(beam=1)
REHEARSED_SHARE = 0.5
"""The share of training done that rehearsed steps assume: past any warm-up, so that they change the weights."""


@dataclass(frozen=True)
class Pace:
    """Measured speed of training.

    Attributes:
        planning: seconds to plan an epoch, including draws.
        step: seconds per step of the optimiser.
        steps: such steps per epoch.
        memory: what it keeps in memory, if that was measured as well.
    """

    planning: float
    step: float
    steps: int
    memory: Memory | None = None


def users_modules(recipe: Recipe) -> set[str]:
    """The modules that define an experiment's components from outside the package."""
    parts = (recipe.task, recipe.model, recipe.objective, recipe.optimiser)
    classes = {type(each) for part in parts for each in components(part)}
    return modules_of(classes | set(map(type, recipe.scored)) | {recipe.model.distribution})


def bound(recipe: Recipe, prepared: EncodedData) -> Recipe:
    """The recipe with its rewards bound to the data, if they read more than ids."""
    context = Context(recipe.task, prepared.codec.vocabularies.labels, prepared.splits.train)
    return bind(recipe, context) if isinstance(recipe, Config) else recipe


class Training:
    """A run in progress: everything that a checkpoint holds, and the training loop.

    Args:
        recipe: the experiment.
        prepared: its data.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; ignored if ``ranks`` is given.
        observer: receives progress, in the first process.
        ranks: the processes that train; this one alone by default.
        loggers: receive numbers every few seconds and after every epoch, in the first process.

    Attributes:
        users: modules of components from outside the package, whose errors are blamed on them (`structpred.blame`).
        tally: what this process has asked for; None where that is not known, as of steps that are compiled.

    Raises:
        RunError: the device is not available.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: EncodedData,
        *,
        device: str = "auto",
        observer: Observer = ignore,
        ranks: DistributedContext | None = None,
        loggers: Sequence[Logger] = (),
    ) -> None:
        self.ranks = ranks or DistributedContext(device)
        recipe = bound(recipe, prepared)
        self.recipe, self.prepared = recipe, prepared
        self.users = users_modules(recipe)
        with blaming(self.users):
            self.stepper = Stepper(recipe, prepared, self.ranks)
        self.users |= modules_of(type(each) for each in self.stepper.modules.modules())
        told = (observer, loggers) if self.ranks.first else (ignore, ())
        self.reporter = Reporter(*told, recipe.trainer.epochs)
        self.resident = prepared.training.to(self.stepper.device)
        self.epoch, self.position, self.steps = 0, 0, 0
        self.out_of_time = False
        self.history: list[Epoch] = []
        self.best: Best | None = None
        self.totals, self.clock = Totals(), Clock()
        self.tally = None if recipe.trainer.compile else Tally()

    @property
    def model(self) -> nn.Module:
        """The trained network."""
        return self.stepper.model

    @property
    def guard(self) -> NonfiniteGuard:
        """Counts of skipped steps."""
        return self.stepper.guard

    def run(self, *, save: Callable[[State], None], save_every: float, stopping: Callable[[], bool]) -> None:
        """Train to the end of the budget.

        Args:
            save: called with `state` at intervals, and before stopping early.
            save_every: seconds between calls of ``save``.
            stopping: called after every batch, and before every batch of dev examples; True ends the run at once.

        Raises:
            Interrupted: ``stopping`` returned True; the state has been saved.
            NotFinite: too many steps in a row had a loss or gradient that is not finite.
        """
        self.clock.start()
        saved = time.monotonic()
        while not self.finished():
            plan = self._plan()
            if self.steps == 0 and self.ranks.first:
                self.recipe.optimiser.schedule.warn_of_long_warmup(self._steps_in_all(plan))
            while self.position < len(plan) and not self._spent():
                self._train(plan)
                self.position += 1
                if not self.ranks.turn(self.steps):
                    continue
                stop, due, late = self.ranks.agree(stopping(), time.monotonic() - saved > save_every, self._late())
                if self.ranks.world > 1:  # at the same step in all of them, each of which has the same counts
                    self._refuse_what_is_not_finite(plan)
                self.out_of_time = late
                if stop or due:
                    save(self.state())
                    saved = time.monotonic()
                if stop:
                    raise Interrupted
            self._refuse_what_is_not_finite(plan)
            try:
                self._finish_epoch(stopping)
            except Interrupted:
                save(self.state())
                raise
        self.clock.stop()

    def memory(self) -> Memory:
        """What training keeps in memory, without activations, which no step has shown yet."""
        return needed(self.stepper)

    def rehearse(
        self,
        steps: int,
        *,
        most: float = math.inf,
        stopping: Callable[[], bool] = never,
        measuring: bool = False,
    ) -> Pace:
        """Take a few steps to measure their duration; the training is to be discarded afterwards.

        Args:
            steps: the maximum number of steps, rounded up to whole batches where several are taken on each.
            most: seconds after which no further batch begins.
            stopping: called after every batch.
            measuring: also measure memory, by one more forward pass.

        Raises:
            Interrupted: ``stopping`` returned True.
        """
        began = time.monotonic()
        plan = self._plan()
        planned, taken, updates = time.monotonic(), 0, updates_of(self.recipe.objective)
        for number in range(math.ceil(steps / updates)):
            if time.monotonic() - planned > most:
                break
            self.position = number % len(plan)
            self._train(plan, share=REHEARSED_SHARE)
            taken += updates
            if stopping():
                raise Interrupted
        self.totals.loss()  # synchronises with the device
        self.position = 0
        step = (time.monotonic() - planned) / max(taken, 1)
        with blaming(self.users):
            memory = replace(self.memory(), activations=activations(self.stepper, plan)) if measuring else None
        return Pace(planned - began, step, len(plan) * updates, memory)

    def finished(self) -> bool:
        """True at the end of the budget or of patience; never within an epoch, which is scored at its end."""
        trainer = self.recipe.trainer
        waited = self.epoch - (self.best.improved if self.best else 0)
        over = self.epoch >= trainer.epochs or waited >= (trainer.patience or trainer.epochs) or self._spent()
        return over and self.position == 0

    def predict(
        self, sources: Sequence[Source], decoding: Decoding, stopping: Callable[[], bool] = never
    ) -> list[Symbols]:
        """The output for each source by the weights that are scored, divided among the processes.

        Args:
            sources: the inputs.
            decoding: how to choose an output.
            stopping: called before every batch, of a single process only: several would have to agree.

        Raises:
            Interrupted: ``stopping`` returned True.
        """
        asked = stopping if self.ranks.world == 1 else never
        model, codec = self.stepper.scored, self.prepared.codec
        chosen = bind(decoding, Context(self.recipe.task, codec.vocabularies.labels, ()))
        return self.ranks.spread(lambda part: predict(model, codec, part, chosen, stopping=asked), sources)

    def choose_best(self) -> dict[str, Tensor]:
        """Make `predict` use the weights that scored best, and return those that a run keeps."""
        assert self.best is not None
        self.stepper.choose(self.best.weights)
        return self.best.weights

    def _spent(self) -> bool:
        return self.out_of_time or self._steps_left() <= 0

    def _steps_left(self) -> int:
        limit = self.recipe.trainer.max_steps
        return sys.maxsize if limit is None else limit - self.steps

    def _steps_in_all(self, plan: EpochPlan) -> int:
        """Steps of the whole training, if all epochs have as many batches as this one and nothing ends it early."""
        steps = self.recipe.trainer.epochs * len(plan) * updates_of(self.recipe.objective)
        return min(steps, self._steps_left())

    def _late(self) -> bool:
        limit = self.recipe.trainer.max_seconds
        return limit is not None and self.clock.seconds() >= limit

    def _plan(self) -> EpochPlan:
        # every process makes the whole plan, and one that resumes within an epoch makes it again
        counted = self.tally if self.ranks.first and self.position == 0 else None
        with blaming(self.users), counting(counted):
            return EpochPlan(
                self.prepared.training,
                self.resident,
                self.recipe.objective,
                budget=self.recipe.trainer.batch_tokens,
                seed=self.recipe.seed,
                epoch=self.epoch,
            )

    def _train(self, plan: EpochPlan, share: float | None = None) -> None:
        """Take the steps on one batch, as many as the objective makes of it.

        If a ``share`` of training is given, that is assumed done, and neither limits of steps nor frozen parts count.
        """
        epoch = self.epoch if share is None else math.inf
        due = self.reporter.due()
        rollout, updates = None, updates_of(self.recipe.objective)
        for update in range(updates if share is not None else min(updates, self._steps_left())):
            done = self._share(plan, update / updates) if share is None else share
            with blaming(self.users), waiting(due), counting(self.tally):
                taken = self.stepper.train_step(plan, self.position, self.steps, done, epoch, rollout)
            rollout = taken.rollout
            self.steps += 1
            self.totals.add(taken.scored.losses, taken.scored.diagnostics, taken.scored.tokens, taken.skip)
        self.clock.tokens += taken.scored.all_tokens
        if due:
            self._report(self.epoch + 1, done)
            if self.ranks.world == 1:
                self._refuse_what_is_not_finite(plan)

    def _share(self, plan: EpochPlan, of_batch: float) -> float:
        """The share of training done, with a part of the present batch."""
        return self.recipe.trainer.share(self.epoch + (self.position + of_batch) / len(plan), self.steps)

    def _report(self, epoch: int, share: float) -> None:
        self.reporter.tell(
            self.totals, self.clock, self.guard, self.history, epoch=epoch, steps=self.steps, share=share
        )

    def _refuse_what_is_not_finite(self, plan: EpochPlan) -> None:
        """Blame the value that a component returned if it can be identified, otherwise the loss or its gradient."""
        most = int(self.guard.longest)
        if most >= self.recipe.trainer.tolerate:
            position, objective = int(self.guard.position), type(self.recipe.objective).__name__
            with blaming(self.users):
                self.stepper.examine(plan, position, self.steps, self.recipe.trainer.share(self.epoch, self.steps))
            what = f"the loss of {objective}" if self.guard.by_loss else f"the gradient of the loss of {objective}"
            raise NotFinite(what, most, self.epoch + 1, batch_in_symbols(plan, position, self.prepared))

    def _finish_epoch(self, stopping: Callable[[], bool] = never) -> None:
        """Score the dev set, keep the weights if they are the best, and start the next epoch.

        Raises:
            Interrupted: ``stopping`` returned True while the dev set was scored, and nothing has changed.
        """
        metrics, dev = self.recipe.task.metrics, self.prepared.splits.dev
        predictions = self.predict([each.source for each in dev], GREEDY, stopping)
        scored = self.recipe.scored
        found = scores(scored, score_counts(scored, dev, predictions))
        self.totals = Totals.of(self.ranks.gather(self.totals.numbers()))
        self.epoch, self.position = self.epoch + 1, 0
        loss, diagnostics = self.totals.loss(), self.totals.diagnostics()
        shape, costs = shape_of(predictions, dev), self._costs()
        self.history.append(Epoch(self.epoch, loss, found, self.clock.seconds(), diagnostics, shape, costs))
        self._report(self.epoch, self.recipe.trainer.share(self.epoch, self.steps))
        if self.ranks.first:
            warn_of_collapse(self.history, self.recipe.trainer.epochs)
            warn_of_poor_weights(self.history)
            warn_of_diagnostics(type(self.recipe.objective).__name__, self.history)
        self.reporter.end_epoch(self.history[-1], self.steps)
        self.totals = Totals()
        self._keep(ranking(metrics, found))

    def _counted(self) -> dict[str, int] | None:
        """The counts of all processes, which all must call it; None where they are not known."""
        parts = self.ranks.gather(None if self.tally is None else self.tally.state())
        return None if self.tally is None else Tally.of([part for part in parts if part is not None]).state()

    def _costs(self) -> dict[str, float]:
        """What training has taken so far; passes only of a model that has a step-wise decoder."""
        counts = self._counted() or {}
        if not issubclass(self.recipe.model.distribution, Autoregressive):
            counts.pop("decoder_passes", None)
        return {"cpu_seconds": self.clock.state()["cpu"], **counts}

    def _keep(self, ranked: tuple[float, ...]) -> None:
        """Keep the weights unless earlier ones scored better; only a better score counts as progress."""
        before = self.best
        if before is None or ranked >= before.ranking:
            improved = self.epoch if before is None or ranked > before.ranking else before.improved
            self.best = Best(self.epoch, improved, ranked, copy.deepcopy(self.stepper.weights()))

    def state(self) -> State:
        """Everything needed to resume exactly here; all processes must call it."""
        return {
            **self.stepper.state(),
            "where": {"epoch": self.epoch, "position": self.position, "steps": self.steps},
            "out_of_time": self.out_of_time,
            "best": asdict(self.best) if self.best else None,
            "history": [asdict(epoch) for epoch in self.history],
            "totals": vars(Totals.of(self.ranks.gather(self.totals.numbers()))),
            "clock": self.clock.state(),
            "tally": self._counted(),
        }

    def restore(self, state: State) -> None:
        """Resume from what `state` returned."""
        self.stepper.restore(state)
        self.epoch, self.position, self.steps = (state["where"][key] for key in ("epoch", "position", "steps"))
        self.out_of_time = state.get("out_of_time", False)  # not in older checkpoints
        self.best = Best(**state["best"]) if state["best"] else None
        own = self.recipe.task.metrics
        self.history = [Epoch(**epoch | {"dev": renamed(epoch["dev"], own)}) for epoch in state["history"]]
        self.totals = Totals(**state["totals"]) if self.ranks.first else Totals()
        self.clock = Clock(**state["clock"])
        before = state.get("tally")  # not in older checkpoints
        if before is None:
            self.tally = None
        elif self.tally is not None:
            self.tally = Tally(**before) if self.ranks.first else Tally()
