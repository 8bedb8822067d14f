"""The parts of the benchmark `gpu` that train whole runs: how many share a device, and does one resume bit by bit?"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from structpred.comparison.runner import compare
from structpred.errors import Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Trainer, checkpoint
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData
from structpred.training.trainer import Training

Figures = dict[str, object]

PACKED = Experiment(
    task=Pronunciation(size=3000, held_out=50),
    model=Seq2Seq(embedding=96, hidden=192),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=10_000, batch_tokens=384, max_seconds=10),
)
"""The size of the main job's runs, ended by the clock."""

GROWING = 1.1
"""Twice the runs must do at least so many times the work of half as many, or no more are tried."""

RESUMED: dict[str, Experiment] = {
    "seq2seq_likelihood": Experiment(
        task=Pronunciation(size=400, held_out=20),
        model=Seq2Seq(embedding=64, hidden=128),
        objective=MaximumLikelihood(),
    ),
    "seq2seq_reinforce": Experiment(
        task=Pronunciation(size=200, held_out=20), model=Seq2Seq(embedding=64, hidden=128), objective=REINFORCE()
    ),
    "tagger_likelihood": Experiment(
        task=LetterTagging(size=400, held_out=20),
        model=LSTMTagger(embedding=64, hidden=128),
        objective=MaximumLikelihood(),
    ),
    "crf_likelihood": Experiment(
        task=LetterTagging(size=400, held_out=20), model=CRF(embedding=64, hidden=128), objective=MaximumLikelihood()
    ),
}


def packing(
    device: torch.device,
    experiment: Experiment = PACKED,
    counts: tuple[int, ...] = (1, 2, 4, 8, 16),
    limit: float = 120.0,
) -> Figures:
    """Target tokens a second of K runs at once, each a process of one thread, as ``compare --workers K`` has them.

    A run's rate is measured while it trains; runs begin within the seconds that processes take to start, so the first
    and the last train alone for a moment.

    Args:
        device: all runs are on it.
        experiment: what each trains, under seeds of their own; its budget is in seconds.
        counts: K, ascending.
        limit: after so many seconds no other K is begun.
    """
    figures: Figures = {"seconds_of_a_run": experiment.trainer.max_seconds or 0.0}
    begun, before = time.monotonic(), 0.0
    for count in counts:
        if time.monotonic() - begun > limit:
            return figures | {"ended": f"before {count} runs, after {limit:g} seconds"}
        try:
            rate = _rate(device, experiment, count)
        except RunError as error:
            return figures | {"ended": f"at {count} runs: {error}"}
        figures[f"tokens_per_second_of_{count}_at_once"] = rate
        if before and rate < GROWING * before:
            return figures | {"ended": f"at {count} runs, whose throughput is {rate / before:.2f} × that before"}
        before = rate
    if len(counts) == 1:
        return figures | {"ended": "no growth was measured, for want of other numbers of runs"}
    return figures | {"ended": f"at {counts[-1]} runs, while throughput was growing still"}


def _rate(device: torch.device, experiment: Experiment, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        report = compare(
            {"ML": experiment},
            seeds=range(count),
            root=folder,
            workers=count,
            device=device.type,
            console=Console(quiet=True),
        )
        return sum(run.tokens_per_second for run in report.results["ML"])


def resume(device: torch.device, experiments: dict[str, Experiment] = RESUMED) -> Figures:
    """Whether a run that was stopped half-way and went on from its checkpoint ends with the same weights.

    Where it does not, a second uninterrupted run tells whether the device repeats itself at all.
    """
    return {name: _resumed(each, device) for name, each in experiments.items()}


def _resumed(experiment: Experiment, device: torch.device) -> str:
    experiment = replace(experiment, trainer=Trainer(epochs=2, batch_tokens=256))
    prepared = EncodedData.of(experiment.task.load(), experiment.model)
    straight, again = (_trained(experiment, prepared, device, None) for _ in range(2))
    stopped = _trained(experiment, prepared, device, straight.steps // 2 + 1)
    resumed, repeated = apart(straight, stopped), apart(straight, again)
    if resumed == 0:
        return "bit-exact"
    if repeated == 0:
        return f"not bit-exact: weights differ by up to {resumed:.1e}, though the run repeats itself without a stop"
    return (
        f"not bit-exact: weights differ by up to {resumed:.1e}, and by {repeated:.1e} where the run is repeated "
        "without a stop, because kernels of the device add in no fixed order"
    )


def _trained(experiment: Experiment, prepared: EncodedData, device: torch.device, stop: int | None) -> Training:
    """A run to its end, stopped after some steps and gone on with from a file where ``stop`` says so."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"

        def save(state: State) -> None:
            checkpoint.save(path, state)

        training = Training(experiment, prepared, device=device.type)
        if stop is not None:
            begun = training
            try:
                begun.run(save=save, save_every=float("inf"), stopping=lambda: begun.steps >= stop)
            except Interrupted:
                training = Training(experiment, prepared, device=device.type)
                training.restore(checkpoint.load(path))
        training.run(save=save, save_every=float("inf"), stopping=lambda: False)
    return training


def apart(one: Training, other: Training) -> float:
    """The largest difference of two runs' weights."""
    weights = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in weights)
