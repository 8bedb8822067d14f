"""The results of a comparison: runs, tables and sentences, before anything is drawn or written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from structpred.comparison import summary
from structpred.comparison.analysis import Contrast, Row, rows, tests
from structpred.comparison.design import Design, Pair
from structpred.comparison.equivalents import equivalents
from structpred.comparison.inspection import Inspection
from structpred.comparison.material import Material
from structpred.config import Config, Json, encode, leaves
from structpred.errors import ConfigError, RunError
from structpred.registry import nearest
from structpred.results import Measure, RunResult
from structpred.statistics import CrossedTest, ExamplesTest

START = "start."
"""Before the fields of the experiment that an arm starts from."""


@dataclass(frozen=True, kw_only=True)
class KeptArm(Config):
    """An arm as stored in a ``results.json``, for readers who lack a class of its components; it cannot be trained.

    Attributes:
        text: the JSON of the config's tree.
    """

    text: str


def tree_of(arm: Config) -> Json:
    """The JSON tree of an arm."""
    tree: Json = json.loads(arm.text) if isinstance(arm, KeptArm) else encode(arm)
    return tree


def leaves_of(arm: Config) -> dict[str, str]:
    """The value of every field of an arm, as text, by dotted name; see `structpred.config.leaves`."""
    return dict(leaves(tree_of(arm)))


@dataclass(frozen=True)
class ComparisonResult:
    """The results of several arms run under the same seeds; `Report` prints and writes them.

    Attributes:
        arms: the config of every arm by name; their own seeds are ignored.
        seeds: the seeds, each once.
        baseline: the arm that the others are compared with.
        results: for every arm one result a seed, in the order of ``seeds``.
        metrics: how outputs were scored; the conclusion rests on the first.
        design: how it is decided.
        over_examples: by pair of arms, the test over the test examples on the first metric; empty if it was not
            made, as in older reports.
        crossed: by pair of arms, the test over seeds and test examples together on the first metric; empty likewise,
            and with one seed.
        inspection: what the outputs show beyond the scores; None if they were not read, as in older reports.
        material: the data, the networks and what arms started from; None likewise.
        ensembles: by arm, split and metric, the score of the ensemble of its seeds; empty unless requested.

    Raises:
        ConfigError: no seed, a seed twice, no metric, a baseline that is not an arm, or a design that does not fit.
        RunError: results that do not match the arms, the seeds and the metrics.
    """

    arms: Mapping[str, Config]
    seeds: tuple[int, ...]
    baseline: str
    results: Mapping[str, tuple[RunResult, ...]]
    metrics: tuple[Measure, ...]
    design: Design = Design()
    over_examples: Mapping[Pair, ExamplesTest] = field(default_factory=dict)
    crossed: Mapping[Pair, CrossedTest] = field(default_factory=dict)
    inspection: Inspection | None = None
    material: Material | None = None
    ensembles: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.baseline not in self.arms:
            hint = nearest(self.baseline, list(self.arms))
            raise ConfigError(f"the baseline must be one of the arms, but got {self.baseline!r}; {hint}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"expected at least one seed, each once, but got {self.seeds}")
        if not self.metrics:
            raise ConfigError("expected at least one metric, but the task has none")
        object.__setattr__(self, "design", self.design.checked(list(self.arms), self.baseline, self.metrics))
        if set(self.results) != set(self.arms):
            raise RunError(f"expected results for the arms {list(self.arms)}, but got them for {list(self.results)}")
        for arm in self.arms:
            self._check_runs(arm)

    def _check_runs(self, arm: str) -> None:
        runs = self.results[arm]
        if len(runs) != len(self.seeds):
            raise RunError(f"{arm}: expected one run for each of {len(self.seeds)} seeds, but got {len(runs)}")
        for seed, run in zip(self.seeds, runs, strict=True):
            for split in ("dev", "test"):
                for metric in self.metrics:
                    score = run.scores.get(split, {}).get(metric.name)
                    if score is None or not np.isfinite(score):
                        raise RunError(f"{arm}, seed {seed}: expected a finite {split} {metric.name}, but got {score}")

    def table(self, metric: Measure | None = None) -> tuple[Row, ...]:
        """One row per arm, in order, on one metric; the first metric by default."""
        return rows(self._in_order, self.baseline, metric or self.metrics[0], self.design)

    def tests(self, metric: Measure | None = None) -> dict[Pair, Contrast]:
        """The test of every pair on one metric; the first metric by default."""
        return tests(self._in_order, self.baseline, metric or self.metrics[0], self.design)

    @property
    def decided(self) -> bool:
        """True where every pair has a verdict on the first metric."""
        return all(contrast.decided for contrast in self.tests().values())

    @property
    def _in_order(self) -> dict[str, tuple[RunResult, ...]]:
        return {arm: self.results[arm] for arm in self.arms}

    def differences(self) -> dict[str, dict[str, str]]:
        """What differs between the arms: ``differences()[field][arm]``, as text.

        A field that an arm's config does not have is the empty text there; seeds are left out. Fields of what
        arms start from are included where they differ among the arms, or from the arm itself.
        """
        values = {arm: leaves_of(config) for arm, config in self.arms.items()}
        fields = list(dict.fromkeys(field for arm in values.values() for field in arm if _told(field, values)))
        table = {field: {arm: values[arm].get(field, "") for arm in values} for field in fields}
        return {field: row for field, row in table.items() if len(set(row.values())) > 1}

    def conclusion(self) -> tuple[str, ...]:
        """Plain sentences on the first metric: a headline, what holds for each arm, and who skipped steps."""
        metric, seeds = self.metrics[0], len(self.seeds)
        shown = summary.conclusion(self.table(), metric, seeds)
        if seeds > 1 and len(self.arms) > 1:
            shown += summary.others(self.tests(), [(row.arm, row.reference) for row in self.table()])
            shown += summary.after_looks(self.design)
        shown += equivalents(self.arms)
        return shown + summary.skips(self._in_order, self.seeds)


def _told(field: str, values: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether to show a field; most fields of an arm's start are the same as in the arm itself."""
    if field.rpartition(".")[2] == "seed":
        return False
    if not field.startswith(START):
        return True
    pairs = {(each[field], each.get(field.removeprefix(START), "")) for each in values.values() if field in each}
    return len({start for start, _ in pairs}) > 1 or any(start != own for start, own in pairs)
