"""Settings of training: the budget, optimisers and learning-rate schedules."""

import inspect
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from structpred.config import Config
from structpred.errors import ConfigError
from structpred.metrics import Metric
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.protocols import Checkable
from structpred.registry import optimisers, schedules
from structpred.returned import described, refuse
from structpred.task import Task
from structpred.training.parts import Group, Part, Parts, check_apart
from structpred.values import Count, Fraction, Positive


class WarmupWarning(UserWarning):
    """Training ends before its warm-up does."""


@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """The learning rate over training, as a factor of the optimiser's.

    Attributes:
        warmup: fraction of training during which the factor rises linearly from 0 to 1.
        warmup_steps: the same as a number of steps, in place of ``warmup``, which training refuses beside it.
    """

    family = schedules
    identity_optional: ClassVar[tuple[str, ...]] = ("warmup_steps",)

    warmup: Fraction = 0.0
    warmup_steps: Count | None = None

    def factor(self, progress: float, steps: int = 0) -> float:
        """The factor at ``progress``, the fraction of training done, 0 to 1, after ``steps`` steps."""
        if self.warmup_steps is not None:
            return self._by_steps(progress, steps, self.warmup_steps)
        if progress < self.warmup:
            return progress / self.warmup
        return self.after_warmup(progress)

    def refuse_idle(self) -> None:
        """Refuse a ``warmup`` that ``warmup_steps`` leaves without effect; checked by training, so old runs still load.

        Raises:
            ConfigError: both are given.
        """
        if self.warmup_steps is not None and self.warmup != type(self).warmup:
            raise ConfigError(
                f"{type(self).__name__}.warmup has no effect beside warmup_steps, but {self.warmup:g} and "
                f"{self.warmup_steps} are given; leave one of them out"
            )

    def warn_of_long_warmup(self, steps: int) -> None:
        """Warn if training of so many steps ends within a warm-up of ``warmup_steps``, at a rate that is still low."""
        if self.warmup_steps is not None and self.warmup_steps > steps:
            warnings.warn(
                f"{type(self).__name__}.warmup_steps is {self.warmup_steps}, but training ends after about {steps} "
                f"steps, at {steps / self.warmup_steps:.2g} of the optimiser's learning rate; lower warmup_steps, or "
                "train for more steps",
                WarmupWarning,
                stacklevel=3,
            )

    def _by_steps(self, progress: float, steps: int, warmup: int) -> float:
        """The factor if warm-up takes so many steps, whose share of training follows from the steps taken so far."""
        if steps < warmup:
            return steps / warmup
        share = progress * warmup / steps
        return replace(self, warmup=share, warmup_steps=None).after_warmup(progress) if share < 1 else 1.0

    @abstractmethod
    def after_warmup(self, progress: float) -> float:
        """The factor after warm-up; 1 when warm-up ends."""


