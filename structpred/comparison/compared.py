"""What all arms of a comparison share, each arm in words, and what training took with what came before it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

import numpy as np

from structpred.comparison.charts import Before, before_training
from structpred.comparison.findings import ComparisonResult
from structpred.comparison.material import mean_cost
from structpred.config import Config, hints, registered_name
from structpred.experiment import Experiment
from structpred.report.document import Column, Section, Sentences, Table, joined
from structpred.results import RunResult
from structpred.statistics import fixed

_CALLED = {"trainer": "training with", "decoding": "decoding with"}
_COUNTS = {"k": "output", "samples": "draw"}
"""Fields that are told in any case, and what they count."""
_FILES = 8
"""Files that are named, at most."""
_PARTS = ("task", "model", "optimiser", "trainer", "decoding")


def sections(report: ComparisonResult) -> tuple[Section, ...]:
    """The sections; none where the arms are of a kind of config that this does not know."""
    arms = {arm: config for arm, config in report.arms.items() if isinstance(config, Experiment)}
    if len(arms) < len(report.arms):
        return ()
    lines = tuple(f"{arm}: {_arm(experiment)}." for arm, experiment in arms.items())
    compared = Section("What was compared", (Sentences((*_shared(arms), *_material(report), *lines)),))
    return (compared, Section("What training took", (_costs(report), Sentences(_cost_notes(report)))))


def _shared(arms: Mapping[str, Experiment]) -> tuple[str, ...]:
    """A sentence on the components that all arms have alike."""
    first = next(iter(arms.values()))
    same = [part for part in _PARTS if all(getattr(each, part) == getattr(first, part) for each in arms.values())]
    epochs = {each.epochs for each in arms.values()}
    told = [f"{_CALLED.get(part, part)} {in_words(getattr(first, part), named=True)}" for part in same]
    if len(epochs) == 1:
        told.append(f"{epochs.pop()} epochs in all")
    who = "The arm has" if len(arms) == 1 else "All arms share"
    searches: dict[str, list[str]] = {}
    for arm, experiment in arms.items():
        searches.setdefault(experiment.search, []).append(arm)
    scored = [search if len(searches) == 1 else f"{search}, for {joined(of)}" for search, of in searches.items()]
    return (
        f"{who}: {'; '.join(told)}.",
        "Dev scores by epoch, which choose the checkpoint, are of greedy decoding; test and dev scores in "
        f"tables are of {'; of '.join(scored)}.",
    )


def _material(report: ComparisonResult) -> tuple[str, ...]:
    found = report.material
    if found is None:
        return (
            "These results do not hold the digest of the data, the numbers of examples and of weights, which newer "
            "reports name here.",
        )
    numbers = joined([f"{count:,} {split}" for split, count in found.examples.items()])
    sizes = sorted(set(found.parameters.values()))
    weights = f"{sizes[0]:,} weights" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} weights"
    data = f"There are {numbers} examples (SHA-256 of the data {found.digest[:16]}…); networks have {weights}."
    return (data, *_files(found.files))


def _files(files: Mapping[str, str]) -> tuple[str, ...]:
    """Where the examples were read from; of many files the first and their number."""
    if not files:
        return ()
    shown = [f"{name} ({digest[:16]}…)" for name, digest in list(files.items())[:_FILES]]
    more = [f"{len(files) - _FILES:,} more, which results.json names"] if len(files) > _FILES else []
    return (f"They were read from {joined([*shown, *more])}; in parentheses the SHA-256 of each file.",)


def _arm(experiment: Experiment) -> str:
    """An arm's objective in words, and what it starts from."""
    said = in_words(experiment.objective)
    for start in experiment.ancestors():
        said += f", after {start.trainer.epochs} epochs of {in_words(start.objective)}"
    return said


def in_words(config: Config, *, named: bool = False) -> str:
    """A component and its fields that are not at their defaults.

    Args:
        config: the component.
        named: call it by its registered name rather than by its class.
    """
    told = _told(config)
    if config.family is None:
        return ", ".join(told) or "as by default"
    name = registered_name(config) if named else _spaced(type(config).__name__)
    return f"{name} ({', '.join(told)})" if told and named else ", ".join([name, *told])


def _told(config: Config) -> list[str]:
    told: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _COUNTS and isinstance(value, int):
            told.append(f"{value} {_COUNTS[field.name]}{'' if value == 1 else 's'} an example")
            continue
        counted = isinstance(value, Config) and bool(_COUNTS.keys() & vars(value).keys())
        if field.name not in hints(type(config)) or (_is_default(value, field) and not counted):
            continue
        told += _value(field.name.replace("_", " "), value)
    return told


def _is_default(value: object, field: "Field[Any]") -> bool:
    return field.default is not MISSING and bool(value == field.default)


def _value(name: str, value: object) -> list[str]:
    if isinstance(value, Config):
        inner = _told(value)
        return [*([_spaced(type(value).__name__)] if value.family is not None else []), *inner]
    if isinstance(value, tuple):
        return [part for each in value for part in _value(name, each)]
    if value is None or isinstance(value, bool):
        return [name if value else f"no {name}"]
    return [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"]


def _spaced(name: str) -> str:
    """A class's name as words, with abbreviations as they are.

    >>> _spaced("LabelSmoothing"), _spaced("REINFORCE"), _spaced("LSTMTagger")
    ('label smoothing', 'REINFORCE', 'LSTM tagger')
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z\d]+|\d+", name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)


def _costs(report: ComparisonResult) -> Table:
    """An arm's own training, and with everything that it starts from."""
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
    """What was counted in a run and everything that it starts from; empty where one of them does not say."""
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
    notes: tuple[str, ...] = (
        "A run on average, skipped steps in all; + stands between the epochs of what an arm starts from and its own. "
        "Length ratios are of outputs to references, ends counted: on dev of greedy outputs at the chosen epoch, on "
        f"test of the outputs that were scored. {_counts(report)}",
    )
    if any(before_training(report, arm).cpu_seconds is None for arm in report.arms):
        notes += ("These results do not hold what the starts of some arms took, which newer reports name.",)
    return notes


def _counts(report: ComparisonResult) -> str:
    """How rewards and decoder passes were counted, or that they were not."""
    runs = [run for arm in report.arms for run in report.results[arm]]
    if not any(_known([run], name) for run in runs for name in _COUNTED):
        return "Calls of rewards and passes of decoders were not counted in these runs."
    said = (
        "A reward call is an output whose reward training asked for, a table of costs counting as one output an "
        "example; a decoder pass is an output that a step-wise decoder scored, drew or kept in a search, in training."
    )
    return said if all(_known([run], "reward_calls") for run in runs) else f"{said} Some runs did not count them."
