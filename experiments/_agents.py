"""What the experiments with agents of another library share: arms, their costs and tuning, tables and pictures."""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from structpred.display import bars
from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.models import LSTMTagger, Model
from structpred.objective import Objective
from structpred.objectives import REINFORCE, RML, Exact, MaximumLikelihood, MinimumRisk, Samples
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.provenance import environment
from structpred.report.drawing import INK, log_axis, looks, style
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.runs import train
from structpred.statistics import estimate
from structpred.task import Task
from structpred.tasks import HiddenMarkov
from structpred.training import Adam, Trainer

EMBEDDING, HIDDEN = 48, 64
K, EPOCHS = 3, 36
"""Outputs an example, where they are drawn, and epochs of those that draw none."""
EPISODES, EVERY = 64, 8192
"""Episodes side by side, and steps between two evaluations."""


@dataclass(frozen=True)
class Setting:
    """What all learn, in which way, and how long.

    Attributes:
        task: what is learnt.
        model: ours; agents read the source as a tagger of the same sizes does.
        reward: what is paid, at most 0; the score is what it leaves of 100 % for each symbol of a reference.
        epochs: of those that draw no outputs.
        decoding: of our runs on test.
    """

    task: Task = HiddenMarkov()
    model: Model = LSTMTagger(embedding=EMBEDDING, hidden=HIDDEN)
    reward: Reward = Hamming()
    epochs: int = EPOCHS
    decoding: Decoding = Decoding()

    def labels(self, split: str = "train") -> int:
        """Symbols of a split's references, with an end for each where outputs are of any length."""
        examples = getattr(self.task.load(), split)
        ends = 0 if self.model.distribution.fixed_length else len(examples)
        return sum(len(example.references[0]) for example in examples) + ends

    def score(self, scores: Mapping[str, float]) -> float:
        """That of a run of ours, in percent."""
        return scores["ACC"] if "ACC" in scores else 100 - scores["SER"]


TAGGING = Setting()
TUNING_SEED = 100
RATES, EDIT_RATES = (5e-3, 1e-2, 2e-2, 4e-2), (0.02, 0.04, 0.08, 0.16)
AGENT_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
AGENTS: dict[str, dict[str, Any]] = {
    "MaskablePPO": {"n_steps": 32, "batch_size": 256, "n_epochs": 4, "gamma": 1.0},
    "A2C": {"n_steps": 8, "gamma": 1.0},
}
PACKAGES = ("stable-baselines3", "sb3-contrib", "gymnasium")


