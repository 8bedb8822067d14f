"""One training step: the losses of a batch, and the update of the weights by their gradient."""

import math
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from structpred.config import components
from structpred.errors import ConfigError, RunError
from structpred.foreign import is_foreign
from structpred.models.base import Model, Recomputable
from structpred.models.embedded import EmbeddedInputs, embedded, embedder_of
from structpred.models.sources import LeftOut, load_kept, may_lack
from structpred.objective import Objective, StepContext, losses_of, updates_of
from structpred.returned import check_lengths, described, refuse, waiting
from structpred.running import running_in, settle
from structpred.seeds import seed_pytorch, stream
from structpred.sequences import Sequences
from structpred.training.batching import EpochPlan, Tensors
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext, without_hints
from structpred.training.gradient import BatchLoss, Gradient
from structpred.training.meters import Average, NonfiniteGuard, give_back, not_finite, step_unless, to_skip
from structpred.training.parts import Parts
from structpred.training.rollouts import Noise, Rollout
from structpred.training.settings import Recipe


class TrainingStep(nn.Module):
    """Model, objective and the objective's state. All computation with p and q in training happens in `forward`.

    It takes and returns tensors and numbers, so that autocast, distribution over processes and compilation all apply at
    this one place.

    Args:
        model: the network; called on inputs, it returns p.
        objective: the objective.
        state: the objective's own module, or None.
        generator: source of randomness for the objective during a step.
        symbols: number of input symbols known from training.
        specification: the config of the network, which names the class of its distribution; None for no check.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        state: nn.Module | None,
        generator: torch.Generator | None,
        *,
        symbols: int = 0,
        specification: Model | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.state, self.generator = model, objective, state, generator
        self.symbols, self.specification = symbols, specification
        self.of_users = any(is_foreign(type(each)) for each in components(objective))

    def forward(
        self,
        inputs: Tensors,
        targets: Tensors,
        draws: Tensors,
        step: int = 0,
        share: float = 0.0,
        kept: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``[batch]``, diagnostics by name, and what is kept for later updates, for the fields of a `Batch`.

        The first three arguments come from `as_tensors`; the others are those of a `StepContext`.

        Raises:
            ConfigError: the network does not return a distribution of its model's class, or the objective's losses
                cannot be minimised.
        """
        given = self._corrupted(Sequences.from_tensors(*inputs))
        p, vectors = self._embedded(given) if self.objective.perturbs else (self._distribution(given), None)
        context = StepContext(
            step=step,
            share=share,
            draws=Sequences.from_tensors(*draws) if draws else None,
            state=self.state,
            generator=self.generator,
            inputs=given,
            kept=kept,
            embedded=vectors,
        )
        losses = losses_of(self.objective, p, Sequences.from_tensors(*targets), context)  # data were checked when read
        if torch.is_grad_enabled() and not losses.values.requires_grad:
            what = f"{type(self.objective).__name__}.losses"
            advice = "compute them from p without .detach(), .item() or torch.no_grad()"
            refuse(what, "losses with a gradient to the model's weights", "values without one", advice)
        return losses.values, losses.diagnostics, losses.kept

    def _corrupted(self, inputs: Sequences) -> Sequences:
        """The inputs, with the objective's noise; that of one from outside the package is checked."""
        found: object = self.objective.corrupt(inputs, self.symbols, self.generator)
        if found is inputs or not self.of_users:
            return found  # type: ignore[return-value]  # our own objectives return it
        what, advice = f"{type(self.objective).__name__}.corrupt", "change labels only"
        if not isinstance(found, Sequences):
            refuse(what, "the inputs with noise, Sequences", described(found), advice)
        assert isinstance(found, Sequences)
        if found.lengths.shape != inputs.lengths.shape:
            expected, came = (f"of {len(each)} examples" for each in (inputs, found))
            refuse(what, f"inputs {expected}", f"inputs {came}", advice)
        check_lengths(found.lengths, found.labels.shape[-1], what)
        if found.content == "symbols" and found.device.type == "cpu":
            strange = found.labels[found.mask() & ((found.labels < 0) | (found.labels > self.symbols))]
            if len(strange):
                refuse(what, f"symbols 0 to {self.symbols}", f"the symbol {int(strange[0])}", "draw others")
        return found

    def _embedded(self, given: Sequences) -> tuple[object, EmbeddedInputs]:
        """p, and the vectors that it was computed from."""
        embedder = embedder_of(self.model, "" if self.specification is None else self.specification.embedder)
        return embedded(self._distribution, embedder, given, Noise.now(given.device).again)

    def _distribution(self, given: Sequences) -> object:
        """p, checked to be of the class that the model's specification declares."""
        p: object = self.model(given)
        if self.specification is not None and not isinstance(p, self.specification.distribution):
            what = f"the network of {type(self.specification).__name__}"
            expected = f"its distribution, {self.specification.distribution.__name__}"
            refuse(what, expected, f"a {type(p).__name__}", "correct its forward, or the model's `distribution`")
        return p


