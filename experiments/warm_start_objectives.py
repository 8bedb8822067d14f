"""Which objective should go on from likelihood: REINFORCE, GRPO, ReMax, DPO, CPO, minimum risk, RML or likelihood?

Data are embedded, so nothing is downloaded. It can be stopped at any time and resumes::

    python -m structpred.experiments.warm_start_objectives

Task, network and batches are those of pronunciation in ``five_objectives``, and so are the 16 epochs in all: 12 of
likelihood, which every arm of a seed starts from, then 4 of the arm's objective with a fresh optimiser. Eleven arms:
likelihood (ML), which the others are compared with; RML by edit distance; minimum risk; REINFORCE with the mean of the
other samples as baseline; with the baseline of least variance (optimal baseline); with a critic (actor-critic); GRPO;
ReMax; DPO, measured from the start of the same seed; CPO; and REINFORCE without a baseline under a reward that is 1 for
every output (constant reward), a control that shows what drawing alone does. Wherever outputs are drawn there are five
an example, and the reward is minus the edit distance.

One rule chose the settings of every arm: four trials under seed 100, which is not compared; the best PER on dev
decides, on a tie WER, then the earlier trial. The trials are the learning rates 0.0005 and 0.001 with each of two
values of the number or choice that the method has of its own, or four learning rates, each twice the one before, where
it has none (ML and the constant reward). All else was fixed beforehand, and so was the number of seeds, five.

Costs are CPU-seconds, in the reports, and calls of the reward, which are 2,000 examples times 4 epochs times the
outputs that are scored for an example: see `calls`.

Expected before the runs: no arm has a lower PER on test than ML by a margin that the test shows. RML, CPO and minimum
risk are within one point of ML. The five policy gradients are within one point of one another and worse than ML, but
better than their start; so is DPO. The constant reward does not improve on the start. What draws outputs takes two to
four times the CPU-seconds of ML.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few
from structpred.comparison.from_runs import completed
from structpred.comparison.inspection import Shown
from structpred.comparison.plan import Plan, unfinished
from structpred.comparison.report import Report
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import SEQ2SEQ, K
from structpred.objective import Objective
from structpred.objectives import (
    CPO,
    DPO,
    GRPO,
    REINFORCE,
    RML,
    Critic,
    Greedy,
    MaximumLikelihood,
    MinimumRisk,
    NoBaseline,
    OptimalToken,
    Sampled,
    Samples,
)
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.report.files import refuse_others
from structpred.rewards import ConstantReward
from structpred.runs import train
from structpred.training import Adam, Trainer

START = replace(SEQ2SEQ, trainer=Trainer(epochs=12, batch_tokens=384))
TUNING_SEED = 100
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
MIDDLE = RATES[1:3]
"""Learning rates of arms that have something of their own to be chosen."""

DRAWN = Samples(k=K, reference="left out")
Value = float | str


@dataclass(frozen=True)
class Arm:
    """An objective up to what is tuned.

    Attributes:
        make: the objective with a value of its own number or choice; the second argument is the folder of the start.
        own: what that is; empty for nothing.
        values: the two values that are tried.
    """

    make: Callable[[Value, str], Objective]
    own: str = ""
    values: tuple[Value, ...] = ("",)

    @property
    def trials(self) -> tuple[tuple[float, Value], ...]:
        """Learning rates and values: four."""
        return tuple(product(MIDDLE if self.own else RATES, self.values))

    def named(self, trial: tuple[float, Value]) -> str:
        """A trial, such as ``"lr 0.001, beta 0.1"``."""
        rate, value = trial
        return f"lr {rate:g}" + (f", {self.own} {value}" if self.own else "")

    def experiment(self, trial: tuple[float, Value], start: str) -> Experiment:
        """Four epochs after the start."""
        rate, value = trial
        after = Trainer(epochs=4, batch_tokens=384)
        return replace(START, start=START, objective=self.make(value, start), optimiser=Adam(lr=rate), trainer=after)


def fixed(objective: Objective) -> Arm:
    """An arm with nothing of its own to be chosen."""
    return Arm(lambda value, start: objective)


def of_fields(objective: Objective, own: str, values: tuple[Value, Value]) -> Arm:
    """An arm that tries two values of a field of its objective."""
    return Arm(lambda value, start: replace(objective, **{own: value}), own, values)


def rml(value: Value, start: str) -> Objective:
    """From exact draws around the reference."""
    del start
    return RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=float(value))), estimator=Sampled(k=K))


def dpo(value: Value, start: str) -> Objective:
    """Measured from the start."""
    return DPO(run=start, candidates=DRAWN, beta=float(value))


CREDIT = ("sequence", "token")
ARMS: dict[str, Arm] = {
    "ML": fixed(MaximumLikelihood()),
    "RML": Arm(rml, "edit rate", (0.02, 0.04)),
    "minimum risk": of_fields(MinimumRisk(candidates=DRAWN), "sharpness", (0.5, 1.0)),
    "REINFORCE": of_fields(REINFORCE(samples=K), "credit", CREDIT),
    "optimal baseline": of_fields(REINFORCE(samples=K, baseline=OptimalToken()), "credit", CREDIT),
    "actor-critic": of_fields(REINFORCE(samples=K, baseline=Critic()), "credit", CREDIT),
    "GRPO": of_fields(GRPO(samples=K), "scale", ("deviation", "none")),
    "ReMax": of_fields(REINFORCE(baseline=Greedy()), "samples", (1, K)),
    "DPO": Arm(dpo, "beta", (0.1, 0.5)),
    "CPO": of_fields(CPO(candidates=Samples(k=K)), "beta", (0.1, 0.5)),
    "constant reward": fixed(REINFORCE(reward=ConstantReward(), samples=K, baseline=NoBaseline())),
}


def experiments() -> dict[str, Experiment]:
    """The first trial of each arm, as `structpred compare` takes them; not of DPO, which needs a finished start."""
    return {name: arm.experiment(arm.trials[0], "") for name, arm in ARMS.items() if name != "DPO"}


def calls(objective: Objective) -> int:
    """Outputs of an example that the reward scores in one step: the draws, and the greedy output or the reference."""
    if isinstance(objective, REINFORCE):
        return objective.samples + isinstance(objective.baseline, Greedy)
    if isinstance(objective, GRPO):
        return objective.samples
    if isinstance(objective, MinimumRisk | DPO | CPO) and isinstance(objective.candidates, Samples):
        return objective.candidates.k + (objective.candidates.reference == "added")
    return 0


def measured(plans: Sequence[Plan], root: Path, console: Console, examples: Shown = "licensed") -> Report:
    """Train what is unfinished of some plans with the same arms, a seed or more each, and report them together."""
    first, todo = plans[0], unfinished(plans)
    for done, run in enumerate(todo, 1):
        console.print(f"{done} of {len(todo)}: {run.name}")
        train(run.experiment, root=root, device="cpu")
    runs = tuple(run for plan in plans for run in plan.runs)
    starts = tuple(run for plan in plans for run in plan.starts)
    seeds = tuple(seed for plan in plans for seed in plan.seeds)
    whole = replace(first, seeds=seeds, runs=runs, starts=starts)
    metrics = START.reported
    results = {
        name: tuple(run.found().reported_by(metrics, first.splits).result for run in runs if run.arm == name)
        for name in first.arms
    }
    return completed(Report(first.arms, seeds, first.baseline, results, metrics), whole, examples)


def started(seed: int, root: Path) -> str:
    """The folder of the start under a seed, which is trained if it is not there."""
    return str(train(replace(START, seed=seed), root=root, device="cpu").folder.path)


def tried(start: str) -> dict[str, Experiment]:
    """Every trial of every arm."""
    return {
        f"{name}, {arm.named(trial)}": arm.experiment(trial, start)
        for name, arm in ARMS.items()
        for trial in arm.trials
    }


def best_trials(dev: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, Value]]:
    """The trial of each arm with the lowest PER, then WER.

    Args:
        dev: scores on dev by the names that `tried` gives.
    """

    def rank(name: str, trial: tuple[float, Value]) -> tuple[float, float]:
        scores = dev[f"{name}, {ARMS[name].named(trial)}"]
        return scores["PER"], scores["WER"]

    return {name: min(arm.trials, key=lambda trial: rank(name, trial)) for name, arm in ARMS.items()}


def main() -> None:
    """Train the starts, tune, compare, and write the three reports."""
    options = Parser("python -m structpred.experiments.warm_start_objectives", (__doc__ or "").partition("\n")[0])
    options.add_argument("--seeds", type=few, default=5, metavar="N", help="compare under seeds 0 to N - 1")
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/warm_start_objectives"), help="where reports go")
    given = options.read()
    for report in ("tuning", "comparison", "start"):
        refuse_others(given.report / report)
    torch.set_num_threads(1)
    console = Console(stderr=True)
    root, seeds = given.root, range(given.seeds)

    trials = Plan.of(tried(started(TUNING_SEED, root)), (TUNING_SEED,), None, root)
    tuning = measured([trials], root, console, examples="none")
    tuning.write(given.report / "tuning")
    chosen = best_trials({name: runs[0].scores["dev"] for name, runs in tuning.results.items()})

    def arms(seed: int) -> dict[str, Experiment]:
        start = started(seed, root)
        return {name: arm.experiment(chosen[name], start) for name, arm in ARMS.items()}

    comparison = measured([Plan.of(arms(seed), (seed,), "ML", root) for seed in seeds], root, console)
    comparison.write(given.report / "comparison")
    comparison.show()
    starts = Plan.of({"start": START}, seeds, None, root)
    measured([starts], root, console, examples="none").write(given.report / "start")


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
