"""The numbers of a finished run, as its folder and every report hold them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Protocol, runtime_checkable

from structpred.protocols import Checkable


@runtime_checkable
class Measure(Checkable, Protocol):
    """What a report has to know of a metric; every `structpred.metrics.Metric` is one."""

    @property
    def name(self) -> str:
        """Short name, such as ``"PER"``."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is up."""

    @property
    def signature(self) -> str:
        """Everything that could change the number."""


@dataclass(frozen=True)
class KeptMeasure:
    """A metric as a ``results.json`` describes it."""

    name: str
    higher_is_better: bool
    signature: str


@dataclass(frozen=True)
class Epoch:
    """One line of a run's history.

    Attributes:
        epoch: 1, 2, …
        loss: mean training loss per target token, in nats for likelihoods.
        dev: dev metrics by name, in percent.
        seconds: wall-clock seconds of training so far.
        diagnostics: means of the objective's diagnostics over the epoch.
        shape: how many dev predictions there are, how many of them differ, and how long they are; see
            `structpred.training.monitoring`.
    """

    epoch: int
    loss: float
    dev: dict[str, float]
    seconds: float
    diagnostics: dict[str, float]
    shape: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        identity: the run's identity, 64 hexadecimal digits.
        scores: ``scores[split][metric]`` in percent, splits ``"dev"`` and ``"test"``, of the chosen checkpoint.
        signatures: how each metric was computed, by metric name.
        best_epoch: the epoch whose weights were kept.
        steps: optimiser steps taken.
        seconds: wall-clock seconds of training and evaluation, over all interruptions.
        cpu_seconds: processor seconds of the same.
        tokens_per_second: target tokens trained on per wall-clock second of training.
        device: where it ran, as the device names itself.
        history: one entry an epoch.
        skipped: steps left out because their loss or gradient was not finite.
        trainer: version of `structpred.Trainer` that made it; results that do not say are of version 1.
        processes: how many were at work on each step.
        draws: True where steps drew random numbers, as for dropout, so that another number of processes would have
            ended with other weights.
    """

    identity: str
    scores: dict[str, dict[str, float]]
    signatures: dict[str, str]
    best_epoch: int
    steps: int
    seconds: float
    cpu_seconds: float
    tokens_per_second: float
    device: str
    history: tuple[Epoch, ...]
    skipped: int = 0
    trainer: int = 1
    processes: int = 1
    draws: bool = False

    @classmethod
    def of(cls, node: dict[str, Any]) -> "RunResult":
        """From the tree of a ``result.json``.

        Raises:
            ValueError: it is the tree of something else.
        """
        try:
            result = cls(**node | {"history": tuple(Epoch(**epoch) for epoch in node["history"])})
            plausible = result._plausible()
        except (KeyError, TypeError, AttributeError):
            plausible = False
        if not plausible:
            raise ValueError("expected the scores of a run")
        return result

    def _plausible(self) -> bool:
        splits = [self.scores[split].values() for split in ("dev", "test")]
        losses = [epoch.loss for epoch in self.history]
        return (
            isinstance(self.identity, str)
            and bool(splits[0])
            and all(isinstance(value, float | int) and math.isfinite(value) for split in splits for value in split)
            and _all((self.seconds, self.cpu_seconds, self.tokens_per_second, *losses), float | int)
            and _all((self.best_epoch, self.steps, self.skipped, self.processes), int)
            and _all((epoch.dev for epoch in self.history), dict)
        )


def _all(values: Iterable[object], kind: type | UnionType) -> bool:
    return all(isinstance(value, kind) for value in values)
