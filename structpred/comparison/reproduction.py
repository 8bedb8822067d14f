"""Do the runs of a stored comparison give the same scores again?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from structpred.comparison.panels import Panel
from structpred.comparison.report import Report
from structpred.comparison.runner import compare_panels
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.registry import nearest
from structpred.results import RunResult


@dataclass(frozen=True)
class Repeated:
    """A stored run and the same one trained here.

    Attributes:
        comparison: the panel or the task; empty where the report holds one comparison.
        arm: its arm.
        seed: its seed.
        kept: what the report holds.
        found: the result here.
        same_data: whether both learned from the same data; None where the report does not say.
    """

    comparison: str
    arm: str
    seed: int
    kept: RunResult
    found: RunResult
    same_data: bool | None = None

    @property
    def different(self) -> dict[str, tuple[float, float]]:
        """The stored score and the one obtained here where they differ, by split and metric, such as ``"test PER"``."""
        here = _named(self.found)
        both = {name: (score, here[name]) for name, score in _named(self.kept).items() if name in here}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1]}

    @property
    def missing(self) -> tuple[str, ...]:
        """The stored scores that were not computed here, because the task has other metrics by now."""
        here = _named(self.found)
        return tuple(name for name in _named(self.kept) if name not in here)

    @property
    def compared(self) -> int:
        """How many scores could be compared."""
        return len(_named(self.kept)) - len(self.missing)


def _named(result: RunResult) -> dict[str, float]:
    """Scores by split and metric."""
    return {f"{split} {name}": score for split, scores in result.scores.items() for name, score in scores.items()}


def reproduce(
    reports: Mapping[str, Report],
    *,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    root: str | Path,
    workers: int | None = None,
    device: str = "auto",
) -> list[Repeated]:
    """Train the runs of stored comparisons and set their scores beside the stored ones.

    The settings are those in the report, not those of the module that made it. On the same kind of processor, with the
    same versions of packages, scores are equal bit for bit.

    Args:
        reports: comparisons by name, as a report holds them.
        arms: only these; all by default.
        seeds: only these; all by default.
        root: the folder of run folders; runs that are finished there are used again.
        workers: processes; one per CPU by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        ConfigError: an arm cannot be made here, or no comparison has such an arm, such a seed, or both.
        DataError: a task's data cannot be read.
        RunError: some runs failed.
    """
    _refuse_unknown("arm", arms, [arm for report in reports.values() for arm in report.arms])
    _refuse_unknown("seed", seeds, [seed for report in reports.values() for seed in report.seeds])
    panels = {}
    for name, report in reports.items():
        chosen = {arm: _trainable(arm, each) for arm, each in report.arms.items() if arms is None or arm in arms}
        under = [seed for seed in report.seeds if seeds is None or seed in seeds]
        if chosen and under:
            panels[name] = Panel(arms=chosen, seeds=under)
    if not panels:
        raise ConfigError("no comparison in the report has these arms under these seeds; leave one of the two out")
    trained = compare_panels(panels, root=root, workers=workers, device=device, examples="none")
    same_data = {name: _same_data(reports[name], report) for name, report in trained.reports.items()}
    return [
        Repeated(name, arm, seed, reports[name].results[arm][reports[name].seeds.index(seed)], result, same_data[name])
        for name, report in trained.reports.items()
        for arm, results in report.results.items()
        for seed, result in zip(report.seeds, results, strict=True)
    ]


def _same_data(kept: Report, found: Report) -> bool | None:
    if kept.material is None or found.material is None:
        return None
    return kept.material.digest == found.material.digest


def _refuse_unknown(what: str, asked: Sequence[object] | None, known: Sequence[object]) -> None:
    for each in asked or ():
        if each not in known:
            names = [str(name) for name in dict.fromkeys(known)]
            raise ConfigError(f"the report has no {what} {each!r}; {nearest(str(each), names)}")


def _trainable(arm: str, stored: object) -> Experiment:
    if not isinstance(stored, Experiment):
        raise ConfigError(
            f"the arm {arm!r} cannot be made here, because a component of the report is not known; name the module or "
            "file that defines it with --import"
        )
    return stored
