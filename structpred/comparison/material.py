"""What went into a comparison: the data, the sizes of the networks, and what the arms started from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from structpred.comparison.plan import Plan, PlannedRun
from structpred.results import RunResult
from structpred.runs import Folder, Run

COUNTED = ("reward_calls", "decoder_passes")
"""The costs of training that are counted, see `structpred.tally`."""


@dataclass(frozen=True)
class StartCost:
    """What was trained before an arm's own training, the mean over seeds.

    Attributes:
        steps: optimiser steps, of the first seed.
        seconds, cpu_seconds: of training and evaluation.
        reward_calls, decoder_passes: as `structpred.tally.Tally` counts them; None where a run does not say.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    reward_calls: float | None = None
    decoder_passes: float | None = None


@dataclass(frozen=True)
class Material:
    """What the run folders hold about a comparison besides its results.

    Attributes:
        digest: SHA-256 of the data as read.
        examples: by split how many there are.
        parameters: by arm the number of weights of its network.
        starts: by name of an arm that starts from another run, the cost of that run and of those before it.
        files: by name the SHA-256 of the files that the task has read; empty where that is not known.
    """

    digest: str
    examples: Mapping[str, int]
    parameters: Mapping[str, int]
    starts: Mapping[str, StartCost]
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_tree(cls, tree: Mapping[str, Any]) -> "Material":
        """The inverse of `dataclasses.asdict`, after a round trip through JSON."""
        return cls(**{**tree, "starts": {arm: StartCost(**node) for arm, node in tree["starts"].items()}})


def of_plan(plan: Plan) -> Material:
    """The material of a finished comparison."""
    splits = plan.splits
    examples = {split: len(getattr(splits, split)) for split in ("train", "dev", "test")}
    first = {run.arm: run for run in reversed(plan.runs)}
    parameters = {arm: _weights(first[arm].found()) for arm in plan.arms}
    starting = [arm for arm in plan.arms if first[arm].start is not None]
    starts = {arm: _start_cost(plan, arm) for arm in starting}
    return Material(splits.digest, examples, parameters, starts, _named(splits.files))


def _named(files: Mapping[str, str]) -> dict[str, str]:
    """The files by the shortest distinct ends of their paths, so that reports do not name private folders.

    Examples:
        >>> _named({"/data/one/train.tsv": "0a", "/data/two/train.tsv": "0b", "/data/two/test.tsv": "0c"})
        {'one/train.tsv': '0a', 'two/train.tsv': '0b', 'test.tsv': '0c'}
    """
    parts = {path: PurePath(path).parts for path in files}
    found = {}
    for path, own in parts.items():
        others = [each for other, each in parts.items() if other != path]
        length = next(
            n for n in range(1, len(own) + 1) if n == len(own) or all(own[-n:] != each[-n:] for each in others)
        )
        found["/".join(own[-length:])] = files[path]
    return found


def _weights(run: Run) -> int:
    return sum(math.prod(each.shape) for each in run.model.parameters())


def _start_cost(plan: Plan, arm: str) -> StartCost:
    known = {run.folder: run for run in (*plan.runs, *plan.starts)}
    chains = [_chain(run, known) for run in plan.runs if run.arm == arm]
    return StartCost(
        sum(result.steps for result in chains[0]),
        float(np.mean([sum(result.seconds for result in chain) for chain in chains])),
        float(np.mean([sum(result.cpu_seconds for result in chain) for chain in chains])),
        *(mean_cost([each for chain in chains for each in chain], name, len(chains)) for name in COUNTED),
    )


def mean_cost(runs: Sequence[RunResult], name: str, seeds: int) -> float | None:
    """The total cost of these runs per seed; None if one of them has no such count.

    Args:
        runs: of all seeds.
        name: the cost, see `structpred.results.Epoch`.
        seeds: how many there are.
    """
    costs = [cost for run in runs if (cost := run.cost(name)) is not None]
    return sum(costs) / seeds if len(costs) == len(runs) else None


def _chain(run: PlannedRun, known: Mapping[Folder, PlannedRun]) -> list[RunResult]:
    """The results of what a run starts from, of what that starts from, and so on."""
    if run.start is None:
        return []
    start = known[run.start]
    return [start.found().result, *_chain(start, known)]