def compiled(step: nn.Module, device: torch.device) -> nn.Module:
    """The step compiled by ``torch.compile`` for batches of any shape.

    Raises:
        RunError: compilation for a CPU needs a C++ compiler, and there is none.
    """
    compilers = [os.environ.get("CXX"), "g++", "clang++"]
    if device.type == "cpu" and not any(map(shutil.which, filter(None, compilers))):
        raise RunError(
            "expected a C++ compiler for Trainer.compile, but there is none; install g++ or leave compile off"
        )
    return torch.compile(step, dynamic=True)  # type: ignore[return-value]  # compiling a module returns a module


def _module(what: str, found: object) -> nn.Module:
    if not isinstance(found, nn.Module):
        refuse(what, "a torch.nn.Module", described(found), "return the module itself")
    for name, each in found.named_parameters():
        if isinstance(each, nn.UninitializedParameter):
            refuse(what, "a module whose parameters have sizes", f"one with {name} of none", "use no lazy layers")
    return found


def _recompute(network: nn.Module, name: str) -> None:
    """Turn on gradient checkpointing wherever the network has it."""
    layered = [each for each in network.modules() if isinstance(each, Recomputable)]
    if not layered:
        raise ConfigError(
            f"Trainer.recompute needs a network with layers that can be computed again, but no module of {name} has a "
            "method checkpoint_activations; use trainer.accumulate to save memory instead"
        )
    for each in layered:
        each.checkpoint_activations()


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    Attributes:
        scored: losses and diagnostics of this process's examples.
        skip: 0-dim and on the device; True if the step was skipped because it was not finite. None if it is known
            that it was taken.
        rollout: what later updates on the same batch need; None if there are to be none.
    """

    scored: BatchLoss
    skip: Tensor | None
    rollout: Rollout | None


class Stepper:
    """Takes steps without synchronising with the device; docs/training.md lists what models and objectives wait for.

    All randomness is seeded here: first the initial weights, then dropout, which uses the global state from then on.

    Args:
        recipe: the experiment.
        prepared: its data.
        ranks: the processes that train.

    Attributes:
        model: the trained network.
        generator: source of the draws that the objective makes during a step.
        guard: counts of skipped steps.

    Raises:
        RunError: the device is not available.
        ConfigError: the parts of the optimiser, or gradient checkpointing, do not fit the network.
    """

    def __init__(self, recipe: Recipe, prepared: EncodedData, ranks: DistributedContext) -> None:
        self.recipe, self.ranks = recipe, ranks
        self.fabric = ranks.fabric(recipe.trainer.precision)
        self.generator = torch.Generator(self.fabric.device)
        self.generator.manual_seed(self._stream("objective"))
        seed_pytorch(stream(recipe.seed, "initialisation"), self.fabric.device)
        self.modules = self._modules(prepared)
        self.model = self.modules.model
        self.parts = Parts(self.model, recipe.optimiser.parts, recipe.trainer.epochs)
        self.parameters = [each for each in self.modules.parameters() if each.requires_grad]
        # how many of them are the model's, which come first
        self.of_model = sum(each.requires_grad for each in self.model.parameters())
        step = compiled(self.modules, self.fabric.device) if recipe.trainer.compile else self.modules
        with without_hints():
            self.step, self.optimizer = self.fabric.setup(step, recipe.optimiser.built(self.parameters, self.parts))
        seed_pytorch(self._stream("dropout"), self.fabric.device)
        users = any(is_foreign(type(each)) for each in (*components(recipe.model), *self.modules.modules()))
        self.gradient = Gradient(
            self.fabric,
            self.step,
            ranks,
            recipe.trainer.accumulate,
            of_users=users or self.modules.of_users,
            running=running_in(self.modules.state),
        )
        self.left_out = LeftOut.of(self.model)
        self.average = (
            None if recipe.trainer.average is None else Average(self.model, recipe.trainer.average, self._same())
        )
        self.buffers = [] if self.modules.state is None else list(self.modules.state.buffers())
        self.guard = NonfiniteGuard(self.fabric.device)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.fabric.device

    @property
    def scored(self) -> nn.Module:
        """The network that is scored and kept: the moving average if there is one."""
        return self.step.model if self.average is None else self.average.model

    def train_step(
        self,
        plan: EpochPlan,
        position: int,
        steps: int,
        share: float,
        epoch: float = math.inf,
        rollout: Rollout | None = None,
    ) -> StepResult:
        """Take one step of the optimiser.

        Args:
            plan: the epoch's batches.
            position: which of them.
            steps: the number of earlier steps.
            share: the share of training that is done.
            epoch: the number of epochs that are done, for parts that are frozen for some.
            rollout: of the first step on this batch; None if this is the first. Dropout then is as in that step, so
                that probabilities of the same output differ by what the weights have learnt and by nothing else.

        Raises:
            ConfigError: the losses do not depend on any weight.
        """
        self.recipe.optimiser.set_rates(self.optimizer, share, steps)
        self.parts.freeze(share, epoch)
        before = [buffer.clone() for buffer in self.buffers]
        self.optimizer.zero_grad()
        noise = Noise.now(self.device) if rollout is None and updates_of(self.recipe.objective) > 1 else None
        with nullcontext() if rollout is None else rollout.noise.again():
            scored = self.gradient.of(plan, position, steps, share, rollout)
        if len(scored.losses) and all(each.grad is None for each in self.parameters[: self.of_model]):
            what, advice = f"{type(self.recipe.objective).__name__}.losses", "compute them from p"
            refuse(what, "losses with a gradient to the model's weights", "values that do not depend on them", advice)
        doubtful = self.ranks.add_gradients(self.parameters, not_finite(scored.losses.sum()))
        settle(self.gradient.running, self.ranks.summed)
        skip = to_skip(doubtful | not_finite(self._clip()))
        step_unless(skip, self.optimizer)
        give_back(self.buffers, before, skip)
        if self.average is not None:
            self.average.follow(steps + 1)
        self.guard.count(skip, position, doubtful)
        return StepResult(scored, skip, rollout if noise is None else Rollout.of(scored.kept, noise))

    def _clip(self) -> Tensor:
        """Clip the gradient of the model, and that of the objective's state by itself; the sum of their norms.

        Together, a critic that is far off would shorten the model's steps.
        """
        norm = clip_grad_norm_(self.parameters[: self.of_model], self.recipe.trainer.clip)
        apart = self.parameters[self.of_model :]
        return norm + clip_grad_norm_(apart, self.recipe.trainer.clip) if apart else norm

    @torch.no_grad()
    def examine(self, plan: EpochPlan, position: int, steps: int, share: float) -> None:
        """Compute a batch's losses again with all checks, including those that synchronise with the device.

        Raises:
            ConfigError: a component returns a value that is not finite.
        """
        with waiting():
            for part in plan.parts(position, self.gradient.pieces, self.ranks.rank, self.ranks.world):
                self.modules(*part.tensors(), steps, share)

    def state(self) -> State:
        """Everything needed to resume with the same steps; all processes must call it."""
        random, *others = self.ranks.gather(self.random())
        return {
            "modules": self.left_out.kept(self.modules.state_dict(), "model."),
            "sources": self.left_out.digests,
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.left_out.kept(self.average.model.state_dict()),
            "random": random,
            "random_of_others": others,
            "care": self.guard.state(),
        }

    def restore(self, state: State) -> None:
        """Resume from what `state` returned.

        Raises:
            RunError: weights that are not in it came from a file that has changed.
        """
        absent = may_lack(self.model, state.get("sources", {}))
        load_kept(self.modules, state["modules"], {f"model.{name}" for name in absent})
        self.keep({name.removeprefix("model.") for name in state["modules"]})
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            load_kept(self.average.model, state["average"], absent)
        self._set_random([state["random"], *state.get("random_of_others", [])])
        if "care" in state:  # not in checkpoints of version 0.1
            self.guard.restore(state["care"])

    def keep(self, names: Collection[str]) -> None:
        """Keep these weights, too: their values are no longer those of their source."""
        self.left_out = self.left_out.without(names)

    def weights(self) -> dict[str, Tensor]:
        """The weights that are scored and kept, without a copy."""
        return self.left_out.kept(self.scored.state_dict())

    def choose(self, weights: Mapping[str, Tensor]) -> None:
        """Load what `weights` returned at some time."""
        load_kept(self.scored, weights, self.left_out.owners)

    def _same(self) -> list[nn.Parameter]:
        """The parameters that are left out, which never change."""
        return [each for name, each in self.model.named_parameters() if name in self.left_out.owners]

    def _modules(self, prepared: EncodedData) -> TrainingStep:
        recipe, sizes = self.recipe, prepared.training.sizes
        model = _module(f"{type(recipe.model).__name__}.build", recipe.model.build(sizes))
        if not any(each.requires_grad for each in model.parameters()):
            what = f"{type(recipe.model).__name__}.build"
            refuse(what, "a network with weights to train", "one without", "leave requires_grad on for at least one")
        model.train()  # a part that was built in evaluation mode would have no dropout until dev is first scored
        if recipe.trainer.recompute:
            _recompute(model, type(recipe.model).__name__)
        state = recipe.objective.state(sizes)
        if state is not None:
            _module(f"{type(recipe.objective).__name__}.state", state)
        return TrainingStep(
            model, recipe.objective, state, self.generator, symbols=sizes.num_inputs, specification=recipe.model
        )

    def _stream(self, name: str) -> int:
        """A seed of this process; that of the first one equals that of a single process."""
        return stream(self.recipe.seed, name, *([] if self.ranks.first else [self.ranks.rank]))

    def random(self) -> State:
        """The states of the random streams of dropout and of the objective's draws."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {"torch": torch.get_rng_state(), "cuda": cuda, "objective": self.generator.get_state()}

    def _set_random(self, states: Sequence[State]) -> None:
        """Restore the states of this process; one that did not exist when they were saved keeps its own."""
        if self.ranks.rank >= len(states):
            return
        state = states[self.ranks.rank]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.generator.set_state(state["objective"])
