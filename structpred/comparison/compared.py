"""What all arms share, a description of each arm, and the cost of training including that of its starts."""

from collections.abc import Mapping, Sequence

import numpy as np

from structpred.comparison.charts import Before, before_training
from structpred.comparison.findings import ComparisonResult
from structpred.comparison.material import mean_cost
from structpred.comparison.words import BY_DEFAULT, in_words
from structpred.config import Config
from structpred.experiment import Experiment
from structpred.report.document import Column, Section, Sentences, Table, joined
from structpred.results import RunResult
from structpred.statistics import fixed
from structpred.text import counted

_CALLED = {"trainer": "training", "decoding": "decoding"}
_FILES = 8
"""Files that are named, at most."""
_SPLITS = {"train": "training"}
_PARTS = ("task", "model", "optimiser", "trainer", "decoding")


def sections(report: ComparisonResult, *, averaged: bool = False) -> tuple[Section, ...]:
    """The sections; empty if the arms are not Experiments.

    Args:
        report: what was found.
        averaged: its runs are means over tasks, of which neither data nor epochs are said.
    """
    arms = {arm: config for arm, config in report.arms.items() if isinstance(config, Experiment)}
    if len(arms) < len(report.arms):
        return ()
    shared = _same(arms)
    lines = tuple(f"{arm}: {_arm(experiment, shared)}." for arm, experiment in arms.items())
    if len(report.seeds) > 1 and any(_shares_a_start(experiment) for experiment in arms.values()):
        lines += (
            "Where seeds share a start, intervals and tests over seeds do not show how starts differ, and costs with "
            "starts count it for every seed.",
        )
    data = () if averaged else _material(report)
    compared = Section("What was compared", (Sentences((*_shared(arms), *data, *lines)),))
    if averaged:
        return (compared,)
    return (compared, Section("What training took", (_costs(report), Sentences(_cost_notes(report)))))


def _same(arms: Mapping[str, Experiment]) -> list[str]:
    """The components that are the same in all arms."""
    first = next(iter(arms.values()))
    return [part for part in _PARTS if all(getattr(each, part) == getattr(first, part) for each in arms.values())]


def _shared(arms: Mapping[str, Experiment]) -> tuple[str, ...]:
    """A sentence on the components that are the same in all arms."""
    first = next(iter(arms.values()))
    epochs = {each.epochs for each in arms.values()}
    told = [_part(first, part) for part in _same(arms)]
    if len(epochs) == 1:
        told.append(f"{epochs.pop()} epochs in all")
    who = "The arm has" if len(arms) == 1 else "All arms share"
    searches: dict[str, list[str]] = {}
    for arm, experiment in arms.items():
        searches.setdefault(experiment.search, []).append(arm)
    scored = [search if len(searches) == 1 else f"{search}, for {joined(of)}" for search, of in searches.items()]
    return (
        f"{who}: {'; '.join(told)}.",
        "Dev scores by epoch, which choose the checkpoint, come from greedy decoding; dev and test scores in "
        f"tables come from {'; from '.join(scored)}.",
    )


def _part(experiment: Experiment, part: str) -> str:
    """A component and its settings, such as ``"optimiser adam (lr 0.01)"``."""
    config: Config = getattr(experiment, part)
    said = in_words(config, named=True)
    with_settings = config.family is None and said != BY_DEFAULT
    return f"{_CALLED.get(part, part)} {'with ' if with_settings else ''}{said}"


def _material(report: ComparisonResult) -> tuple[str, ...]:
    found = report.material
    if found is None:
        return (
            "These results do not include the digest of the data or the numbers of examples and weights, which newer "
            "reports give here.",
        )
    numbers = joined([f"{count:,} {_SPLITS.get(split, split)}" for split, count in found.examples.items()])
    sizes = sorted(set(found.parameters.values()))
    weights = f"{sizes[0]:,} weights" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} weights"
    data = f"There are {numbers} examples (SHA-256 of the data {found.digest[:16]}…); the networks have {weights}."
    return (data, *_files(found.files))


def _files(files: Mapping[str, str]) -> tuple[str, ...]:
    """The files that the examples were read from; if there are many, the first and how many there are."""
    if not files:
        return ()
    shown = [f"{name} ({digest[:16]}…)" for name, digest in list(files.items())[:_FILES]]
    more = [f"{len(files) - _FILES:,} more, which results.json names"] if len(files) > _FILES else []
    return (f"They were read from {joined([*shown, *more])}; the SHA-256 of each file is in parentheses.",)


