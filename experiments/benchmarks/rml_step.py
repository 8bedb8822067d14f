"""What does a step of RML cost per target token, its draws counted in, against one of maximum likelihood?"""

from collections.abc import Mapping, Sequence

import torch
from torch.nn.utils import clip_grad_norm_

from structpred.experiments.benchmarks.measuring import Figures, Median, Stopwatch, standalone, without_options
from structpred.models import Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Pronunciation
from structpred.training import Adam
from structpred.training.batching import Batch, EpochPlan
from structpred.training.data import EncodedData, TrainingData
from structpred.training.step import TrainingStep

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
        state, symbols = objective.state(data.sizes), data.sizes.num_inputs
        self.step = TrainingStep(
            model.build(data.sizes), objective, state, generator, symbols=symbols, specification=model
        )
        self.optimizer = Adam().build(self.step.parameters())

    def plan(self, epoch: int) -> EpochPlan:
        """The batches of an epoch, drawing included."""
        return EpochPlan(self.data, self.data, self.objective, budget=self.budget, seed=0, epoch=epoch)

    def train(self, batch: Batch) -> None:
        """One step of the optimiser."""
        losses, *_ = self.step(*batch.tensors())
        self.optimizer.zero_grad()
        (losses.sum() / batch.tokens).backward()
        clip_grad_norm_(self.step.parameters(), 1.0)
        self.optimizer.step()


def tokens_scored(plan: EpochPlan) -> int:
    """Target tokens of an epoch, ends included: of the draws where there are any."""
    lengths = plan.target_lengths if plan.draws is None else plan.draws.outputs.lengths
    return int(lengths.sum()) + len(lengths)


def turns(arms: Mapping[str, Arm], count: int) -> list[dict[str, Stopwatch]]:
    """Seconds per target token of each arm, for ``count`` epochs after a discarded one."""
    torch.set_flush_denormal(True)
    return [turn(arms, epoch) for epoch in range(count + 1)][1:]


def ratios(spent: Sequence[Mapping[str, Stopwatch]], name: str, base: str) -> Figures:
    """Ratio of the CPU-seconds of two arms in the same epoch: the median and its 95 % interval."""
    return Median.of([each[name].cpu / each[base].cpu for each in spent]).figures(f"{name}_to_{base}")


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


def main() -> Figures:
    """Time whole epochs after one that is thrown away; a ratio is that of two arms in the same epoch."""
    without_options()
    data = EncodedData.of(Pronunciation(size=2000, held_out=100).load(), SMALL).training
    arms = {name: Arm(objective, data) for name, objective in OBJECTIVES.items()}
    spent = turns(arms, TURNS)
    figures: Figures = {"batch_tokens": BATCH_TOKENS, "turns": TURNS}
    for name in arms:
        figures[f"{name}_tokens_per_cpu_second"] = 1 / Median.of([each[name].cpu for each in spent]).value
    for name in list(arms)[1:]:
        figures |= ratios(spent, name, "ml")
        wall = Median.of([each[name].wall / each["ml"].wall for each in spent])
        figures[f"{name}_to_ml_by_wall_clock"] = wall.value
    return figures


if __name__ == "__main__":
    standalone(main)
