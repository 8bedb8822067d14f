"""The objective interface: a short function of a model's distribution and the targets."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import Config, hints, required
from structpred.errors import ConfigError
from structpred.models.base import Model
from structpred.models.embedded import EmbeddedInputs
from structpred.registry import models, objectives, rewards
from structpred.returned import checked, described, detached, refuse, shortened
from structpred.rewards.base import Reward
from structpred.sequences import Sequences
from structpred.task import Sizes


@dataclass(frozen=True)
class Losses:
    """The return value of an objective: one unreduced loss per example, and diagnostics.

    Attributes:
        values: the losses, minimised, ``[batch]``.
        diagnostics: detached values by name, ``[batch]`` each.
        kept: what the later updates on this batch need from the first, such as its samples and their probabilities:
            detached tensors by name, ``[batch, ...]`` each, with zeros as padding. Only the first update's is used, and
            only where `Objective.updates` is more than 1.
    """

    # Users construct these, and `losses_of` reports mistakes with a message, so run-time checks in tests skip them.
    __no_type_check__: ClassVar[bool] = True

    values: Float[Tensor, " batch"]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """The inputs of an objective other than p and the targets.

    Attributes:
        step: optimizer steps taken before this one.
        share: fraction of training done before this step, 0 to 1.
        draws: the samples that `Objective.draw` drew for these targets; None if the objective has to draw now.
        state: the module that `Objective.state` returned; None if there is none.
        generator: source of all randomness in the step.
        inputs: the inputs that p is conditioned on, for objectives with a network of their own.
        kept: what the first update on this batch returned in `Losses.kept`; None in that update.
        embedded: the inputs as vectors, and p under others, where the objective `perturbs` them; else None.
    """

    step: int = 0
    share: float = 0.0
    draws: Sequences | None = None
    state: nn.Module | None = None
    generator: torch.Generator | None = None
    inputs: Sequences | None = None
    kept: dict[str, Tensor] | None = None
    embedded: EmbeddedInputs | None = None


@dataclass(frozen=True)
class Requirement:
    """A verb that the model's distribution must offer.

    Attributes:
        protocol: the verb, from `structpred.distributions.protocols`.
        purpose: what needs the verb, for the message, such as ``"RML with Exact()"``.
        instead: what to use if it is missing, such as ``"estimator=Sampled(k=1)"``; may be empty.
    """

    protocol: type
    purpose: str
    instead: str = ""


@dataclass(frozen=True, kw_only=True)
class ObjectivePart(Config):
    """A component of an objective that itself uses verbs of p, such as an estimator or a baseline.

    Attributes:
        requires: the verbs of p that it uses, from `structpred.distributions.protocols`.
        instead: what to choose for a model that lacks one of them, for the message.
    """

    requires: ClassVar[tuple[type, ...]] = ()
    instead: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Objective(Config):
    """A training objective. A class of your own needs `requires`, `losses` and a name.

    It holds only settings. Anything it learns or counts lives in the module that `state` returns. Samples from q can be
    drawn before the step, by `draw`, because q does not depend on the model.

    Attributes:
        requires: the verbs of p that `losses` uses, from `structpred.distributions.protocols`; `requirements` adds the
            verbs that its fields use.
        instead: what to use for a model that lacks one of them, for the message; may be empty.
        learns_from: the name of the field that holds the folder of a finished run; empty if there is none.
    """

    family = objectives
    requires: ClassVar[tuple[type, ...]]
    instead: ClassVar[str] = ""
    learns_from: ClassVar[str] = ""

    @abstractmethod
    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """One loss per example.

        Args:
            p: the model's distribution, which offers the verbs that the objective requires; each class annotates it
                accordingly.
            targets: the references, ``[batch, time]``.
            context: samples, state, generator and progress of training.
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
        kept: dict[str, Tensor] | None = None,
        embedded: EmbeddedInputs | None = None,
    ) -> Losses:
        """`losses`, checked, with the fields of a `StepContext` as arguments.

        Raises:
            ConfigError: `losses` does not return one loss per example, or a diagnostic is invalid; p lacks a verb that
                the objective requires; or a label of the targets is none of p's.
        """
        context = StepContext(
            step=step,
            share=share,
            draws=draws,
            state=state,
            generator=generator,
            inputs=inputs,
            kept=kept,
            embedded=embedded,
        )
        labels: object = getattr(p, "num_labels", None)
        targets = targets.readable(labels) if isinstance(labels, int) else targets
        try:
            return losses_of(self, p, targets, context)
        except AttributeError:
            self._refuse_lacking(p)
            raise

    def _refuse_lacking(self, p: object) -> None:
        for each in self.requirements():
            if not isinstance(p, each.protocol):
                raise ConfigError(
                    f"{each.purpose} needs `{_verb(each)}`, which {type(p).__name__} does not offer; use "
                    f"{each.instead or 'another objective'}, or a model whose distribution offers it"
                ) from None

    def requirements(self) -> tuple[Requirement, ...]:
        """The verbs that p must offer: those in `requires`, then those that its fields require.

        Raises:
            ConfigError: the class does not define `requires`.
        """
        name = type(self).__name__
        own = [Requirement(protocol, name, self.instead) for protocol in _verbs(self)]
        parts = [part for part in self._fields() if isinstance(part, ObjectivePart)]
        return tuple(own) + tuple(
            Requirement(protocol, f"{name} with {type(part).__name__}()", part.instead)
            for part in parts
            for protocol in _verbs(part)
        )

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """Samples of q around ``targets``, ``[batch, candidates, time]``, drawn before the step; None for none."""

    @property
    def drawn(self) -> int:
        """The number of candidates per example that `draw` returns; 0 if it returns None."""
        return 0

    def corrupt(self, inputs: Sequences, symbols: int, generator: torch.Generator | None) -> Sequences:
        """Training inputs, with noise if the objective adds any.

        Args:
            inputs: the model's inputs.
            symbols: number of input symbols known from training; the id ``symbols`` stands for unknown ones.
            generator: source of randomness.
        """
        del symbols, generator
        return inputs

    @property
    def corrupts(self) -> bool:
        """True if `corrupt` may change the inputs."""
        return type(self).corrupt is not Objective.corrupt

    def state(self, sizes: Sizes) -> nn.Module | None:
        """A module with parameters and running counts, which the trainer owns, trains and saves; None for none.

        Its gradient is clipped apart from the model's.
        """

    @classmethod
    def examples(cls) -> tuple["Objective", ...]:
        """One instance for each way to compute it, for the compatibility table.

        An objective composed of others has none: it supports what its parts support.
        """
        return () if required(cls) else (cls(),)

    @property
    def exact(self) -> bool:
        """True if the loss is computed exactly; False if it is estimated from samples or a search."""
        return True

    @property
    def draws_in_step(self) -> bool:
        """True if a step samples outputs from a decoder or searches it, unless the objective is `exact`."""
        return False

    @property
    def updates(self) -> int:
        """Updates of the weights on each batch, one after another; those after the first get its `Losses.kept`."""
        return 1

    @property
    def perturbs(self) -> bool:
        """True if `losses` asks for p under shifted vectors of the inputs, `StepContext.embedded`."""
        return False

    @property
    def asked(self) -> tuple[Config, ...]:
        """Components that a step asks beside the objective's own fields, such as the reward of a payoff."""
        return ()

    def same_as(self, model: Model) -> "Objective | None":
        """The plainer objective that this one equals on a model, loss and gradient, for any data; None by default.

        A report says so, lest one method be compared with itself under two names.
        """

    def in_expectation(self) -> "Objective | None":
        """The objective without draws whose gradient is the mean of this one's over its own draws; None by default.

        `structpred.diagnosis` measures noise against that mean where it is known.
        """

    def check_model(self, model: Model) -> None:
        """Refuse a model that lacks a verb or does not fit the reward, naming both sides and what would work.

        Raises:
            ConfigError: the combination cannot work.
        """
        for requirement in self.requirements():
            if not issubclass(model.distribution, requirement.protocol):
                raise ConfigError(_refusal(requirement, model))
        for part in self._fields():
            if isinstance(part, Reward):
                check_reward(part, model, type(self).__name__)

    def _fields(self) -> list[object]:
        return [getattr(self, name) for name in hints(type(self))]


