"""What the experiments on the paper's claims have in common: runs and their cost, answers, intervals."""

import math
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from structpred.experiment import Experiment
from structpred.runs import Run, train
from structpred.statistics.anytime import critical
from structpred.statistics.estimates import LEVEL, fixed

Verdict = Literal["shown", "not shown", "refuted"]
Results = dict[str, Any]
"""What an experiment has measured: values that JSON can hold, by name."""
TIED = "\N{NO-BREAK SPACE}"
"""In place of a space at which no line may break; `textwrap` knows no other white space than ASCII's."""


@dataclass
class Runs:
    """The runs of an experiment, found by identity or trained.

    Attributes:
        root: the folder of run folders.
        cpu_seconds: what the runs took when they were trained, each counted once, with those they start from.
        here: CPU-seconds of this process within `get`, whether it trained or found a run.
    """

    root: Path
    cpu_seconds: float = 0.0
    here: float = 0.0
    _counted: set[str] = field(default_factory=set)

    def get(self, experiment: Experiment, seed: int) -> Run:
        """The finished run under a seed."""
        if experiment.start is not None:
            self.get(experiment.start, seed)
        before = time.process_time()
        run = train(replace(experiment, seed=seed), root=self.root, device="cpu")
        self.here += time.process_time() - before
        if run.result.identity not in self._counted:
            self._counted.add(run.result.identity)
            self.cpu_seconds += run.result.cpu_seconds
        return run


@dataclass(frozen=True)
class Answer:
    """The verdict by the criterion that was written down before the run.

    Attributes:
        verdict: the verdict.
        told: the numbers behind it, in sentences.
    """

    verdict: Verdict
    told: str


def verdict(*, shown: bool, refuted: bool) -> Verdict:
    """Refuted before shown, else neither."""
    return "refuted" if refuted else "shown" if shown else "not shown"


@dataclass(frozen=True)
class Claim:
    """An experiment on one claim.

    Attributes:
        measure: trains and computes; returns what the record keeps.
        answer: from the record to the verdict.
        picture: from the record to an SVG.
    """

    measure: Callable[[Runs], Results]
    answer: Callable[[Results], Answer]
    picture: Callable[[Results], str]


@dataclass(frozen=True)
class Interval:
    """A mean difference over seeds and its 95 % t interval.

    >>> str(Interval.of([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]))
    '+2.00 ± 2.48'
    """

    mean: float
    half_width: float

    @classmethod
    def of(cls, arm: Sequence[float], baseline: Sequence[float]) -> "Interval":
        """Arm minus baseline, paired by seed."""
        differences = np.subtract(arm, baseline)
        spread = critical(len(differences), LEVEL, "fixed") * differences.std(ddof=1) / math.sqrt(len(differences))
        return cls(float(differences.mean()), float(spread))

    @property
    def above_zero(self) -> bool:
        """The interval lies above zero."""
        return self.mean - self.half_width > 0

    @property
    def below_zero(self) -> bool:
        """The interval lies below zero."""
        return self.mean + self.half_width < 0

    def __str__(self) -> str:
        return f"{fixed(self.mean, '+')} ± {fixed(self.half_width)}"


def paragraph(name: str, claim: Claim, record: Mapping[str, Any]) -> str:
    """The answer as it stands in docs/claims.md.

    Args:
        name: of the claim, as ``--only`` takes it.
        claim: the experiment.
        record: its ``results.json``.
    """
    answer = claim.answer(record["results"])
    command = f"`python -m structpred.experiments.claims --only {name}`".replace(" ", TIED)
    cost = f"{record['cpu_seconds']:.0f} CPU-seconds"
    text = f"**Answer: {answer.verdict}.** {answer.told} ({command}, {cost}.)"
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False).replace(TIED, " ")
