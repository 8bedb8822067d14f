"""What an objective is: a short function of a model's distribution and the targets."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import Config, hints, required
from structpred.errors import ConfigError
from structpred.models.base import Model
from structpred.registry import models, objectives, rewards
from structpred.returned import checked, described, detached, refuse
from structpred.rewards.base import Reward
from structpred.sequences import Sequences
from structpred.task import Sizes


@dataclass(frozen=True)
class Losses:
    """What an objective returns: one loss per example, not reduced, and what is worth watching.

    Attributes:
        values: the losses, minimised, ``[batch]``.
        diagnostics: detached numbers per example, ``[batch]`` each, by name.
    """

    # Users make these, and `losses_of` says in words what is wrong, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    values: Float[Tensor, " batch"]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What an objective may use besides p and the targets.

    Attributes:
        step: optimizer steps taken before this one.
        share: share of the training done before this step, 0 to 1.
        draws: what `Objective.draw` drew for these targets; None where it has to draw now.
        state: what `Objective.state` made; None for an objective that has none.
        generator: source of every draw in the step.
        inputs: what p was conditioned on, for objectives with a network of their own.
    """

    step: int = 0
    share: float = 0.0
    draws: Sequences | None = None
    state: nn.Module | None = None
    generator: torch.Generator | None = None
    inputs: Sequences | None = None


@dataclass(frozen=True)
class Requirement:
    """A verb that the model's distribution must offer.

    Attributes:
        protocol: the verb, from `structpred.distributions.protocols`.
        purpose: who needs it, for the message, such as ``"RML with Exact()"``.
        instead: what to use where it is missing, such as ``"estimator=Sampled(k=1)"``; may be empty.
    """

    protocol: type
    purpose: str
    instead: str = ""


@dataclass(frozen=True, kw_only=True)
class ObjectivePart(Config):
    """A choice within an objective that uses verbs of p itself, such as an estimator or a baseline.

    Attributes:
        requires: the verbs of p that it uses, from `structpred.distributions.protocols`.
        instead: what to choose on a model that lacks one of them, for the message.
    """

    requires: ClassVar[tuple[type, ...]] = ()
    instead: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Objective(Config):
    """A training objective. A class of your own needs `requires`, `losses` and a name.

    It holds settings only: what it learns or counts lives in the module that `state` makes, and what it draws from
    q can be drawn ahead of the step by `draw`, because q knows no model.

    Attributes:
        requires: the verbs of p that `losses` uses, from `structpred.distributions.protocols`; those that its fields
            use are added by `requirements`.
        instead: what to use on a model that lacks one of them, for the message; may be empty.
        draws_in_step: True where a step draws outputs from a decoder or searches it, unless the objective is `exact`.
        learns_from: the name of the field that holds the folder of a finished run; empty where there is none.
    """

    family = objectives
    requires: ClassVar[tuple[type, ...]]
    instead: ClassVar[str] = ""
    draws_in_step: ClassVar[bool] = False
    learns_from: ClassVar[str] = ""

    @abstractmethod
    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """One loss per example.

        Args:
            p: the model's distribution; it offers the verbs that the objective requires, and each class types it so.
            targets: the references, ``[batch, time]``.
            context: draws, state, generator and the point in training.
        """

    def __call__(
        self,
        p: object,
        targets: Sequences,
        *,
        step: int = 0,
        share: float = 0.0,
        draws: Sequences | None = None,
        state: nn.Module | None = None,
        generator: torch.Generator | None = None,
        inputs: Sequences | None = None,
    ) -> Losses:
        """`losses`, checked, with the fields of a `StepContext` as arguments.

        Raises:
            ConfigError: what `losses` returns is not one loss for each example, or a diagnostic is none.
        """
        context = StepContext(step=step, share=share, draws=draws, state=state, generator=generator, inputs=inputs)
        return losses_of(self, p, targets, context)

    def requirements(self) -> tuple[Requirement, ...]:
        """What p must offer: the verbs in `requires`, then those that the parts among its fields require.

        Raises:
            ConfigError: the class does not say what it requires.
        """
        name, stated = type(self).__name__, getattr(self, "requires", None)
        if not isinstance(stated, tuple):
            raise ConfigError(
                f"{name} must name the verbs of p that it uses as a class attribute, as in requires = (LogProb,) from "
                "structpred.distributions.protocols, which took the place of the method needs(); add it"
            )
        own = [Requirement(protocol, name, self.instead) for protocol in stated]
        parts = [part for part in self._fields() if isinstance(part, ObjectivePart)]
        return tuple(own) + tuple(
            Requirement(protocol, f"{name} with {type(part).__name__}()", part.instead)
            for part in parts
            for protocol in part.requires
        )

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """Draws of q around ``targets`` ``[batch, candidates, time]``, made ahead of the step; None for none."""

    @property
    def drawn(self) -> int:
        """How many candidates of each example `draw` returns; 0 for None."""
        return 0

    def corrupt(self, inputs: Sequences, symbols: int, generator: torch.Generator | None) -> Sequences:
        """The inputs that p is conditioned on in training: as they are, unless the objective means noise.

        Args:
            inputs: what the model reads.
            symbols: number of input symbols known from training; an id of ``symbols`` is an unknown one.
            generator: source of every draw.
        """
        del symbols, generator
        return inputs

    @property
    def corrupts(self) -> bool:
        """True where `corrupt` may change the inputs."""
        return type(self).corrupt is not Objective.corrupt

    def state(self, sizes: Sizes) -> nn.Module | None:
        """Parameters and running counts, owned, trained and saved by the trainer; None for none."""

    @classmethod
    def examples(cls) -> tuple["Objective", ...]:
        """One of each way in which it can be computed, for the table of what can be combined with what.

        An objective that is made of others has none: it can do what they can.
        """
        return () if required(cls) else (cls(),)

    @property
    def exact(self) -> bool:
        """True where the loss is what its formula says; False where it is estimated from draws or a search."""
        return True

    def same_as(self, model: Model) -> "Objective | None":
        """The plainer objective that this one equals on a model, loss and gradient, for any data; None by default.

        A report says so, lest one method be compared with itself under two names.
        """

    def check_model(self, model: Model) -> None:
        """Refuse a model that lacks a verb or does not fit the reward, naming both sides and what would work.

        Raises:
            ConfigError: the pairing cannot work.
        """
        for requirement in self.requirements():
            if not issubclass(model.distribution, requirement.protocol):
                raise ConfigError(_refusal(requirement, model))
        for part in self._fields():
            if isinstance(part, Reward):
                check_reward(part, model, type(self).__name__)

    def _fields(self) -> list[object]:
        return [getattr(self, name) for name in hints(type(self))]