def _verbs(part: object) -> tuple[type, ...]:
    stated = getattr(part, "requires", None)
    if not isinstance(stated, tuple) or not all(isinstance(verb, type) for verb in stated):
        raise ConfigError(
            f"{type(part).__name__} must name the verbs of p that it uses as a class attribute, as in requires = "
            "(LogProb,) from structpred.distributions.protocols, which took the place of the method needs(); add it"
        )
    return stated


def losses_of(objective: Objective, p: object, targets: Sequences, context: StepContext) -> Losses:
    """`Objective.losses`, checked; composed objectives call their parts through this function.

    Non-finite values are allowed: training skips such a step and counts it.

    Raises:
        ConfigError: the result is not one loss per example, or a diagnostic is not one detached number per example.
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
    if not isinstance(found.kept, dict):
        refuse(f"{what}, kept,", "a dictionary", described(found.kept), "give each tensor a name, or leave kept out")
    for name, values in found.kept.items():
        _check_kept(f"{what}, kept[{name!r}],", name, values, targets)
    return found


def updates_of(objective: Objective) -> int:
    """`Objective.updates`, checked.

    Raises:
        ConfigError: it is not a whole number of at least 1.
    """
    found: object = objective.updates
    if not isinstance(found, int) or found < 1:
        what, advice = f"{type(objective).__name__}.updates", "return 1 for a single update on each batch"
        refuse(what, "a whole number of at least 1", shortened(repr(found)), advice)
    return found


def _check_kept(what: str, name: object, values: object, targets: Sequences) -> None:
    if not isinstance(name, str):
        refuse(what, "a name that is text", described(name), "name it by a str")
    if not isinstance(values, Tensor) or values.shape[:1] != targets.lengths.shape:
        found = f"one of shape {tuple(values.shape)}" if isinstance(values, Tensor) else described(values)
        refuse(
            what, f"a tensor with the batch, {len(targets)}, as its first axis", found, "keep a row for each example"
        )
    detached(values, what)


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
    """Refuse a reward that requires outputs of the reference's length on a model that chooses the length.

    Raises:
        ConfigError: the combination cannot work; the message names both sides and what would work.
    """
    if reward.same_length and not model.distribution.fixed_length:
        free = [name for name in rewards if not rewards[name].same_length]  # type: ignore[attr-defined]
        raise ConfigError(
            f"{purpose} with the reward {type(reward).__name__} needs outputs as long as their references, but "
            f"{type(model).__name__} decides the length itself; use a reward of any length ({', '.join(free)}) or a "
            "tagging model"
        )


def _verb(requirement: Requirement) -> str:
    return next(name for name in vars(requirement.protocol) if not name.startswith("_"))


def _refusal(requirement: Requirement, model: Model) -> str:
    classes = {name: getattr(models[name], "distribution", object) for name in models}  # one of a user's may lack it
    able = [name for name, cls in classes.items() if issubclass(cls, requirement.protocol)]
    ways = [requirement.instead] if requirement.instead else []
    ways += [f"a model that offers it: {', '.join(able)}"] if able else []
    return (
        f"{requirement.purpose} needs `{_verb(requirement)}`, which the {model.distribution.__name__} distribution of "
        f"{type(model).__name__} does not offer; use {' or '.join(ways) or 'another objective'}"
    )
