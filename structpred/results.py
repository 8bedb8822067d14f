"""The numbers of a finished run, as its folder and every report hold them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from structpred.protocols import Checkable

Value = TypeVar("Value")


@runtime_checkable
class Measure(Checkable, Protocol):
    """The properties of a metric that a report needs; every `structpred.metrics.Metric` has them."""

    @property
    def name(self) -> str:
        """Short name, such as ``"PER"``."""

    @property
    def higher_is_better(self) -> bool:
        """Whether larger scores are better."""

    @property
    def signature(self) -> str:
        """Everything that affects the score."""

    @property
    def former(self) -> tuple[str, ...]:
        """Names under which earlier versions of this package stored it."""


@dataclass(frozen=True)
class KeptMeasure:
    """A metric as read from a ``results.json``."""

    former: ClassVar[tuple[str, ...]] = ()

    name: str
    higher_is_better: bool
    signature: str


def direction(measure: Measure) -> str:
    """Which way is up, as a report says it: ``"higher is better"`` or ``"lower is better"``."""
    return "higher is better" if measure.higher_is_better else "lower is better"


def stored(measure: Measure, by_name: Mapping[str, Value], prefix: str = "") -> Value | None:
    """What is stored for a metric, under its name or else a former one; None if nothing is.

    Examples:
        >>> from structpred.metrics import SER
        >>> stored(SER(), {"dev/PER": 2.5, "dev/WER": 9.0}, "dev/")
        2.5
    """
    places = (f"{prefix}{name}" for name in (measure.name, *measure.former))
    return next((by_name[place] for place in places if place in by_name), None)


def renamed(by_name: Mapping[str, Value], measures: Iterable[Measure]) -> dict[str, Value]:
    """What is stored by names of metrics, with the present name of each metric instead of a former one.

    A former name stays where it is the name of another metric: of one of these, or because the present name is stored
    too.

    Examples:
        >>> from structpred.metrics import SER
        >>> renamed({"PER": 2.5, "WER": 9.0}, [SER()])
        {'SER': 2.5, 'WER': 9.0}
    """
    names = {each.name: each.former for each in measures}
    present = {former: name for name, formers in names.items() if name not in by_name for former in formers}
    return {name if name in names else present.get(name, name): value for name, value in by_name.items()}


@dataclass(frozen=True)
class Epoch:
    """One line of a run's history.

    Attributes:
        epoch: 1, 2, …
        loss: mean training loss per target token, in nats for likelihoods.
        dev: dev metrics by name, in percent.
        seconds: wall-clock seconds of training so far.
        diagnostics: means of the objective's diagnostics over the epoch.
        shape: number, distinct number and relative length of the dev predictions; see
            `structpred.training.monitoring.shape_of`.
        costs: what training has taken so far, by name: ``cpu_seconds``, and where they were counted ``reward_calls``
            and ``decoder_passes``, see `structpred.tally.Tally`; empty for results that do not say.
    """

    epoch: int
    loss: float
    dev: dict[str, float]
    seconds: float
    diagnostics: dict[str, float]
    shape: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Certainty:
    """How certain a trained model is on the test set; `structpred.training.certainty` computes it.

    Attributes:
        examples: test examples that it was computed on.
        labels: expected calibration error of single labels, in percent. They are the most probable label at each
            position, by its marginal; of a model that decides the length, the most probable next symbol after those of
            the reference, with its end. None where it is not known.
        outputs: the same of the predicted outputs, by p(output | input); one is right if it is a reference.
        entropy: Σ H(p) over Σ symbols, in nats a symbol; ends are symbols where the model decides the length.
        estimated: True if the entropy is estimated from drawn outputs, False if it is exact.
    """

    examples: int
    labels: float | None
    outputs: float | None
    entropy: float | None
    estimated: bool = False

    def plausible(self) -> bool:
        """Whether all of it has the type that it should have."""
        values = (self.labels, self.outputs, self.entropy)
        return isinstance(self.examples, int) and isinstance(self.estimated, bool) and _all(values, float | int | None)


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        identity: the run's identity, 64 hexadecimal digits.
        scores: ``scores[split][metric]`` of the chosen checkpoint in percent, for the splits ``"dev"`` and ``"test"``.
        signatures: how each metric was computed, by metric name.
        best_epoch: the epoch whose weights were kept.
        steps: optimiser steps taken.
        seconds: wall-clock seconds of training and evaluation, over all interruptions.
        cpu_seconds: CPU seconds of the same.
        tokens_per_second: target tokens trained on per wall-clock second of training.
        device: the name of the device.
        history: one entry an epoch.
        skipped: steps skipped because their loss or gradient was not finite.
        trainer: version of the `structpred.Trainer` that trained it; 1 for results that do not say.
        processes: how many processes shared each step.
        draws: True if steps drew random numbers, as for dropout, so that another number of processes would have ended
            with other weights.
        length_ratios: length of all outputs relative to all first references by split, ends counted, by the search that
            scored them; empty for results that do not say.
        certainty: calibration and entropy on test; None for results that do not say.
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
    length_ratios: dict[str, float] = field(default_factory=dict)
    certainty: Certainty | None = None

    def cost(self, name: str) -> float | None:
        """What all of training took, as `Epoch.costs` names it; None if it was not counted."""
        return self.history[-1].costs.get(name) if self.history else None

    @classmethod
    def of(cls, node: dict[str, Any]) -> "RunResult":
        """From the tree of a ``result.json``.

        Raises:
            ValueError: it is the tree of something else.
        """
        try:
            result = cls.of_tree(node)
            plausible = result.plausible()
        except (KeyError, TypeError, AttributeError):
            plausible = False
        if not plausible:
            raise ValueError("expected the scores of a run")
        return result

    @classmethod
    def of_tree(cls, node: dict[str, Any]) -> "RunResult":
        """From the tree that `dataclasses.asdict` made of one, unchecked."""
        certainty = node.get("certainty")
        parts = {
            "history": tuple(Epoch(**epoch) for epoch in node["history"]),
            "certainty": None if certainty is None else Certainty(**certainty),
        }
        return cls(**node | parts)

    def known_by(self, measures: Sequence[Measure]) -> "RunResult":
        """The same result with the present names of metrics, also in their signatures; see `renamed`."""
        own = renamed(self.signatures, measures)
        formers = {each.name: each.former for each in measures if each.name not in self.signatures}
        return replace(
            self,
            scores={split: renamed(by_name, measures) for split, by_name in self.scores.items()},
            signatures={name: _signed(name, formers.get(name, ()), text) for name, text in own.items()},
            history=tuple(replace(epoch, dev=renamed(epoch.dev, measures)) for epoch in self.history),
        )

    def plausible(self) -> bool:
        """Whether everything that is computed with has the type that it should have."""
        splits = [self.scores[split].values() for split in ("dev", "test")]
        losses = [epoch.loss for epoch in self.history]
        return (
            isinstance(self.identity, str)
            and bool(splits[0])
            and all(isinstance(value, float | int) and math.isfinite(value) for split in splits for value in split)
            and _all((self.seconds, self.cpu_seconds, self.tokens_per_second, *losses), float | int)
            and _all((self.best_epoch, self.steps, self.skipped, self.processes), int)
            and _all((*self.signatures, *self.signatures.values()), str)
            and _all((epoch.epoch for epoch in self.history), int)
            and (self.certainty is None or self.certainty.plausible())
            and _all(self.length_ratios.values(), float | int)
            and _all((each for epoch in self.history for each in (epoch.dev, epoch.costs)), dict)
            and _all((cost for epoch in self.history for cost in epoch.costs.values()), float | int)
        )


def _signed(name: str, former: Iterable[str], signature: str) -> str:
    """A signature, which begins with the name of its metric, under the present name."""
    old, bar, rest = signature.partition("|")
    return f"{name}{bar}{rest}" if old in former else signature


def _all(values: Iterable[object], kind: type | UnionType) -> bool:
    return all(isinstance(value, kind) for value in values)
