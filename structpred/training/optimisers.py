"""Optimisers and learning-rate schedules."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from structpred.config import Config, Fraction, Positive
from structpred.registry import optimisers, schedules


@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """The learning rate over training, as a factor of the optimiser's.

    Attributes:
        warmup: share of training during which the factor rises linearly from 0 to 1.
    """

    family = schedules

    warmup: Fraction = 0.0

    def factor(self, progress: float) -> float:
        """The factor at ``progress``, the share of training done, 0 to 1."""
        if progress < self.warmup:
            return progress / self.warmup
        return self.after_warmup(progress)

    @abstractmethod
    def after_warmup(self, progress: float) -> float:
        """The factor once warm; 1 at its start."""


@schedules.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same rate throughout."""

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
        """½ (1 + cos π s), with s the share done since warm-up."""
        share = (progress - self.warmup) / (1 - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@schedules.register("inverse-square-root")
@dataclass(frozen=True, kw_only=True)
class InverseSquareRoot(Schedule):
    """√(warmup / progress) (Vaswani et al. 2017, section 5.3)."""

    warmup: Fraction = 0.05

    def after_warmup(self, progress: float) -> float:
        """1 at the end of warm-up, falling as 1/√progress."""
        return math.sqrt(self.warmup / progress) if progress else 1.0


@dataclass(frozen=True, kw_only=True)
class Optimiser(Config):
    """How gradients become steps.

    Attributes:
        schedule: the learning rate over training.
    """

    family = optimisers

    schedule: Schedule = Cosine()

    @property
    @abstractmethod
    def rate(self) -> float:
        """The learning rate the schedule multiplies."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser."""


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

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """``torch.optim.AdamW`` in its fused form."""
        return torch.optim.AdamW(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=True,
        )