@dataclass(frozen=True)
class Point:
    """An evaluation: costs so far, and accuracy on dev in percent."""

    labels: int
    calls: int
    cpu_seconds: float
    dev: float


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        scores: accuracies on dev and test in percent, of the weights that were best on dev.
        parameters: numbers in the network.
        curve: all evaluations.
    """

    scores: dict[str, float]
    parameters: int
    curve: tuple[Point, ...]

    @classmethod
    def of(cls, node: dict[str, Any]) -> "Outcome":
        """From its JSON."""
        return cls(**node | {"curve": tuple(Point(**point) for point in node["curve"])})


@dataclass(frozen=True)
class Arm:
    """What is compared, up to one number.

    Attributes:
        number: what it is.
        tried: its values.
        run: trains with a value of it under a seed, or finds what was trained before below a folder.
    """

    number: str
    tried: tuple[float, ...]
    run: Callable[[float, int, Path], Outcome]


def ours(objective: Objective, lr: float = 1e-2, setting: Setting = TAGGING) -> Experiment:
    """An arm of ours."""
    return Experiment(
        task=setting.task,
        model=setting.model,
        objective=objective,
        optimiser=Adam(lr=lr),
        trainer=Trainer(epochs=setting.epochs // outputs_of(objective), batch_tokens=384),
        decoding=setting.decoding,
    )


def outputs_of(objective: Objective) -> int:
    """How many outputs an example costs."""
    return K if isinstance(objective, REINFORCE | MinimumRisk) else 1


def rml(edit_rate: float, reward: Reward = Hamming()) -> RML:  # noqa: B008 - frozen
    """In closed form for the Hamming distance; for the edit distance with one draw, which is read like a reference."""
    temperature = Temperature(edit_rate=edit_rate)
    if isinstance(reward, EditDistance):
        return RML(payoff=EditDistancePayoff(temperature=temperature))
    return RML(payoff=HammingPayoff(temperature=temperature), estimator=Exact())


def objectives_for(reward: Reward) -> dict[str, Objective]:
    """Those whose learning rate is chosen."""
    return {
        "REINFORCE": REINFORCE(reward=reward, samples=K),
        "REINFORCE by label": REINFORCE(reward=reward, samples=K, credit="token"),
        "minimum risk": MinimumRisk(reward=reward, candidates=Samples(k=K, reference="left out")),
        "ML": MaximumLikelihood(),
    }


def trained(
    make: Callable[[float], Experiment], value: float, seed: int, root: Path, setting: Setting = TAGGING
) -> Outcome:
    """A run of ours, with its costs."""
    experiment = replace(make(value), seed=seed)
    run = train(experiment, root=root, device="cpu")
    drawn, each = isinstance(experiment.objective, REINFORCE | MinimumRisk), outputs_of(experiment.objective)
    labels, calls = each * setting.labels(), each * len(setting.task.load().train) * drawn
    result = run.result
    share = result.cpu_seconds / result.seconds
    curve = [
        Point(epoch.epoch * labels, epoch.epoch * calls, share * epoch.seconds, setting.score(epoch.dev))
        for epoch in result.history
    ]
    scores = {split: setting.score(result.scores[split]) for split in ("dev", "test")}
    return Outcome(scores, sum(each.numel() for each in run.model.parameters()), tuple(curve))


def acting(name: str, lr: float, seed: int, root: Path, setting: Setting = TAGGING) -> Outcome:
    """A run of an agent, or the file that holds it."""
    settings = AGENTS[name] | {"learning_rate": lr, "seed": seed}
    versions = {package: metadata.version(package) for package in PACKAGES}
    sizes = [EMBEDDING, HIDDEN, EPISODES, EVERY, setting.epochs]
    whole = [name, settings, *sizes, setting.task.to_json(), versions, torch.__version__]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    path = root / "outside_agents" / f"{name}-{digest}.json"
    if path.exists():
        return Outcome.of(json.loads(path.read_text(encoding="utf-8"))["outcome"])
    outcome = taught(name, settings, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"of": whole, "outcome": asdict(outcome)}, indent=1) + "\n")
    return outcome


def taught(name: str, settings: Mapping[str, Any], setting: Setting) -> Outcome:
    """Train an agent, evaluate it all along, and score the weights that were best on dev; the first of equals."""
    from structpred.environments.stable_baselines import AgentsVecEnv, SourceReader

    import sb3_contrib  # isort: skip
    import stable_baselines3  # isort: skip

    envs = AgentsVecEnv(setting.task, setting.reward, num_envs=EPISODES, paid="increments")
    network = {
        "features_extractor_class": SourceReader,
        "features_extractor_kwargs": {"embedding": EMBEDDING, "hidden": HIDDEN},
        "net_arch": {"pi": [], "vf": [64]},
    }
    made = sb3_contrib.MaskablePPO if name == "MaskablePPO" else stable_baselines3.A2C
    agent: Any = made("MultiInputPolicy", envs, policy_kwargs=network, device="cpu", **settings)
    budget = setting.epochs * setting.labels()
    curve: list[Point] = []
    best, kept = -1.0, copy.deepcopy(agent.policy.state_dict())
    start = time.process_time()
    while agent.num_timesteps < budget:
        agent.learn(min(EVERY, budget - agent.num_timesteps), reset_num_timesteps=False)
        dev = accuracy(agent, "dev", setting)
        curve.append(Point(agent.num_timesteps, envs.ended, time.process_time() - start, dev))
        if dev > best:
            best, kept = dev, copy.deepcopy(agent.policy.state_dict())
    agent.policy.load_state_dict(kept)
    parameters = sum(each.numel() for each in agent.policy.parameters())
    return Outcome({"dev": best, "test": accuracy(agent, "test", setting)}, parameters, tuple(curve))


def accuracy(agent: Any, split: str, setting: Setting) -> float:
    """Percent of symbols right, by the action that the agent takes for the most probable."""
    from structpred.environments.stable_baselines import AgentsVecEnv

    examples = getattr(setting.task.load(), split)
    envs = AgentsVecEnv(setting.task, setting.reward, num_envs=len(examples), split=split)
    envs.set_options([{"example": i} for i in range(len(examples))])
    observations, earned = envs.reset(), np.zeros(len(examples))
    running = np.ones(len(examples), bool)
    while running.any():
        actions, _ = agent.predict(observations, deterministic=True)
        observations, rewards, over, _ = envs.step(actions)
        earned += np.where(running, rewards, 0.0)
        running &= ~over
    return 100 * (1 + float(earned.sum()) / sum(len(example.references[0]) for example in examples))


def arms(setting: Setting = TAGGING) -> dict[str, Arm]:
    """Everything that is compared."""
    agents = {name: Arm("learning rate", AGENT_RATES, partial(acting, name, setting=setting)) for name in AGENTS}
    rates = {
        name: Arm("learning rate", RATES, partial(trained, partial(ours, objective, setting=setting), setting=setting))
        for name, objective in objectives_for(setting.reward).items()
    }
    smoothed = partial(trained, lambda rate: ours(rml(rate, setting.reward), setting=setting), setting=setting)
    return agents | rates | {"RML": Arm("edit rate", EDIT_RATES, smoothed)}


def tuned(found: Mapping[str, Arm], seeds: int, root: Path, console: Console) -> dict[str, Any]:
    """Tune every arm that has a choice, then run all of them under one seed after another.

    Raises:
        ConfigError: the packages of the agents are not installed.
    """
    import_module("structpred.environments.stable_baselines")  # so that what is missing is said at once
    tried = {name: arm.tried if len(arm.tried) > 1 else () for name, arm in found.items()}
    total = sum(len(values) + seeds for values in tried.values())
    with bars(console) as shown:
        overall = shown.add_task(f"{total} runs", total=total, details="starting")

        def run(name: str, value: float, seed: int) -> Outcome:
            shown.update(overall, details=f"{name}, {found[name].number} {value:g}, seed {seed}")
            outcome = found[name].run(value, seed, root)
            console.print(f"{name}, {found[name].number} {value:g}, seed {seed}: dev {outcome.scores['dev']:.2f}")
            shown.advance(overall)
            return outcome

        tuning = {
            name: {value: run(name, value, TUNING_SEED).scores["dev"] for value in values}
            for name, values in tried.items()
        }
        chosen = {name: best_of(dev) if dev else found[name].tried[0] for name, dev in tuning.items()}
        rounds = [{name: run(name, chosen[name], seed) for name in found} for seed in range(seeds)]
    return {
        "arms": {name: {"number": arm.number, "chosen": chosen[name]} for name, arm in found.items()},
        "tuning": {name: {f"{value:g}": dev for value, dev in tried.items()} for name, tried in tuning.items()},
        "runs": {name: [asdict(each[name]) for each in rounds] for name in found},
    }


def circumstances() -> dict[str, Any]:
    """Settings of the agents, versions, and the machine."""
    return {
        "agents": AGENTS,
        "packages": {package: metadata.version(package) for package in PACKAGES},
        "environment": asdict(environment()),
    }


def best_of(dev: Mapping[float, float]) -> float:
    """The value with the highest accuracy on dev; the smaller of equals, as values are in order."""
    return max(dev, key=lambda value: dev[value])


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table: means over seeds with 95 % intervals; costs are those of the whole budget.

    The share of the gap is left out where the results have none.
    """
    made = []
    for name, runs in results["runs"].items():
        last = [run["curve"][-1] for run in runs]
        means = {cost: float(np.mean([point[cost] for point in last])) for cost in ("labels", "calls", "cpu_seconds")}
        arm = results["arms"][name]
        accuracies = [str(estimate(np.array([run["scores"][split] for run in runs]))) for split in ("dev", "test")]
        costs = [f"{means['labels']:,.0f}", f"{means['calls']:,.0f}", f"{means['cpu_seconds']:.1f}"]
        closed = [str(estimate(np.array(results["gap_closed"][name])))] if "gap_closed" in results else []
        number = f"{arm['number']} {arm['chosen']:g}"
        made.append((name, *accuracies, *closed, *costs, f"{runs[0]['parameters']:,}", number))
    return made