def losses_of(objective: Objective, p: object, targets: Sequences, context: StepContext) -> Losses:
    """`Objective.losses`, checked; objectives that are made of others ask them by this.

    Numbers that are not finite are let through: training skips such a step and counts it.

    Raises:
        ConfigError: it is not one loss for each example, or a diagnostic is not one detached number for each.
    """
    what = f"{type(objective).__name__}.losses"
    found: object = objective.losses(p, targets, context)
    if not isinstance(found, Losses):
        refuse(what, "Losses", described(found), "return Losses(values), one value for each example and not reduced")
    shape, like = tuple(targets.lengths.shape), targets.device
    checked(found.values, shape, what=f"{what}, values,", axes="[batch]", like=like, finite=False)
    if not isinstance(found.diagnostics, dict):
        refuse(f"{what}, diagnostics,", "a dictionary", described(found.diagnostics), "give each diagnostic a name")
    for name, values in found.diagnostics.items():
        _check_diagnostic(f"{what}, diagnostics[{name!r}],", name, values, targets)
    return found


def _check_diagnostic(what: str, name: object, values: object, targets: Sequences) -> None:
    if not isinstance(name, str):
        refuse(what, "a name that is text", described(name), "name it by a str")
    if not isinstance(values, Tensor) or values.is_complex():
        refuse(what, "a tensor [batch] of numbers", described(values), "make it one")
    if values.shape != targets.lengths.shape:
        expected, found = (f"of shape {tuple(shape)}" for shape in (targets.lengths.shape, values.shape))
        refuse(what, f"a tensor [batch] {expected}", f"one {found}", "return a number for each example")
    if values.device != targets.device:
        refuse(what, f"a tensor on {targets.device}", f"one on {values.device}", "compute it where p is")
    detached(values, what)


def check_reward(reward: Reward, model: Model, purpose: str) -> None:
    """Refuse a reward of outputs as long as their references on a model that decides the length itself.

    Raises:
        ConfigError: the pairing cannot work; the message names both sides and what would.
    """
    if reward.same_length and not model.distribution.fixed_length:
        free = [name for name in rewards if not rewards[name].same_length]  # type: ignore[attr-defined]
        raise ConfigError(
            f"{purpose} with the reward {type(reward).__name__} needs outputs as long as their references, but "
            f"{type(model).__name__} decides the length itself; use a reward of any length ({', '.join(free)}) or a "
            "tagging model"
        )


def _refusal(requirement: Requirement, model: Model) -> str:
    verb = next(name for name in vars(requirement.protocol) if not name.startswith("_"))
    able = [name for name in models if issubclass(models[name].distribution, requirement.protocol)]  # type: ignore[attr-defined]
    ways = [requirement.instead] if requirement.instead else []
    ways += [f"a model that offers it: {', '.join(able)}"] if able else []
    return (
        f"{requirement.purpose} needs `{verb}`, which the {model.distribution.__name__} distribution of "
        f"{type(model).__name__} does not offer; use {' or '.join(ways) or 'another objective'}"
    )
