"""What does a step of RML cost, against one of maximum likelihood? Draws of the payoff are counted in."""

from dataclasses import replace
from functools import partial

import torch

from structpred.experiment import Experiment
from structpred.experiments.benchmarks.timing import paired, report
from structpred.models import Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Pronunciation
from structpred.training import Trainer
from structpred.training.batching import EpochPlan
from structpred.training.data import Prepared
from structpred.training.progress import ignore
from structpred.training.trainer import Training

BASE = Experiment(
    task=Pronunciation(size=2000, held_out=100),
    model=Seq2Seq(),
    objective=MaximumLikelihood(),
    trainer=Trainer(batch_tokens=256),
)
MAIN = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
"""The main job's; RML's default is hotter, its draws are longer and pad their batches more."""


def scored_tokens(experiment: Experiment, prepared: Prepared) -> int:
    """Target tokens that a first epoch scores, ends included: of the draws where there are any."""
    data = prepared.training
    plan = EpochPlan(data, data, experiment.objective, budget=experiment.trainer.batch_tokens, seed=0, epoch=0)
    lengths = plan.target_lengths if plan.draws is None else plan.draws.lengths
    return int(lengths.sum()) + len(lengths)


def main() -> None:
    """Time whole epochs, planning and drawing included, in turns."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    prepared = Prepared.of(BASE.task.load(), BASE.model)
    objectives = {"ML": MaximumLikelihood(), "smoothing": LabelSmoothing(), "RML": RML(payoff=MAIN), "hot_RML": RML()}
    arms = {name: replace(BASE, objective=objective) for name, objective in objectives.items()}
    training = {name: Training(arm, prepared, device="cpu", observer=ignore) for name, arm in arms.items()}
    steps = training["ML"].rehearse(0)
    tokens = {name: scored_tokens(arm, prepared) for name, arm in arms.items()}
    figures: dict[str, float | int | str] = {"threads": 1, "steps_per_epoch": steps, "batch_tokens": 256}
    for name in ("RML", "hot_RML", "smoothing"):
        medians = paired(partial(training[name].rehearse, steps), partial(training["ML"].rehearse, steps))
        figures[f"{name.lower()}_tokens_per_second"] = tokens[name] / medians.first
        figures["ml_tokens_per_second"] = tokens["ML"] / medians.second
        figures[f"{name.lower()}_to_ml_per_token"] = (medians.first / tokens[name]) / (medians.second / tokens["ML"])
        figures[f"{name.lower()}_to_ml_per_step"] = medians.first / medians.second
    report(figures, "One epoch, drawing included")


if __name__ == "__main__":
    main()