@schedules.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A constant rate."""

    def after_warmup(self, progress: float) -> float:
        """1."""
        del progress
        return 1.0


@schedules.register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts)."""

    warmup: Fraction = 0.02

    def after_warmup(self, progress: float) -> float:
        """½ (1 + cos π s), with s the fraction of the time since warm-up."""
        share = (progress - self.warmup) / (1 - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@schedules.register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A straight line from 1 down to 0, as in BERT's fine-tuning (Devlin et al. 2019, arXiv 1810.04805, appendix A)."""

    warmup: Fraction = 0.1

    def after_warmup(self, progress: float) -> float:
        """1 − s, with s the fraction of the time since warm-up."""
        return max((1 - progress) / (1 - self.warmup), 0.0)


@schedules.register("inverse-square-root")
@dataclass(frozen=True, kw_only=True)
class InverseSquareRoot(Schedule):
    """√(warmup / progress) (Vaswani et al. 2017, section 5.3), which needs a warm-up."""

    warmup: Fraction = 0.05

    def refuse_idle(self) -> None:
        """Also refuse a missing warm-up: the rate falls from its end on, and so would be 0 at once.

        Raises:
            ConfigError: there is none, or there are two.
        """
        super().refuse_idle()
        if self.warmup == 0 and self.warmup_steps is None:
            raise ConfigError(
                "InverseSquareRoot.warmup must be above 0, because the rate falls from the end of the warm-up on, but "
                "got 0; name a fraction of training such as 0.05, or warmup_steps"
            )

    def after_warmup(self, progress: float) -> float:
        """1 at the end of warm-up, falling as 1/√progress."""
        return math.sqrt(self.warmup / progress) if progress else 1.0


def _number(what: str, found: object) -> float:
    value = found.item() if isinstance(found, torch.Tensor) and found.numel() == 1 else found
    number = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= number < math.inf:
        refuse(what, "a finite number of at least 0", described(found), "return a float")
    return number


@dataclass(frozen=True, kw_only=True)
class Optimiser(Config):
    """An optimiser specification.

    Attributes:
        schedule: the learning rate over training.
        parts: parts of the network with settings of their own; they must not overlap.
        decay_vectors: False takes parameters with fewer than two axes, biases and normalisation, out of weight decay.
    """

    family = optimisers
    identity_optional: ClassVar[tuple[str, ...]] = ("parts", "decay_vectors")

    schedule: Schedule = Cosine()
    parts: tuple[Part, ...] = ()
    decay_vectors: bool = True

    def check(self) -> None:
        """Refuse parts that overlap."""
        check_apart(self.parts)

    @property
    @abstractmethod
    def rate(self) -> float:
        """The learning rate that the schedule multiplies."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter] | Iterable[Group]) -> torch.optim.Optimizer:
        """Build an optimiser with fresh state, for parameters or for groups of them with settings of their own."""

    def built(self, parameters: Sequence[nn.Parameter], parts: Parts) -> torch.optim.Optimizer:
        """The optimiser of these parameters, in groups where `parts` or `decay_vectors` ask for some.

        Raises:
            ConfigError: a weight decay is given, but the optimiser has none, or the schedule has two warm-ups; or what
                `build` returns is no optimiser of these parameters.
        """
        self.schedule.refuse_idle()
        if not self.parts and self.decay_vectors:
            return self._built(parameters, parameters)
        groups = parts.groups(parameters, self.rate, decay_vectors=self.decay_vectors)
        optimizer = self._built(groups, parameters)
        if "weight_decay" not in optimizer.defaults and any("weight_decay" in group for group in groups):
            raise ConfigError(
                f"{type(self).__name__} has no weight decay, so neither its parts nor decay_vectors can set it; leave "
                "it out"
            )
        return optimizer

    def _built(self, given: Any, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """`build`, checked."""
        found: object = self.build(given)
        what = f"{type(self).__name__}.build"
        if not isinstance(found, torch.optim.Optimizer):
            refuse(what, "a torch.optim.Optimizer", described(found), "return the optimiser itself")
        assert isinstance(found, torch.optim.Optimizer)
        own = {id(each) for group in found.param_groups for each in group["params"]}
        if own.isdisjoint(map(id, parameters)):
            refuse(what, "an optimiser of the given parameters", "one of none of them", "give them to it")
        closure = inspect.signature(found.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            advice = "use one that takes one gradient a step"
            refuse(what, "an optimiser whose step needs no closure", type(found).__name__, advice)
        return found

    def set_rates(self, optimizer: torch.optim.Optimizer, share: float, steps: int) -> None:
        """Set the learning rate of every group for the step after ``steps`` others.

        Raises:
            ConfigError: the rate, or the factor of the schedule, is no finite number of at least 0.
        """
        what = f"{type(self.schedule).__name__}, at {share:g} of training, as a factor,"
        factor = _number(what, self.schedule.factor(share, steps))
        rate = _number(f"{type(self).__name__}.rate", self.rate)
        for group in optimizer.param_groups:
            group["lr"] = group.get("rate", rate) * factor


@optimisers.register("adam")
@dataclass(frozen=True, kw_only=True)
class Adam(Optimiser):
    """Adam, fused (Kingma and Ba 2015), with decoupled weight decay (Loshchilov and Hutter 2019).

    Attributes:
        lr: learning rate.
        beta1, beta2: decay of the first and second moment.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled; 0 is plain Adam.
    """

    lr: Positive = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8
    weight_decay: Fraction = 0.0

    @property
    def rate(self) -> float:
        """``lr``."""
        return self.lr

    def build(self, parameters: Iterable[nn.Parameter] | Iterable[Group]) -> torch.optim.Optimizer:
        """The fused ``torch.optim.AdamW``."""
        return torch.optim.AdamW(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=True,
        )


@optimisers.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGD(Optimiser):
    """Stochastic gradient descent with momentum (Polyak 1964): m ← μ m + g + λ w, then w ← w − lr · m.

    Attributes:
        lr: learning rate.
        momentum: μ; 0 is plain gradient descent.
        nesterov: step along g + λ w + μ m in place of m (Nesterov 1983, as in Sutskever et al. 2013).
        weight_decay: λ, an L2 penalty; it goes through the momentum, unlike Adam's.

    Raises:
        ConfigError: ``nesterov`` without momentum.
    """

    lr: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: Fraction = 0.0

    def check(self) -> None:
        """Refuse parts that overlap, and a setting without effect."""
        super().check()
        if self.nesterov and not self.momentum:
            raise ConfigError("SGD.nesterov has no effect without momentum; set SGD.momentum, such as 0.9")

    @property
    def rate(self) -> float:
        """``lr``."""
        return self.lr

    def build(self, parameters: Iterable[nn.Parameter] | Iterable[Group]) -> torch.optim.Optimizer:
        """``torch.optim.SGD``, not fused: the fused one has uninitialised momentum after a skipped first step."""
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )


@dataclass(frozen=True, kw_only=True)
class Trainer(Config):
    """The training budget, the same for every objective.

    The loss of a step is the sum of its examples' losses divided by the target tokens of the whole batch, however the
    batch is split into pieces and over processes. So all examples of a batch have the same weight. Between batches the
    weight of an example varies with the batches' tokens, which `structpred.training.batching.token_batches` keeps as
    even as the budget allows.

    After each epoch the dev set is decoded greedily, and the weights with the best first metric are kept. If it ties,
    the task's later metrics decide in order; if all tie, the later epoch is kept.

    The fraction of training done, which learning rates and some objectives use, is computed from epochs or steps,
    whichever is larger. It never depends on the clock, so the same steps lead to the same weights.

    Attributes:
        epochs: passes over the training examples.
        batch_tokens: target tokens a step, ends and padding included.
        clip: largest norm of the gradient.
        patience: stop after this many epochs without better dev scores; None trains to the end.
        precision: ``"fp32"``, or ``"bf16"`` for autocast; probabilities are in float32 either way.
        accumulate: pieces in which the batch of a step is processed, to save memory. The gradient stays the same,
            but for rounding, where nothing is drawn within the step and the loss of an example depends on that
            example only. Draws within the step, those of dropout included, are as many and of the same law, but come
            out differently; what a baseline has learnt is then brought up to date after every piece.
        max_steps: end after at most this many steps of the optimiser.
        max_seconds: end after at most this many seconds of training, including dev scoring.
        average: decay of an exponential moving average of the weights, which then are what is scored and kept; None
            keeps the weights themselves.
        tolerate: training ends with an error at this many steps in a row whose loss or gradient is not finite;
            fewer are skipped and counted.
        compile: compile the step by ``torch.compile``. It needs a compiler, takes half a minute at the start, and made
            steps slower on the CPUs it was measured on; a GPU may gain.
        recompute: keep only what enters each layer for the gradient, and compute the rest again in the backward pass
            (gradient checkpointing; Chen et al. 2016, arXiv 1604.06174). It saves memory for about a third more time,
            and needs a network with layers, such as a Transformer.
    """

    version: ClassVar[int] = 2  # 2: ties on dev are broken, and batches are even
    identity_optional: ClassVar[tuple[str, ...]] = (
        "accumulate", "max_steps", "max_seconds", "average", "tolerate", "compile", "recompute",
    )  # fmt: skip

    epochs: Count = 30
    batch_tokens: Count = 256
    clip: Positive = 1.0
    patience: Count | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: Count = 1
    max_steps: Count | None = None
    max_seconds: Positive | None = None
    average: Fraction | None = None
    tolerate: Count = 10
    compile: bool = False
    recompute: bool = False

    def share(self, epochs: float, steps: int) -> float:
        """Share of training done, 0 to 1, after the given epochs and steps."""
        by_steps = steps / self.max_steps if self.max_steps else 0.0
        return min(max(epochs / self.epochs, by_steps), 1.0)


@runtime_checkable
class Recipe(Checkable, Protocol):
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
    def scored(self) -> tuple[Metric, ...]: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102