def table(columns: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown, with an empty one at the end."""
    head = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    return [*head, *(f"| {' | '.join(row)} |" for row in body), ""]


def made_with(results: Mapping[str, Any]) -> list[str]:
    """Lines on versions and the machine."""
    packages = results["packages"] | results["environment"]["packages"]
    named = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [f"* {named}", f"* {results['environment']['threads']}"]


AXES = {"labels": "labels written or read", "calls": "outputs scored by the reward", "cpu_seconds": "CPU-seconds"}


def draw_curves(
    drawn: Sequence[Any],
    runs_of: Mapping[str, Sequence[Mapping[str, Any]]],
    marks: Mapping[str, float],
    limits: tuple[float, float],
) -> None:
    """The score on dev, averaged over seeds, against each of the costs, on axes side by side."""
    look = looks(list(runs_of))
    for axes, (cost, label) in zip(drawn, AXES.items(), strict=True):
        style(axes)
        for name, runs in runs_of.items():
            x, y = (np.mean([[point[key] for point in run["curve"]] for run in runs], 0) for key in (cost, "dev"))
            if x[-1] > 0:  # likelihood and RML need no reward
                axes.plot(x, y, color=look[name].colour, linestyle=look[name].style, label=name, linewidth=1.4)
        for mark, height in marks.items():
            axes.axhline(height, color=INK, linewidth=0.8)
            axes.annotate(mark, (0.02, height + 0.1), xycoords=("axes fraction", "data"), color=INK)
        axes.set_xscale("log")
        log_axis(axes.xaxis, ticks=(1,))
        axes.set_xlabel(label)
        axes.set_ylim(*limits)


def write(results: Mapping[str, Any], text: str, picture: str, folder: Path) -> None:
    """The record, its report and its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "curves.json", json.dumps(results, ensure_ascii=False) + "\n")
    write_atomically(folder / "report.md", text)
    write_atomically(folder / "curves.svg", picture)
