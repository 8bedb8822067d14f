"""The network, its optimiser and whatever else one step moves on."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from structpred.errors import RunError
from structpred.returned import described, refuse, waiting
from structpred.seeds import stream
from structpred.training.average import Average
from structpred.training.batching import EpochPlan
from structpred.training.care import Care, give_back, step_unless
from structpred.training.checkpoint import State
from structpred.training.data import Prepared
from structpred.training.gradient import Gradient, Scored
from structpred.training.ranks import Ranks, without_hints
from structpred.training.settings import Recipe
from structpred.training.step import TrainingStep, plain


def compiled(step: nn.Module, device: torch.device) -> nn.Module:
    """The step as ``torch.compile`` makes it, for batches of any shape.

    Raises:
        RunError: it would have to make code for a processor, and there is no compiler.
    """
    compilers = [os.environ.get("CXX"), "g++", "clang++"]
    if device.type == "cpu" and not any(map(shutil.which, filter(None, compilers))):
        raise RunError("expected a C++ compiler for Trainer.compile, but there is none; install g++ or leave it off")
    return torch.compile(step, dynamic=True)  # type: ignore[return-value]  # a module stays one


def _module(what: str, found: object) -> nn.Module:
    if not isinstance(found, nn.Module):
        refuse(what, "a torch.nn.Module", described(found), "return the module itself")
    return found


@dataclass(frozen=True)
class Taken:
    """A step that was taken, or skipped.

    Attributes:
        scored: losses and diagnostics of this process's examples.
        skip: True where the step was not finite and left no trace, 0-dim and on the device.
    """

    scored: Scored
    skip: Tensor


class Stepper:
    """Takes steps and never waits for the device itself; what models and objectives wait for is in docs/training.md.

    Everything random is seeded here: initial weights first, then the dropout, which has the global state from there on.

    Args:
        recipe: the experiment.
        prepared: its data.
        ranks: the processes at work.

    Attributes:
        model: the network that is trained.
        generator: source of the draws that the objective makes during a step.
        care: counts of skipped steps.

    Raises:
        RunError: the device is not there.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared, ranks: Ranks) -> None:
        self.recipe, self.ranks = recipe, ranks
        self.fabric = ranks.fabric(recipe.trainer.precision)
        self.generator = torch.Generator(self.fabric.device)
        self.generator.manual_seed(self._stream("objective"))
        torch.manual_seed(stream(recipe.seed, "initialisation"))
        self.modules = self._modules(prepared)
        self.model = self.modules.model
        self.parameters = [each for each in self.modules.parameters() if each.requires_grad]
        step = compiled(self.modules, self.fabric.device) if recipe.trainer.compile else self.modules
        with without_hints():
            self.step, self.optimizer = self.fabric.setup(step, recipe.optimiser.build(self.parameters))
        torch.manual_seed(self._stream("dropout"))
        self.gradient = Gradient(self.fabric, self.step, ranks, recipe.trainer.accumulate)
        self.average = None if recipe.trainer.average is None else Average(self.model, recipe.trainer.average)
        self.buffers = [] if self.modules.state is None else list(self.modules.state.buffers())
        self.care = Care(self.fabric.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.fabric.device

    @property
    def scored(self) -> nn.Module:
        """The network that is scored and kept: the moving average, if there is one."""
        return self.step.model if self.average is None else self.average.model

    def take(self, plan: EpochPlan, position: int, steps: int, share: float) -> Taken:
        """One step of the optimiser.

        Args:
            plan: the epoch.
            position: the batch in it.
            steps: those before this one.
            share: of the training that is done.

        Raises:
            ConfigError: the losses do not depend on any weight.
        """
        trainer, optimiser = self.recipe.trainer, self.recipe.optimiser
        for group in self.optimizer.param_groups:
            group["lr"] = optimiser.rate * optimiser.schedule.factor(share)
        before = [buffer.clone() for buffer in self.buffers]
        self.optimizer.zero_grad()
        scored = self.gradient.of(plan, position, steps, share)
        if len(scored.losses) and all(each.grad is None for each in self.parameters):
            what, advice = f"{type(self.recipe.objective).__name__}.losses", "compute them from p"
            refuse(what, "losses with a gradient to the model's weights", "values that do not depend on them", advice)
        doubtful = self.ranks.add_gradients(self.parameters, ~scored.losses.sum().isfinite())
        norm = self.fabric.clip_gradients(self.step, self.optimizer, max_norm=trainer.clip, error_if_nonfinite=False)
        assert norm is not None
        skip = doubtful | ~norm.isfinite()
        step_unless(skip, self.optimizer)
        give_back(self.buffers, before, skip)
        if self.average is not None:
            self.average.follow(steps + 1)
        self.care.count(skip, position, doubtful)
        return Taken(scored, skip)

    @torch.no_grad()
    def examine(self, plan: EpochPlan, position: int, steps: int, share: float) -> None:
        """Compute a batch's losses once more, for nothing but the checks that make the device wait.

        Raises:
            ConfigError: a component returns what is not finite.
        """
        with waiting():
            for part in plan.parts(position, self.gradient.pieces, self.ranks.rank, self.ranks.world):
                self.modules(*plain(part), steps, share)

    def state(self) -> State:
        """Everything needed to go on with the same steps; all processes take part."""
        random, *others = self.ranks.gather(self.random())
        return {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "random": random,
            "random_of_others": others,
            "care": self.care.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self._set_random([state["random"], *state.get("random_of_others", [])])
        if "care" in state:  # not in checkpoints of version 0.1
            self.care.restore(state["care"])

    def _modules(self, prepared: Prepared) -> TrainingStep:
        recipe, sizes = self.recipe, prepared.training.sizes
        model = _module(f"{type(recipe.model).__name__}.build", recipe.model.build(sizes))
        if not any(each.requires_grad for each in model.parameters()):
            what = f"{type(recipe.model).__name__}.build"
            refuse(what, "a network with weights to train", "one without", "leave requires_grad on for some")
        state = recipe.objective.state(sizes)
        if state is not None:
            _module(f"{type(recipe.objective).__name__}.state", state)
        kind = prepared.training.inputs.padded
        return TrainingStep(
            model, recipe.objective, state, self.generator, kind=kind, symbols=sizes.inputs, specification=recipe.model
        )

    def _stream(self, name: str) -> int:
        """A seed of this process's own; the first one's is that of a process on its own."""
        return stream(self.recipe.seed, name, *([] if self.ranks.first else [self.ranks.rank]))

    def random(self) -> State:
        """Where the streams of dropout and of the objective's draws stand."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {"torch": torch.get_rng_state(), "cuda": cuda, "objective": self.generator.get_state()}

    def _set_random(self, states: Sequence[State]) -> None:
        """Of every process; one that there was not when they were saved begins its own."""
        if self.ranks.rank >= len(states):
            return
        state = states[self.ranks.rank]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.generator.set_state(state["objective"])
