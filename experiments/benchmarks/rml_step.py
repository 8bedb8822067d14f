"""What does a step of RML cost per target token, its draws counted in, against one of maximum likelihood?"""

from collections.abc import Mapping

import torch
from torch.nn.utils import clip_grad_norm_

from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import Median, Stopwatch, report
from structpred.models import Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Pronunciation
from structpred.training import Adam
from structpred.training.data import Batch, EncodedData, EpochPlan, TrainingData
from structpred.training.step import TrainingStep, as_tensors

BATCH_TOKENS = 256
SMALL = Seq2Seq()
TURNS = 12
MAIN = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
"""The main job's; RML's default is hotter, its draws are longer and more uneven."""
OBJECTIVES: Mapping[str, Objective] = {
    "ml": MaximumLikelihood(),
    "rml": RML(payoff=MAIN),
    "hot_rml": RML(),
    "smoothing": LabelSmoothing(),
}


class Arm:
    """One objective at work: the same initial weights, batches and optimiser as every other."""

    def __init__(
        self, objective: Objective, data: TrainingData, model: Model = SMALL, budget: int = BATCH_TOKENS
    ) -> None:
        torch.manual_seed(0)
        self.objective, self.data, self.budget = objective, data, budget
        generator = torch.Generator().manual_seed(0)
        self.step = TrainingStep(model.build(data.sizes), objective, objective.state(data.sizes), generator)
        self.optimizer = Adam().build(self.step.parameters())

    def plan(self, epoch: int) -> EpochPlan:
        """The batches of an epoch, drawing included."""
        return EpochPlan(self.data, self.data, self.objective, budget=self.budget, seed=0, epoch=epoch)

    def train(self, batch: Batch) -> None:
        """One step of the optimiser."""
        losses, _ = self.step(*as_tensors(batch))
        self.optimizer.zero_grad()
        (losses.sum() / batch.tokens).backward()
        clip_grad_norm_(self.step.parameters(), 1.0)
        self.optimizer.step()


def tokens_scored(plan: EpochPlan) -> int:
    """Target tokens of an epoch, ends included: of the draws where there are any."""
    lengths = plan.target_lengths if plan.draws is None else plan.draws.outputs.lengths
    return int(lengths.sum()) + len(lengths)


def turn(arms: Mapping[str, Arm], epoch: int) -> dict[str, Stopwatch]:
    """Seconds per target token of each arm over one epoch, in which they take turns at every step."""
    spent = {name: Stopwatch() for name in arms}
    plans = {}
    for name, arm in arms.items():
        with spent[name].running():
            plans[name] = arm.plan(epoch)
    names = list(arms)
    for position in range(len(plans[names[0]])):
        for name in names if position % 2 else names[::-1]:
            with spent[name].running():
                arms[name].train(plans[name][position])
    tokens = {name: tokens_scored(plan) for name, plan in plans.items()}
    return {name: Stopwatch(each.wall / tokens[name], each.cpu / tokens[name]) for name, each in spent.items()}


def main() -> None:
    """Time whole epochs after one that is thrown away; a ratio is that of two arms in the same epoch."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = EncodedData.of(Pronunciation(size=2000, held_out=100).load(), SMALL).training
    arms = {name: Arm(objective, data) for name, objective in OBJECTIVES.items()}
    turns = [turn(arms, epoch) for epoch in range(TURNS + 1)][1:]
    figures: dict[str, float | int | str] = {"threads": 1, "batch_tokens": BATCH_TOKENS, "turns": TURNS}
    for name in arms:
        figures[f"{name}_tokens_per_cpu_second"] = 1 / Median.of([each[name].cpu for each in turns]).value
    for name in list(arms)[1:]:
        cpu = Median.of([each[name].cpu / each["ml"].cpu for each in turns])
        wall = Median.of([each[name].wall / each["ml"].wall for each in turns])
        figures |= {f"{name}_to_ml": cpu.value, f"{name}_to_ml_low": cpu.low, f"{name}_to_ml_high": cpu.high}
        figures |= {f"{name}_to_ml_by_wall_clock": wall.value}
    report(figures, "Seconds per target token, drawing included; medians over epochs with 95 % intervals")


if __name__ == "__main__":
    standalone(main)