def _arm(experiment: Experiment, shared: Sequence[str]) -> str:
    """An arm's objective in words, the components that not all arms share, and what it starts from."""
    own = [_part(experiment, part) for part in _PARTS if part not in shared]
    said = "; ".join([in_words(experiment.objective, whole=True), *own])
    later = experiment
    for start in experiment.ancestors():
        said += f", after {counted(start.trainer.epochs, 'epoch')} of {in_words(start.objective, whole=True)}"
        said += "" if later.start_seed is None else f", which all seeds share (seed {later.start_seed})"
        later = start
    return said


def _shares_a_start(experiment: Experiment) -> bool:
    """Whether several seeds go on from one run, directly or through starts of their own."""
    return any(each.start_seed is not None for each in (experiment, *experiment.ancestors()))


def _costs(report: ComparisonResult) -> Table:
    """The cost of an arm's own training, and of that together with everything it starts from."""
    columns = [Column("arm", numeric=False), Column("epochs"), Column("steps"), Column("skipped steps")]
    columns += [Column("CPU-seconds"), Column("CPU-seconds with starts")]
    counted = [name for name in _COUNTED if any(_known(runs, name) for runs in report.results.values())]
    columns += [*(Column(_COUNTED[name]) for name in counted), Column("dev length ratio")]
    of_test = {arm: _test_length_ratio(report, arm) for arm in report.arms}
    columns += [Column("test length ratio")] if any(of_test.values()) else []
    rows = []
    for arm, runs in report.results.items():
        before, own = before_training(report, arm), float(np.mean([run.cpu_seconds for run in runs]))
        epochs = max(len(run.history) for run in runs)
        whole = "not stored" if before.cpu_seconds is None else f"{own + before.cpu_seconds:,.1f}"
        rows.append(
            (
                arm,
                f"{before.epochs} + {epochs}" if before.epochs else f"{epochs}",
                f"{sum(run.steps for run in runs) / len(runs):,.0f}",
                f"{sum(run.skipped for run in runs):,}",
                f"{own:,.1f}",
                whole,
                *(_count(runs, name, before) for name in counted),
                _length_ratio(report, arm),
                *([of_test[arm]] if any(of_test.values()) else []),
            )
        )
    return Table(tuple(columns), tuple(rows))


_COUNTED = {"reward_calls": "reward calls with starts", "decoder_passes": "decoder passes with starts"}


def _known(runs: Sequence[RunResult], name: str) -> bool:
    return mean_cost(runs, name, len(runs)) is not None


def _count(runs: Sequence[RunResult], name: str, before: Before) -> str:
    """A count over a run and everything it starts from; empty if one of them has none."""
    own, begun = mean_cost(runs, name, len(runs)), getattr(before, name)
    return "" if own is None or begun is None else f"{own + begun:,.0f}"


def _length_ratio(report: ComparisonResult, arm: str) -> str:
    """Of the epochs that were chosen; empty where it is not stored."""
    ratios = [
        epoch.shape["length_ratio"]
        for run in report.results[arm]
        for epoch in run.history
        if epoch.epoch == run.best_epoch and "length_ratio" in epoch.shape
    ]
    return fixed(float(np.mean(ratios))) if ratios else ""


def _test_length_ratio(report: ComparisonResult, arm: str) -> str:
    """Of the outputs that test scores are of; empty where it is not stored."""
    ratios = [run.length_ratios["test"] for run in report.results[arm] if "test" in run.length_ratios]
    return fixed(float(np.mean(ratios))) if ratios else ""


def _cost_notes(report: ComparisonResult) -> tuple[str, ...]:
    before = [before_training(report, arm) for arm in report.arms]
    begun = "; epochs of 5 + 3 are 5 of what an arm starts from and 3 of its own"
    notes: tuple[str, ...] = (
        f"Values are means over runs, skipped steps are totals{begun if any(each.epochs for each in before) else ''}. "
        "Length ratios compare outputs with references, ends counted: on dev greedy outputs at the chosen epoch, on "
        f"test the outputs that were scored. {_counts(report)}",
    )
    if any(each.cpu_seconds is None for each in before):
        notes += ("These results do not say what the starts of some arms took; newer reports do.",)
    return notes


def _counts(report: ComparisonResult) -> str:
    """How rewards and decoder passes were counted, or that they were not."""
    runs = [run for arm in report.arms for run in report.results[arm]]
    if not any(_known([run], name) for run in runs for name in _COUNTED):
        return "Reward calls and decoder passes were not counted in these runs."
    said = (
        "A reward call is an output whose reward training asked for (a table of costs counts as one output per "
        "example); a decoder pass is an output that a step-wise decoder scored, drew or kept in a search in training."
    )
    return said if all(_known([run], "reward_calls") for run in runs) else f"{said} Some runs did not count them."
